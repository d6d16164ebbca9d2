"""Whole Jacobians of a map, as many latents at a time as fit."""

import torch

from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks
from latent_plugins.spectrum.precision import full_precision
from latent_plugins.spectrum.products import jacobian_columns, jacobian_rows


def check_rows(space_map, x):
    """Raise ValueError unless x is [N, in] for this map, with at least one row."""
    if x.ndim != 2 or x.shape[1] != space_map.in_dim or not len(x):
        raise ValueError(f"x must be [N, {space_map.in_dim}] with at least one row, not of shape {list(x.shape)}")


def jacobians(function, x, *, directions=None, max_memory=None, bytes_per_entry=BYTES_PER_ENTRY):
    """Yield the Jacobians [n, out, in] of a map [N, in] → [N, out] at rows of x [N, in], in order, in x's dtype.

    directions [m, in]: the Jacobian times each of them instead, [n, out, m]. Forward mode when the input is the smaller
    side, reverse mode otherwise. max_memory: bound in bytes for what the products keep alive and for `bytes_per_entry`
    of each entry, which the caller's own copies belong to; None: `automatic_memory`. Raises ValueError for a bound too
    small for a single latent.
    """
    with torch.no_grad(), full_precision(x.device):
        n_in, n_out = x.shape[1], function(x[:1]).shape[1]
        forward = directions is not None or n_in <= n_out
        # Reverse mode keeps the activations of the forward pass and their gradients.
        row_bytes = (1 if forward else 2) * bytes_per_row(function, x)
    product, axis = (jacobian_columns, 2) if forward else (jacobian_rows, 1)
    entries = n_out * (n_in if directions is None else len(directions))
    if directions is None:
        directions = torch.eye(min(n_in, n_out), dtype=x.dtype, device=x.device)
    n, m = plan_chunks(len(x), len(directions), row_bytes, entries * bytes_per_entry, max_memory, x.device)
    for rows in x.split(n):
        # What the caller does between two Jacobians is its own matter, so the settings end before each yield.
        with torch.no_grad(), full_precision(x.device):
            jacobian = torch.cat([product(function, rows, chunk) for chunk in directions.split(m)], dim=axis)
        yield jacobian
