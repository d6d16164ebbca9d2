"""Importance weights of candidates: how they are made, how good they are, and how latents are drawn by them."""
