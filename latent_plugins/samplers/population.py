"""Latents drawn together from p(z)·volume(z)^ρ: sequential Monte Carlo, rejection, the published online rule."""

from __future__ import annotations

import abc

import numpy as np

from latent_plugins.chains.moves import evaluate, start
from latent_plugins.chains.published import online_rejection
from latent_plugins.chains.rejection import rejection
from latent_plugins.chains.smc import smc
from latent_plugins.priors import prior_of
from latent_plugins.randomness import Stream, integer_key, permutation, torch_seed
from latent_plugins.samplers.base import Needs, Sampler, class_seed, combined, told_by_class, volumes_record
from latent_plugins.settings import Settings, setting


class PopulationSampler(Sampler):
    """What the samplers of this file share: seed s is number s of one population, which is drawn on first use.

    volumes, rho, domain: as for PCNSampler. particles: the size of the population, and the number of seeds. `report`
    tells of the last draw. Raises ValueError for a seed beyond the population.
    """

    needs = Needs.VOLUME

    class Settings(Settings):
        rho: float = setting(help="Polarity: below 0 to modes, above 0 to anti-modes.")
        particles: int = setting(1000, low=2, metavar="N", help="Latents that are drawn together.")

    def __init__(self, generator, volumes, *, domain=None, **settings):
        self.settings = self.Settings(**settings)
        self.generator, self.volumes = generator, volumes
        self.rho, self.particles = self.settings.rho, self.settings.particles
        self.prior, self.report = prior_of(generator, domain), None
        self._known = {}

    def record(self):
        """See Sampler.record: with those of the volumes."""
        return super().record() | volumes_record(self.volumes)

    @property
    def capacity(self):
        """See Sampler.capacity."""
        return self.particles

    def independent(self):
        """See Sampler.independent: there is none."""
        raise ValueError(
            f"{self.name} draws its {self.particles} latents together, so it cannot answer for any latent that comes: "
            "take pcn, or polarity on an atlas"
        )

    @abc.abstractmethod
    def population(self, volume, n, seed):
        """(z float32 [n, z_dim], log-volume [n], text about it, {name: figure}) for a log-volume."""

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)
        if len(seeds) and seeds.max() >= self.particles:
            raise ValueError(f"seed {seeds.max()} is beyond the {self.particles} of the population: more --particles")

        def known(label, rows):
            if label not in self._known:
                self._known[label] = self.population(self.volumes(label), self.particles, class_seed(0, label))
            z, volume, *told = self._known[label]
            return z[seeds[rows]], volume[seeds[rows]], *told

        latents, self.report = told_by_class(len(seeds), c, self.generator, known)
        return latents

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        seed = torch_seed(generator)
        draws = lambda label, rows: self._bulk(self.volumes(label), len(rows), class_seed(seed, label))  # noqa: E731
        latents, self.report = told_by_class(n, c, self.generator, draws)
        return latents

    def _bulk(self, volume, n, seed):
        """As `population`, n latents of a bulk draw. Independent draws: a population of just that size."""
        return self.population(volume, n, seed)


class SMCSampler(PopulationSampler):
    """Annealed sequential Monte Carlo over ρ (`latent_plugins.chains.smc`): right where weights of the prior fail.

    A few particles do not follow the law, however they are chosen from: `sample` takes its latents from populations of
    the full size, as many as it needs, and leaves the rest of the last one.
    """

    name = "smc"
    summary = "the same by annealed particles: right where weights of the prior fail"

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        found = smc(volume, n, self.generator.z_dim, rho=self.rho, prior=self.prior, seed=seed)
        acceptance = found.stages[-1].acceptance
        told = (
            f"{n} particles of {found.ancestors} ancestors in {len(found.stages)} stages, last acceptance "
            f"{acceptance:.2f}, {found.evaluations} volumes computed"
        )
        figures = dict(acceptance=acceptance, ancestors=found.ancestors, volumes=found.evaluations)
        # Copies of one ancestor stand side by side; seeds shall not.
        order = permutation(n, seed=seed, stream=Stream.PARTICLES)
        return found.z[order], found.log_volume[order], told, figures

    def _bulk(self, volume, n, seed):
        parts = []
        for number in range(-(-n // self.particles)):
            key = integer_key(number, seed=seed, stream=Stream.PARTICLES, substream=1)
            parts.append(self.population(volume, self.particles, key))
        z, volumes, told, figures = zip(*parts)
        return np.concatenate(z)[:n], np.concatenate(volumes)[:n], "; ".join(told), combined(figures)


class RejectionSampler(PopulationSampler):
    """Rejection from the prior with a running bound (`latent_plugins.chains.rejection`): independent draws."""

    name = "rejection"
    summary = "the same by rejection with a running bound: independent draws"

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        found = rejection(volume, n, self.generator.z_dim, rho=self.rho, prior=self.prior, seed=seed)
        told = told_of(found) + f", the bound was exceeded {found.exceeded} times"
        return found.z, found.log_volume, told, dict(figures_of(found), bound_exceeded=found.exceeded)


class OnlineSampler(PopulationSampler):
    """The online rule of MaGNET and Polarity as published (`latent_plugins.chains.published`), which is approximate."""

    name = "online"
    summary = "the same by the papers' online rule, which is approximate"

    class Settings(PopulationSampler.Settings):
        scalars: int = setting(30, low=1, metavar="N", help="Volumes of earlier latents that it compares with.")

    def population(self, volume, n, seed):
        """See PopulationSampler."""
        options = dict(rho=self.rho, scalars=self.earlier(volume, seed), prior=self.prior, seed=seed)
        found = online_rejection(volume, n, self.generator.z_dim, **options)
        return found.z, found.log_volume, told_of(found), figures_of(found)

    def earlier(self, volume, seed):
        """The log-volumes [scalars] of the earlier latents that a population of this seed is compared with."""
        z = start(np.arange(self.settings.scalars), self.generator.z_dim, seed=seed, prior=self.prior)
        return evaluate(volume, z)


def told_of(found):
    return f"{len(found.z)} draws, acceptance {found.acceptance:.3g}, {found.evaluations} volumes computed"


def figures_of(found):
    return dict(acceptance=found.acceptance, volumes=found.evaluations)
