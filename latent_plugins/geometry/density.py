"""Densities and entropies of generated points: the change of variables on a piecewise affine manifold.

p_G(x) = Σ over the regions whose image holds x of p_z(A⁺(x − b)) / √det(AᵀA), a density on the generator's own
manifold (Balestriero, Paris, Baraniuk, "Max-Affine Spline Insights into Deep Generative Networks", 2020; Humayun,
Balestriero, Baraniuk, "MaGNET", 2022).
"""

import dataclasses
import itertools
import math

import numpy as np
import torch

from latent_plugins.geometry.partition import CHUNK_ENTRIES
from latent_plugins.geometry.piecewise import log_volumes, rank_tolerance

FEW_DRAWS = "an estimate with a standard error needs at least 2 draws, not {}"


def density_at(space_map, z, prior, *, max_memory=None):
    """log p_G [N] float64 at the generated points G(z) of latents z [N, in], from each latent's own region.

    That is the whole density where G is injective, as for a smooth map; where it folds, it is one term of the sum, see
    `exact_density`. The Jacobians are those of the network's dtype. +inf where the Jacobian has not full rank: mass
    without volume has no density; −inf where the prior has none. Raises ValueError for latents that fit neither map nor
    prior.
    """
    log_prior = prior.log_prob(z)
    result = log_prior - log_volumes(space_map, z, max_memory=max_memory).to(log_prior.device)
    return result.masked_fill(log_prior == -math.inf, -math.inf)


def exact_density(partition, x, prior, *, tolerance=1e-9):
    """log p_G [N] float64 at points x [N, out], from all regions of a Partition whose image holds them.

    partition: an exact one of a network with two inputs; latents outside its rectangle are left out. prior: of two
    dimensions. −inf where no latent of the rectangle is mapped to x. tolerance: relative error that x may have as an
    image (1e-5 suits images computed in float32). A latent on the edge of two regions counts once. Raises ValueError
    for another partition, points that do not fit, or points in the image of a region whose slope has not full rank:
    there is mass without volume, and no density.
    """
    if not partition.exact:
        raise ValueError("the density over all regions needs an exact partition, not a sampled one")
    n_in = len(partition.slice.origin)
    if n_in != 2:
        raise ValueError(
            f"the density over all regions needs a network with 2 inputs, not {n_in}: a slice does not hold all latents"
        )
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != partition.offset.shape[1] or not np.isfinite(x).all():
        raise ValueError(f"the points must be finite and [N, {partition.offset.shape[1]}], not {list(x.shape)}")
    lost = _images_without_volume(partition, x, tolerance)
    if lost.any():
        raise ValueError(
            f"{lost.sum()} of {len(x)} points, the first at row {lost.argmax()}, lie in the image of a region whose "
            "slope has not full rank: there is no density there"
        )
    points, regions, places = _once(*_preimages(partition, x, tolerance), 10 * tolerance * partition.slice.diagonal)
    terms = prior.log_prob(partition.slice.latents(places)).numpy() - partition.log_volume[regions]
    result = np.full(len(x), -np.inf)
    np.logaddexp.at(result, points, terms)
    return torch.from_numpy(result)


def _preimages(partition, x, tolerance):
    """(rows of x [H], regions [H], slice coordinates [H, 2]): each region of full rank whose image holds a point."""
    inverse = np.linalg.pinv(partition.slope, rcond=rank_tolerance(torch.float64))
    shift = np.einsum("rio,ro->ri", inverse, partition.offset)
    full = np.isfinite(partition.log_volume)
    found = []
    rows = max(1, CHUNK_ENTRIES // (32 * len(partition)))
    for start in range(0, len(x), rows):
        places = np.einsum("rio,no->nri", inverse, x[start : start + rows]) - shift
        inside = full & (partition.outside(places) <= tolerance * partition.slice.diagonal)
        points, regions = np.nonzero(inside)
        places = places[points, regions]
        points += start
        image = np.einsum("hoi,hi->ho", partition.slope[regions], places)
        held = _is_image(x[points], partition.offset[regions], image, tolerance)
        found.append((points[held], regions[held], places[held]))
    return tuple(np.concatenate(part) for part in zip(*found)) if found else ([], [], np.zeros((0, 2)))


def _is_image(x, offset, moved, tolerance):
    """Whether x = offset + moved [N, out], relative to the size of the terms."""
    scale = sum(np.linalg.norm(term, axis=-1) for term in (x, offset, moved))
    return np.linalg.norm(x - offset - moved, axis=-1) <= tolerance * scale


def _once(points, regions, places, radius):
    """The preimages without those that repeat one of the same point in a neighbouring region."""
    keep = []
    for _, group in itertools.groupby(range(len(points)), key=points.__getitem__):
        kept = []
        for i in group:
            if all(np.linalg.norm(places[i] - places[j]) > radius for j in kept):
                kept.append(i)
        keep += kept
    return np.array(points, dtype=int)[keep], np.array(regions, dtype=int)[keep], places[keep]


def _images_without_volume(partition, x, tolerance):
    """Whether each of x [N, out] lies in the image, a segment or a point, of a region without full rank: [N] bool."""
    lost = np.zeros(len(x), dtype=bool)
    for i in np.flatnonzero(~np.isfinite(partition.log_volume)):
        slope, offset = partition.slope[i], partition.offset[i]
        direction = np.linalg.svd(slope, full_matrices=False)[0][:, 0]
        ends = partition.vertices[i] @ (direction @ slope)
        along = np.clip((x - offset) @ direction, ends.min(), ends.max())
        lost |= _is_image(x, offset, along[:, None] * direction, tolerance)
    return lost


@dataclasses.dataclass(frozen=True)
class Entropy:
    """A Monte Carlo estimate in nats: `value` and its `standard_error` from `n` draws, `singular` of them without full
    rank."""

    value: float
    standard_error: float
    n: int
    singular: int


def entropy(space_map, prior, n, generator, *, top_k=None, max_memory=None):
    """The Entropy of generated points, h(p_z) + E log √det(AᵀA), from n draws of the prior.

    It is the differential entropy on the manifold of an injective map; where a map folds, an upper bound. A draw whose
    Jacobian has not full rank counts as it is, with a log-volume of −inf: then the entropy is −inf, its standard error
    NaN, and `singular` tells how many such draws there were. For generators that collapse dimensions (all whose domain
    is the sphere do) `top_k` takes the product of the k largest singular values for the volume; the result then
    compares generators, but is no entropy. space_map: as for `affine_map`; generator: a CPU torch.Generator. Raises
    ValueError for fewer than two draws, a prior that does not fit the map, or Jacobians that are not finite.
    """
    if n < 2:
        raise ValueError(FEW_DRAWS.format(n))
    volumes = log_volumes(space_map, prior.sample(n, generator), top_k=top_k, max_memory=max_memory)
    return entropy_of(volumes, prior)


def entropy_of(volumes, prior):
    """The Entropy of log-volumes [n] float64 at n draws of a prior, as `entropy` has it; −inf stands for no full rank.

    Raises ValueError for fewer than two, or one that is NaN.
    """
    n = len(volumes)
    if n < 2:
        raise ValueError(FEW_DRAWS.format(n))
    if volumes.isnan().any():
        raise ValueError(f"{int(volumes.isnan().sum())} of {n} draws have a Jacobian that is not finite")
    singular = int(volumes.isneginf().sum())
    error = float(volumes.std()) / math.sqrt(n) if singular == 0 else math.nan
    return Entropy(prior.entropy + float(volumes.mean()), error, n, singular)
