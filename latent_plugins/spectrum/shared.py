"""Spectra on one low-dimensional set of input directions that all latents share."""

import torch

from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, full_precision, plan_chunks
from latent_plugins.spectrum.products import jacobian_columns, top_singular_values


def shared_basis(space_map, x, q, *, max_memory):
    """q orthonormal input directions [in, q] float32 that the top right-singular spaces at x [N, in] have in common.

    They are the leading eigenvectors of `mean_projector`: every latent counts alike, whatever its volume. (The mean of
    JᵀJ scaled to a trace of one does nearly as well: over twenty splits of the embedded network's latents the rank
    correlation of held-out volumes was 0.9957 with projectors and 0.9953 with traces.) Takes a whole Jacobian a latent,
    in forward mode. Raises ValueError when q is outside 1 to in, or no latent's Jacobian is finite.
    """
    return basis_of(mean_projector(space_map, x, q, max_memory=max_memory), q)


def mean_projector(space_map, x, q, *, max_memory):
    """The mean [in, in] float64 over the latents x [N, in] of projectors onto their top q right-singular vectors."""
    if not 1 <= q <= space_map.in_dim:
        raise ValueError(f"a basis of {q} directions is outside 1 to {space_map.in_dim}, the inputs of the space")
    with torch.no_grad(), full_precision():
        # The radial null direction of the sphere must not count as a top direction.
        return sum(_top_projectors(space_map, x, min(q, space_map.max_rank), max_memory)) / len(x)


def basis_of(projector, q):
    """The q leading eigenvectors [in, q] float32 of a mean projector (or of a sum of some)."""
    if not projector.any():
        raise ValueError("no latent to learn a basis from has a finite Jacobian")
    return torch.linalg.eigh(projector).eigenvectors.flip(1)[:, :q].float().contiguous()


def _top_projectors(space_map, x, rank, max_memory):
    """Yield sums [in, in] float64 of projectors onto the `rank` top right-singular vectors at rows of x [N, in].

    Rows whose Jacobian is not finite are left out.
    """
    directions = torch.eye(space_map.in_dim, device=x.device)
    jacobian_bytes = space_map.in_dim * (space_map.in_dim + space_map.out_dim) * BYTES_PER_ENTRY
    n, m = plan_chunks(len(x), len(directions), bytes_per_row(space_map, x), jacobian_bytes, max_memory, x.device)
    for rows in x.split(n):
        columns = [jacobian_columns(space_map, rows, chunk) for chunk in directions.split(m)]
        jacobian = torch.cat(columns, dim=2).double()
        gram = jacobian.transpose(1, 2) @ jacobian
        gram = gram[torch.isfinite(gram).flatten(1).all(dim=1)]  # LAPACK refuses NaN
        top = torch.linalg.eigh(gram).eigenvectors[:, :, -rank:]
        yield (top @ top.transpose(1, 2)).sum(dim=0)


def shared(space_map, x, *, top_k, max_memory, basis):
    """Top-k singular values [N, top_k] of J(x)·basis at each row of x [N, in]; basis: [in, q] of `shared_basis`.

    q forward products that share the primal. The values are bounds from below (Courant–Fischer): what the Jacobian does
    outside the basis is missing, so volumes are too small, by about the same factor for latents like those that the
    basis was learned from and by more for unusual ones. On the sphere each latent has a null direction of its own, the
    radial one; the part of the basis along it is lost, and how much that is differs a little between latents.
    """
    directions = basis.to(x.device, x.dtype).T.contiguous()
    block_bytes = len(directions) * space_map.out_dim * BYTES_PER_ENTRY
    n, m = plan_chunks(len(x), len(directions), bytes_per_row(space_map, x), block_bytes, max_memory, x.device)
    result = []
    for rows in x.split(n):
        block = torch.cat([jacobian_columns(space_map, rows, chunk) for chunk in directions.split(m)], dim=2)
        result.append(top_singular_values(block, top_k))
    return torch.cat(result)
