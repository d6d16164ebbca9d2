"""Finding the latents of outputs that the network itself has made."""

import functools

import torch

from latent_plugins.geometry.angularity import neighbour_pairs
from latent_plugins.geometry.inversion import METHODS, TOLERANCE, invert
from latent_plugins.geometry.partition import exact_partition
from latent_plugins.geometry.piecewise import is_piecewise_affine
from latent_plugins.geometry.region_inversion import BOX, invert_by_codes, invert_in_partition, units_of
from latent_plugins.geometry.report.disentanglement import in_colours
from latent_plugins.geometry.report.partition import PLANE, plane
from latent_plugins.geometry.report.subject import Figure, Section, summary
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png, to_uint8

NEAR = 0.05  # distance of a near start, as a part of the latents' length
MOST_UNITS = 64  # activations of a network whose codes are searched
SECONDS = 20.0  # a target
ALL_REGIONS = (
    "Proposition 4: the best of all regions, {how}, with latents within {box:g} standard deviations. certified_share "
    "is of the targets whose distance agrees with a proven lower bound"
)
PARTITION = "of the exact partition of the plane's square"
CODES = "by an integer program over the activation codes"
NOTE = (
    "targets are the network's own outputs, so that an exact latent exists; success is a mean squared error of at most "
    "the tolerance times the target's variance. Local minima: failures do not show that a target cannot be made"
)


def inversion(subject):
    """The Section of inverting `sizes.inversion_targets` outputs by both methods from near and from random starts."""
    random, n = subject.random(6), subject.sizes.inversion_targets
    x = subject.inputs(n, random)
    with torch.no_grad():
        targets = subject.space_map(x)
    scale = x.square().sum(dim=1).mean().sqrt().item()
    domain = "sphere" if subject.on_sphere else "gaussian"
    starts = {
        "near_start": neighbour_pairs(x, NEAR * scale, random, domain)[1],
        "random_start": subject.inputs(n, random),
    }
    iterations = subject.sizes.inversion_iterations
    facts = dict(
        exact=False,
        note=NOTE,
        targets=n,
        tolerance=TOLERANCE,
        near_start_distance=NEAR * scale,
        most_iterations=iterations,
        methods={method: {} for method in METHODS},
    )
    tasks = [(method, name) for method in METHODS for name in starts]
    found = {}

    def counts():
        for method, name in tasks:
            options = dict(iterations=iterations[method], max_memory=subject.max_memory)
            found[method, name] = invert(subject.space_map, targets, starts[name], method=method, **options)
            yield n

    for _ in subject.progress(counts(), n * len(tasks), "inversions"):
        pass
    variance = targets.double().var(dim=1, correction=0)
    for (method, name), each in found.items():
        facts["methods"][method][name] = dict(
            success_share=each.success.double().mean(),
            error_over_variance=summary(each.error / variance),
            iterations=summary(each.iterations),
            map_evaluations=summary(each.evaluations),
        )
    found_everywhere = every_region(subject, targets)
    if found_everywhere is not None:
        facts["all_regions"] = found_everywhere
    if not subject.space_map.space.to_pixels:
        return Section(facts)
    facts["sheet"] = "a row each: targets, then regions and descent from near starts, then both from random starts"
    with torch.no_grad():
        order = [(method, name) for name in starts for method in ("regions", "descent")]
        rows = [targets, *(subject.space_map(found[key].z) for key in order)]
    side = subject.generator.img_resolution
    images = torch.cat(rows).reshape(-1, subject.generator.img_channels, side, side)
    picture = contact_sheet(to_uint8(in_colours(images)), columns=n)
    return Section(facts, (Figure("inversion.png", functools.partial(save_png, picture), matplotlib=False),))


def every_region(subject, targets):
    """Facts of the search over all regions; None for networks whose regions are not known or too many for it."""
    network, n_in = subject.sequential, subject.space_map.in_dim
    if network is None or subject.on_sphere or not is_piecewise_affine(network):
        return None
    if n_in == 2:
        found, box, how = invert_in_partition(exact_partition(network, plane(subject)), targets), PLANE, PARTITION
    else:
        units = units_of(network, n_in)
        if units is None or units > MOST_UNITS:
            return None
        found, box, how = invert_by_codes(network, targets, seconds=SECONDS), BOX, CODES
    return dict(
        note=ALL_REGIONS.format(how=how, box=box),
        certified_share=found.certified.double().mean(),
        distance=summary(found.distance),
        proven_lower_bound=summary(found.lower),
        regions_solved=summary(found.regions),
    )
