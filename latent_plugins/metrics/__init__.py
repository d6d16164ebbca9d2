"""Metrics of generated images: distances and scores of features, whatever network they come from."""
