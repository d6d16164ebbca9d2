"""Angularity: the angles between the tangent spaces of a generated manifold at two points.

Between adjacent regions they are the manifold's kinks. Source: "Max-Affine Spline Insights into Deep Generative
Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912).
"""

import math

import torch
import torch.nn.functional as F

from latent_plugins.geometry.jacobians import check_rows, jacobians
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
