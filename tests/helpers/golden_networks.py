"""The networks of the official code that goldens are kept of."""

NETWORKS = [
    "stylegan2-ada-skip",
    "stylegan2-sg3repo-skip",
    "stylegan2-sg3repo-resnet-cond",
    "stylegan2-orig-clamped",
    "stylegan3-t",
    "stylegan3-r",
]
