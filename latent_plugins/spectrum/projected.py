"""Spectra of a randomly projected Jacobian, the papers' recipe."""

import torch

from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks
from latent_plugins.spectrum.products import jacobian_rows, top_singular_values


def orthonormal_projection(n_out, projection, generator):
    """`projection` orthonormal directions of R^n_out as rows [projection, n_out]; all of them when there are fewer."""
    if projection >= n_out:
        return torch.eye(n_out)
    gaussian = torch.randn(n_out, projection, generator=generator)
    return torch.linalg.qr(gaussian).Q.T.contiguous()


def projected(space_map, x, *, top_k, max_memory, projection, generator):
    """Top-k singular values [N, top_k] of Qᵀ J(x), Q a random orthonormal basis of `projection` output dimensions.

    Reverse mode: one product a projected dimension (MaGNET, Sec. 4). The values are smaller than the Jacobian's own by
    about √(projection / out), the same factor for every latent, which sampling weights do not see.
    """
    directions = orthonormal_projection(space_map.out_dim, projection, generator).to(x.device)
    jacobian_bytes = len(directions) * space_map.in_dim * BYTES_PER_ENTRY
    # Reverse mode keeps the activations of the forward pass and their gradients.
    row_bytes = 2 * bytes_per_row(space_map, x)
    n, m = plan_chunks(len(x), len(directions), row_bytes, jacobian_bytes, max_memory, x.device)
    result = []
    for rows in x.split(n):
        jacobian = torch.cat([jacobian_rows(space_map, rows, chunk) for chunk in directions.split(m)], dim=1)
        result.append(top_singular_values(jacobian, top_k))
    return torch.cat(result)
