"""Images as files: conversion to 8 bits, PNG."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch

from dnnlib_compat.errors import check_regular, reading
from dnnlib_compat.pictures import open_picture
from dnnlib_compat.util import atomic_output


def as_bytes(images):
    """Float images [N, C, H, W] in [−1, 1] to uint8 of the same shape, as the official commands round them."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def to_uint8(images):
    """Float images [N, C, H, W] in [−1, 1] to uint8 arrays [N, H, W, C]."""
    return as_bytes(images).permute(0, 2, 3, 1).cpu().numpy()


def save_png(image, path):
    """Write a uint8 image [H, W, C] with C = 1 (grayscale) or 3 (RGB) as PNG, atomically."""
    picture = PIL.Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    with atomic_output(path) as tmp:
        picture.save(tmp, format="PNG")


def read_png(path):
    """The pixels of an image that `save_png` wrote: uint8 [H, W, C]. Raises ValueError for what is damaged."""
    with reading(path, ValueError):
        check_regular(path, ValueError)
        return np.atleast_3d(np.asarray(open_picture(Path(path).read_bytes())))
