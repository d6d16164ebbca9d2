"""The published bounds of precision beside the precision measured, for the modes that a classifier tells apart."""

import functools
import math

import torch

from dnnlib_compat.detectors import FEATURES, PROBABILITIES
from latent_plugins.geometry import precision_bounds as bounds
from latent_plugins.geometry.balance import class_balance, separation
from latent_plugins.geometry.figures import save_bounds
from latent_plugins.geometry.report.subject import Figure, Section
from latent_plugins.metrics.marginal_precision import precise
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum

FEWEST = 8  # images of a class that counts as a mode
NEIGHBOURS = 3
NOTE = (
    "the classifier's classes are taken for the modes, its features for the space that distances and Lipschitz "
    "constant are of. Estimated: M, the classes among the images that lie within the real ones (improved precision, "
    "third neighbour); L, the largest singular value of sampled Jacobians, which is too small; D, the least distance "
    "between such images of two classes, or between class means, which is too large. Both make the bounds too low, and "
    "real classes touch: a measured precision above a bound contradicts nothing, one below it is what the theorem says"
)
NOT_THERE = "this network has no classifier in the catalogue, whose classes would be the modes"


def precision_bounds(subject):
    """The Section of Theorems 3.2.2 and 3.2.3 and Corollary 3.3.1, at estimates of D, L and M, beside a precision.

    Raises ValueError without a classifier or real images, with fewer than two modes, or where modes coincide.
    """
    if subject.detector is None:
        raise ValueError(NOT_THERE)
    if subject.real is None:
        raise ValueError("precision is measured against real images; give --data")
    z = subject.latents(subject.sizes.norms_latents, subject.random(12))
    features, probabilities = subject.seen(z, [FEATURES, PROBABILITIES], "images of modes")
    inside = precise(subject.real, features, k=NEIGHBOURS).cpu()
    labels = probabilities.argmax(dim=1)
    modes = [k for k in labels.unique().tolist() if int((inside & (labels == k)).sum()) >= FEWEST]
    if len(modes) < 2:
        raise ValueError(f"fewer than two classes have {FEWEST} of the {int(inside.sum())} images within the real ones")
    groups = [features[inside & (labels == k)].double() for k in modes]
    gaps, centres = distances(groups)
    apart = separation(groups)
    lipschitz = largest_stretch(subject)
    m, precision = len(modes), inside.double().mean().item()
    epsilon, between_centres = bounds.half_width(gaps.min().item(), lipschitz), centres.min().item() / lipschitz
    facts = dict(
        exact=False,
        note=NOTE,
        precision=precision,
        real_images=f"{len(subject.real)} of {subject.real_name}",
        modes=m,
        lipschitz_constant=lipschitz,
        distance_of_nearest_images=gaps.min(),
        distance_of_nearest_means=centres.min(),
        distance_of_farthest_means=centres.max(),
        class_shares=dict(vars(class_balance(labels, probabilities.shape[1])), unit="%"),
        assumption_4=dict(
            modes_within_half_the_way=(apart.radii < apart.room).double().mean(),
            pairs_with_no_mode_between=apart.seen.double().mean(),
        ),
        epsilon=epsilon,
        epsilon_min=between_centres,
        bounds={name: value_or_note(bound, x) for name, (bound, x) in named(m, epsilon, between_centres).items()},
    )
    points = {"nearest images": (epsilon, precision), "nearest means": (between_centres / 2, precision)}
    low, high = min(x for x, _ in points.values()) / 10, max(4.0, max(x for x, _ in points.values()) * 2)
    grid = [low * (high / low) ** (i / 200) for i in range(201)]
    lines = {name: curve(bound, grid, scale) for name, (bound, scale) in curves(m).items()}
    return Section(facts, (Figure("precision-bounds.png", functools.partial(save_bounds, lines=lines, points=points)),))


def named(m, epsilon, epsilon_min):
    """{name of a bound: (function of ε, the ε it is at)} for m modes."""
    found = {"theorem_3_2_2": (bounds.two_modes, epsilon)} if m == 2 else {}
    return found | {
        "theorem_3_2_3": (functools.partial(bounds.equal_modes, modes=m), epsilon),
        "asymptotic_3_2_1": (functools.partial(bounds.many_modes, modes=m), epsilon),
        "corollary_3_3_1": (functools.partial(bounds.balanced_modes, modes=m), epsilon_min),
    }


def curves(m):
    """{legend: (function of ε, what ε = D/(2L) is multiplied by for it)}."""
    found = {"Theorem 3.2.2": (bounds.two_modes, 1)} if m == 2 else {}
    return found | {
        "Theorem 3.2.3": (functools.partial(bounds.equal_modes, modes=m), 1),
        "(3.2.1), asymptotic": (functools.partial(bounds.many_modes, modes=m), 1),
        "Corollary 3.3.1": (functools.partial(bounds.balanced_modes, modes=m), 2),
    }


def curve(bound, grid, scale):
    """([ε], [bound]) where the bound has a value."""
    found = [(x, value_or_note(bound, scale * x)) for x in grid]
    return tuple(zip(*((x, y) for x, y in found if not isinstance(y, str)))) or ((), ())


def value_or_note(bound, epsilon):
    """The bound at ε, or why there is none."""
    try:
        return bound(epsilon)
    except ValueError as error:
        return str(error)


def distances(groups):
    """(least distances between rows, distances between means), each [pairs], of every two of the groups [n, F]."""
    pairs = [(a, b) for i, a in enumerate(groups) for b in groups[:i]]
    exact = dict(compute_mode="donot_use_mm_for_euclid_dist")
    gaps = torch.stack([torch.cdist(a, b, **exact).min() for a, b in pairs])
    return gaps, torch.stack([(a.mean(dim=0) - b.mean(dim=0)).norm() for a, b in pairs])


def largest_stretch(subject):
    """The largest singular value of latent → feature Jacobians at a quarter of `sizes.latents`, a float."""
    own = subject.space_map
    space_map = get_space(subject.generator, "features", c=own.c, domain=own.domain, detector=subject.detector)
    x, options = subject.latents(subject.sizes.latents // 4, subject.random(13)), dict(max_memory=subject.max_memory)
    parts = subject.in_steps(lambda rows: spectrum(space_map, rows, top_k=1, **options), x, "Lipschitz constant")
    found = torch.cat(parts).max().item()
    if not 0 < found < math.inf:
        raise ValueError(f"the largest singular value of sampled Jacobians is {found}")
    return found
