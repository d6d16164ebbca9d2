"""Sampling-importance-resampling with a critic."""

from __future__ import annotations

import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler
from latent_plugins.settings import Settings, setting


class SIRSampler(CriticSampler):
    """One of N proposals is kept, with a probability ∝ e^score (sampling-importance-resampling, Rubin 1988).

    Where scores are log density ratios w, the kept latents tend to the data's distribution as N grows: the bias is of
    the order Var(w)/N. As a correction of generative models: "Bias Correction of Learned Generative Models using
    Likelihood-Free Importance Weighting" (Grover et al. 2019). Raises ValueError for fewer than one proposal.
    """

    name = "sir"
    summary = "resampling by a discriminator"
    takes_ratios = True
    stream = Stream.SIR

    class Settings(Settings):
        proposals: int = setting(10, low=1, metavar="N", aliases=("steps",), help="Proposals that one is kept of.")

    def __init__(self, generator, critic, **options):
        super().__init__(generator, critic, **options)
        self.proposals = self.settings.proposals

    def _run(self, source, n):
        kept, together = [torch.empty(0, self.generator.z_dim)], max(1, self.batch // self.proposals)
        for first in range(0, n, together):
            count = min(together, n - first)
            tried = source.latents(count * self.proposals)
            weights = self.score(tried).reshape(count, -1).softmax(dim=1)
            # The last cumulated weight may fall short of the uniform number by rounding.
            choice = torch.searchsorted(weights.cumsum(dim=1), source.uniforms(count)[:, None])[:, 0]
            choice = choice.clamp(max=self.proposals - 1)
            kept.append(tried.reshape(count, self.proposals, -1)[torch.arange(count), choice])
        return torch.cat(kept), n * self.proposals
