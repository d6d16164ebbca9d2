"""Simplicial truncation: latents near one of the corners of a simplex."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
import torch

from latent_plugins.randomness import BLOCK, Stream, torch_seed, uniforms
from latent_plugins.samplers.base import Latents, Sampler, check_labels
from latent_plugins.samplers.prior import seed_latents
from latent_plugins.samplers.simplex import BULK, LATENTS, MAX, RULES, Region
from latent_plugins.settings import Settings, setting
from latent_plugins.spaces import default_domain


class SimplexSettings(Settings):
    """A regular simplex, and how near to its corners latents lie."""

    corners: int = setting(low=2, metavar="M", help="The simplex's corners, one more than z has dimensions at most.")
    tau: float = setting(
        high=math.inf,
        high_open=True,
        infinite=True,
        help="The score that latents must exceed; published for --rule=softmax, training and then drawing: 0.135 and "
        "up to 0.1445 with 10 corners in 64 dimensions, 0.08 and up to 0.2 with 100 in 128.",
    )
    rule: str = setting(
        MAX,
        choices=RULES,
        help="The score: the largest projection z·u on a corner, or the largest softmax of the distances -|z - u|.",
    )
    corner_radius: float = setting(
        1.0, low=0, low_open=True, metavar="R", help="Length of the corners; the published experiments leave it open."
    )
    rotation: int = setting(0, low=0, metavar="SEED", help="Seed of the simplex's orientation.")

    def region(self, d, domain="gaussian"):
        """The Region of latents of d dimensions that these settings keep."""
        return Region(self.corners, self.tau, self.rotation, d, domain, self.rule, self.corner_radius)


class SimplicialSampler(Sampler):
    """Latents z of the prior near one of the corners u_1 … u_m of a regular simplex: their score is above τ.

    "Unveiling the latent space geometry of push-forward generative models" (Issenhuth et al. 2023, and Sec. 3.3.4 of
    Issenhuth's thesis): generators of many modes divide their latents into the cells of a simplex, and the worst images
    come from where cells meet. rule: `max`, max_i z·u_i, is the main text's; `softmax`, the largest of
    p_i = exp(−‖z − u_i‖) / Σ_j exp(−‖z − u_j‖), is what was run (App. B.2.3). There a generator was *trained* on these
    latents, with τ = 0.135 for 10 corners and 64 dimensions and 0.08 for 100 and 128, and a loss that gives each cell
    a mode; then τ was raised: 0.14 and 0.1445, 0.15 and 0.20 (Table B.4). A generator that never saw the simplex has no
    reason to put its modes at the corners, whose orientation is arbitrary: for such a one the figures promise nothing.
    corner_radius: the corners' length, 1 as the main text's "unit vectors"; with 1, no latent of 128 dimensions passes
    0.08 of 100 corners, so that the experiments must have had longer ones.

    corners: how many, at most z_dim + 1; tau: −∞ is the prior; rotation: seed of the simplex's orientation. z is first
    brought to the length √z_dim for networks that normalise it. The first proposal of a seed is its official latent,
    further ones come from a stream of its own. `acceptance` is the share of proposals that pass.

    Raises ValueError for corners or τ out of range, a family whose prior is not N(0, I), or a τ that fewer than one in
    a thousand latents pass, or all but one.
    """

    name = "simplicial"
    summary = "latents near one of the corners of a simplex"
    Settings = SimplexSettings

    def __init__(self, generator, **settings):
        self.settings = self.Settings(**settings)
        if generator.prior != "prior":
            raise ValueError(f"simplicial truncation needs latents of N(0, I), not those of {generator.family}")
        self.generator = generator
        self.region = self.settings.region(generator.z_dim, default_domain(generator))
        self.acceptance = self.region.check(self.region.prior_scores())

    def passes(self, z):
        """Which rows of z [N, z_dim] (array) are kept: bool [N]."""
        return self.region.passes(z)

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
