"""Jacobian-based truncation: latents where the generator stretches too much are left out."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.special
import torch

from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.filtered import Filter, FilterSampler
from latent_plugins.samplers.keys import hashed, latent_keys
from latent_plugins.samplers.prior import PriorSampler
from latent_plugins.settings import Settings, setting
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import norms as jacobian_norms

DRAWS = 10  # of directions: the paper's
STEP = jacobian_norms.STEP  # the middle of the paper's 1e-4 to 1e-2


def finite_norms(space_map, z, *, draws=DRAWS, step=STEP, seed=0, max_memory=None, row_bytes=None):
    """‖J‖_F at each latent z [N, z_dim], estimated from finite differences: float64 [N].

    ‖J‖²_F = E‖Jε‖² ≈ the mean of ‖G(x + σε) − G(x)‖² / σ² over `draws` directions ε ~ N(0, I), σ the `step` (Tanielian
    et al. 2020, "Learning disconnected manifolds: a no GANs land", ICML). x is the map's own input that belongs to z.
    The directions of a latent are a function of its bytes and of `seed`, so that it has one norm. Each latent takes
    draws + 1 evaluations of the map, as many at once as fit `max_memory` bytes (None: `automatic_memory`). row_bytes:
    the `row_cost`, where it is known. Raises ValueError for a bound too small for a single evaluation.
    """

    def ways(rows):
        return torch.stack([directions(draws, space_map.in_dim, key, seed) for key in latent_keys(rows)])

    options = dict(draws=draws, step=step, max_memory=max_memory, row_bytes=row_bytes, enter=space_map.enter)
    return jacobian_norms.finite(space_map, z.to(space_map.c.device), directions=ways, **options).cpu()


def directions(draws, dimensions, key, seed):
    """Gaussian directions float32 [draws, dimensions] that are a function of two integers."""
    random = np.random.Philox(key=[key, hashed(8, "directions", seed)])
    bits = random.random_raw(draws * dimensions).reshape(draws, dimensions) >> np.uint64(11)
    return torch.from_numpy(scipy.special.ndtri((bits.astype(np.float64) + 0.5) * 2.0**-53).astype(np.float32))


def exact_norms(space_map, z, *, max_memory=None, row_bytes=None):
    """‖J‖_F at each latent z [N, z_dim], from all columns of the Jacobian: float64 [N].

    Arguments and errors otherwise as for `finite_norms`.
    """
    options = dict(forward=True, max_memory=max_memory, row_bytes=row_bytes, enter=space_map.enter)
    return jacobian_norms.exact(space_map, z.to(space_map.c.device), **options).cpu()


def row_cost(space_map, z):
    """Bytes that one evaluation of the map, or one product with its Jacobian, keeps alive."""
    with torch.no_grad():
        x = space_map.enter(z[:1].to(space_map.c.device))
    return jacobian_norms.row_cost(space_map, x)


class JBTSettings(Settings):
    """Which latents Jacobian-based truncation keeps, and how it measures norms."""

    keep: float = setting(0.9, low=0, low_open=True, high=1, help="Share of the prior that is kept.")
    filter_space: str = setting("pixel", metavar="SPACE", help="The map whose Jacobian's norm counts.")
    norms: str = setting(
        "finite", choices=("finite", "exact"), help="Estimated from finite differences, as published, or exact."
    )
    norm_draws: int = setting(DRAWS, low=1, metavar="N", help="Directions of --norms=finite.")
    norm_step: float = setting(STEP, low=0, low_open=True, metavar="SIGMA", help="Step of --norms=finite.")
    calibration: int = setting(1000, low=1, metavar="N", help="Latents of the prior that the threshold comes from.")
    calibration_seed: int = setting(0, low=0, metavar="SEED", help="Seed of these, and of the directions.")


class JBTFilter(Filter):
    """Keeps the latents with the smallest Jacobian norms ‖J(z)‖_F.

    Source: Tanielian, Issenhuth, Dohmatob and Mary, "Learning disconnected manifolds: a no GANs land" (ICML 2020). A
    continuous generator crosses from one mode of the data to the next where its Jacobian is large; what lies there
    looks like neither. keep: the share of the prior that passes, 0.8 or 0.9 in the paper; 1 is everything. The
    threshold is the quantile `keep` of the norms of `calibration` latents of the prior, a function of
    `calibration_seed`, so that the share has a standard error of √(keep (1 − keep) / calibration). norms: `finite`, the
    paper's estimate from `norm_draws` directions and the step `norm_step`, or `exact`. Every label has a threshold of
    its own: all classes keep the same share.

    space_map: a SpaceMap, the map whose Jacobian counts; in the paper that from z to the image. Its label is replaced
    by that of each latent. max_memory: bytes for evaluations made at once. Latents with norms that are not finite are
    rejected. Raises ValueError for numbers out of range, an unknown method, and, when first used, for so many norms
    that are not finite that the threshold is not.
    """

    name = "jbt"
    needs = Needs.TRUNCATION
    Settings = JBTSettings

    @classmethod
    def make(cls, generator, *, psi=1, cutoff=None, max_memory=None, **settings):
        """See Filter.make. psi, cutoff: truncation of the images whose Jacobian counts."""
        some_label = torch.zeros(generator.c_dim)  # the filter puts in each latent's own
        space = cls.Settings(**settings).filter_space
        space_map = get_space(generator, space, c=some_label, psi=psi, cutoff=cutoff)
        return cls(space_map, max_memory=max_memory, **settings)

    def __init__(self, space_map, keep=0.9, norms="finite", *, max_memory=None, **settings):
        self.settings = found = self.Settings(keep=keep, norms=norms, **settings | dict(filter_space=space_map.name))
        estimate = dict(draws=found.norm_draws, step=found.norm_step, seed=found.calibration_seed)
        methods = dict(
            finite=functools.partial(finite_norms, max_memory=max_memory, **estimate),
            exact=functools.partial(exact_norms, max_memory=max_memory),
        )
        self.space_map, self.keep = space_map, found.keep
        self.calibration, self.seed = found.calibration, found.calibration_seed
        self._norms, self._row_bytes = methods[found.norms], None
        self._calibrated, self._thresholds = {}, {}

    def accept(self, z, c, u):
        """See Filter.accept. u is not used."""
        return self.decide(z, c, u)[0]

    def decide(self, z, c, u):
        """See Filter.decide: the norms, where not everything is kept unseen."""
        accepted, norms = torch.ones(len(z), dtype=torch.bool), torch.empty(len(z), dtype=torch.float64)
        if self.keep == 1:
            return accepted, {}
        for label, rows in self._by_label(c):
            norms[rows] = self.norms(z[rows], label)
            accepted[rows] = norms[rows] <= self.threshold(label)
        return accepted, dict(jacobian_norm=norms.numpy())

    def norms(self, z, label):
        """‖J‖_F float64 [N] at latents z [N, z_dim] of one label [c_dim]."""
        label = label.reshape(1, -1).to(self.space_map.c)
        space_map = dataclasses.replace(self.space_map, c=label)
        if self._row_bytes is None and len(z):
            self._row_bytes = row_cost(space_map, z)
        return self._norms(space_map, z, row_bytes=self._row_bytes)

    def threshold(self, label):
        """The largest norm that passes, for a label [c_dim]."""
        key = tuple(label.tolist())
        if key not in self._thresholds:
            found = self.calibrated(label)
            threshold = torch.quantile(found, self.keep, interpolation="lower").item()
            if not np.isfinite(threshold):
                raise ValueError(f"{int((~found.isfinite()).sum())} of {len(found)} Jacobian norms are not finite")
            self._thresholds[key] = threshold
        return self._thresholds[key]

    def calibrated(self, label):
        """The norms float64 [calibration] of the calibration set with a label [c_dim], infinite where not finite."""
        key = tuple(label.tolist())
        if key not in self._calibrated:
            random = torch.Generator().manual_seed(hashed(7, "calibration", self.seed))
            z = self.space_map.generator.sample_prior(self.calibration, random)
            self._calibrated[key] = self.norms(z, label).nan_to_num(torch.inf, posinf=torch.inf)
        return self._calibrated[key]

    def _by_label(self, c):
        """(label [c_dim], its rows) of labels c [N, c_dim]."""
        if not c.shape[1]:
            return [(c.new_zeros(0), torch.arange(len(c)))]
        labels, places = c.unique(dim=0, return_inverse=True)
        return [(label, torch.nonzero(places == k)[:, 0]) for k, label in enumerate(labels)]


class JBTSampler(FilterSampler):
    """Jacobian-based truncation of the prior, or of any base sampler: see JBTFilter and FilterSampler.

    psi, cutoff: truncation of the images whose Jacobian counts. Raises ValueError for what these refuse.
    """

    name = "jbt"
    summary = "the share of the prior with the smallest Jacobian norms; the rest lies between modes"
    needs = Needs.TRUNCATION
    Settings = JBTSettings

    def __init__(
        self, generator, base=None, *, psi=1, cutoff=None, max_memory=None, batch=1024, max_tries=10_000, **settings
    ):
        filters = [JBTFilter.make(generator, psi=psi, cutoff=cutoff, max_memory=max_memory, **settings)]
        super().__init__(generator, base, filters, batch=batch, max_tries=max_tries)
        self.settings = filters[0].settings

    def record(self):
        """See Sampler.record."""
        return super().record() | ({"sampler": self.name} if isinstance(self.base, PriorSampler) else {})
