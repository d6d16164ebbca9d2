"""The metric of this example: how far the mean of the features is from that of real images."""

import numpy as np

from latent_plugins.metrics.kind import MOMENTS, Kind


class MeanFeatureDistance(Kind):
    """‖mean of generated features − mean of real ones‖, the first term of FID without its square."""

    name = "mfd"
    detector = "inception"
    storage = MOMENTS

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """{key: figure} of a parsed name, such as mfd5k_full."""
        (mean, _), (other, _) = real.mean_cov(), generated.mean_cov()
        return {metric.name: float(np.linalg.norm(mean - other))}
