"""A hand-made generator that is piecewise affine with known regions and volumes."""

import numpy as np
import scipy.stats
import torch

from dnnlib_compat.networks.interface import Generator

KNOTS = torch.tensor([-0.5, 0.25])
SLOPES = torch.tensor([0.2, 1.5, 4.0])


def bend(x):
    """A continuous, increasing, piecewise linear function with SLOPES between the KNOTS; bend(0) = 0."""
    low = torch.minimum(x - KNOTS[0], torch.zeros_like(x)) * (SLOPES[0] - SLOPES[1])
    high = torch.maximum(x - KNOTS[1], torch.zeros_like(x)) * (SLOPES[2] - SLOPES[1])
    return x * SLOPES[1] + low + high


class SplineGenerator(Generator):
    """z in R² → w in R³: each coordinate bent, the plane turned into space by an orthonormal embedding.

    Volumes of the nine regions are the products of two SLOPES. Its images are w as a 1×1 picture of three channels.
    """

    family = "spline"
    normalizes_z = False

    def __init__(self):
        super().__init__(z_dim=2, c_dim=0, w_dim=3, img_resolution=1, img_channels=3, init_kwargs={})
        self.num_ws = 1
        basis = torch.linalg.qr(torch.randn(3, 2, generator=torch.Generator().manual_seed(0))).Q
        self.register_parameter("basis", torch.nn.Parameter(basis, requires_grad=False))

    def mapping(self, z, c, truncation_psi=1, truncation_cutoff=None):
        return (bend(z) @ self.basis.T).unsqueeze(1)

    def synthesis(self, ws, noise_mode="const"):
        return ws[:, 0, :, None, None]

    def plane(self, w):
        """The coordinates [N, 2] on the manifold of w [N, 3]."""
        return w @ self.basis


def volume(z):
    """The known volume [N] at each z [N, 2]."""
    return SLOPES[torch.bucketize(z.contiguous(), KNOTS)].prod(dim=1)


LEVEL = 1e-3  # of every statistical test here


# π's mass of each of the spline's nine regions: its coordinates are independent.
STRIPS = np.diff(scipy.stats.norm.cdf([-np.inf, *KNOTS.tolist(), np.inf]))


def spline_masses(rho):
    """(masses [9] of the regions under π, E_p[volume^ρ])."""
    strip = STRIPS * SLOPES.double().numpy() ** rho
    return np.outer(strip, strip).ravel() / strip.sum() ** 2, strip.sum() ** 2


def region_counts(z):
    strip = np.digitize(z, KNOTS.numpy())
    return np.bincount(3 * strip[:, 0] + strip[:, 1], minlength=9)


def region_pvalue(z, rho):
    """p-value of the chi-square test that draws z [n, 2] have π's region masses."""
    return scipy.stats.chisquare(region_counts(z), len(z) * spline_masses(rho)[0]).pvalue
