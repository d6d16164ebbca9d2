"""Improved precision and recall: the StyleGAN programs' figure, whose distances are float16, and the exact one.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models": the share of features
inside the other set's manifold, the union of closed balls that reach the k-th nearest neighbours in their own set.
"""

import warnings

from latent_plugins.metrics.half_distances import HalfDistances, squared_lengths
from latent_plugins.metrics.kind import HALF_TABLE, Kind
from latent_plugins.metrics.neighbours import (
    MAX_MEMORY,
    ball_memberships,
    check_features,
    kth_neighbour_distances,
    unwatched,
)

WHAT = "precision and recall"


def precision_recall(real, generated, *, k=3, max_memory=MAX_MEMORY, progress=unwatched):
    """(precision, recall): shares of generated features inside the real manifold, and of real ones in the generated.

    real [N, D], generated [M, D]: tensors or arrays. The figure of the StyleGAN programs: `half_distances`, radii in
    float16, of each row's k + 1 smallest distances within its set the largest (the row's own is one of them, and
    seldom exactly zero), inside where distance ≤ radius. Among few distinct float16 numbers ties are frequent, and
    they count as inside: shares come out about 0.001 to 0.006 above those of `exact_precision_recall`, which also holds
    for features whose spread is small against their mean, where float16 distances tell nothing.

    Computed on the device that the features are on, in blocks of at most `max_memory` bytes, of all four pairs of sets;
    progress(counts, total, label) wraps the loops. Raises ValueError for fewer than k + 1 features in a set and for
    features that float16 cannot hold; warns where float16 cannot hold squared distances.
    """
    real, generated = _halves(k, real, generated)
    if any(not squared_lengths(x).isfinite().all() for x in (real, generated)):
        warnings.warn(
            f"{WHAT}: some features are longer than 255, and their squared distances beyond float16, in which the "
            "official figure is computed: it tells nothing here; take the exact one, as in pr_exact50k3_full",
            stacklevel=2,
        )
    distances = HalfDistances(real, generated, max_memory=max_memory)
    around = "distances between neighbours"
    radii = [_watch(distances.kth(x, k + 1), progress, len(x) ** 2, around) for x in (real, generated)]
    pairs, between = len(real) * len(generated), "distances between the sets"
    in_real = _watch(distances.inside(generated, real, radii[0]), progress, pairs, between)
    in_generated = _watch(distances.inside(real, generated, radii[1]), progress, pairs, between)
    return tuple(found.double().mean().item() for found in (in_real, in_generated))


def exact_precision_recall(real, generated, *, k=3, max_memory=MAX_MEMORY, progress=unwatched):
    """`precision_recall` with distances that are right to float32's last digit, ties inside.

    Features and radii are rounded to float16 all the same. Neither machine nor block size changes the figure. Raises
    ValueError as there.
    """
    real, generated = _halves(k, real, generated)
    options = dict(max_memory=max_memory, progress=progress)
    radii = [kth_neighbour_distances(x, k, **options).half() for x in (real, generated)]
    in_real, in_generated = ball_memberships(real, generated, *radii, closed=True, **options)
    return tuple((found.points > 0).double().mean().item() for found in (in_real, in_generated))


def _halves(k, real, generated):
    real, generated = check_features(WHAT, k, real, generated)
    return check_features(f"{WHAT} in float16", k, real.half(), generated.half())


def _watch(rounds, progress, total, label):
    """What the generator `rounds` returns, its counts shown to `progress`."""
    result = []

    def counts():
        result.append((yield from rounds))

    for _ in progress(counts(), total, label):
        pass
    return result[0]


class PrecisionRecall(Kind):
    """Precision and recall with the official float16 distances."""

    name = "pr"
    detector = "vgg16"
    storage = HALF_TABLE
    neighbour = 3
    most_real = 200_000
    shares = staticmethod(precision_recall)

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        found = cls.shares(real.features(), generated.features(), k=metric.k, progress=progress)
        return {f"{metric.name}_precision": found[0], f"{metric.name}_recall": found[1]}


class ExactPrecisionRecall(PrecisionRecall):
    """The same with exact distances."""

    name = "pr_exact"
    shares = staticmethod(exact_precision_recall)
