"""Experiments of the papers, made again."""
