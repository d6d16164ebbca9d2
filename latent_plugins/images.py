"""From latents to images."""

import numpy as np
import torch

from latent_plugins.plotting import to_uint8


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
def render(generator, z, c, *, psi=1, cutoff=None, noise_mode="const", batch=16):
    """Yield uint8 images [n, H, W, C], batch by batch, for z [N, z_dim] and c [N, c_dim].

    Raises ValueError when the network answers with a number that is not finite.
    """
    device = next(generator.parameters()).device
    for rows, labels in zip(z.split(batch), c.split(batch)):
        images = generator(
            rows.to(device), labels.to(device), truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode
        )
        if not torch.isfinite(images).all():
            raise ValueError("the network's images hold NaN or infinity; its weights or the latents are broken")
        yield to_uint8(images)
