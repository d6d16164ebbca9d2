"""The generator's own prior, with and without truncation of the styles."""

import numpy as np
import torch

from latent_plugins.samplers.base import Latents, Sampler, check_labels


class PriorSampler(Sampler):
    """The generator's own prior, N(0, I) for most. Seeds give the latents of the official commands."""

    name = "prior"
    summary = "N(0, I), or the family's own: for the same seeds, the official images"

    def __init__(self, generator):
        self.generator = generator

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        z = seed_latents(self.generator, seeds)
        return Latents(z, check_labels(c, len(z), self.generator.c_dim))

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        return Latents(self.generator.sample_prior(n, generator), check_labels(c, n, self.generator.c_dim))


def seed_latents(generator, seeds):
    """The official latents [len(seeds), z_dim] of seeds."""
    z = [generator.seed_latent(int(seed)) for seed in seeds]
    return torch.cat(z) if z else torch.empty(0, generator.z_dim)


class TruncationSampler(PriorSampler):
    """The prior with truncated synthesis: its latents carry the truncation psi, whatever else they are mixed with.

    Raises ValueError for a network that tracks no average style, or a psi that the family does not know.
    """

    name = "truncation"
    summary = "the prior with truncated styles (--trunc, 0.7 by default)"
    truncates = True
    default_psi = 0.7

    def __init__(self, generator, psi=default_psi):
        super().__init__(generator)
        if generator.has_styles and generator.w_avg is None:
            raise ValueError("this network tracks no average style, so it cannot be truncated; use the prior sampler")
        generator.check_psi(psi)
        self.psi = psi

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        return self._truncated(super().draw(seeds, c))

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        return self._truncated(super().sample(n, generator, c))

    def _truncated(self, latents):
        latents.psi = np.full(len(latents.z), float(self.psi))
        return latents
