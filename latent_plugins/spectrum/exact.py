"""Spectra from the whole Jacobian."""

import torch

from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks
from latent_plugins.spectrum.products import jacobian_columns, jacobian_rows, top_singular_values


def exact(space_map, x, *, top_k, max_memory):
    """Top-k singular values [N, top_k] of the whole Jacobian at each row of x [N, in].

    Forward mode when the input is the smaller side, reverse mode otherwise.
    """
    n_in, n_out = space_map.in_dim, space_map.out_dim
    forward = n_in <= n_out
    product, axis = (jacobian_columns, 2) if forward else (jacobian_rows, 1)
    directions = torch.eye(min(n_in, n_out), device=x.device)
    jacobian_bytes = n_in * n_out * BYTES_PER_ENTRY
    n, m = plan_chunks(len(x), len(directions), bytes_per_row(space_map, x), jacobian_bytes, max_memory, x.device)
    result = []
    for rows in x.split(n):
        jacobian = torch.cat([product(space_map, rows, chunk) for chunk in directions.split(m)], dim=axis)
        result.append(top_singular_values(jacobian, top_k))
    return torch.cat(result)
