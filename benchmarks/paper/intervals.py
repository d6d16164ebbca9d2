"""Means of repeated evaluations with their confidence intervals."""

import math
import statistics

import scipy.stats

LEVEL = 0.97


def interval(values, level=LEVEL):
    """(mean, half width of its confidence interval) of two or more independent values, by Student's t."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} evaluations give no interval: make 2 or more")
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), float(scipy.stats.t.ppf((1 + level) / 2, len(values) - 1)) * error


def below(a, b):
    """Whether the whole interval a lies below the whole interval b, both (mean, half width)."""
    return a[0] + a[1] < b[0] - b[1]


def shown(found, digits):
    """An interval (mean, half width) as text."""
    return f"{found[0]:.{digits}f} ± {found[1]:.{digits}f}"
