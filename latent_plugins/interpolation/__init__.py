"""Interpolation between latents: straight, along great circles, and along paths of high density."""
