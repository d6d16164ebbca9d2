"""Styles that somebody projected images to, from a file of the official projector."""

import numpy as np
import torch

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.gradients import no_grad
from latent_plugins.pictures.files import to_uint8
from latent_plugins.pictures.rendering import checked

MOST = 10_000  # styles of one file; the official projector writes one


def projected_styles(path, generator):
    """The array `w` of an `.npz`: float32 [N, num_ws, w_dim] on the CPU. Raises ValueError for one of another kind."""
    if not generator.has_styles:
        raise ValueError(f"a {generator.family} network has no styles; leave out --projected-w")
    with open_arrays(path, error=ValueError) as arrays:
        if "w" not in arrays:
            raise ValueError(f"{path}: has no array 'w'; give the projected_w.npz of the official projector")
        shape, wanted = arrays.shapes["w"][0], (generator.num_ws, generator.w_dim)
        if len(shape) != 3 or shape[1:] != wanted or not 0 < shape[0] <= MOST:
            raise ValueError(f"{path}: its w is {list(shape)}, the network takes [N, {wanted[0]}, {wanted[1]}]")
        styles = arrays.read("w")
    if styles.dtype.kind != "f" or not np.isfinite(styles).all():
        raise ValueError(f"{path}: its w holds NaN, infinity or no floating-point numbers")
    return torch.from_numpy(styles.astype(np.float32))


@no_grad
def rendered(generator, styles, noise_mode="const"):
    """Yield uint8 images [H, W, C] of styles [N, num_ws, w_dim], one by one as the official command does."""
    device = next(generator.parameters()).device
    for w in styles:
        yield to_uint8(checked(generator.synthesis(w[None].to(device), noise_mode=noise_mode)))[0]
