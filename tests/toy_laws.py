"""Generators whose volumes are known in closed form, and the exact laws of what is drawn from them.

A ToyGenerator stretches each coordinate of z ∈ R² by a smooth function of itself and turns the plane into R³, so that
its singular values are the two slopes. A Law is a density on a fine grid: of z, or on the circle of the angle.
"""

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


class Law:
    """A density of z on a grid of cells, of the angle where the generator normalises z.

    log_weight: callable z [N, 2] → log of the density relative to the prior's [N]; −inf where there is none.
    """

    def __init__(self, generator, log_weight):
        self.sphere = generator.normalizes_z
        self.bound = 2.0 if generator.prior == "truncated" else 5.0
        if self.sphere:
            angle = (np.arange(36_000) + 0.5) / 36_000 * 2 * np.pi - np.pi
            self.z = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            log_prior = np.zeros(len(angle))
        else:
            line = ((np.arange(1000) + 0.5) / 1000 * 2 - 1) * self.bound
            self.z = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
            log_prior = -0.5 * (self.z**2).sum(axis=1)
        with np.errstate(divide="ignore"):
            logits = log_prior + log_weight(self.z)
        mass = np.exp(logits - logits.max())
        self.mass = mass / mass.sum()

    def quantile_of(self, values, share):
        """The number below which `share` of the law's mass has its `values` [cells]."""
        order = np.argsort(values)
        return values[order][np.searchsorted(np.cumsum(self.mass[order]), share)]

    def mean(self, values):
        """The mean of values [cells]."""
        return float(self.mass @ values)

    def pvalue(self, z):
        """p-value of the chi-square test that rows of z [n, 2] follow the law, in cells of at least 5 expected."""
        z = np.asarray(z, dtype=np.float64)
        cells = 24 if self.sphere else 8
        expected, counts = (self._counts(x, weights, cells) for x, weights in ((self.z, self.mass), (z, None)))
        expected = expected * len(z)
        order = np.argsort(-expected)
        expected, counts = expected[order], counts[order]
        large = expected >= 5
        if not large.all():  # the small cells are one
            expected = np.append(expected[large], expected[~large].sum())
            counts = np.append(counts[large], counts[~large].sum())
        if expected[-1] < 1e-9:
            if counts[-1]:
                return 0.0
            expected, counts = expected[:-1], counts[:-1]
        return scipy.stats.chisquare(counts, expected * (counts.sum() / expected.sum())).pvalue

    def _counts(self, z, weights, cells):
        if self.sphere:
            place = np.arctan2(z[:, 1], z[:, 0])
            return np.histogram(place, bins=cells, range=(-np.pi, np.pi), weights=weights)[0]
        edges = np.concatenate([[-np.inf], np.linspace(-1.5, 1.5, cells - 1), [np.inf]])
        return np.histogram2d(z[:, 0], z[:, 1], bins=[edges, edges], weights=weights)[0].ravel()


def two_samples(generator, ours, reference):
    """The smallest p-value, times their number, of KS tests of the coordinates (of the angle on the circle)."""
    if generator.normalizes_z:
        ours, reference = ([np.arctan2(z[:, 1], z[:, 0])] for z in (ours, reference))
    else:
        ours, reference = ours.T, reference.T
    return len(ours) * min(scipy.stats.ks_2samp(a, b).pvalue for a, b in zip(ours, reference))
