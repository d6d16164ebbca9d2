"""MaGNET and Polarity: candidates weighted by a power of the generator's local volume."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import torch

from latent_plugins.atlas.true_volumes import corrected
from latent_plugins.importance import resampling
from latent_plugins.importance.psis import pareto_smooth
from latent_plugins.importance.report import together, warn_if_flattened, warn_if_uneven, weighted_draw
from latent_plugins.importance.weights import base_correction, degeneracy, log_weights, normalized
from latent_plugins.priors import NormalPrior
from latent_plugins.randomness import class_substream, gumbels, torch_seed
from latent_plugins.samplers.base import Latents, Needs, Sampler, by_class, check_labels
from latent_plugins.settings import Settings, setting

ROWS = 10_000  # candidates whose latents are made at once


class CandidateSettings(Settings):
    """What the samplers that choose candidates of an atlas by weight have in common."""

    alpha: float | None = setting(
        None,
        low=0,
        high=1,
        help="On the Gaussian domain: 1 takes the prior's density out of the weights.",
        default_text="0, as published",
    )
    pareto: bool = setting(False, help="Smooth the largest weights (PSIS).")
    without_replacement: bool = setting(False, help="The published code's rule, whose law is flatter than rho says.")
    true_volumes: int | None = setting(
        None,
        low=1,
        metavar="N",
        help="Of predicted volumes: compute the true ones of N drawn candidates, and draw from these.",
    )


class PolaritySampler(Sampler):
    """Draws candidates of an atlas with probability ∝ volume^ρ ("Polarity Sampling", Humayun et al. 2022).

    ρ > 0 goes to anti-modes, ρ < 0 to modes, ρ = 0 is the base measure. Every draw follows these weights exactly, as
    the papers' draws with replacement do, but evenly spread: `sample` draws systematically, so that no candidate comes
    twice while n times its weight is at most 1, and the seeds of `draw` are the places of a low-discrepancy sequence
    (`latent_plugins.importance.resampling`). `top_k`: how many singular values make the volume, by default all that are
    stored. `true_volumes`: of an atlas of predicted volumes, draw so many candidates by these, compute their true ones,
    and resample. `alpha`: 1 takes the prior's density out of the weights, so that MaGNET is uniform on what the
    candidates cover; None or 0 leaves it in. `pareto`: smooth the largest weights (PSIS).

    `without_replacement` is the published code's rule: the whole atlas in one weighted random order, of which seed s is
    the s-th element. Its law is flatter than the weights; the report tells the effective ρ. In the limit ρ = −∞ (∞)
    seed s is the s-th most contracted (expanded) candidate, counted from 0.

    `report` of the Latents: those of a WeightedDraw. Raises AtlasError when the atlas is of another network, ValueError
    for a top_k or class that it does not hold, and for true volumes with an infinite ρ, whose order has no random pool
    to correct.
    """

    name = "polarity"
    summary = "candidates of an atlas, chance as volume^rho: rho < 0 to modes, rho > 0 to anti-modes"
    needs = Needs.CANDIDATES

    class Settings(CandidateSettings):
        rho: float = setting(
            infinite=True,
            help="Polarity: below 0 to modes, above 0 to anti-modes; -inf and inf: the extremes in order.",
        )

        def check(self):
            """See Settings.check."""
            if np.isinf(self.rho) and (self.true_volumes is not None or self.alpha or self.pareto):
                raise ValueError(
                    f"rho {self.rho} takes candidates in the order of their volumes: leave out what changes weights"
                )

    def __init__(self, generator, atlas, *, top_k=None, **settings):
        self.settings = self.Settings(**settings)
        atlas.check_network(generator)
        self.generator, self.atlas, self.top_k = generator, atlas, top_k
        self.rho, self.alpha, self.pareto = self.law_rho, self.settings.alpha, self.settings.pareto
        self.true_volumes = self.settings.true_volumes
        check_alpha(self.alpha, atlas)
        self.ordered = self.settings.without_replacement or bool(np.isinf(self.rho))
        self.key = atlas.settings.seed if atlas.settings else 0  # the layout of draws by seed is the atlas's own
        self.c_dim = generator.c_dim
        self._per_class, self._degeneracy = {}, {}

    @property
    def law_rho(self):
        """The power of the volume that candidates are weighted by."""
        return self.settings.rho

    def record(self):
        """See Sampler.record: with the atlas's settings and top_k."""
        return super().record() | dict(self.atlas.record(), top_k=self.top_k)

    @property
    def capacity(self):
        """See Sampler.capacity: without replacement, the usable candidates of the class that has the fewest."""
        if not self.ordered:
            return None
        return min(int(np.isfinite(self._weights(label)[0]).sum()) for label in self.atlas.classes or (None,))

    def independent(self):
        """See Sampler.independent: the same weights with replacement. Of an infinite ρ, an order, there is none."""
        if np.isinf(self.rho):
            raise ValueError(f"rho {self.rho:g} takes candidates in an order, and not at random: use a finite rho")
        twin = copy.copy(self)
        twin.ordered = False
        return twin

    def reordered(self, key):
        """A twin of an ordered sampler whose order without replacement is another one, a function of `key`."""
        twin = copy.copy(self)
        twin.key = key
        return twin

    def degeneracy(self, label=None):
        """The Degeneracy (effective sample size, largest weight) of the weights of a class."""
        volume, logw = self._weights(label)
        if label not in self._degeneracy:
            self._degeneracy[label] = degeneracy(logw)
        found = self._degeneracy[label]
        if np.isinf(self.rho):  # those without weight are in the order too
            found = dataclasses.replace(found, candidates=int(np.isfinite(volume).sum()))
        return found

    def draw(self, seeds, c=None):
        """See Sampler.draw. Raises ValueError for a seed beyond the atlas when drawing without replacement."""
        seeds = np.asarray(seeds, dtype=np.int64)

        def pick(label, logw, rows):
            if not self.ordered:
                return resampling.by_seed(logw, seeds[rows], seed=self.key, label=label)
            order = self._order(label, logw, self.key)
            if seeds[rows].max() >= len(order):
                raise ValueError(
                    f"seed {seeds[rows].max()} is beyond the {len(order)} usable candidates of the atlas: build one "
                    "with more candidates, or draw with replacement"
                )
            return order[seeds[rows]]

        return self._collect(len(seeds), c, pick)

    def sample(self, n, generator, c=None):
        """See Sampler.sample. Raises ValueError for more than the candidates when drawing without replacement."""
        seed = torch_seed(generator)

        def pick(label, logw, rows):
            if not self.ordered:
                return resampling.bulk(logw, len(rows), seed=seed, label=label)
            order = self._order(label, logw, seed)
            if len(rows) > len(order):
                raise ValueError(
                    f"{len(rows)} samples are more than the {len(order)} usable candidates of the atlas: build one "
                    "with more candidates, or draw with replacement"
                )
            return order[: len(rows)]

        return self._collect(n, c, pick)

    def _collect(self, n, c, pick):
        """Latents of n rows, class by class: pick(label, log-weights, rows of that class) → candidates."""
        c = check_labels(c, n, self.c_dim)
        z, index, log_volume = torch.empty(n, self.atlas.z_dim), np.empty(n, dtype=np.int64), np.empty(n)
        draws = []
        for label, rows in by_class(c):
            volume, logw = self._weights(label)
            index[rows] = pick(label, logw, rows)
            log_volume[rows] = volume[index[rows]]
            z[torch.from_numpy(rows)] = self.atlas.latents(index[rows], label)
            found = self.degeneracy(label)
            draws.append(
                weighted_draw(
                    volume, logw, index[rows], ess=found.effective_sample_size, ordered=self.ordered, rho=self.rho
                )
            )
            if not self.ordered:
                warn_if_uneven(found, len(rows))
            else:
                warn_if_flattened(found, draws[-1], self.rho)
        report = together(draws)
        return Latents(z, c, index, log_volume, report=report.record() if report else {})

    def _order(self, label, logw, seed):
        """All usable candidates in the order in which they are drawn without replacement."""
        if np.isinf(self.rho):
            return resampling.extreme_order(self._weights(label)[0], self.rho)
        return resampling.gumbel_order(logw, gumbels(len(logw), seed=seed, substream=class_substream(label)))

    def _weights(self, label):
        if label not in self._per_class:
            volume = self.atlas.log_volume(self.top_k, label)
            if self.true_volumes is None:
                logw = log_weights(volume, self.rho)
            else:
                volume, logw = corrected(self.generator, self.atlas, volume, self.rho, self.true_volumes, label)
            if self.alpha:
                logw = normalized(logw + base_correction(self._log_prior(label), self.alpha))
            if self.pareto:
                logw = pareto_smooth(logw)[0]
            self._per_class[label] = volume, logw
        return self._per_class[label]

    def _log_prior(self, label):
        """Log-density of the candidates' base measure at every candidate of a class: float64 [N]."""
        settings = self.atlas.settings
        prior = settings.prior if settings else NormalPrior(self.atlas.z_dim)  # that of the papers' files
        rows = np.arange(len(self.atlas.log_volume(self.top_k, label)))
        parts = [rows[i : i + ROWS] for i in range(0, len(rows), ROWS)]
        return np.concatenate([prior.log_prob(self.atlas.latents(part, label)).numpy() for part in parts])


def check_alpha(alpha, atlas):
    """Raise ValueError where correcting for the prior's density has no meaning."""
    settings = atlas.settings
    if alpha and settings is not None and settings.prior.flat:
        where = "on the sphere" if settings.domain == "sphere" else "in the uniform base measure"
        other = "domain gaussian" if settings.domain == "sphere" else "base prior"
        raise ValueError(f"{where} every latent has the same density: leave out --alpha, or build with {other}")


class MagnetSampler(PolaritySampler):
    """Uniform on the generator's manifold: ρ = 1 ("MaGNET", Humayun et al. 2022, Algorithm 1)."""

    name = "magnet"
    summary = "candidates of an atlas, chance as volume: uniform on the manifold"
    Settings = CandidateSettings
    law_rho = 1.0
