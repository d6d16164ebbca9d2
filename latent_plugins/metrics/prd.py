"""Precision and recall of distributions: a curve, and its two F figures.

Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall".
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from latent_plugins.metrics.clusters import cluster_shares
from latent_plugins.metrics.kind import Figures, Kind
from latent_plugins.metrics.neighbours import unwatched

CLUSTERS, RUNS, ANGLES = 20, 10, 1001
EDGE = 1e-10  # radians from the first and the last angle, whose slopes are 0 and infinite
BETA = 8


@dataclasses.dataclass(frozen=True)
class Curve:
    """Pairs of `precision` [A] and `recall` [A], float64, by rising slope λ = precision / recall."""

    precision: np.ndarray
    recall: np.ndarray

    def f_beta(self, beta):
        """The largest F_β = (1 + β²) p r / (β² p + r) of all pairs: with β above 1 recall counts for more."""
        above = (1 + beta**2) * self.precision * self.recall
        below = beta**2 * self.precision + self.recall
        return float(np.divide(above, below, out=np.zeros_like(above), where=below > 0).max())


def curve_of_shares(real, generated, angles=ANGLES):
    """The Curve of two distributions over the same K things, [K] each (or [R, K]: the mean curve of R pairs).

    α(λ) = Σ min(λ P, Q) is the precision and β(λ) = Σ min(P, Q / λ) the recall of Q, the generated one, against P, at
    slopes λ = tan(angle) of `angles` angles at equal distances from 0 to π/2.
    Raises ValueError for shares that do not fit each other, or add up to something else than 1.
    """
    real, generated = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (real, generated))
    sums = np.concatenate([real.sum(axis=1), generated.sum(axis=1)])
    if real.shape != generated.shape or min(real.min(), generated.min()) < 0 or np.abs(sums - 1).max() > 1e-6:
        raise ValueError(f"two distributions over the same things are needed, not {real.shape} and {generated.shape}")
    slopes = np.tan(np.linspace(EDGE, math.pi / 2 - EDGE, angles))[:, None]
    precision = np.mean([np.minimum(slopes * p, q).sum(axis=1) for p, q in zip(real, generated)], axis=0)
    recall = np.mean([np.minimum(p, q / slopes).sum(axis=1) for p, q in zip(real, generated)], axis=0)
    return Curve(precision.clip(0, 1), recall.clip(0, 1))


def precision_recall_curve(real, generated, *, clusters=CLUSTERS, runs=RUNS, seed=0, progress=unwatched):
    """The Curve of generated [M, D] against real [N, D] features, tensors or arrays.

    Both sets are clustered together by k-means, and the shares of the clusters compared; the curve is the mean over
    `runs` clusterings, which `seed` decides: the published protocol, which refuses sets of different sizes, since the
    clusters follow the larger one; here either set has half of the weight. By chance figures fall below 1: two sets of
    5,000 features from one law come to 0.99 or so. progress(counts, total, label) wraps the clusterings.
    Raises ValueError as `cluster_shares`.
    """
    shares = cluster_shares(
        "curves of precision and recall", real, generated, clusters=clusters, runs=runs, seed=seed, progress=progress
    )
    return curve_of_shares(*shares)


class PrecisionRecallCurve(Kind):
    """`prd5k_full`: F_8, which weighs recall, and F_1/8, which weighs precision, with the curve as a detail."""

    name = "prd"
    most_real = 200_000

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if min(metric.samples, count) < CLUSTERS:
            raise ValueError(
                f"{metric.name} has {CLUSTERS} clusters, so it needs {CLUSTERS} real and {CLUSTERS} generated images "
                f"or more; there are {count} and {metric.samples}"
            )

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        curve = precision_recall_curve(real.features(), generated.features(), seed=seed, progress=progress)
        found = {f"{metric.name}_f{BETA}": curve.f_beta(BETA), f"{metric.name}_f1_{BETA}": curve.f_beta(1 / BETA)}
        return Figures(found, details=dataclasses.asdict(curve))
