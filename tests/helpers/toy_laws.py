"""Generators whose volumes are known in closed form, and the exact laws of what is drawn from them.

A ToyGenerator stretches each coordinate of z ∈ R² by a smooth function of itself and turns the plane into R³, so that
its singular values are the two slopes. A Law is a density on a fine grid: of z, or on the circle of the angle.
"""

import functools

import numpy as np
import scipy.stats
import torch

from dnnlib_compat.networks.interface import Generator
from latent_plugins.priors import prior_of

LEVEL = 1e-3  # of every test against a law
RATES = torch.tensor([[0.6, 0.3], [0.2, 0.7], [0.8, -0.5]])  # of each class; without classes the first
CLASSES = len(RATES)
PRIORS = {"normal": ("prior", False), "truncated": ("truncated", False), "sphere": ("prior", True)}


class ToyGenerator(Generator):
    """z in R² → w in R³, coordinate i bent to (e^{a_i z_i} − 1)/a_i, whose slope is e^{a_i z_i}."""

    family = "toy"

    def __init__(self, prior="normal", c_dim=0):
        super().__init__(z_dim=2, c_dim=c_dim, w_dim=3, img_resolution=1, img_channels=3, init_kwargs={})
        self.prior, self.normalizes_z = PRIORS[prior]
        self.num_ws = 1
        basis = torch.linalg.qr(torch.randn(3, 2, generator=torch.Generator().manual_seed(0))).Q
        self.register_parameter("basis", torch.nn.Parameter(basis, requires_grad=False))
        self.register_buffer("average", torch.zeros(3))

    @property
    def w_avg(self):
        return self.average

    def mapping(self, z, c, truncation_psi=1, truncation_cutoff=None):
        if self.normalizes_z:
            z = z * (np.sqrt(2) / z.norm(dim=1, keepdim=True))
        a = c @ RATES if c.shape[1] else RATES[:1]
        w = torch.expm1(a * z) / a @ self.basis.T
        return truncation_psi * w.unsqueeze(1)

    def synthesis(self, ws, noise_mode="const"):
        return ws[:, 0, :, None, None]

    def sample_prior(self, n, random):
        return prior_of(self, "gaussian").sample(n, random).float()

    def seed_latent(self, seed):
        return self.sample_prior(1, torch.Generator().manual_seed(int(seed)))


def slopes(z, label):
    """The slopes [N, 2] at z [N, 2] of a class (None without classes)."""
    return np.exp(RATES[label or 0].double().numpy() * z)


def log_volume(generator, z, label):
    """The exact log-volume [N] at z [N, 2]: of both singular values, on the circle that along its tangent."""
    s = slopes(z, label)
    if not generator.normalizes_z:
        return np.log(s).sum(axis=1)
    return np.log(np.hypot(s[:, 0] * z[:, 1], s[:, 1] * z[:, 0]) / np.sqrt(2))


def norm(generator, z, label):
    """The exact ‖J‖_F [N] at z [N, 2]."""
    if generator.normalizes_z:
        return np.exp(log_volume(generator, z, label))
    return np.sqrt((slopes(z, label) ** 2).sum(axis=1))


@functools.cache
def grid(sphere, bound):
    """(centres z [cells, 2] of fine cells, log-density of N(0, I) there up to a constant, 0 on the circle)."""
    if sphere:
        angle = (np.arange(36_000) + 0.5) / 36_000 * 2 * np.pi - np.pi
        return np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.zeros(len(angle))
    cells = round(100 * bound)  # of a width that the coarse cells' edges are multiples of
    line = ((np.arange(cells) + 0.5) / cells * 2 - 1) * bound
    z = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    return z, -0.5 * (z**2).sum(axis=1)


class Law:
    """A density of z on a grid of fine cells, of the angle where the generator normalises z.

    log_weight: callable z [N, 2] → log of the density relative to the prior's [N]; −inf where there is none.
    """

    def __init__(self, generator, log_weight):
        self.sphere = generator.normalizes_z
        self.z, log_prior = grid(self.sphere, 2.0 if generator.prior == "truncated" else 5.0)
        with np.errstate(divide="ignore"):
            logits = log_prior + log_weight(self.z)
        mass = np.exp(logits - logits.max())
        self.mass = mass / mass.sum()
        self.expected = self._counts(self.z, self.mass)  # of the coarse cells that rows are counted in

    def quantile_of(self, values, share):
        """The number below which `share` of the law's mass has its `values` [cells]."""
        order = np.argsort(values)
        return values[order][np.searchsorted(np.cumsum(self.mass[order]), share)]

    def mean(self, values):
        """The mean of values [cells]."""
        return float(self.mass @ values)

    def mixed(self, other):
        """This law with half of another one in it."""
        self.mass, self.expected = (self.mass + other.mass) / 2, (self.expected + other.expected) / 2
        return self

    def slim(self):
        """This law without its fine cells, which are large."""
        del self.mass
        return self

    def pvalue(self, z):
        """p-value of the chi-square test that rows of z [n, 2] follow the law, in cells of at least 5 expected."""
        counts, expected = self._counts(np.asarray(z, dtype=np.float64)), self.expected * len(z)
        order = np.argsort(-expected)
        expected, counts = expected[order], counts[order]
        first = max(1, int((expected >= 5).sum()))
        while first > 1 and expected[first:].sum() < 5:  # the small cells are one, with the smallest of the large
            first -= 1
        expected = np.append(expected[:first], expected[first:].sum())
        counts = np.append(counts[:first], counts[first:].sum())
        return scipy.stats.chisquare(counts, expected * (counts.sum() / expected.sum())).pvalue

    def _counts(self, z, weights=None):
        if self.sphere:
            place = np.arctan2(z[:, 1], z[:, 0])
            return np.histogram(place, bins=24, range=(-np.pi, np.pi), weights=weights)[0]
        edges = np.concatenate([[-np.inf], np.linspace(-1.5, 1.5, 7), [np.inf]])
        return np.histogram2d(z[:, 0], z[:, 1], bins=[edges, edges], weights=weights)[0].ravel()


def two_samples(generator, ours, reference):
    """The smallest p-value, times their number, of KS tests of the coordinates (of the angle on the circle)."""
    if generator.normalizes_z:
        ours, reference = ([np.arctan2(z[:, 1], z[:, 0])] for z in (ours, reference))
    else:
        ours, reference = ours.T, reference.T
    return len(ours) * min(scipy.stats.ks_2samp(a, b).pvalue for a, b in zip(ours, reference))
