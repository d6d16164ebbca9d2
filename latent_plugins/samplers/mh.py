"""Metropolis–Hastings sampling with a critic."""

from __future__ import annotations

import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler
from latent_plugins.settings import Settings, setting


class MHSampler(CriticSampler):
    """The ends of Markov chains ("Metropolis–Hastings Generative Adversarial Networks", Turner et al. 2019).

    A chain runs through `length` proposals z′ of the prior and moves from z to z′ with the probability
    min(1, e^{score(z′) − score(z)}), which for log-odds of real against generated is the paper's
    (1/D(z) − 1) / (1/D(z′) − 1). It tends to the data's distribution where scores are log density ratios: calibrate
    them with `calibration.fit_platt`.

    real_scores: scores of real images [M]. With them a chain starts at one of those, as the paper does, so that there
    is no burn-in; the few chains that never leave it are run again from a proposal, as are all without real scores.
    Raises ValueError for a length below 1, and for real scores that are none or not finite.
    """

    name = "mh"
    summary = "Markov chains by a discriminator"
    takes_ratios = True
    stream = Stream.MH

    class Settings(Settings):
        length: int = setting(640, low=1, metavar="N", aliases=("steps",), help="Proposals that a chain runs through.")

    def __init__(self, generator, critic, *, real_scores=None, **options):
        super().__init__(generator, critic, **options)
        self.length, self.real_scores = self.settings.length, None
        if real_scores is not None:
            self.real_scores = torch.as_tensor(real_scores, dtype=torch.float64, device="cpu").reshape(-1)
            if not len(self.real_scores) or not self.real_scores.isfinite().all():
                raise ValueError("real_scores: give finite scores of one or more real images, or None")

    def _run(self, source, n):
        if self.real_scores is None:
            z = source.latents(n)
            moved, _ = self._chains(source, z, self.score(z))
            return moved, n * (self.length + 1)
        start = self.real_scores[(source.uniforms(n) * len(self.real_scores)).long()]
        z, left = self._chains(source, torch.empty(n, self.generator.z_dim), start)
        again, scored = (~left).nonzero()[:, 0], n * self.length
        if len(again):
            fresh = source.latents(len(again))
            z[again], _ = self._chains(source, fresh, self.score(fresh))
            scored += len(again) * (self.length + 1)
        return z, scored

    def _chains(self, source, z, score):
        """n chains from latents z [n, z_dim] of known score [n]: (their ends, whether they ever moved [n])."""
        z, score, left = z.clone(), score.clone(), torch.zeros(len(z), dtype=torch.bool)
        together = max(1, self.batch // max(len(z), 1))  # proposals of a chain that are scored at once
        for first in range(0, self.length, together):
            count = min(together, self.length - first)
            tried = source.latents(count * len(z))
            scores, u = self.score(tried).reshape(count, -1), source.uniforms(count * len(z)).reshape(count, -1)
            for proposal, proposed, chance in zip(tried.reshape(count, len(z), -1), scores, u):
                moves = chance.log() < proposed - score
                z[moves], score[moves] = proposal[moves], proposed[moves]
                left |= moves
        return z, left
