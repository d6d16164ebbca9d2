"""Hausdorff distance between two sets of features."""

import torch

from latent_plugins.metrics.kind import Kind
from latent_plugins.metrics.neighbours import MAX_MEMORY, block_size, check_features, unwatched


def hausdorff_distance(real, generated, *, max_memory=MAX_MEMORY, progress=unwatched):
    """max{max_a min_b ‖a − b‖, max_b min_a ‖a − b‖} of features a [N, D] and b [M, D], tensors or arrays: a float.

    Which points are nearest is looked up by matrix products in float64 about a common centre, blocks of at most
    `max_memory` bytes at once, and their distances are taken from differences. progress(counts, total, label) wraps the
    loop. A single outlier decides the figure, and it falls with the number of images: compare equal numbers. Raises
    ValueError for features that do not fit each other or are not finite. Source: "Learning disconnected manifolds: a no
    GANs land" (Tanielian et al. 2020), App. A.2.2 of T. Issenhuth's thesis.
    """
    real, generated = (x.double() for x in check_features("the Hausdorff distance", 1, real, generated))
    centre = real.mean(dim=0)
    sets = [real - centre, generated - centre]
    size = block_size(max_memory, real.shape[1], torch.float64)
    nearest = [torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device) for x in sets]
    index = [torch.zeros(len(x), dtype=torch.long, device=x.device) for x in sets]

    def blocks():
        for i in range(0, len(real), size):
            for j in range(0, len(generated), size):
                found = torch.cdist(sets[0][i : i + size], sets[1][j : j + size], compute_mode=PRODUCTS)
                for side, (own, other) in enumerate([(i, j), (j, i)]):
                    smallest, place = found.min(dim=1 - side)
                    span = slice(own, own + len(smallest))
                    closer = smallest < nearest[side][span]
                    nearest[side][span][closer] = smallest[closer]
                    index[side][span][closer] = place[closer] + other
                yield found.numel()

    for _ in progress(blocks(), len(real) * len(generated), "distances between the sets"):
        pass
    ways = [(real, generated[index[0]]), (generated, real[index[1]])]
    return max(float((a - b).norm(dim=1).max()) for a, b in ways)


PRODUCTS = "use_mm_for_euclid_dist"


class Hausdorff(Kind):
    """Hausdorff distance of features: `hausdorff5k`, with `_full` to the whole data set."""

    name = "hausdorff"

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """See Kind.figures."""
        return {metric.name: hausdorff_distance(real.features(), generated.features(), progress=progress)}
