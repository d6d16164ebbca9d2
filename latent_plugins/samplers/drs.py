"""Discriminator rejection sampling."""

import numpy as np
import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler, check_positive

AT_ONCE = 8  # proposals for a lone latent that are scored together


class DRSSampler(CriticSampler):
    """Proposals of the prior are accepted by their score ("Discriminator Rejection Sampling", Azadi et al. 2019).

    With F = score − M, where M is the largest score of `burn_in` latents, a latent is accepted with the probability
    σ(F − log(1 − e^{F − ε}) − γ). For γ = 0 and ε → 0 that is e^F: plain rejection sampling, exact where scores are log
    density ratios bounded by M. With images a bound leaves next to nothing accepted, so γ is set such that `percentile`
    percent of the burn-in latents are accepted with at most one half; None keeps γ = 0. M and γ stay as estimated; a
    later score beyond M counts as M, so that the latent of a seed does not depend on what came before.

    max_tries: proposals for one latent after which a draw gives up. Raises ValueError for options that make no sense
    and, from a draw, when it gives up.
    """

    name = "drs"
    stream = Stream.DRS

    def __init__(
        self, generator, critic, *, percentile=80.0, epsilon=1e-8, burn_in=10_000, max_tries=10_000, batch=256
    ):
        super().__init__(generator, critic, batch=batch)
        check_positive("burn_in", burn_in)
        check_positive("max_tries", max_tries)
        if percentile is not None and not 0 <= percentile <= 100:
            raise ValueError(f"percentile={percentile}: give a number from 0 to 100, or None for no shift")
        if not 0 < epsilon < np.inf:
            raise ValueError(f"epsilon={epsilon}: give a small positive number")
        self.epsilon, self.max_tries, self.gamma = epsilon, max_tries, 0.0
        scores = self._score(self._setup_latents(burn_in))
        self.maximum = float(scores.max())
        if percentile is not None:
            self.gamma = float(np.percentile(self._logits(scores).numpy(), percentile))

    def _logits(self, scores):
        """Logits [N] of the acceptance of scores [N], both float64."""
        f = (scores - self.maximum).clamp(max=0)
        return f - torch.log1p(-torch.exp(f - self.epsilon)) - self.gamma

    def _run(self, source, n):
        z, pending, scored, tries = torch.empty(n, self.generator.z_dim), torch.arange(n), 0, 0
        while len(pending):
            if tries >= self.max_tries:
                raise ValueError(f"none of {tries} proposals for a latent was accepted: lower the percentile")
            each = max(1, AT_ONCE // len(pending))
            tried, u = (take(len(pending) * each) for take in (source.latents, source.uniforms))
            accepted = (u < torch.sigmoid(self._logits(self._score(tried)))).reshape(-1, each)
            found, first = accepted.any(dim=1), accepted.int().argmax(dim=1)
            z[pending[found]] = tried.reshape(len(pending), each, -1)[found, first[found]]
            scored += int(torch.where(found, first + 1, each).sum())
            pending, tries = pending[~found], tries + each
        return z, scored
