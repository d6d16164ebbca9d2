"""Lipschitz constants from Jacobian norms, and how much their estimates vary.

The largest ‖J(z)‖_F over samples estimates how steep a generator gets. Where samples of the prior seldom reach the
steep places, such maxima scatter; whether those of a sampler that follows the volume, as that of MaGNET (Humayun,
Balestriero and Baraniuk, ICLR 2022), scatter less is to be measured.
"""

import dataclasses

import scipy.stats
import torch

from latent_plugins.geometry.jacobians import check_rows
from latent_plugins.volume.spectrum.norms import exact


def frobenius_norms(space_map, x, *, max_memory=None):
    """‖J(x)‖_F at each row of x [N, in]: float64 [N], from all columns (or rows, where those are fewer).

    It bounds the largest singular value from above. The Jacobian is never held whole, only as many of its columns as
    `max_memory` bytes take (None: `automatic_memory`). Raises ValueError for x of another shape, or a bound too small.
    """
    check_rows(space_map, x)
    return exact(space_map, x, max_memory=max_memory)


def lipschitz_estimate(norms):
    """The largest of norms [N], a float: what these samples know of the Lipschitz constant.

    With norms of sampled Jacobians it can only grow with more samples. Raises ValueError when there are none or one is
    not finite.
    """
    return repeated_maxima(torch.as_tensor(norms).reshape(1, -1)).item()


def repeated_maxima(norms):
    """The estimate of each repeat: the maxima, float64 [R], of norms [R, n].

    Raises ValueError for another shape, no norms, or one that is not finite.
    """
    norms = torch.as_tensor(norms).double()
    if norms.ndim != 2 or not norms.numel():
        raise ValueError(f"norms must be [repeats, n] with at least one each, not of shape {list(norms.shape)}")
    if not norms.isfinite().all():
        raise ValueError(f"{int((~norms.isfinite()).sum())} of the norms are not finite")
    return norms.amax(dim=1)


def maxima_over_samples(norms):
    """(mean, standard deviation) float64 [n] each, over repeats, of the largest of the first 1, 2, … n norms [R, n].

    What MaGNET's Fig. 8 shows, from 200 runs: how the estimate of the Lipschitz constant grows with the samples. Raises
    ValueError for fewer than two repeats, or norms that are not finite.
    """
    norms = torch.as_tensor(norms).double()
    if norms.ndim != 2 or len(norms) < 2 or not norms.shape[1] or not norms.isfinite().all():
        raise ValueError(f"norms must be finite and [repeats, n] with two repeats or more, not {list(norms.shape)}")
    largest = norms.cummax(dim=1).values
    return largest.mean(dim=0), largest.std(dim=0)


@dataclasses.dataclass(frozen=True)
class VarianceRatio:
    """The `ratio` of two sample variances and its interval from `low` to `high` at the confidence `level`."""

    ratio: float
    low: float
    high: float
    level: float

    def __str__(self):
        finding = "larger" if self.low > 1 else "smaller" if self.high < 1 else "not told apart from equal"
        return (
            f"variance ratio {self.ratio:.3g}, {100 * self.level:g} % interval {self.low:.3g} to {self.high:.3g} "
            f"if both are normal: {finding}"
        )


def variance_ratio(a, b, level=0.95):
    """The VarianceRatio var(a) / var(b) of repeated estimates a [R] and b [S].

    The interval is the exact one for independent normal numbers: ratio / F, F the quantiles (1 ± level) / 2 of the
    F distribution with R − 1 and S − 1 degrees of freedom. Maxima are skewed rather than normal, and heavier tails
    make the true interval wider, so read it as a guide. Nothing is resampled: the result is a function of a and b.

    Raises ValueError for fewer than two numbers, numbers that are not finite, a variance of zero in b, or a level that
    is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level must lie between 0 and 1, not at {level}")
    sets = [torch.as_tensor(x).double().flatten() for x in (a, b)]
    for x in sets:
        if len(x) < 2 or not x.isfinite().all():
            raise ValueError(f"a variance takes at least two finite numbers, not {x[:4].tolist()}")
    variances = [x.var().item() for x in sets]
    if variances[1] == 0:
        raise ValueError("the second set of estimates does not vary, so there is no ratio to it")
    ratio = variances[0] / variances[1]
    quantiles = scipy.stats.f(*(len(x) - 1 for x in sets)).ppf([(1 + level) / 2, (1 - level) / 2])
    low, high = (ratio / float(q) for q in quantiles)
    return VarianceRatio(ratio, low, high, level)
