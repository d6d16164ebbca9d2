"""Perceptual path length: how fast, by LPIPS, images change along paths in latent space.

Source: "A Style-Based Generator Architecture for Generative Adversarial Networks" (Karras et al. 2019), Sec. 4.1; crop,
scale and sampling as in the official PyTorch code of StyleGAN2-ADA and StyleGAN3.
"""

import contextlib

import numpy as np
import torch
import torch.nn.functional as F

from dnnlib_compat.gradients import no_grad
from latent_plugins.volume.spectrum.precision import full_precision

# Official name: space of the path, where on it (`full`: t uniform in [0, 1]; `end`: t = 0), centre crop (for faces).
PATH_METRICS = {
    "ppl2_wend": dict(space="w", sampling="end", crop=False),
    "ppl_zfull": dict(space="z", sampling="full", crop=True),
    "ppl_wfull": dict(space="w", sampling="full", crop=True),
    "ppl_zend": dict(space="z", sampling="end", crop=True),
    "ppl_wend": dict(space="w", sampling="end", crop=True),
}

LPIPS_RESOLUTION = 256  # larger images are averaged down to it


@contextlib.contextmanager
def restored(tensors):
    """Give `tensors` their content back on leaving, also after an error."""
    saved = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, content in zip(tensors, saved):
            tensor.copy_(content)


@contextlib.contextmanager
def fresh_noise(generator, seed):
    """The generator's `noise_const` buffers hold standard normal numbers of `seed`, then their own content again.

    The numbers are drawn on the CPU, buffer after buffer, by a random number generator of their own. seed None leaves
    the buffers alone; a network without any is left alone too.
    """
    if seed is None:
        yield
        return
    random = torch.Generator().manual_seed(seed)
    buffers = [buffer for name, buffer in generator.named_buffers() if name.endswith(".noise_const")]
    with restored(buffers):
        for buffer in buffers:
            buffer.copy_(torch.randn(buffer.shape, generator=random, dtype=buffer.dtype))
        yield


def slerp(a, b, t):
    """Spherical interpolation from a to b [N, d], t [N, 1]: unit vectors [N, d], whatever the lengths of a and b."""
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    cos = (a * b).sum(dim=-1, keepdim=True)
    ahead = F.normalize(b - cos * a, dim=-1)  # orthogonal to a, towards b
    angle = t * cos.acos()
    return F.normalize(angle.cos() * a + angle.sin() * ahead, dim=-1)


@no_grad
def path_distances(
    generator, lpips, z0, z1, t, c, *, space, crop, epsilon=1e-4, noise_seed=None, psi=1, cutoff=None
):  # fmt: skip
    """Squared speed of the paths from z0 to z1 [N, z_dim] at t [N], labels c [N, c_dim]: float32 [N].

    It is LPIPS between the images at t and at t + epsilon, over epsilon². lpips: images [N, 3, H, W] in [0, 255] →
    [N, D], vectors whose squared distances are LPIPS. space: `w`, straight lines between styles, or `z`, great circles
    between latents (of generators that normalise them). crop: keep the part of the image where FFHQ has its faces.
    noise_seed: draw the noise buffers, the same for all images of this call, anew (`fresh_noise`). psi, cutoff:
    truncation of the styles, of the ends of a line in W and of every point of a circle in Z; the official metrics have
    none, and t and epsilon are measured along the path before it.

    float32 only just resolves the official epsilon: rounding noise of about a percent in a distance is usual, in both
    directions. Raises ValueError for an unknown space.
    """
    if space not in ("w", "z"):
        raise ValueError(f"space must be w or z, not {space!r}")
    t, c = t.to(z0.dtype).unsqueeze(1), torch.cat([c, c])
    truncation = {} if psi == 1 else dict(truncation_psi=psi, truncation_cutoff=cutoff)
    with full_precision(z0.device), fresh_noise(generator, noise_seed):
        if space == "w":
            w0, w1 = generator.mapping(torch.cat([z0, z1]), c, **truncation).chunk(2)
            ws = torch.cat([torch.lerp(w0, w1, s.unsqueeze(2)) for s in (t, t + epsilon)])
        else:
            ws = generator.mapping(torch.cat([slerp(z0, z1, s) for s in (t, t + epsilon)]), c, **truncation)
        images = generator.synthesis(ws, noise_mode="const")
        before, after = lpips(lpips_input(images, generator.img_resolution, crop)).chunk(2)
    return ((before - after).square().sum(dim=1) / epsilon**2).to(torch.float32)


def lpips_input(images, resolution, crop):
    """Images [N, 1 or 3, H, H] in [−1, 1] of a network with that resolution → [N, 3, h, h] in [0, 255], cropped.

    The factor of the box averaging is that of the uncropped image.
    """
    if crop:
        eighth = images.shape[2] // 8
        images = images[:, :, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]
    if resolution >= 2 * LPIPS_RESOLUTION:
        images = F.avg_pool2d(images, resolution // LPIPS_RESOLUTION)
    images = (images + 1) * (255 / 2)
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images


def trimmed_mean(distances):
    """Mean of the distances [N] from the 1st percentile (the element below) to the 99th (the one above), inclusive.

    Raises ValueError when there are none.
    """
    distances = np.asarray(distances, dtype=np.float64)
    if not distances.size:
        raise ValueError("there are no distances to average")
    low = np.percentile(distances, 1, method="lower")
    high = np.percentile(distances, 99, method="higher")
    return float(distances[(distances >= low) & (distances <= high)].mean())
