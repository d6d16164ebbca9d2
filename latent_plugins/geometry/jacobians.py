"""Whole Jacobians of a map, as many latents at a time as fit."""

from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.operator import JacobianOperator


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
    operator = JacobianOperator(function, x, max_memory=max_memory)
    k = min(operator.in_dim, operator.out_dim) if directions is None else len(directions)
    side = operator.out_dim if directions is not None else max(operator.in_dim, operator.out_dim)
    reverse = directions is None and not operator.forward
    # What the caller does between two Jacobians is its own matter, so the operator's arithmetic ends before each yield.
    for part in operator.chunks(k, k * side * bytes_per_entry, reverse):
        yield part.dense() if directions is None else part.columns(directions.T)
