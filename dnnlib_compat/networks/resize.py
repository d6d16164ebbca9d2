"""How the image detectors take their input: checked, as floats, resized the way TensorFlow 1 does it."""

import functools

import numpy as np
import torch


def float_images(images, dtype):
    """Images uint8 or float [N, 3, H, W] as `dtype`. Raises ValueError for another shape or number of channels."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"the detector takes RGB images [N, 3, H, W], not {list(images.shape)}")
    return images.to(dtype)


def resize_bilinear_tf1(images, size):
    """Resize float images [N, C, H, W] to [N, C, size, size] by the bilinear rule of TensorFlow 1.

    Pixel i comes from source coordinate i·in/out: no shift by half a pixel, no antialiasing, clamped at the border.
    Images that have the size already come back as they are. Differentiable in every mode, composes with `torch.func`.
    """
    height, width = images.shape[2:]
    if height != size:
        images = _matrix(height, size, images) @ images
    if width != size:
        images = images @ _matrix(width, size, images).T
    return images


def _matrix(n_in, n_out, like):
    return torch.as_tensor(interpolation_matrix(n_in, n_out), dtype=like.dtype, device=like.device)


@functools.lru_cache(maxsize=16)
def interpolation_matrix(n_in, n_out):
    """[n_out, n_in] float64: row i holds the weights of the input pixels in output pixel i, at most two."""
    output = np.arange(n_out)
    position = output.astype(np.float32) * np.float32(n_in / n_out)  # single precision, as TensorFlow rounds it
    low = np.minimum(position.astype(int), n_in - 1)
    high = np.minimum(low + 1, n_in - 1)
    fraction = position.astype(np.float64) - low
    matrix = np.zeros((n_out, n_in))
    matrix[output, low] += 1 - fraction
    matrix[output, high] += fraction
    return matrix
