"""Fréchet distance between Gaussians."""

import numpy as np
import scipy.linalg

from latent_plugins.metrics.kind import MOMENTS, Kind


def frechet_distance(mean_a, cov_a, mean_b, cov_b):
    """|mean_a − mean_b|² + trace(A + B − 2 (A B)^½) of means [D] and covariances [D, D], in float64.

    The eigenvalues of A B are the squared singular values of Sᵀ T for any factors A = S Sᵀ and B = T Tᵀ, so that the
    trace of its root is their sum. No matrix root is needed, and singular covariances are no special case. Raises
    ValueError when shapes do not match or a number is not finite. Source: Heusel et al. 2017, "GANs Trained by a Two
    Time-Scale Update Rule Converge to a Local Nash Equilibrium".
    """
    mean_a, cov_a, mean_b, cov_b = (np.asarray(x, dtype=np.float64) for x in (mean_a, cov_a, mean_b, cov_b))
    n = mean_a.size
    if n == 0 or any(m.shape != (n,) for m in (mean_a, mean_b)) or any(c.shape != (n, n) for c in (cov_a, cov_b)):
        raise ValueError(
            f"means of shapes {list(mean_a.shape)} and {list(mean_b.shape)} with covariances of shapes "
            f"{list(cov_a.shape)} and {list(cov_b.shape)}"
        )
    if not all(np.isfinite(x).all() for x in (mean_a, cov_a, mean_b, cov_b)):
        raise ValueError("means or covariances are not all finite")
    root = scipy.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b), overwrite_a=True, check_finite=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root
    return max(float(distance), 0.0)  # below zero by rounding only


def _factor(cov):
    """S [D, rank] with S Sᵀ = cov: Cholesky with pivoting, which stops where only rounding errors are left."""
    lower, pivots, rank, _ = scipy.linalg.lapack.dpstrf(cov, lower=1)
    factor = np.empty((len(cov), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor


class Fid(Kind):
    """Fréchet inception distance, with covariances over N as the official code has them."""

    name = "fid"
    storage = MOMENTS
    ddof = 0

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        return {metric.name: frechet_distance(*real.mean_cov(cls.ddof), *generated.mean_cov(cls.ddof))}


class UnbiasedFid(Fid):
    """The same with covariances over N − 1, as pytorch-fid has it."""

    name = "fid_unbiased"
    ddof = 1

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if min(count, metric.samples) < 2:
            raise ValueError(
                f"{metric.name} needs at least 2 real and 2 generated images; there are {count} and {metric.samples}"
            )
