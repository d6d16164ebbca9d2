"""Simplicial truncation: latents far out in the direction of one of the corners of a simplex."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
import torch

from latent_plugins.randomness import BLOCK, Stream, torch_seed, uniforms
from latent_plugins.samplers.base import Latents, Sampler, check_labels
from latent_plugins.samplers.prior import seed_latents
from latent_plugins.settings import Settings, setting
from latent_plugins.spaces import default_domain

# Substreams, and from BULK on one for every row of a bulk sample:
LATENTS, ROTATION, MAXIMA, BULK = range(4)
TRIALS = 1 << 15  # of the estimate of an acceptance
SMALLEST_ACCEPTANCE = 1e-3


def simplex(m, d, seed=0):
    """The corners of a regular simplex around the origin: float64 [m, d], of length 1, pairwise cosine −1/(m − 1).

    seed: of the rotation that turns it, uniform over all rotations. Raises ValueError unless 2 ≤ m ≤ d + 1.
    """
    check_corners(m, d)
    corners = np.eye(m) - 1 / m
    # The corners span m − 1 dimensions; an orthonormal basis of them, then one of as many dimensions in the latents.
    basis = np.linalg.svd(corners)[2][: m - 1]
    flat = corners @ basis.T * np.sqrt(m / (m - 1))
    gaussian = scipy.special.ndtri(
        uniforms(np.arange(m - 1), d, seed=seed, stream=Stream.SIMPLICIAL, substream=ROTATION)
    )
    frame, triangle = np.linalg.qr(gaussian.T)
    return flat @ (frame * np.sign(np.diag(triangle))).T


def check_corners(m, d):
    """Raise ValueError unless a regular simplex in d dimensions can have m corners."""
    if not 2 <= m <= d + 1:
        raise ValueError(f"a regular simplex in {d} dimensions has 2 to {d + 1} corners, not {m}")


def maxima(m, d, domain="gaussian"):
    """TRIALS draws of max_i z·u_i, ascending, for z of the prior and the m corners u_i of a simplex: float64.

    Only the m − 1 coordinates that the simplex spans take part: with m standard normal g_i, z·u_i is
    √(m/(m − 1))·(g_i − mean g). On the sphere of radius √d the other coordinates enter by their norm alone.
    """
    check_corners(m, d)
    largest = np.empty(TRIALS)
    for begin in range(0, TRIALS, BLOCK):
        rows = np.arange(begin, begin + BLOCK)
        u = uniforms(rows, m + 1, seed=0, stream=Stream.SIMPLICIAL, substream=MAXIMA)
        g = scipy.special.ndtri(u[:, :m])
        g -= g.mean(axis=1, keepdims=True)
        largest[rows] = np.sqrt(m / (m - 1)) * g.max(axis=1)
        if domain == "sphere":
            rest = 2 * scipy.special.gammaincinv((d - m + 1) / 2, u[:, m]) if m <= d else 0.0
            largest[rows] *= np.sqrt(d / ((g * g).sum(axis=1) + rest))
    return np.sort(largest)


def acceptance_rate(m, tau, d, domain="gaussian"):
    """(share of the prior with max_i z·u_i > τ, its standard error), by Monte Carlo with fixed random numbers.

    Raises ValueError unless 2 ≤ m ≤ d + 1.
    """
    return share_above(maxima(m, d, domain), tau)


def share_above(ordered, tau):
    """(share of `ordered` above tau, its standard error)."""
    share = float(1 - np.searchsorted(ordered, tau, side="right") / len(ordered))
    return share, float(np.sqrt(share * (1 - share) / len(ordered)))


class SimplexSettings(Settings):
    """A regular simplex, and how near to its corners latents lie."""

    corners: int = setting(low=2, metavar="M", help="The simplex's corners, one more than z has dimensions at most.")
    tau: float = setting(high=math.inf, high_open=True, infinite=True, help="The least projection of z on a corner.")
    rotation: int = setting(0, low=0, metavar="SEED", help="Seed of the simplex's orientation.")


class SimplicialSampler(Sampler):
    """Latents z of the prior with max_i z·u_i > τ for the corners u_1 … u_m of a regular simplex.

    "Unveiling the latent space geometry of push-forward generative models" (Issenhuth et al. 2023): generators of many
    modes divide their latents into the cells of a simplex, and the worst images come from where cells meet, where no
    corner's direction stands out. corners: how many, at most z_dim + 1; tau: −∞ is the prior; rotation: seed of the
    simplex's orientation. z is first brought to the length √z_dim for networks that normalise it. The first proposal of
    a seed is its official latent, further ones come from a stream of its own. `acceptance` is the share of proposals
    that pass.

    Raises ValueError for corners or τ out of range, a family whose prior is not N(0, I), or an acceptance below one in
    a thousand.
    """

    name = "simplicial"
    summary = "latents near one of the corners of a simplex"
    Settings = SimplexSettings

    def __init__(self, generator, **settings):
        self.settings = self.Settings(**settings)
        m, tau, rotation = self.settings.corners, self.settings.tau, self.settings.rotation
        if generator.prior != "prior":
            raise ValueError(f"simplicial truncation needs latents of N(0, I), not those of {generator.family}")
        self.generator, self.tau, self.domain = generator, tau, default_domain(generator)
        ordered = maxima(m, generator.z_dim, self.domain)
        self.acceptance = share_above(ordered, tau)[0]
        if self.acceptance < SMALLEST_ACCEPTANCE:
            largest = np.floor(np.quantile(ordered, 1 - SMALLEST_ACCEPTANCE, method="lower") * 100) / 100
            raise ValueError(
                f"tau {tau:g} lets {100 * self.acceptance:.2g} % of the prior pass, less than the "
                f"{100 * SMALLEST_ACCEPTANCE:.2g} % that are worth a try: the largest tau that would do is {largest}"
            )
        self.corners = simplex(m, generator.z_dim, rotation)

    def passes(self, z):
        """Which rows of z [N, z_dim] (array) are kept: bool [N]."""
        z = np.asarray(z, dtype=np.float64)
        largest = (z @ self.corners.T).max(axis=1)
        if self.domain == "sphere":
            largest *= np.sqrt(z.shape[1]) / np.linalg.norm(z, axis=1)
        return largest > self.tau

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        z = seed_latents(self.generator, seeds)
        return self._replaced(z, c, lambda row: (int(seeds[row]), LATENTS))

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        z, seed = self.generator.sample_prior(n, generator), torch_seed(generator)
        return self._replaced(z, c, lambda row: (seed, BULK + int(row)))

    def _replaced(self, z, c, stream):
        """Latents in which rows of z that do not pass are the first that do of stream(row), a (seed, substream)."""
        c = check_labels(c, len(z), self.generator.c_dim)
        for row in np.flatnonzero(~self.passes(z)):
            z[row] = self._first(*stream(row))
        return Latents(z, c)

    def _first(self, seed, substream):
        chunk = 0
        while True:
            z = proposals(chunk, self.generator.z_dim, seed=seed, substream=substream)
            passing = np.flatnonzero(self.passes(z))
            if len(passing):
                return torch.from_numpy(z[passing[0]])
            chunk += 1


def proposals(chunk, d, *, seed, substream):
    """Chunk number `chunk` of a stream of latents of N(0, I): float32 [rows, d], sixteen rows or a few more.

    One counter block, read as latents one after the other: a seed needs few, and a block of whole rows has a thousand.
    """
    rows = np.arange(chunk * BLOCK, (chunk + 1) * BLOCK)
    u = uniforms(rows, -(-16 * d // BLOCK), seed=seed, stream=Stream.SIMPLICIAL, substream=substream).ravel()
    return scipy.special.ndtri(u[: len(u) // d * d].reshape(-1, d)).astype(np.float32)
