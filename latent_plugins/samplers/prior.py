"""The generator's own prior, with and without truncation of the styles."""

import torch

from latent_plugins.samplers.base import Latents, Sampler, check_labels


class PriorSampler(Sampler):
    """The generator's own prior, N(0, I) for most. Seeds give the latents of the official commands."""

    name = "prior"

    def __init__(self, generator):
        self.generator = generator

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        z = [self.generator.seed_latent(seed) for seed in seeds]
        z = torch.cat(z) if z else torch.empty(0, self.generator.z_dim)
        return Latents(z, check_labels(c, len(z), self.generator.c_dim))

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        return Latents(self.generator.sample_prior(n, generator), check_labels(c, n, self.generator.c_dim))


class TruncationSampler(PriorSampler):
    """The prior, meant for truncated synthesis; `default_psi` is used where the caller names no psi.

    Raises ValueError for a network that tracks no average style.
    """

    name = "truncation"
    default_psi = 0.7

    def __init__(self, generator):
        super().__init__(generator)
        if generator.has_styles and generator.w_avg is None:
            raise ValueError("this network tracks no average style, so it cannot be truncated; use the prior sampler")
