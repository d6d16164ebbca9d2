"""The partition of a slice of latents: exact where the network allows it, else sampled."""

import functools

import numpy as np

from latent_plugins.geometry.partition import Slice, exact_partition, sampled_partition, slice_through
from latent_plugins.geometry.partition_plot import save_partition
from latent_plugins.geometry.piecewise import is_piecewise_affine
from latent_plugins.geometry.report.subject import Figure, Section, summary

PLANE = 3.0  # half side of the square that is shown of two inputs: standard deviations
EXACT = "every region of the slice, its area, its neighbours and its affine map, to the rounding of float64"
SAMPLED = "log-volumes along the slice to first order, at the cells' centres: regions are not known"
COUNTED = f"{SAMPLED} but by the activation codes there; those smaller than a cell may be missing"


def partition(subject):
    """The Section of a slice through three latents of the prior, or of the plane where the map has two inputs."""
    where = plane(subject)
    network = subject.sequential
    if network is not None and is_piecewise_affine(network):
        found = exact_partition(network, where)
        facts = exact_facts(found)
    else:
        options = dict(resolution=subject.sizes.partition_resolution, max_memory=subject.max_memory)
        found = sampled_partition(subject.space_map, where, progress=subject.progress, **options)
        facts = sampled_facts(found)
    facts["slice"] = dict(
        through="the plane of all latents" if len(where.origin) == 2 else "three latents of the prior",
        low=where.low,
        high=where.high,
        area=where.area,
    )
    return Section(facts, (Figure("partition.png", functools.partial(save_partition, partition=found)),))


def plane(subject):
    """The Slice that is looked at. Raises ValueError for a map with a single input."""
    if subject.space_map.in_dim < 2:
        raise ValueError(f"a slice needs at least two inputs, the space {subject.space_map.name} has 1")
    if subject.space_map.in_dim == 2 and not subject.on_sphere:
        return Slice(np.zeros(2), np.eye(2), -PLANE, PLANE)
    return slice_through(*subject.inputs(3, subject.random(1)).double().cpu().numpy())


def exact_facts(found):
    """Facts of a Partition; log-volumes are weighted by areas."""
    full = np.isfinite(found.log_volume)
    facts = dict(
        exact=True,
        note=EXACT,
        regions=len(found),
        regions_inside_the_slice=int(found.bounded.sum()),
        regions_without_full_rank=int((~full).sum()),
        area=summary(found.area),
        neighbours_mean=np.mean([len(each) for each in found.neighbours]),
        hamming_distance_of_neighbours=summary(found.hamming_distances),
        log_volume=summary(found.log_volume[full]),
    )
    if full.any():
        facts["log_volume"]["mean_by_area"] = np.average(found.log_volume[full], weights=found.area[full])
    return facts


def sampled_facts(found):
    """Facts of a SampledPartition."""
    facts = dict(exact=False, note=SAMPLED if found.code is None else COUNTED, cells=found.log_volume.size)
    if found.code is not None:
        facts["codes_found"] = int(found.code.max()) + 1
    facts["log_volume_of_the_slice"] = summary(found.log_volume)
    return facts
