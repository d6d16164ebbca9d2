"""The candidates of an atlas: latents of a base measure that are functions of a seed and their number."""

import torch

from latent_plugins.priors import base_measure
from latent_plugins.randomness import Stream, class_substream, uniforms


def candidate_latents(indices, z_dim, *, seed, base="prior", radius=1.0, label=None):
    """The candidates `indices`: float32 [len(indices), z_dim] on the CPU.

    base: `prior`, N(0, I); `truncated`, the same cut to [−2, 2]; `uniform` on [−radius, radius]^z_dim (MaGNET,
    Algorithm 1); `ball`, uniform on the ball of that radius. label: class index of a conditional network; every class
    has candidates of its own. Raises ValueError for an unknown base measure.
    """
    measure = base_measure(base, z_dim, radius)
    u = uniforms(indices, measure.width, seed=seed, stream=Stream.CANDIDATES, substream=class_substream(label))
    return torch.tensor(measure.transform(u).astype("float32"))  # in memory of torch's own: its place decides kernels
