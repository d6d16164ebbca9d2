"""The generator's own prior, with and without truncation of the styles."""

import numpy as np
import torch

from latent_plugins.samplers.base import Latents, Sampler, check_labels


def official_latent(seed, z_dim):
    """z [1, z_dim] float32 of a seed, the number stream of the official gen_images command."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim).astype(np.float32))


class PriorSampler(Sampler):
    """z ~ N(0, I). Seeds give the latents of the official commands."""

    name = "prior"

    def __init__(self, generator):
        self.z_dim, self.c_dim = generator.z_dim, generator.c_dim

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        z = [official_latent(seed, self.z_dim) for seed in seeds]
        return Latents(torch.cat(z) if z else torch.empty(0, self.z_dim), check_labels(c, len(z), self.c_dim))

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        return Latents(torch.randn(n, self.z_dim, generator=generator), check_labels(c, n, self.c_dim))


class TruncationSampler(PriorSampler):
    """The prior, meant for synthesis with truncated styles; `default_psi` is used where the caller names no psi.

    Raises ValueError for a network that tracks no average style.
    """

    name = "truncation"
    default_psi = 0.7

    def __init__(self, generator):
        super().__init__(generator)
        if generator.w_avg is None:
            raise ValueError("this network tracks no average style, so it cannot be truncated; use the prior sampler")
