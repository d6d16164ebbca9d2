"""From latents to images."""

import numpy as np
import torch

from latent_plugins.plotting import to_uint8
from latent_plugins.truncation import by_truncation


def inverse_transform(translate, angle):
    """The 3×3 matrix that StyleGAN3's input layer takes for a translation (x, y) and a rotation in degrees.

    It is the inverse of what the image shall do. Raises ValueError when a number is not finite.
    """
    if not np.isfinite([*translate, angle]).all():
        raise ValueError(f"translation {translate} and rotation {angle} must be finite numbers")
    s, c = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    matrix = np.array([[c, s, translate[0]], [-s, c, translate[1]], [0, 0, 1]])
    return torch.from_numpy(np.linalg.inv(matrix)).float()


@torch.no_grad()
def render(generator, latents, *, psi=1, cutoff=None, noise_mode="const", batch=16, output_seeds=None):
    """Yield uint8 images [n, H, W, C] of Latents, batch by batch.

    psi: truncation of the rows that have none of their own. output_seeds: seeds [N] of samples of the output
    distribution, for networks with one; None: its mean. Raises ValueError when the network answers with a number that
    is not finite.
    """
    device = next(generator.parameters()).device

    def made(z, c, psi):
        return generator(z, c, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode)

    for start in range(0, len(latents.z), batch):
        part = slice(start, start + batch)
        rows, labels = latents.z[part].to(device), latents.c[part].to(device)
        own = None if latents.psi is None else latents.psi[part]
        if output_seeds is None:
            images = by_truncation(own, psi, made, rows, labels)
        else:  # one by one, so that a seed's image does not depend on the batch
            psis = np.full(len(rows), psi) if own is None else np.where(np.isnan(own), psi, own)
            randoms = [torch.Generator().manual_seed(seed) for seed in output_seeds[part]]
            images = torch.cat([generator.sample_output(*each) for each in singles(rows, labels, psis, randoms)])
        yield to_uint8(checked(images))


def checked(images):
    """The images themselves. Raises ValueError when a number in them is not finite."""
    if not torch.isfinite(images).all():
        raise ValueError("the network's images hold NaN or infinity; its weights or the latents are broken")
    return images


def singles(rows, labels, psis, randoms):
    """The arguments of `sample_output` row by row."""
    return [(rows[i : i + 1], labels[i : i + 1], float(psis[i]), random) for i, random in enumerate(randoms)]
