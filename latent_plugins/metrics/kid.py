"""Kernel Inception distance."""

import warnings

import numpy as np

from latent_plugins.metrics.kind import TABLE, Kind

# So many subsets are computed in float64 as well, and a rounding error of this share is warned of.
CHECKED, NOTICEABLE = 4, 0.1


def kernel_distance(real, generated, *, subsets=100, max_subset_size=1000, seed):
    """Unbiased squared maximum mean discrepancy of features real [N, D] and generated [M, D], averaged over subsets.

    Kernel (x·y / D + 1)³; subsets of min(N, M, max_subset_size) rows without replacement (Bińkowski et al. 2018,
    "Demystifying MMD GANs"). Rows are drawn like in the StyleGAN programs after np.random.seed(seed): the same figure.
    Products are float32 for float32 features, sums float64. Raises ValueError for fewer than 2 rows, other shapes, and
    features that are not finite.

    The figure is a small difference of means of the kernel, and a product in float32 is off by up to D/2 roundings of
    |x| |y|: where features vary little beside their mean, or beside the kernel's 1, it can be rounding noise. So the
    first CHECKED subsets of float32 features are computed in float64 as well. Their root mean square difference
    estimates a subset's rounding error (which is no bound, and not divided by the root of the number of subsets:
    subsets share rows). It is warned of where it exceeds NOTICEABLE of both the figure and the figure's standard error
    (the subsets' standard deviation over the root of their number). The figure stays the official one.
    """
    real, generated = (_floating(name, x) for name, x in (("real", real), ("generated", generated)))
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"real features have {real.shape[1]} dimensions, generated ones {generated.shape[1]}")
    if subsets < 1 or max_subset_size < 2:
        raise ValueError(f"{subsets} subsets of up to {max_subset_size} features: at least 1 of 2 are needed")
    random = np.random.RandomState(seed)
    size = min(len(real), len(generated), max_subset_size)
    estimates, exact = [], []
    for subset in range(subsets):
        x = generated[random.choice(len(generated), size, replace=False)]
        y = real[random.choice(len(real), size, replace=False)]
        estimates.append(_estimate(x, y))
        if subset < CHECKED and np.result_type(x, y) == np.float32:
            exact.append(_estimate(x.astype(np.float64), y.astype(np.float64)))
    figure = float(np.sum(estimates) / subsets)
    if exact:
        _warn_of_rounding(figure, np.array(estimates), np.array(exact))
    return figure


def _estimate(x, y):
    """The unbiased estimate from two subsets of one size."""
    size = len(x)
    within = sum(k.sum(dtype=np.float64) - k.trace(dtype=np.float64) for k in (_kernel(x, x), _kernel(y, y)))
    between = _kernel(x, y).sum(dtype=np.float64)
    return (within / (size - 1) - 2 * between / size) / size


def _warn_of_rounding(figure, estimates, exact):
    """Warn where the float32 `estimates` are far from the `exact` ones of the first subsets."""
    rounding = np.sqrt(np.mean((estimates[: len(exact)] - exact) ** 2))
    error = estimates.std(ddof=1) / np.sqrt(len(estimates)) if len(estimates) > 1 else 0.0
    if not rounding <= NOTICEABLE * max(abs(figure), error):
        warnings.warn(
            f"the kernel distance {figure:.3g} is off by about {rounding:.2g} from rounding to float32 (float64 gives "
            f"{exact.mean():.3g} where float32 gives {estimates[: len(exact)].mean():.3g}): the features vary too "
            "little beside their mean, or beside the kernel's 1; give float64 features (both sets centred on one "
            "mean and scaled to a spread near 1 have a figure, too, but another one)",
            stacklevel=3,
        )


def _floating(name, x):
    x = np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"the {name} features must be [N, D], not of shape {list(x.shape)}")
    if len(x) < 2:
        raise ValueError(f"the kernel distance needs at least 2 features per set, the {name} set has {len(x)}")
    if not np.isfinite(x).all():
        raise ValueError(f"the {name} features are not all finite")
    return x.astype(np.promote_types(x.dtype, np.float32), copy=False)


def _kernel(x, y):
    """(x·y / D + 1)³ for all pairs of rows."""
    k = x @ y.T
    k /= x.shape[1]
    k += 1
    return k**3


class Kid(Kind):
    """Kernel inception distance."""

    name = "kid"
    storage = TABLE
    most_real = 1_000_000

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if min(count, metric.samples) < 2:
            raise ValueError(
                f"{metric.name} needs at least 2 real and 2 generated images; there are {count} and {metric.samples}"
            )

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        return {metric.name: kernel_distance(real.features(), generated.features(), seed=seed)}
