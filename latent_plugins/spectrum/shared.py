"""Spectra on few input directions that come from one set which all latents share.

Of most maps that set is a basis of the input space itself. Of a composition with a cheap first part (z → w → pixel) it
lies between the parts, in w: the mean metric of the second part. Each latent pulls it back through its own first
Jacobian, so that its directions are its own. On the embedded network, with 6 directions more than top_k = 15, the rank
correlation with exact volumes rises from 0.9976 for a basis in z to 0.9996.
"""

import torch

from latent_plugins.spectrum.composition import Products, first_part_bytes, parts_of, pulled_back
from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks
from latent_plugins.spectrum.precision import full_precision
from latent_plugins.spectrum.products import jacobian_columns, top_singular_values

# Columns of a composition's basis for each direction: the part of the mean metric that a pull-back may weigh.
METRIC_COLUMNS = 2


def shared_basis(space_map, x, q, *, max_memory):
    """What `q` directions of every latent come from, learned at x [N, in].

    Of a composition: B [mid, r] float32 with B Bᵀ the r = min(2q, mid) leading part of the mean over the latents of
    J₂ᵀJ₂ / trace. Of other maps: q orthonormal input directions [in, q] float32 that the top right-singular spaces have
    in common, the leading eigenvectors of the mean projector. Every latent counts alike, whatever its volume. Takes a
    whole Jacobian a latent, in forward mode. Raises ValueError when q is outside 1 to in, or no latent's Jacobian is
    finite.
    """
    return basis_of(space_map, mean_metric(space_map, x, q, max_memory=max_memory), q)


def mean_metric(space_map, x, q, *, max_memory):
    """The mean over x [N, in] that `shared_basis` decomposes: [mid, mid] of a composition, else [in, in]; float64."""
    if not 1 <= q <= space_map.in_dim:
        raise ValueError(f"a basis of {q} directions is outside 1 to {space_map.in_dim}, the inputs of the space")
    parts = parts_of(space_map)
    with torch.no_grad(), full_precision(x.device):
        if parts is not None:
            first, second = parts
            return sum(map(_sum_of_metrics, _grams(second, first(x), max_memory))) / len(x)
        # The radial null direction of the sphere must not count as a top direction.
        rank = min(q, space_map.max_rank)
        return sum(_sum_of_projectors(gram, rank) for gram in _grams(space_map, x, max_memory)) / len(x)


def basis_of(space_map, metric, q):
    """The basis float32 that belongs to a mean metric (or to a sum of some), see `shared_basis`."""
    if not metric.any():
        raise ValueError("no latent to learn a basis from has a finite Jacobian")
    eigenvalues, vectors = torch.linalg.eigh(metric)
    if parts_of(space_map) is None:
        return vectors.flip(1)[:, :q].float().contiguous()
    r = min(METRIC_COLUMNS * q, len(metric))
    return (vectors * eigenvalues.clamp(min=0).sqrt()).flip(1)[:, :r].float().contiguous()


def _grams(space_map, x, max_memory):
    """Yield JᵀJ [n, in, in] float64 at rows of x [N, in]; rows whose Jacobian is not finite are left out."""
    directions = torch.eye(space_map.in_dim, device=x.device)
    jacobian_bytes = space_map.in_dim * (space_map.in_dim + space_map.out_dim) * BYTES_PER_ENTRY
    n, m = plan_chunks(len(x), len(directions), bytes_per_row(space_map, x), jacobian_bytes, max_memory, x.device)
    for rows in x.split(n):
        columns = [jacobian_columns(space_map, rows, chunk) for chunk in directions.split(m)]
        jacobian = torch.cat(columns, dim=2).double()
        gram = jacobian.transpose(1, 2) @ jacobian
        yield gram[torch.isfinite(gram).flatten(1).all(dim=1)]  # LAPACK refuses NaN


def _sum_of_metrics(gram):
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
    return (gram[trace > 0] / trace[trace > 0, None, None]).sum(dim=0)


def _sum_of_projectors(gram, rank):
    top = torch.linalg.eigh(gram).eigenvectors[:, :, -rank:]
    return (top @ top.transpose(1, 2)).sum(dim=0)


def shared(space_map, x, *, top_k, max_memory, basis, directions=None):
    """Top-k singular values [N, top_k] of J(x) on `directions` input directions of each row of x [N, in].

    basis: of `shared_basis`; directions: by default all of a plain map's basis, half the columns of a composition's.
    So many forward products, which share the primal. The values are bounds from below (Courant–Fischer): what the
    Jacobian does beyond these directions is missing, so volumes are too small, by about the same factor for latents
    like those that the basis was learned from and by more for unusual ones.
    """
    blocks = shared_products(space_map, x, max_memory=max_memory, basis=basis, directions=directions)
    return torch.cat([top_singular_values(block, top_k) for block in blocks])


def shared_products(space_map, x, *, max_memory, basis, directions=None):
    """Yield J(x)V [n, out, q] for the rows of x [N, in] in turn, V the directions of `shared`."""
    basis = basis.to(x.device, x.dtype)
    q = number_of_directions(space_map, basis, directions)
    block_bytes = q * space_map.out_dim * BYTES_PER_ENTRY + first_part_bytes(space_map)
    n, m = plan_chunks(len(x), q, bytes_per_row(space_map, x), block_bytes, max_memory, x.device)
    for rows in x.split(n):
        products = Products(space_map, rows)
        if products.first is None:
            own = basis[:, :q].expand(len(rows), -1, -1)
        else:
            own = pulled_back(basis.T @ products.first, q)
        yield products.columns(own, m)


def number_of_directions(space_map, basis, directions=None):
    """How many directions `shared` takes on a basis."""
    if directions is not None:
        return directions
    columns = basis.shape[1]
    return columns if parts_of(space_map) is None else min(-(-columns // METRIC_COLUMNS), space_map.in_dim)
