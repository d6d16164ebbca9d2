"""Density and coverage."""

from latent_plugins.metrics.kind import TABLE, Kind
from latent_plugins.metrics.neighbours import (
    MAX_MEMORY,
    ball_memberships,
    check_features,
    kth_neighbour_distances,
    unwatched,
)


def density_coverage(real, generated, *, k=5, max_memory=MAX_MEMORY, progress=unwatched):
    """(density, coverage) of real [N, D] and generated [M, D] features, tensors or arrays.

    density: how many of the open balls from real features to their k-th nearest neighbours hold a generated feature,
    on average and over k; coverage: the share of those balls that hold any (Naeem et al. 2020, "Reliable Fidelity and
    Diversity Metrics for Generative Models"). Raises ValueError for fewer than k + 1 features in a set.
    """
    real, generated = check_features("density and coverage", k, real, generated)
    options = dict(max_memory=max_memory, progress=progress)
    (found,) = ball_memberships(real, generated, kth_neighbour_distances(real, k, **options), closed=False, **options)
    return _density(found, k), _share(found.balls)


def prdc(real, generated, *, k=5, max_memory=MAX_MEMORY, progress=unwatched):
    """Density and coverage with the precision and recall of the same open balls, a dict of four; see there.

    These two differ from `precision_recall` in that balls are open and nothing is rounded to float16.
    """
    real, generated = check_features("density and coverage", k, real, generated)
    options = dict(max_memory=max_memory, progress=progress)
    radii = [kth_neighbour_distances(x, k, **options) for x in (real, generated)]
    in_real, in_generated = ball_memberships(real, generated, *radii, closed=False, **options)
    return dict(
        precision=_share(in_real.points),
        recall=_share(in_generated.points),
        density=_density(in_real, k),
        coverage=_share(in_real.balls),
    )


def _share(counts):
    return (counts > 0).double().mean().item()


def _density(found, k):
    return found.points.double().mean().item() / k


class DensityCoverage(Kind):
    """Density and coverage."""

    name = "dc"
    detector = "vgg16"
    storage = TABLE
    neighbour = 5
    most_real = 200_000

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        density, coverage = density_coverage(real.features(), generated.features(), k=metric.k, progress=progress)
        return {f"{metric.name}_density": density, f"{metric.name}_coverage": coverage}
