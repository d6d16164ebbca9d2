"""Kernel Inception distance."""

import numpy as np


def kernel_distance(real, generated, *, subsets=100, max_subset_size=1000, seed):
    """Unbiased squared maximum mean discrepancy of features real [N, D] and generated [M, D], averaged over subsets.

    Kernel (x·y / D + 1)³; subsets of min(N, M, max_subset_size) rows without replacement (Bińkowski et al. 2018,
    "Demystifying MMD GANs"). Rows are drawn like in the StyleGAN programs after np.random.seed(seed): the same figure.
    Products are float32 for float32 features, sums float64. Raises ValueError for fewer than 2 rows, other shapes, and
    features that are not finite.
    """
    real, generated = (_floating(name, x) for name, x in (("real", real), ("generated", generated)))
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"real features have {real.shape[1]} dimensions, generated ones {generated.shape[1]}")
    if subsets < 1 or max_subset_size < 2:
        raise ValueError(f"{subsets} subsets of up to {max_subset_size} features: at least 1 of 2 are needed")
    random = np.random.RandomState(seed)
    size = min(len(real), len(generated), max_subset_size)
    total = 0.0
    for _ in range(subsets):
        x = generated[random.choice(len(generated), size, replace=False)]
        y = real[random.choice(len(real), size, replace=False)]
        within = sum(k.sum(dtype=np.float64) - k.trace(dtype=np.float64) for k in (_kernel(x, x), _kernel(y, y)))
        between = _kernel(x, y).sum(dtype=np.float64)
        total += within / (size - 1) - 2 * between / size
    return float(total / subsets / size)


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
