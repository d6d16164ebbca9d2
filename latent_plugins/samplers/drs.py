"""Discriminator rejection sampling."""

from __future__ import annotations

import numpy as np
import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler
from latent_plugins.settings import Settings, setting

AT_ONCE = 8  # proposals for a lone latent that are scored together


class DRSSampler(CriticSampler):
    """Proposals of the prior are accepted by their score ("Discriminator Rejection Sampling", Azadi et al. 2019).

    With F = score − M, where M is the largest score of `burn_in` latents, a latent is accepted with the probability
    σ(F − log(1 − e^{F − ε}) − γ). For γ = 0 and ε → 0 that is e^F: plain rejection sampling, exact where scores are log
    density ratios bounded by M. With images a bound leaves next to nothing accepted, so γ is set such that `percentile`
    percent of the burn-in latents are accepted with at most one half; without `shift` γ = 0. M and γ stay as estimated;
    a later score beyond M counts as M, so that the latent of a seed does not depend on what came before.

    max_tries: proposals for one latent after which a draw gives up. Raises ValueError for options that make no sense
    and, from a draw, when it gives up.
    """

    name = "drs"
    summary = "rejection by a discriminator"
    takes_ratios = True
    stream = Stream.DRS

    class Settings(Settings):
        percentile: float = setting(
            80.0, low=0, high=100, metavar="P", help="Percent of the proposals that are accepted with one half at most."
        )
        no_shift: bool = setting(False, help="Leave the acceptance as it is (gamma 0): exact, where it is practicable.")
        epsilon: float = setting(1e-8, low=0, low_open=True, help="Keeps the acceptance below 1.")
        burn_in: int = setting(10_000, low=1, metavar="N", help="Latents that the largest score is estimated from.")
        max_tries: int = setting(10_000, low=1, metavar="N", help="Proposals for a latent after which a draw gives up.")

    def __init__(self, generator, critic, **options):
        super().__init__(generator, critic, **options)
        self.epsilon, self.max_tries, self.gamma = self.settings.epsilon, self.settings.max_tries, 0.0
        scores = self.score(self._setup_latents(self.settings.burn_in))
        self.maximum = float(scores.max())
        if not self.settings.no_shift:
            self.gamma = float(np.percentile(self.logits(scores).numpy(), self.settings.percentile))

    def logits(self, scores):
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
            accepted = (u < torch.sigmoid(self.logits(self.score(tried)))).reshape(-1, each)
            found, first = accepted.any(dim=1), accepted.int().argmax(dim=1)
            z[pending[found]] = tried.reshape(len(pending), each, -1)[found, first[found]]
            scored += int(torch.where(found, first + 1, each).sum())
            pending, tries = pending[~found], tries + each
        return z, scored
