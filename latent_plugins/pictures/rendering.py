"""From latents to images."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.noise import seeded_noise
from latent_plugins.pictures.files import to_uint8
from latent_plugins.truncation import by_truncation

if TYPE_CHECKING:
    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.samplers.base import Latents


def inverse_transform(translate, angle):
    """The 3×3 matrix that StyleGAN3's input layer takes for a translation (x, y) and a rotation in degrees.

    It is the inverse of what the image shall do. Raises ValueError when a number is not finite.
    """
    if not np.isfinite([*translate, angle]).all():
        raise ValueError(f"translation {translate} and rotation {angle} must be finite numbers")
    s, c = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    matrix = np.array([[c, s, translate[0]], [-s, c, translate[1]], [0, 0, 1]])
    return torch.from_numpy(np.linalg.inv(matrix)).float()


def usual_batch(generator):
    """Images at once where nobody says: 16, fewer above 256 pixels."""
    return max(1, min(16, 16 * 256**2 // generator.img_resolution**2))


@no_grad
def images(
    generator: Generator,
    latents: Latents,
    *,
    psi: float = 1,
    cutoff: int | None = None,
    noise_mode: str = "const",
    batch: int = 16,
) -> torch.Tensor:
    """Images float32 [N, C, H, W], nominally in [−1, 1], of Latents, on the CPU.

    psi, cutoff: truncation of the rows that have none of their own; batch: images computed together. Raises ValueError
    when the network answers with a number that is not finite.

    >>> import latent_plugins as lp
    >>> G = lp.load("mnist32")
    >>> lp.images(G, lp.sampler("prior", G).draw(range(2))).shape
    torch.Size([2, 1, 32, 32])
    """
    device = next(generator.parameters()).device

    def made(z, c, psi):
        return generator(z, c, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode)

    parts = [torch.empty(0, generator.img_channels, generator.img_resolution, generator.img_resolution)]
    for start in range(0, len(latents.z), batch):
        rows = slice(start, start + batch)
        own = None if latents.psi is None else latents.psi[rows]
        parts.append(by_truncation(own, psi, made, latents.z[rows].to(device), latents.c[rows].to(device)).cpu())
    return checked(torch.cat(parts))


@no_grad
def render(
    generator, latents, *, psi=1, cutoff=None, noise_mode="const", batch=16, output_seeds=None, noise_seeds=None
):
    """Yield uint8 images [n, H, W, C] of Latents, batch by batch.

    psi: truncation of the rows that have none of their own. output_seeds: seeds [N] of samples of the output
    distribution, for networks with one; None: its mean. noise_seeds: seeds [N] of noise_mode `random`, which makes rows
    one by one so that each depends on its seed alone; None: torch's global generator. Raises ValueError when the
    network answers with a number that is not finite.
    """
    device = next(generator.parameters()).device

    def made(z, c, psi):
        return generator(z, c, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode)

    for start in range(0, len(latents.z), batch):
        part = slice(start, start + batch)
        rows, labels = latents.z[part].to(device), latents.c[part].to(device)
        own = None if latents.psi is None else latents.psi[part]
        if output_seeds is None and (noise_mode != "random" or noise_seeds is None):
            images = by_truncation(own, psi, made, rows, labels)
        elif output_seeds is None:
            images = torch.cat(
                [noisy(made, noise_seeds[start + i], *row) for i, row in enumerate(each_row(own, psi, rows, labels))]
            )
        else:  # one by one, so that a seed's image does not depend on the batch
            randoms = [torch.Generator().manual_seed(seed) for seed in output_seeds[part]]
            each = zip(each_row(own, psi, rows, labels), randoms)
            images = torch.cat([generator.sample_output(*row, random) for row, random in each])
        yield to_uint8(checked(images))


def each_row(own, psi, z, c):
    """(z [1, z_dim], c [1, c_dim], psi) of each row. own: truncations of rows, NaN or None for psi."""
    psis = np.full(len(z), psi) if own is None else np.where(np.isnan(own), psi, own)
    return [(z[i : i + 1], c[i : i + 1], float(psis[i])) for i in range(len(z))]


def noisy(made, seed, z, c, psi):
    """The image of one row with the noise inputs of a seed."""
    with seeded_noise(seed, 0, z.device):
        return made(z, c, psi)


def checked(images):
    """The images themselves. Raises ValueError when a number in them is not finite."""
    if not torch.isfinite(images).all():
        raise ValueError("the network's images hold NaN or infinity; its weights or the latents are broken")
    return images


def apply_transform(generator, transform):
    """Set a transform [3, 3] of the input where the network has one (StyleGAN3), as the official command does."""
    if generator.input_transform is not None:
        generator.input_transform.copy_(transform)
    elif not np.allclose(transform, np.eye(3)):
        warnings.warn("this network has no input transform; translation and rotation change nothing", stacklevel=2)
