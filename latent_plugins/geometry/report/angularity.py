"""How far tangent spaces turn: between adjacent regions where these are known, and between points at a distance."""

import functools
import math

import numpy as np
import torch

from latent_plugins.geometry.angularity import neighbour_pairs, tangent_angles
from latent_plugins.geometry.crossings import regions_along
from latent_plugins.geometry.figures import save_histograms
from latent_plugins.geometry.piecewise import is_piecewise_affine
from latent_plugins.geometry.report.subject import Figure, Section, summary

# Distances as parts of the inputs' root mean square length, which on the sphere is its radius.
PARTS = (0.001, 0.01, 0.1, 0.5)
PATHS = 20
PATH_NOTE = (
    "angles between the images of adjacent regions, sin = |P(A) - P(A')| (Theorem 4 of the max-affine spline paper), "
    "at every boundary on straight lines between pairs of latents"
)
NOTE = "largest principal angle between the tangent spaces that the leading left singular vectors span at either end"


def angularity(subject):
    """The Section of angles, in radians: at the crossings of PATHS lines through a piecewise affine network, and at
    pairs of `sizes.angularity_pairs` latents at a few distances, which need no regions and are not the paper's."""
    random, n = subject.random(3), subject.sizes.angularity_pairs
    x = subject.inputs(n, random)
    domain = "sphere" if subject.on_sphere else "gaussian"
    scale = x.square().sum(dim=1).mean().sqrt().item()
    rank = min(subject.top_k, subject.space_map.max_rank)
    facts = dict(
        exact=False, note=NOTE, pairs_of_a_distance=n, tangent_dimensions=rank, unit="radians", right_angle=math.pi / 2
    )
    facts["input_length"] = scale
    facts["distances"], groups = [], {}
    for part in PARTS:
        first, second = neighbour_pairs(x, part * scale, random, domain)
        ends = subject.in_steps(
            functools.partial(angles_at, subject, x.shape[1], rank),
            torch.cat([first, second], dim=1),
            f"angles at distance {part * scale:.3g}",
            step=4,
        )
        angles = [angle for some in ends for angle in some.tolist()]
        facts["distances"].append(dict(distance=part * scale, part_of_the_length=part, angle=summary(angles)))
        groups[f"distance {part * scale:.3g}"] = [angle for angle in angles if math.isfinite(angle)]
    if subject.sequential is not None and is_piecewise_affine(subject.sequential):
        facts["adjacent_regions"], groups["adjacent regions"] = adjacent(subject)
    groups = {legend: numbers for legend, numbers in groups.items() if numbers}
    draw = functools.partial(save_histograms, groups=groups, xlabel="largest principal angle (radians)", ylabel="pairs")
    return Section(facts, (Figure("angularity.png", draw),) if groups else ())


def adjacent(subject):
    """(facts, angles) at the crossings of lines between latents of the prior."""
    x = subject.inputs(2 * PATHS, subject.random(9)).double().cpu()
    paths = [regions_along(subject.sequential, *pair) for pair in x.unflatten(0, (-1, 2))]
    angles = np.concatenate([path.angles() for path in paths])
    changed = np.concatenate([path.changed() for path in paths])
    facts = dict(
        exact=True,
        note=PATH_NOTE,
        lines=len(paths),
        regions_of_a_line=summary([len(path) for path in paths]),
        angle=summary(angles),
        activations_changed=summary(changed),
    )
    return facts, angles.tolist()


def angles_at(subject, width, rank, pairs):
    """The angles [n] of pairs as rows [n, 2 · width]."""
    return tangent_angles(
        subject.space_map, pairs[:, :width], pairs[:, width:], rank=rank, max_memory=subject.max_memory
    )
