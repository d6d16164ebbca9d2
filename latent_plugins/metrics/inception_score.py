"""Inception score."""

import numpy as np
import scipy.special

from latent_plugins.metrics.kind import PROBABILITIES, Kind

SPLITS = 10


def inception_score(probabilities, splits=10):
    """(mean, standard deviation) over the splits of exp(mean KL(p(class | image) ‖ p(class))).

    probabilities [N, classes]: what a classifier gives each image. p(class) is their mean within a split; a probability
    of zero contributes nothing. Raises ValueError for fewer images than splits and for rows that are no probabilities.
    Source: Salimans et al. 2016, "Improved Techniques for Training GANs".
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities must be [N, classes], not of shape {list(probabilities.shape)}")
    n = len(probabilities)
    if not 1 <= splits <= n:
        raise ValueError(f"the Inception score with {splits} splits needs at least as many images, there are {n}")
    if not (probabilities >= 0).all() or not np.allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-2):
        raise ValueError("the Inception score needs probabilities: finite, not negative, each row with sum 1")
    scores = []
    for i in range(splits):
        part = probabilities[i * n // splits : (i + 1) * n // splits]
        divergence = scipy.special.rel_entr(part, part.mean(axis=0)).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores)), float(np.std(scores))


class InceptionScore(Kind):
    """Inception score over SPLITS parts of the images."""

    name = "is"
    output = PROBABILITIES
    needs_real = False

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if metric.samples < SPLITS:
            raise ValueError(
                f"{metric.name}: the Inception score has {SPLITS} splits, so it needs {SPLITS} images or more"
            )

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        mean, std = inception_score(generated.features(), SPLITS)
        return {f"{metric.name}_mean": mean, f"{metric.name}_std": std}
