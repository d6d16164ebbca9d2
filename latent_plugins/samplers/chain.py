"""Latents at the end of Markov chains: polarity sampling without an atlas, right however uneven the volumes are."""

import numpy as np

from latent_plugins.chains.moves import start
from latent_plugins.chains.pcn import pcn
from latent_plugins.samplers.base import Sampler, told_by_class, torch_seed
from latent_plugins.spaces import default_domain

CHAINS = 64  # that a bulk sample is taken from
THIN = 10  # steps between the draws of a bulk sample


class PCNSampler(Sampler):
    """Draws from p(z)·volume(z)^ρ by preconditioned Crank–Nicolson Metropolis chains (`latent_plugins.chains.pcn`).

    Seed s is the end of chain s after `steps` steps, half of them warm-up, in which ρ rises from 0: a function of the
    seed alone. A bulk sample is taken from 64 chains, every tenth step after the warm-up. `report` tells of the last
    draw: acceptance, β, the volumes computed, split R̂ and effective sample size; an R̂ well above 1 asks for more steps.

    volumes: function of a class index (None without classes) to a callable z [N, z_dim] → log-volume [N]; domain:
    `sphere` or `gaussian`, by default what suits the family. Raises ValueError for a ρ that is not finite, or fewer
    than 8 steps.
    """

    name = "pcn"
    needs_volume = True
    settings = {"rho": "rho", "steps": "steps"}

    def __init__(self, generator, volumes, *, rho, steps=400, domain=None):
        if steps < 8:
            raise ValueError(f"{steps} steps are too few for a chain: give at least 8")
        if not np.isfinite(rho):
            raise ValueError(f"rho must be a finite number, not {rho}")
        self.generator, self.volumes, self.rho, self.steps = generator, volumes, rho, steps
        self.domain = domain or default_domain(generator)
        self.report = None

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)

        def ends(label, rows):
            chains = self._run(label, seeds[rows], seed=0, kept=self.steps // 2)
            return chains.z[:, -1], chains.log_volume[:, -1], str(chains)

        latents, self.report = told_by_class(len(seeds), c, self.generator, ends)
        return latents

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        seed = torch_seed(generator)

        def thinned(label, rows):
            number = min(CHAINS, len(rows))
            draws = -(-len(rows) // number)
            chains = self._run(label, np.arange(number), seed=seed, kept=THIN * draws, thin=THIN)
            # One draw of every chain after the other, so that neighbours belong to different chains.
            z, volumes = chains.z.swapaxes(0, 1), chains.log_volume.T
            return z.reshape(-1, z.shape[2])[: len(rows)], volumes.reshape(-1)[: len(rows)], str(chains)

        latents, self.report = told_by_class(n, c, self.generator, thinned)
        return latents

    def _run(self, label, numbers, *, seed, kept, thin=1):
        z0 = start(numbers, self.generator.z_dim, seed=seed, domain=self.domain)
        options = dict(rho=self.rho, domain=self.domain, seed=seed, warmup=self.steps - self.steps // 2, anneal=0.5)
        return pcn(self.volumes(label), z0, steps=kept, thin=thin, numbers=numbers, **options)
