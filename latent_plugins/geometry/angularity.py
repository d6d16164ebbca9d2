"""Angularity: the angles at which the flat pieces of a generated manifold meet, and those between any tangent spaces.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912),
Theorem 4: the angle θ between the images of adjacent regions has sin θ = ‖P(A) − P(A′)‖₂, with P the orthogonal
projections onto the spans of the regions' slopes. `partition_angles` has it for all adjacent regions of an exact
partition, `path_angles` for those that a path of latents visits. `tangent_angles` compares latents at a distance, which
may have many regions between them, or none: that is a measure of ours.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F

from latent_plugins.geometry.crossings import BentMap, crossings
from latent_plugins.geometry.jacobians import check_rows, jacobians
from latent_plugins.geometry.subspaces import spans, subspace_angles
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.spaces import DOMAINS, to_sphere
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.subspace import RELATIVE_ROUNDING

# Two Jacobians at once, and in float64 a basis of either tangent space with its orthonormal form.
PAIR_BYTES_PER_ENTRY = 2 * BYTES_PER_ENTRY + 4 * 8


def principal_angles(a, b):
    """Principal angles between the column spaces of a [N, out, p] and b [N, out, q]: float64 [N, min(p, q)], ascending.

    In radians, 0 to π/2, computed in float64. With orthonormal bases A and B, the cosines are the singular values of
    AᵀB; they say little about small angles, so below π/4 the sines are taken, which are those of (I − AAᵀ)B (Björck and
    Golub, "Numerical Methods for Computing Angles between Linear Subspaces", 1973). Rows that are not finite give NaN.
    Raises ValueError for shapes that do not fit, or columns that are linearly dependent, whose span is smaller.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[:2] != b.shape[:2] or not 0 < min(a.shape[2], b.shape[2]):
        raise ValueError(f"bases must be [N, out, p] and [N, out, q], not {list(a.shape)} and {list(b.shape)}")
    if a.shape[2] < b.shape[2]:
        a, b = b, a  # the sines are those of the smaller space
    a, b = a.double(), b.double()
    broken = ~(torch.isfinite(a).flatten(1).all(dim=1) & torch.isfinite(b).flatten(1).all(dim=1))
    a, b = (_orthonormal(torch.where(broken[:, None, None], torch.eye(*m.shape[1:]).to(m), m)) for m in (a, b))
    product = a.transpose(1, 2) @ b
    cosines = torch.linalg.svdvals(product).clamp(max=1)
    sines = torch.linalg.svdvals(b - a @ product).flip(1).clamp(max=1)
    angles = torch.where(cosines.square() > 0.5, sines.asin(), cosines.acos())
    return torch.where(broken[:, None], torch.nan, angles)


def _orthonormal(basis):
    """An orthonormal basis of the column space of float64 matrices [N, out, p] of full column rank."""
    n_out, p = basis.shape[1:]
    q, r = torch.linalg.qr(basis / basis.norm(dim=1, keepdim=True).clamp(min=torch.finfo(basis.dtype).tiny))
    smallest = r.diagonal(dim1=1, dim2=2).abs().amin(dim=1)
    if p > n_out or (smallest <= n_out * torch.finfo(basis.dtype).eps).any():
        raise ValueError(f"the {p} columns of a basis are linearly dependent: take fewer, or a basis of their span")
    return q


@dataclasses.dataclass(frozen=True)
class AdjacentAngles:
    """Theorem 4 for P pairs of adjacent regions.

    angle [P] float64: θ with sin θ = ‖P(A) − P(A′)‖₂, in radians, 0 to π/2; ranks [P, 2] int64: the dimensions of both
    pieces, which are at a right angle where they differ; hamming [P] int64: in how many entries the regions' activation
    codes differ (Appendix G: 1 across a common face, unless units share their border); pairs [P, 2] int64: the regions
    of a partition, or the paths and their crossings.
    """

    angle: torch.Tensor
    ranks: torch.Tensor
    hamming: torch.Tensor
    pairs: torch.Tensor

    @property
    def sine(self):
        """sin θ [P] float64, as the theorem has it."""
        return self.angle.sin()


def partition_angles(partition, *, tolerance=None):
    """The AdjacentAngles of all adjacent regions of an exact Partition, each pair once; adjacent ones share an edge.

    The slopes are those along the slice: all of A for a network with two inputs, A restricted to the slice's plane for
    others. Raises ValueError for a sampled partition, and for one region, which has no neighbours.
    """
    if not partition.exact:
        raise ValueError("angles between adjacent regions need an exact partition, not a sampled one")
    pairs = torch.from_numpy(partition.adjacent)
    if not len(pairs):
        raise ValueError("the partition has a single region, so there are no adjacent ones")
    slope = torch.from_numpy(partition.slope)
    first, second = pairs.T
    ranks = spans(slope, tolerance)[1]
    return AdjacentAngles(
        angle=subspace_angles(slope[first], slope[second], tolerance=tolerance),
        ranks=ranks[pairs],
        hamming=torch.from_numpy(partition.hamming_distances),
        pairs=pairs,
    )


def path_angles(space_map, paths, *, most=1000, tolerance=None, max_memory=None, progress=unwatched):
    """The AdjacentAngles where paths go from one region of a map into the next, at most so many of each path.

    space_map: see `BentMap`; paths: Lines or GreatCircles. Both slopes are whole ones, at the latent of the crossing,
    which `crossings` finds. That holds for maps that are not affine in their regions, too: there it is the angle of the
    kink. None of a path that stays in one region. max_memory: as for `BentMap`. progress(counts, total, label)
    wraps the loop over paths. Raises ValueError for a map without hard units, or when no path crosses a border.
    """
    bent, angles, ranks, hamming, pairs = BentMap(space_map, max_memory), [], [], [], []

    def paths_done():
        for number, path in enumerate(paths):
            for place, crossing in enumerate(crossings(bent, path, most=most)):
                before, after = (bent.slope(crossing.z, states)[None] for states in (crossing.before, crossing.after))
                angles.append(subspace_angles(before, after, tolerance=tolerance)[0].item())
                ranks.append([spans(slope, tolerance)[1].item() for slope in (before, after)])
                hamming.append(crossing.hamming)
                pairs.append((number, place))
            yield 1

    for _ in progress(paths_done(), len(paths), "paths through regions"):
        pass
    if not angles:
        raise ValueError("no path leaves its region: take longer ones")
    return AdjacentAngles(
        torch.tensor(angles, dtype=torch.float64), torch.tensor(ranks), torch.tensor(hamming), torch.tensor(pairs)
    )


def tangent_angles(space_map, x, y, *, rank, max_memory=None):
    """The largest principal angle between the tangent spaces at each pair of rows of x and y [N, in]: float64 [N].

    A tangent space is spanned by the top `rank` left singular vectors of the Jacobian. Where the Jacobian at either
    point has a smaller rank (singular values below 1e-6 of the largest are rounding) or is not finite, there is no such
    space and the angle is NaN. Spaces are accurate to the float32 rounding of the Jacobian over its `rank`-th singular
    value, and angles below that are rounding too. max_memory: see `jacobians`. Raises ValueError for shapes that do not
    fit or a rank out of range.
    """
    if x.shape != y.shape:
        raise ValueError(f"pairs need as many points on either side, not {list(x.shape)} and {list(y.shape)}")
    if not 1 <= rank <= space_map.max_rank:
        raise ValueError(f"rank {rank} is outside 1 to {space_map.max_rank}, the rank of the space {space_map.name}")
    check_rows(space_map, x)
    options = dict(max_memory=max_memory, bytes_per_entry=PAIR_BYTES_PER_ENTRY)
    angles = []
    for at_x, at_y in zip(jacobians(space_map, x, **options), jacobians(space_map, y, **options)):
        angles.append(principal_angles(_tangents(at_x, rank), _tangents(at_y, rank))[:, -1])
    return torch.cat(angles)


def _tangents(jacobian, rank):
    """Bases [N, out, rank] float64 of the leading left singular spaces of [N, out, in]; NaN where the rank is lower."""
    j = jacobian.double()
    wide = j.shape[1] < j.shape[2]
    gram = j @ j.transpose(1, 2) if wide else j.transpose(1, 2) @ j
    broken = ~torch.isfinite(gram).flatten(1).all(dim=1)
    gram[broken] = 0  # LAPACK refuses NaN
    values, vectors = torch.linalg.eigh(gram)
    basis = vectors[:, :, -rank:] if wide else j @ vectors[:, :, -rank:]
    low = values[:, -rank] <= RELATIVE_ROUNDING**2 * values[:, -1]
    basis[broken | low] = torch.nan
    return basis


def neighbour_pairs(x, distance, generator, domain="gaussian"):
    """(x, y): the points x [N, d] and, for each, one at the given distance in a random direction, both [N, d].

    domain: `gaussian`, straight lines; `sphere`, where x is first rescaled to the length √d and distances are those
    along great circles. generator: a CPU torch.Generator. Raises ValueError for an unknown domain, or a distance that
    is not positive or is farther than half around the sphere.
    """
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
    radius = math.sqrt(x.shape[1])
    farthest = math.pi * radius if domain == "sphere" else math.inf
    if not 0 < distance < farthest:
        raise ValueError(f"the distance must lie between 0 and {farthest:.4g}, not at {distance}")
    direction = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    if domain == "gaussian":
        return x, x + distance * F.normalize(direction, dim=1)
    x = to_sphere(x)
    direction = direction - (direction * x).sum(dim=1, keepdim=True) / radius**2 * x
    angle = distance / radius
    return x, math.cos(angle) * x + radius * math.sin(angle) * F.normalize(direction, dim=1)
