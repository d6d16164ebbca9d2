"""Disentanglement: whether the latent's coordinates move the output in directions of their own.

A generator is disentangled where the columns of its Jacobian are orthogonal: then Q, the matrix of their absolute
cosines, is the identity. Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and
Baraniuk, arXiv:2002.11912), where the columns are those of a region's slope matrix.
"""

import dataclasses

import torch

from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, full_precision, plan_chunks
from latent_plugins.spectrum.products import jacobian_columns, jacobian_rows
from latent_plugins.spectrum.subspace import RELATIVE_ROUNDING


def check_rows(space_map, x):
    """Raise ValueError unless x is [N, in] for this map, with at least one row."""
    if x.ndim != 2 or x.shape[1] != space_map.in_dim or not len(x):
        raise ValueError(f"x must be [N, {space_map.in_dim}] with at least one row, not of shape {list(x.shape)}")


def jacobians(space_map, x, *, max_memory=None, bytes_per_entry=BYTES_PER_ENTRY):
    """Yield the whole Jacobians [n, out, in] at rows of x [N, in], in order, as many at a time as fit.

    Forward mode when the input is the smaller side, reverse mode otherwise. max_memory: bound in bytes for what the
    products keep alive and for `bytes_per_entry` of each entry, which the caller's own copies belong to; None:
    `automatic_memory`. Raises ValueError for x of another shape, or a bound too small for a single latent.
    """
    check_rows(space_map, x)
    n_in, n_out = space_map.in_dim, space_map.out_dim
    product, axis, mode_cost = (jacobian_columns, 2, 1) if n_in <= n_out else (jacobian_rows, 1, 2)
    directions = torch.eye(min(n_in, n_out), dtype=x.dtype, device=x.device)
    with torch.no_grad(), full_precision():
        row_bytes = mode_cost * bytes_per_row(space_map, x)
    n, m = plan_chunks(len(x), len(directions), row_bytes, n_in * n_out * bytes_per_entry, max_memory, x.device)
    for rows in x.split(n):
        # What the caller does between two Jacobians is its own matter, so the settings end before each yield.
        with torch.no_grad(), full_precision():
            jacobian = torch.cat([product(space_map, rows, chunk) for chunk in directions.split(m)], dim=axis)
        yield jacobian


def column_cosines(jacobian):
    """Q, the absolute cosines between the columns of Jacobians [N, out, in]: float64 [N, in, in], ones on the diagonal.

    A column that is zero has no direction: its cosines with all others are 0. Columns shorter than float32's rounding
    of the longest one (a part of 1e-6) count as zero. Jacobians that are not finite give rows of NaN.
    """
    return _cosines(jacobian)[0]


def _cosines(jacobian):
    """(Q [N, in, in], which columns are zero [N, in])."""
    j = jacobian.double()
    gram = j.transpose(1, 2) @ j
    lengths = gram.diagonal(dim1=1, dim2=2).sqrt()
    zero = lengths <= RELATIVE_ROUNDING * lengths.amax(dim=1, keepdim=True)
    scale = torch.where(zero, 0, 1 / lengths)
    q = (gram * scale[:, :, None] * scale[:, None, :]).abs().clamp(max=1)
    broken = ~torch.isfinite(gram).flatten(1).all(dim=1)
    q.diagonal(dim1=1, dim2=2).fill_(1)
    q[broken] = torch.nan
    return q, zero & ~broken[:, None]


@dataclasses.dataclass(frozen=True)
class Disentanglement:
    """How far from orthogonal the columns of a Jacobian are.

    `cosine_mean`, `cosine_max`: mean and largest over latents of a latent's mean cosine between two different columns
    (0: orthogonal, 1: parallel); `distance_mean`, `distance_max`: the same of the Frobenius norm ‖Q − I‖_F, which is at
    most √(in (in − 1)). `latents`: how many latents that is; `left_out`: those with fewer than two columns or with a
    Jacobian that is not finite; `zero_columns`: columns of zeros in the latents that count, all together.
    """

    cosine_mean: float
    cosine_max: float
    distance_mean: float
    distance_max: float
    latents: int
    left_out: int
    zero_columns: int


def disentanglement(space_map, x, *, max_memory=None):
    """The Disentanglement of `space_map` at the latents x [N, in].

    A latent's mean cosine is over pairs of columns that are not zero; in ‖Q − I‖_F zero columns contribute nothing. On
    the sphere the columns are those of the map on the tangent space, whose coordinates depend on each other a little.
    max_memory: see `jacobians`. Raises ValueError for x of another shape, or when no latent counts.
    """
    cosines, distances, zeros = [], [], []
    # Beyond the Jacobian's own: the products, their cosines and intermediates.
    extra = 6 * 8 * space_map.in_dim // max(space_map.out_dim, 1)
    for jacobian in jacobians(space_map, x, max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY + extra):
        q, zero = _cosines(jacobian)
        distance = (q - torch.eye(q.shape[1], dtype=q.dtype, device=q.device)).flatten(1)
        columns = (~zero).sum(dim=1)
        # The diagonal is gone, and zero columns have only zeros. No pairs: NaN.
        cosines.append(distance.sum(dim=1) / (columns * (columns - 1)))
        distances.append(distance.norm(dim=1))
        zeros.append(zero.sum(dim=1))
    cosines, distances, zeros = (torch.cat(parts) for parts in (cosines, distances, zeros))
    counts = torch.isfinite(cosines)
    if not counts.any():
        raise ValueError("no latent has a finite Jacobian with two columns that are not zero")
    cosines, distances = cosines[counts], distances[counts]
    return Disentanglement(
        cosine_mean=cosines.mean().item(),
        cosine_max=cosines.max().item(),
        distance_mean=distances.mean().item(),
        distance_max=distances.max().item(),
        latents=len(cosines),
        left_out=int((~counts).sum()),
        zero_columns=int(zeros[counts].sum()),
    )


def column_images(space_map, x, columns, shape):
    """Columns of the Jacobian at one latent x [1, in] as images [n, C, H, W] in [−1, 1]: what each coordinate changes.

    columns: indices of n latent coordinates; shape: (C, H, W) of the output. Each image is scaled on its own, so that
    its largest magnitude is 1; a column of zeros stays zero. Raises ValueError for a shape that the output has not, or
    an index out of range.
    """
    check_rows(space_map, x)
    columns = torch.as_tensor(columns, dtype=torch.long, device=x.device).flatten()
    if len(x) != 1:
        raise ValueError(f"column images are of one latent, not of {len(x)}")
    if len(shape) != 3 or torch.Size(shape).numel() != space_map.out_dim:
        raise ValueError(f"an output of {space_map.out_dim} entries is no image of shape {list(shape)}")
    if not len(columns) or not 0 <= columns.min() <= columns.max() < space_map.in_dim:
        raise ValueError(f"columns must be indices from 0 to {space_map.in_dim - 1}, not {columns.tolist()}")
    directions = torch.eye(space_map.in_dim, dtype=x.dtype, device=x.device)[columns]
    with torch.no_grad(), full_precision():
        images = jacobian_columns(space_map, x, directions)[0].T
    largest = images.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, images / largest, 0).reshape(-1, *shape)
