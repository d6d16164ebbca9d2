"""Brightness, contrast and colour of a sampler's images, where no classifier knows what is in them."""

import numpy as np
import scipy.stats

from dnnlib_compat.detectors import STATISTICS
from latent_plugins.metrics.kind import Kind
from latent_plugins.metrics.shares import LEVEL


class Looks(Kind):
    """Mean, its 95 % interval and standard deviation over the images of each of STATISTICS (`ImageStatistics`).

    They need no file. A sampler that is uniform on the manifold spreads them wider than the prior does.
    """

    name = "looks"
    detector = "image"
    needs_real = False

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if metric.samples < 2:
            raise ValueError(f"{metric.name}: a standard deviation needs 2 images or more")

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        values = np.asarray(generated.features(), dtype=np.float64)
        mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
        half = scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * deviation / np.sqrt(len(values))
        found = {}
        for k, name in enumerate(STATISTICS):
            figures = dict(mean=mean[k], low=mean[k] - half[k], high=mean[k] + half[k], std=deviation[k])
            found |= {f"{metric.name}_{name}_{key}": float(value) for key, value in figures.items()}
        return found
