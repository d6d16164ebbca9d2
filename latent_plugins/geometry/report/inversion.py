"""Finding the latents of outputs that the network itself has made."""

import functools

import torch

from latent_plugins.geometry.angularity import neighbour_pairs
from latent_plugins.geometry.inversion import METHODS, TOLERANCE, invert
from latent_plugins.geometry.report.disentanglement import in_colours
from latent_plugins.geometry.report.subject import Figure, Section, summary
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png, to_uint8

NEAR = 0.05  # distance of a near start, as a part of the latents' length
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
