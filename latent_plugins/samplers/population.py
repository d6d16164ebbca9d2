"""Latents drawn together from p(z)·volume(z)^ρ: sequential Monte Carlo, rejection, the published online rule."""

import abc

import numpy as np

from latent_plugins.chains.moves import evaluate, start
from latent_plugins.chains.published import online_rejection
from latent_plugins.chains.rejection import rejection
from latent_plugins.chains.smc import smc
from latent_plugins.samplers.base import Sampler, told_by_class, torch_seed
from latent_plugins.spaces import default_domain


class PopulationSampler(Sampler):
    """What the samplers of this file share: seed s is number s of one population, which is drawn on first use.

    volumes, rho, domain: as for PCNSampler. particles: the size of the population, for `draw`; `sample` draws one of
    the size asked for. `report` tells of the last one. Raises ValueError for a seed beyond the population.
    """

    needs_volume = True
    settings = {"rho": "rho", "particles": "particles"}

    def __init__(self, generator, volumes, *, rho, particles=1000, domain=None):
        if not np.isfinite(rho):
            raise ValueError(f"rho must be a finite number, not {rho}")
        if particles < 2:
            raise ValueError(f"a population has at least 2 particles, not {particles}")
        self.generator, self.volumes, self.rho, self.particles = generator, volumes, rho, particles
        self.domain, self.report = domain or default_domain(generator), None
        self._known = {}

    @abc.abstractmethod
    def population(self, volume, n, seed):
        """(z float32 [n, z_dim], log-volume [n], text about it) for a log-volume."""

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)
        if len(seeds) and seeds.max() >= self.particles:
            raise ValueError(f"seed {seeds.max()} is beyond the {self.particles} of the population: more --particles")

        def known(label, rows):
            if label not in self._known:
                self._known[label] = self.population(self.volumes(label), self.particles, seed=0)
            z, volume, told = self._known[label]
            return z[seeds[rows]], volume[seeds[rows]], told

        latents, self.report = told_by_class(len(seeds), c, self.generator, known)
        return latents

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        seed = torch_seed(generator)

        def fresh(label, rows):
            z, volume, told = self.population(self.volumes(label), max(2, len(rows)), seed=seed)
            return z[: len(rows)], volume[: len(rows)], told

        latents, self.report = told_by_class(n, c, self.generator, fresh)
        return latents


class SMCSampler(PopulationSampler):
    """Annealed sequential Monte Carlo over ρ (`latent_plugins.chains.smc`): right where weights of the prior fail."""

    name = "smc"

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        found = smc(volume, n, self.generator.z_dim, rho=self.rho, domain=self.domain, seed=seed)
        told = (
            f"{n} particles of {found.ancestors} ancestors in {len(found.stages)} stages, last acceptance "
            f"{found.stages[-1].acceptance:.2f}, {found.evaluations} volumes computed"
        )
        # Copies of one ancestor stand side by side; seeds shall not.
        order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(n)
        return found.z[order], found.log_volume[order], told


class RejectionSampler(PopulationSampler):
    """Rejection from the prior with a running bound (`latent_plugins.chains.rejection`): independent draws."""

    name = "rejection"

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        found = rejection(volume, n, self.generator.z_dim, rho=self.rho, domain=self.domain, seed=seed)
        return found.z, found.log_volume, told_of(found) + f", the bound was exceeded {found.exceeded} times"


class OnlineSampler(PopulationSampler):
    """The online rule of MaGNET and Polarity as published (`latent_plugins.chains.published`), which is approximate.

    scalars: how many volumes of earlier latents it compares with.
    """

    name = "online"

    def __init__(self, generator, volumes, *, rho, particles=1000, domain=None, scalars=30):
        super().__init__(generator, volumes, rho=rho, particles=particles, domain=domain)
        self.scalars = scalars

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        d = self.generator.z_dim
        earlier = evaluate(volume, start(np.arange(self.scalars), d, seed=seed, domain=self.domain))
        options = dict(rho=self.rho, scalars=earlier, domain=self.domain, seed=seed)
        found = online_rejection(volume, n, d, **options)
        return found.z, found.log_volume, told_of(found)


def told_of(found):
    return f"{len(found.z)} draws, acceptance {found.acceptance:.3g}, {found.evaluations} volumes computed"
