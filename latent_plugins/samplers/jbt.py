"""Jacobian-based truncation: latents where the generator stretches too much are left out."""

import dataclasses
import functools

import numpy as np
import scipy.special
import torch

from latent_plugins.samplers.filtered import Filter, FilterSampler
from latent_plugins.samplers.keys import hashed, latent_keys
from latent_plugins.spaces import get_space
from latent_plugins.spectrum import norms as jacobian_norms

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


class JBTFilter(Filter):
    """Keeps the latents with the smallest Jacobian norms ‖J(z)‖_F.

    Source: Tanielian, Issenhuth, Dohmatob and Mary, "Learning disconnected manifolds: a no GANs land" (ICML 2020). A
    continuous generator crosses from one mode of the data to the next where its Jacobian is large; what lies there
    looks like neither. keep: the share of the prior that passes, 0.8 or 0.9 in the paper; 1 is everything. The
    threshold is the quantile `keep` of the norms of `calibration` latents of the prior, a function of `seed`, so that
    the share has a standard error of √(keep (1 − keep) / calibration). method: `finite`, the paper's estimate from
    `draws` directions and the step `step`, or `exact`. Every label has a threshold of its own: all classes keep the
    same share.

    space_map: a SpaceMap, the map whose Jacobian counts; in the paper that from z to the image. Its label is replaced
    by that of each latent. max_memory: bytes for evaluations made at once. Latents with norms that are not finite are
    rejected. Raises ValueError for numbers out of range, an unknown method, and, when first used, for so many norms
    that are not finite that the threshold is not.
    """

    def __init__(
        self, space_map, keep=0.9, method="finite", *, draws=DRAWS, step=STEP, calibration=1000, seed=0, max_memory=None
    ):
        methods = dict(
            finite=functools.partial(finite_norms, draws=draws, step=step, seed=seed, max_memory=max_memory),
            exact=functools.partial(exact_norms, max_memory=max_memory),
        )
        if method not in methods:
            raise ValueError(f"unknown method {method!r} for Jacobian norms; known ones: {', '.join(methods)}")
        if not 0 < keep <= 1:
            raise ValueError(f"keep={keep}: the share of latents that are kept is above 0 and at most 1")
        if draws < 1 or calibration < 1:
            raise ValueError(f"draws={draws} and calibration={calibration} must be 1 or more")
        if not 0 < step < np.inf:
            raise ValueError(f"step={step}: give a positive number, such as {STEP:g}")
        self.space_map, self.keep, self.calibration, self.seed = space_map, keep, calibration, seed
        self._norms, self._row_bytes = methods[method], None
        self._calibrated, self._thresholds = {}, {}

    def accept(self, z, c, u):
        """See Filter.accept. u is not used."""
        accepted = torch.ones(len(z), dtype=torch.bool)
        if self.keep == 1:
            return accepted
        for label, rows in self._by_label(c):
            accepted[rows] = self.norms(z[rows], label) <= self.threshold(label)
        return accepted

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

    space, psi, cutoff: whose Jacobian counts, as for `get_space`; by default the image's. Raises ValueError for what
    these refuse.
    """

    name = "jbt"
    settings = {"keep": "keep"}

    def __init__(
        self, generator, base=None, *, keep=0.9, method="finite", draws=DRAWS, step=STEP, calibration=1000, seed=0,
        space="pixel", psi=1, cutoff=None, max_memory=None, batch=1024, max_tries=10_000,
    ):  # fmt: skip
        some_label = torch.zeros(generator.c_dim)  # the filter puts in each latent's own
        space_map = get_space(generator, space, c=some_label, psi=psi, cutoff=cutoff)
        norms = dict(draws=draws, step=step, calibration=calibration, seed=seed, max_memory=max_memory)
        filters = [JBTFilter(space_map, keep, method, **norms)]
        super().__init__(generator, base, filters, batch=batch, max_tries=max_tries)
