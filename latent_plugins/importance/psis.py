"""Pareto-smoothed importance sampling: the tail of importance weights, tamed and judged.

Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling", 2024; the fit is that of Zhang and
Stephens, "A new and efficient estimation method for the generalized Pareto distribution", 2009.
"""

import numpy as np
import scipy.special

SHORTEST_TAIL = 5  # weights; fewer say nothing of a tail
NO_SPREAD = 1e-12  # of a tail below the largest weight, 1: what rounding alone makes of equal weights
PRIOR_SHAPE, PRIOR_WEIGHT = 0.5, 10  # k̂ of a short tail is pulled towards 0.5 as if by ten more weights


def pareto_smooth(logw):
    """(smoothed, normalised log-weights float64 [n], k̂) of log-weights [n] of any scale; −inf marks what has no weight.

    The largest min(n/5, 3√n) weights are replaced by the expected order statistics of a generalized Pareto distribution
    fitted to them, cut off at the largest raw weight; the order of the weights stays. k̂ is the fitted shape: below 0.5
    the weights have a finite variance, above 0.7 estimates by them cannot be relied on. k̂ is −inf when the tail has no
    spread (equal weights) and NaN when it is shorter than 5; weights are then only normalised.

    Raises ValueError when there is no weight, or one is NaN or infinite.
    """
    logw = np.asarray(logw, dtype=np.float64)
    if logw.ndim != 1 or not np.isfinite(logw).any() or np.isnan(logw).any() or np.isposinf(logw).any():
        raise ValueError("log-weights are a list of numbers or −inf, at least one of them finite")
    logw = logw - logw.max()
    order = np.argsort(logw, kind="stable")
    order = order[np.isfinite(logw[order])]
    n = len(order)
    length = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
    if length < SHORTEST_TAIL:
        return logw - scipy.special.logsumexp(logw), np.nan
    tail, cutoff = order[-length:], np.exp(logw[order[-length - 1]])
    excess = np.exp(logw[tail]) - cutoff
    if excess[-1] < NO_SPREAD:
        return logw - scipy.special.logsumexp(logw), -np.inf
    shape, scale = fit_generalized_pareto(excess)
    shape = (length * shape + PRIOR_WEIGHT * PRIOR_SHAPE) / (length + PRIOR_WEIGHT)
    if np.isfinite(shape):
        probability = (np.arange(length) + 0.5) / length
        smoothed = np.log(cutoff + generalized_pareto_quantile(probability, shape, scale))
        logw[tail] = np.minimum(smoothed, 0)
    return logw - scipy.special.logsumexp(logw), float(shape)


def fit_generalized_pareto(excess):
    """(shape k, scale) for ascending excesses [n] ≥ 0 over a threshold: density ∝ (1 + k x/scale)^(−1/k − 1).

    The posterior mean of −k/scale under Zhang and Stephens' prior on a grid of 30 + √n points, and the k that belongs
    to it.
    """
    n = len(excess)
    points = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1] or excess[excess > 0][0]
    grid = 1 / excess[-1] + (1 - np.sqrt(points / (np.arange(points) + 0.5))) / (3 * quartile)
    shapes = np.log1p(-grid[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-grid / shapes) - shapes - 1)
    slope = grid @ scipy.special.softmax(likelihood)
    shape = np.log1p(-slope * excess).mean()
    return shape, -shape / slope


def generalized_pareto_quantile(p, shape, scale):
    """The number below which the share p of a generalized Pareto distribution lies."""
    if abs(shape) < 1e-12:
        return -scale * np.log1p(-p)
    return scale * np.expm1(-shape * np.log1p(-p)) / shape
