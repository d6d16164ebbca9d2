"""The angles at which the pieces of the generated manifold meet."""

import functools
import math

from latent_plugins.geometry.angularity import partition_angles, path_angles
from latent_plugins.geometry.crossings import path_between
from latent_plugins.geometry.figures import save_histograms
from latent_plugins.geometry.partition import exact_partition
from latent_plugins.geometry.piecewise import is_piecewise_affine
from latent_plugins.geometry.report.partition import plane
from latent_plugins.geometry.report.subject import Figure, Section, summary

NOTE = (
    "Theorem 4 for adjacent regions: sin θ = ‖P(A) − P(A′)‖₂, with projections onto the spans of the whole slopes on "
    "either side; spans of different dimensions are at a right angle. "
)
ALL = "All adjacent regions of the exact partition of the plane's square"
AFFINE = "The first borders on straight paths between latents of the prior, from closed forms in float64"
SMOOTH = (
    "The first borders on {what} between inputs that follow the prior, found as roots of the units' pre-activations in "
    "float64, and the kinks there: the slopes on either side at one and the same input. Clamps and max-pooling of the "
    "network are not looked at"
)


def angularity(subject):
    """The Section of angles between adjacent regions: all of a network with two inputs, else those along paths."""
    network = subject.sequential
    affine = network is not None and is_piecewise_affine(network)
    if affine and subject.space_map.in_dim == 2 and not subject.on_sphere:
        found = partition_angles(exact_partition(network, plane(subject)))
        facts = dict(exact=True, note=NOTE + ALL)
    else:
        paths, most = subject.sizes.angularity_paths, subject.sizes.angularity_crossings
        starts, ends = subject.inputs(2 * paths, subject.random(3)).split(paths)
        domain = "sphere" if subject.on_sphere else "gaussian"
        ways = [path_between(start, end, domain) for start, end in zip(starts, ends)]
        found = path_angles(
            network if affine else subject.space_map,
            ways,
            most=most,
            max_memory=subject.max_memory,
            progress=subject.progress,
        )
        text = AFFINE if affine else SMOOTH.format(what="great circles" if subject.on_sphere else "straight paths")
        facts = dict(exact=affine, note=NOTE + text, paths=paths, most_borders_of_a_path=most)
    same = found.ranks[:, 0] == found.ranks[:, 1]
    facts.update(
        adjacent_pairs=len(found.sine),
        pairs_of_different_dimensions=int((~same).sum()),
        dimension=summary(found.ranks),
        sine=summary(found.sine),
        angle=summary(found.angle),
        unit="radians",
        right_angle=math.pi / 2,
        hamming_distance_of_codes=summary(found.hamming),
    )
    groups = {"": [angle for angle in found.angle.tolist() if math.isfinite(angle)]}
    labels = dict(xlabel="angle between adjacent regions (radians)", ylabel="pairs of regions")
    draw = functools.partial(save_histograms, groups=groups, **labels)
    return Section(facts, (Figure("angularity.png", draw),) if groups[""] else ())
