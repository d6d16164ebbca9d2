"""The Frobenius norm ‖J‖_F of a map's Jacobian: exact, or estimated from finite differences.

Both take rows and directions as many at once as fit `max_memory` bytes (None: `automatic_memory`) and never hold a
Jacobian whole. `enter` turns rows into inputs of the map, a few at a time (None: rows are those). `row_bytes`: what one
evaluation and one forward product keep alive (`row_cost`), where it is known. Both raise ValueError for a bound too
small for a single one.
"""

import torch

from latent_plugins.volume.spectrum.memory import bytes_per_row, in_chunks
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.precision import full_precision

STEP = 1e-3
BYTES_PER_PRODUCT = 4 + 8 + 8  # an entry of a block of columns: as it is, in float64, and squared


def row_cost(space_map, x):
    """Bytes that one evaluation of the map at a row of x [N, in], or one forward product there, keeps alive."""
    with torch.no_grad(), full_precision(x.device):
        return bytes_per_row(space_map, x) + space_map.out_dim * BYTES_PER_PRODUCT


def exact(space_map, x, *, forward=None, max_memory=None, row_bytes=None, enter=None):
    """‖J‖_F at each row of x: float64 [N], from all columns of the Jacobian (`forward`) or all rows.

    forward None: whichever are fewer; the two differ by rounding. row_bytes counts where it is given.
    """
    if not len(x):
        return x.new_empty(0, dtype=torch.float64)
    enter, norms = enter or _unchanged, []
    with torch.no_grad(), full_precision(x.device):
        forward = space_map.in_dim <= space_map.out_dim if forward is None else forward
        side, length = (space_map.in_dim, space_map.out_dim) if forward else (space_map.out_dim, space_map.in_dim)
        if row_bytes is None:
            passes = 1 if forward else 2  # reverse mode keeps gradients too
            row_bytes = passes * bytes_per_row(space_map, enter(x[:1])) + length * BYTES_PER_PRODUCT
        for rows, m in in_chunks([x], side, row_bytes, 0, max_memory):
            blocks = JacobianOperator(space_map, enter(rows), at_once=m).blocks(forward)
            norms.append(sum(block.double().square().sum(dim=(1, 2)) for block in blocks))
    return torch.cat(norms).sqrt()


def finite(space_map, x, *, directions, draws, step=STEP, max_memory=None, row_bytes=None, enter=None):
    """‖J‖_F at each row of x, estimated from finite differences: float64 [N].

    ‖J‖²_F = E‖Jε‖² ≈ the mean of ‖G(x + σε) − G(x)‖² / σ² over `draws` directions ε ~ N(0, I), σ the `step` (Tanielian
    et al. 2020, "Learning disconnected manifolds: a no GANs land", ICML). directions: function of rows [n, …] with
    the directions [n, draws, in] of each; a latent takes draws + 1 evaluations of the map.
    """
    if not len(x):
        return x.new_empty(0, dtype=torch.float64)
    enter, norms = enter or _unchanged, []
    with torch.no_grad(), full_precision(x.device):
        row_bytes = row_bytes or row_cost(space_map, enter(x[:1]))
        for rows, m in in_chunks([x], draws + 1, row_bytes, 0, max_memory):
            start = enter(rows).unsqueeze(1)
            ends = torch.cat([start, start + step * directions(rows).to(start)], dim=1).flatten(0, 1)
            y = torch.cat([space_map(part) for part in ends.split(len(rows) * m)]).unflatten(0, (len(rows), -1))
            squares = (y[:, 1:].double() - y[:, :1]).square().sum(dim=2)
            norms.append(squares.mean(dim=1).sqrt() / step)
    return torch.cat(norms)


NORMS = {"finite": finite, "exact": exact}


def _unchanged(x):
    return x
