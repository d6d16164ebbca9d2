"""Which classes, and which looks, a sampler's images have: whether it balances what the training set does not."""

import numpy as np
import scipy.stats

from latent_plugins.metrics.kind import PROBABILITIES, Kind

LEVEL = 0.95  # of the intervals
MOST_LISTED = 100  # classes whose shares are told one by one; of more, only how far they are from equal


def wilson_interval(counts, n, level=LEVEL):
    """(low, high) of shares whose counts [K] among n independent images are given: Wilson's interval, each on its own.

    n: one number, or [K].
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference". float64 [K] each.
    """
    share, z = np.asarray(counts, dtype=np.float64) / n, scipy.stats.norm.ppf((1 + level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.where(share == 0, 0, centre - half), np.where(share == 1, 1, centre + half)


def total_variation(shares):
    """½ Σ |p_k − 1/K| of shares [K]: the part of the images that would have to change class for equal shares."""
    shares = np.asarray(shares, dtype=np.float64)
    return float(np.abs(shares - 1 / len(shares)).sum() / 2)


def chance_variation(classes, n):
    """The mean total variation that n independent images of equally likely classes have by chance.

    Exact: K times half the mean absolute deviation of a binomial(n, 1/K) share (De Moivre's formula).
    """
    p = 1 / classes
    above = np.floor(n * p) + 1
    deviation = 2 * above * (1 - p) * scipy.stats.binom.pmf(above, n, p) if classes > 1 else 0.0
    return float(classes * deviation / n / 2)


class Shares(Kind):
    """Shares of the classes that a classifier finds, and their distance from equal shares ("MaGNET", section 4.4).

    Every image counts for its most probable class. The figures: each class's share with Wilson's 95 % interval (up to
    MOST_LISTED classes); `tv`, the total variation distance to equal shares, beside `tv_chance`, what equal shares give
    on average with so few images; `chi2`, Pearson's statistic of equal shares, and its `pvalue`; `entropy` in nats. The
    intervals and the p-value take the images as independent, which those of chains and without replacement are not
    quite: --repeats tells.
    """

    name = "shares"
    output = PROBABILITIES
    needs_real = False

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        probabilities = np.asarray(generated.features())
        n, classes = probabilities.shape
        counts = np.bincount(probabilities.argmax(axis=1), minlength=classes)
        shares, found = counts / n, {}
        if classes <= MOST_LISTED:
            low, high = wilson_interval(counts, n)
            for k in range(classes):
                found |= {f"class{k}": shares[k], f"class{k}_low": low[k], f"class{k}_high": high[k]}
        chi2 = float(((counts - n / classes) ** 2).sum() / (n / classes))
        found.update(tv=total_variation(shares), tv_chance=chance_variation(classes, n), chi2=chi2)
        found.update(pvalue=scipy.stats.chi2.sf(chi2, classes - 1), entropy=scipy.stats.entropy(shares))
        return {f"{metric.name}_{key}": float(value) for key, value in found.items()}
