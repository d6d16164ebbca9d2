"""Improved precision and recall."""

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

    real [N, D], generated [M, D]: tensors or arrays. A manifold is the union of closed balls around its features that
    reach their k-th nearest neighbours (Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing
    Generative Models"). Features and radii are rounded to float16, distances to float32, as in the StyleGAN programs.
    Raises ValueError for fewer than k + 1 features in a set and for features that float16 cannot hold.
    """
    real, generated = check_features(WHAT, k, real, generated)
    real, generated = check_features(f"{WHAT} in float16", k, real.half(), generated.half())
    options = dict(max_memory=max_memory, progress=progress)
    radii = [kth_neighbour_distances(x, k, **options).half() for x in (real, generated)]
    in_real, in_generated = ball_memberships(real, generated, *radii, closed=True, **options)
    return tuple((found.points > 0).double().mean().item() for found in (in_real, in_generated))
