"""Latents at the end of Markov chains: polarity sampling without an atlas, right however uneven the volumes are."""

from __future__ import annotations

import numpy as np

from latent_plugins.chains.moves import start
from latent_plugins.chains.pcn import pcn
from latent_plugins.chains.taught import INNER, taught_surrogate
from latent_plugins.priors import prior_of
from latent_plugins.randomness import torch_seed
from latent_plugins.samplers.base import Needs, Sampler, class_seed, told_by_class, volumes_record
from latent_plugins.settings import Settings, setting

CHAINS = 64  # that a bulk sample is taken from
FEWEST_LABELS = 100
THIN = 10  # steps between the draws of a bulk sample, where a step is a single move


class PCNSampler(Sampler):
    """Draws from p(z)·volume(z)^ρ by preconditioned Crank–Nicolson Metropolis chains (`latent_plugins.chains.pcn`).

    Seed s is the end of chain s after `steps` steps, half of them warm-up, in which ρ rises from 0: a function of the
    seed alone. A bulk sample is taken from 64 chains, every tenth step after the warm-up (with `surrogate_labels`,
    every other). `report` tells of the last draw: acceptance, β, the volumes computed, split R̂ and effective sample
    size; an R̂ well above 1 asks for more steps.

    With `surrogate_labels` a surrogate is taught first, by the true volumes of so many latents of the prior and as many
    of where chains on it go; then a step is 100 moves by the surrogate, every other time 3, and one correction by the
    true volume: the same law at a fraction of the cost where volumes are expensive and uneven.

    volumes: function of a class index (None without classes) to a callable z [N, z_dim] → log-volume [N], for a
    surrogate a LogVolume or one with its `inputs`; domain: `sphere`, `gaussian` (the family's prior) or a Prior; by
    default what suits it. Raises ValueError for a ρ that is not finite, fewer than 8 steps, or labels too few to learn
    from.
    """

    name = "pcn"
    summary = "the law of polarity without an atlas, by Markov chains"
    needs = Needs.VOLUME

    class Settings(Settings):
        rho: float = setting(help="Polarity: below 0 to modes, above 0 to anti-modes.")
        steps: int = setting(400, low=8, metavar="N", help="Steps of a chain, half of them warm-up.")
        surrogate_labels: int = setting(
            0,
            low=0,
            metavar="N",
            aliases=("labels",),
            help="True volumes that a surrogate for the moves learns from, 100 or more; 0: no surrogate.",
        )

        def check(self):
            """See Settings.check."""
            if 0 < self.surrogate_labels < FEWEST_LABELS:
                raise ValueError(
                    f"{self.surrogate_labels} surrogate_labels are too few to teach a surrogate: give at least "
                    f"{FEWEST_LABELS}, or none"
                )

    def __init__(self, generator, volumes, *, domain=None, **settings):
        self.settings = self.Settings(**settings)
        self.generator, self.volumes = generator, volumes
        self.rho, self.steps, self.labels = self.settings.rho, self.settings.steps, self.settings.surrogate_labels
        self.prior = prior_of(generator, domain)
        self.report, self._surrogates = None, {}

    def record(self):
        """See Sampler.record: with those of the volumes."""
        return super().record() | volumes_record(self.volumes)

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)

        def ends(label, rows):
            chains = self._run(label, seeds[rows], seed=0, kept=self.steps // 2)
            return chains.z[:, -1], chains.log_volume[:, -1], str(chains), figures_of(chains)

        latents, self.report = told_by_class(len(seeds), c, self.generator, ends)
        return latents

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        seed = torch_seed(generator)

        def thinned(label, rows):
            number = min(CHAINS, len(rows))
            draws = -(-len(rows) // number)
            thin = len(INNER) if self.labels else THIN
            chains = self._run(label, np.arange(number), seed=class_seed(seed, label), kept=thin * draws, thin=thin)
            # One draw of every chain after the other, so that neighbours belong to different chains.
            z, volumes = chains.z.swapaxes(0, 1), chains.log_volume.T
            z, volumes = z.reshape(-1, z.shape[2])[: len(rows)], volumes.reshape(-1)[: len(rows)]
            return z, volumes, str(chains), figures_of(chains)

        latents, self.report = told_by_class(n, c, self.generator, thinned)
        return latents

    def _run(self, label, numbers, *, seed, kept, thin=1):
        z0 = start(numbers, self.generator.z_dim, seed=seed, prior=self.prior)
        options = dict(rho=self.rho, prior=self.prior, seed=seed, warmup=self.steps - self.steps // 2, anneal=0.5)
        if self.labels:
            options.update(surrogate=self._surrogate(label), inner=INNER)
        return pcn(self.volumes(label), z0, steps=kept, thin=thin, numbers=numbers, **options)

    def _surrogate(self, label):
        """The surrogate for a class, taught once."""
        if label not in self._surrogates:
            volume = self.volumes(label)
            options = dict(rho=self.rho, prior=self.prior, labels=self.labels)
            self._surrogates[label], _ = taught_surrogate(volume, volume.inputs, self.generator.z_dim, **options)
        return self._surrogates[label]


def figures_of(chains):
    """{name: figure} of Chains for records; those that nothing could be said of are left out."""
    known = np.isfinite([chains.rhat.max(), chains.ess.min()])
    found = dict(acceptance=float(chains.acceptance.mean()), volumes=int(chains.evaluations))
    return found | (dict(rhat=float(chains.rhat.max()), chain_ess=float(chains.ess.min())) if known.all() else {})
