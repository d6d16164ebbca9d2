"""MaGNET and Polarity: candidates weighted by a power of the generator's local volume."""

import dataclasses

import numpy as np
import torch

from latent_plugins.candidates import CHOICE, POOL, gumbels, uniforms
from latent_plugins.correction import corrected
from latent_plugins.psis import pareto_smooth
from latent_plugins.samplers.base import Latents, Sampler, check_labels, torch_seed
from latent_plugins.weights import (
    base_correction,
    degeneracy,
    extreme_order,
    gumbel_order,
    inverse_cdf,
    log_weights,
    normalized,
    warn_if_degenerate,
)

ROWS = 10_000  # candidates whose latents are made at once


class PolaritySampler(Sampler):
    """Draws candidates of an atlas with probability ∝ volume^ρ ("Polarity Sampling", Humayun et al. 2022).

    ρ > 0 goes to anti-modes, ρ < 0 to modes, ρ = 0 is the base measure. Draws are without replacement unless
    `replacement`: the whole atlas is put into one weighted random order and seed s is its s-th element, so different
    seeds never share a candidate. `top_k`: how many singular values make the volume, by default all that are stored.
    `true_volumes`: of an atlas of predicted volumes, draw so many candidates by these, compute their true ones, and
    resample. `alpha`: 1 takes the prior's density out of the weights, so that MaGNET is uniform on what the candidates
    cover; None or 0 leaves it in, as the papers' code does. `pareto`: smooth the largest weights (PSIS).
    In the limit ρ = −∞ (∞) seed s is the s-th most contracted (expanded) candidate, counted from 0.

    Raises AtlasError when the atlas is of another network, ValueError for a top_k or class that it does not hold, and
    for true volumes with an infinite ρ, whose order has no random pool to correct.
    """

    name = "polarity"
    needs_atlas = True
    settings = {"rho": "rho", "alpha": "alpha", "pareto": "pareto"}

    def __init__(
        self, generator, atlas, *, rho, top_k=None, replacement=False, true_volumes=None, alpha=None, pareto=False
    ):
        atlas.check_network(generator)
        if np.isinf(rho) and not (true_volumes is None and not alpha and not pareto):
            raise ValueError(
                f"rho {rho} takes candidates in the order of their volumes: leave out what changes weights"
            )
        self.generator, self.true_volumes, self.alpha, self.pareto = generator, true_volumes, alpha, pareto
        check_alpha(alpha, atlas)
        self.atlas, self.rho, self.top_k, self.replacement = atlas, rho, top_k, replacement
        self.c_dim = generator.c_dim
        self._per_class = {}

    def degeneracy(self, label=None):
        """The Degeneracy (effective sample size, largest weight) of the weights of a class."""
        volume, logw = self._weights(label)
        found = degeneracy(logw)
        if np.isinf(self.rho):  # those without weight are in the order too
            found = dataclasses.replace(found, candidates=int(np.isfinite(volume).sum()))
        return found

    def draw(self, seeds, c=None):
        """See Sampler.draw. Raises ValueError for a seed beyond the atlas when drawing without replacement."""
        seeds = np.asarray(seeds, dtype=np.int64)

        def pick(label, logw, wanted):
            if self.replacement:
                u = [np.random.RandomState(s).random_sample() for s in wanted]
                return inverse_cdf(logw, np.array(u))
            # The order is the atlas's own: its seed decides the noise.
            seed = self.atlas.settings.seed if self.atlas.settings else 0
            order = self._order(label, logw, gumbels(len(logw), seed=seed, substream=0 if label is None else label + 1))
            if wanted.max() >= len(order):
                raise ValueError(
                    f"seed {wanted.max()} is beyond the {len(order)} usable candidates of the atlas: build one with "
                    "more candidates, or draw with replacement"
                )
            return order[wanted]

        return self._collect(seeds, c, pick)

    def sample(self, n, generator, c=None):
        """See Sampler.sample. Raises ValueError when more latents are asked for than there are candidates."""
        seed = torch_seed(generator)

        def pick(label, logw, wanted):
            substream = 0 if label is None else label + 1
            if self.replacement:
                u = uniforms(np.arange(len(wanted)), 1, seed=seed, stream=CHOICE, substream=substream)[:, 0]
                return inverse_cdf(logw, u)
            order = self._order(label, logw, gumbels(len(logw), seed=seed, substream=substream))
            if len(wanted) > len(order):
                raise ValueError(
                    f"{len(wanted)} samples are more than the {len(order)} usable candidates of the atlas: build one "
                    "with more candidates, or draw with replacement"
                )
            return order[: len(wanted)]

        return self._collect(np.arange(n), c, pick)

    def _collect(self, numbers, c, pick):
        """Latents for `numbers`, class by class: pick(label, log-weights, numbers of that class) → candidates."""
        c = check_labels(c, len(numbers), self.c_dim)
        labels = c.argmax(dim=1).numpy() if self.c_dim else np.zeros(len(numbers), dtype=np.int64)
        z = torch.empty(len(numbers), self.atlas.z_dim)
        index = np.empty(len(numbers), dtype=np.int64)
        log_volume = np.empty(len(numbers))
        for k in np.unique(labels):
            label = int(k) if self.c_dim else None
            here = labels == k
            volume, logw = self._weights(label)
            if self.replacement or np.isfinite(self.rho):  # the extreme ones in order are as they should be
                warn_if_degenerate(degeneracy(logw), int(here.sum()))
            index[here] = pick(label, logw, numbers[here])
            log_volume[here] = volume[index[here]]
            z[torch.from_numpy(here)] = self.atlas.latents(index[here], label)
        return Latents(z, c, index, log_volume)

    def _order(self, label, logw, gumbel):
        """All usable candidates in the order in which they are drawn without replacement."""
        if np.isinf(self.rho):
            return extreme_order(self._weights(label)[0], self.rho)
        return gumbel_order(logw, gumbel)

    def _weights(self, label):
        if label not in self._per_class:
            volume = self.atlas.log_volume(self.top_k, label)
            if self.true_volumes is None:
                self._per_class[label] = volume, log_weights(volume, self.rho)
            else:
                seed, substream = self.atlas.settings.seed, 0 if label is None else label + 1
                noise = gumbels(len(volume), seed=seed, stream=POOL, substream=substream)
                options = dict(n=self.true_volumes, gumbel=noise, label=label)
                self._per_class[label] = corrected(self.generator, self.atlas, volume, self.rho, **options)
            volume, logw = self._per_class[label]
            if self.alpha:
                logw = normalized(logw + base_correction(self._log_prior(label), self.alpha))
            if self.pareto:
                logw = pareto_smooth(logw)[0]
            self._per_class[label] = volume, logw
        return self._per_class[label]

    def _log_prior(self, label):
        """Log-density of N(0, I) at every candidate of a class, up to a constant: float64 [N]."""
        rows = np.arange(len(self.atlas.log_volume(self.top_k, label)))
        parts = [rows[i : i + ROWS] for i in range(0, len(rows), ROWS)]
        squares = [self.atlas.latents(part, label).double().square().sum(dim=1).numpy() for part in parts]
        return -0.5 * np.concatenate(squares)


def check_alpha(alpha, atlas):
    """Raise ValueError where correcting for the prior's density has no meaning."""
    settings = atlas.settings
    if alpha and settings is not None and (settings.domain == "sphere" or settings.base == "uniform"):
        where = "on the sphere" if settings.domain == "sphere" else "in the uniform base measure"
        raise ValueError(f"{where} every latent has the same density: leave out --alpha, or build with domain gaussian")


class MagnetSampler(PolaritySampler):
    """Uniform on the generator's manifold: ρ = 1 ("MaGNET", Humayun et al. 2022, Algorithm 1)."""

    name = "magnet"
    settings = {"alpha": "alpha", "pareto": "pareto"}

    def __init__(self, generator, atlas, **options):
        super().__init__(generator, atlas, rho=1.0, **options)
