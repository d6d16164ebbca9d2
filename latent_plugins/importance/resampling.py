"""Weighted draws of candidates: which of them a number of rows, or a list of seeds, gets.

Everything takes normalised log-weights float64 [N], −inf where there is no weight, and gives indices int64.
"""

import numpy as np

from latent_plugins.randomness import Stream, class_substream, permutation, uniforms

# 2⁶⁴ over the golden ratio, rounded to an odd number: its multiples modulo 2⁶⁴ are the additive sequence of lowest
# discrepancy, whose every range is spread evenly, and none of them repeats.
GOLDEN = 0x9E3779B97F4A7C15
START, SHUFFLE = range(2)  # what numbers of the stream PLACES are for
LAYOUT, SHIFT = range(2)  # and of the stream ORDER


def substream_of(label, purpose):
    """The substream of a class index (None without classes) for one of two purposes."""
    return 2 * class_substream(label) + purpose


def inverse_cdf(logw, u):
    """The candidates whose places in the cumulated weights hold the numbers u in (0, 1)."""
    cumulative = np.cumsum(np.exp(logw))
    index = np.searchsorted(cumulative / cumulative[-1], u, side="right")
    return np.minimum(index, np.flatnonzero(np.isfinite(logw))[-1])


def systematic(logw, n, u):
    """n candidates in ascending order: those at the places (i + u)/n, u in (0, 1) (Kitagawa 1996).

    Over a uniform u, candidate i comes n·w_i times on average, and never more or less often than that rounded up or
    down: no candidate comes twice where n·max w ≤ 1.
    """
    return inverse_cdf(logw, (np.arange(n) + u) / n)


def bulk(logw, n, *, seed, label=None):
    """n candidates: a systematic draw, shuffled. Each row by itself follows the weights exactly."""
    u = uniforms([0], 1, seed=seed, stream=Stream.PLACES, substream=substream_of(label, START))[0, 0]
    order = permutation(n, seed=seed, stream=Stream.PLACES, substream=substream_of(label, SHUFFLE))
    return systematic(logw, n, u)[order]


def places(seeds, shift):
    """A number in (0, 1) for every seed (non-negative integers [n]): shift + seed/golden ratio, modulo 1.

    Over a uniform shift each is uniform; any range of m seeds has gaps of at least 0.38/m between its places.
    """
    steps = np.asarray(seeds, dtype=np.uint64) * np.uint64(GOLDEN)  # modulo 2⁶⁴
    bits = steps + np.uint64(int(shift * 2.0**53) << 11)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def by_seed(logw, seeds, *, seed, label=None):
    """The candidate of every seed: a function of `seed` (the atlas's) and of that seed alone.

    Candidates lie side by side in a random order that stays, each as wide as its weight; a seed takes the one at its
    place. Seeds near each other get candidates that have nothing to do with each other, none twice while their weights
    are smaller than the gaps between the places.
    """
    order = permutation(len(logw), seed=seed, stream=Stream.ORDER, substream=substream_of(label, LAYOUT))
    shift = uniforms([0], 1, seed=seed, stream=Stream.ORDER, substream=substream_of(label, SHIFT))[0, 0]
    return order[inverse_cdf(logw[order], places(seeds, shift))]


def gumbel_order(logw, gumbel):
    """Indices of the usable candidates in a weighted random order without replacement.

    Sorting log-weight + Gumbel noise in descending order is drawing one candidate after the other, each time with
    probability proportional to the weights that are left (Gumbel-max trick; Efraimidis and Spirakis 2006). The first
    element follows the weights; the further one goes, the flatter the law becomes.
    """
    order = np.argsort(-(logw + gumbel), kind="stable")
    return order[: int(np.isfinite(logw).sum())]


def extreme_order(log_volume, rho):
    """Indices of the usable candidates by log-volume [N]: ascending for ρ = −∞, descending for ρ = ∞.

    It is what drawing without replacement tends to as |ρ| grows: each draw takes the most extreme candidate left. Of
    equal ones the first comes first.
    """
    height = np.where(np.isfinite(log_volume), np.sign(rho) * log_volume, -np.inf)
    return np.argsort(-height, kind="stable")[: int(np.isfinite(log_volume).sum())]
