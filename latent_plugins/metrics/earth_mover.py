"""Earth mover's distance between two sets of features."""

import numpy as np

from latent_plugins.metrics.kind import Kind

LARGEST = 20_000  # rows; their distances take 3.2 GB


def earth_mover_distance(a, b):
    """Mean Euclidean distance of the best pairing of a [N, D] with b [N, D], in float64.

    Raises ValueError for sets of different or no size, for more than 20,000 rows, and for numbers that are not finite.
    """
    import scipy.spatial.distance  # which pulls in much that nothing else here needs

    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    if a.ndim != 2 or a.shape != b.shape or len(a) == 0:
        raise ValueError(
            f"the earth mover's distance pairs equally many features, not {list(a.shape)} and {list(b.shape)}"
        )
    if len(a) > LARGEST:
        raise ValueError(
            f"the earth mover's distance takes at most {LARGEST} features per set, not {len(a)}: the distances of all "
            f"pairs would take {len(a) ** 2 * 8 / 1e9:.1f} GB"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("the features are not all finite")
    distances = scipy.spatial.distance.cdist(a, b)
    return float(distances[scipy.optimize.linear_sum_assignment(distances)].mean())


class EarthMover(Kind):
    """Earth mover's distance to as many real images."""

    name = "emd"

    @classmethod
    def check(cls, metric, count):
        """See Kind.check."""
        if metric.samples > LARGEST:
            raise ValueError(f"{metric.name}: pairing every image with every other is for {LARGEST} images at most")
        if count < metric.samples:
            raise ValueError(f"{metric.name} pairs {metric.samples} images with as many real ones; there are {count}")

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        return {metric.name: earth_mover_distance(real.features(), generated.features())}


class VGGEarthMover(EarthMover):
    """The same on VGG16's features, which "Latent reweighting" (Issenhuth et al. 2022) takes for photographs."""

    name = "emd_vgg"
    detector = "vgg16"
