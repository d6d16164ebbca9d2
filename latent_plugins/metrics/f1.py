"""F1 of precision and recall."""

import re

from latent_plugins.metrics.kind import FULL, NEIGHBOURS
from latent_plugins.metrics.precision_recall import PrecisionRecall


def f1(precision, recall):
    """Their harmonic mean 2pr/(p + r), 0 where both are: a float.

    Source: "Learning disconnected manifolds: a no GANs land" (Tanielian et al. 2020), Table A.1 in T. Issenhuth's
    thesis.
    """
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class F1(PrecisionRecall):
    """F1 of the official precision and recall: `f1_50k3_full` is that of `pr50k3_full`."""

    name = "f1"

    @classmethod
    def pattern(cls):
        """See Kind.pattern. The underscore keeps the name's own number from the images'."""
        return rf"{re.escape(cls.name)}_{NEIGHBOURS}{FULL}"

    @classmethod
    def examples(cls):
        """See Kind.examples."""
        return [f"{cls.name}_50k{cls.neighbour}_full", f"{cls.name}_50k{cls.neighbour}"]

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        found = cls.shares(real.features(), generated.features(), k=metric.k, progress=progress)
        return {metric.name: f1(*found)}
