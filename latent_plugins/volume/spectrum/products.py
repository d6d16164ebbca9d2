"""Products with the Jacobian of a batched map whose rows are independent, many directions at a time."""

import torch

from latent_plugins.volume.spectrum.compiled import product


def jacobian_columns(space_map, x, directions):
    """J(x_n) v_m for every row x_n of x [N, in] and every direction v_m of [M, in]: [N, out, M], forward mode.

    The primal pass is shared by all directions.
    """

    return product(_columns, space_map, x, directions)


def _columns(space_map, x, directions):
    own = _own_products(space_map, x, directions.T)
    if own is not None:
        return own

    def column(v):
        return torch.func.jvp(space_map, (x,), (v.expand_as(x),))[1]

    return torch.func.vmap(column, in_dims=0, out_dims=2)(directions)


def jacobian_rows(space_map, x, directions):
    """u_mᵀ J(x_n) for every row x_n of x [N, in] and every direction u_m of [M, out]: [N, M, in], reverse mode."""
    return product(_rows, space_map, x, directions)


def _rows(space_map, x, directions):
    y, pullback = torch.func.vjp(space_map, x)
    return torch.func.vmap(lambda u: pullback(u.expand_as(y))[0], in_dims=0, out_dims=1)(directions)


def jacobian_columns_each(space_map, x, directions):
    """J(x_n) v_nm for every row x_n of x [N, in] and its own directions [N, in, M]: [N, out, M], forward mode.

    The primal pass is shared by all directions. (torch.func.linearize gives the same numbers, but traces the map anew
    for every batch, which takes longer than the products.)
    """
    return product(_columns_each, space_map, x, directions)


def _columns_each(space_map, x, directions):
    own = _own_products(space_map, x, directions)
    if own is not None:
        return own
    return torch.func.vmap(lambda v: torch.func.jvp(space_map, (x,), (v,))[1], in_dims=2, out_dims=2)(directions)


def _own_products(space_map, x, directions):
    """What a map's own forward products give; None where it has none that fit: they know float32 without gradients."""
    tangents = getattr(space_map, "tangents", None)
    if tangents is None or torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
        return None
    return tangents(x, directions)


def jacobian_rows_each(space_map, x, directions):
    """u_nmᵀ J(x_n) for every row x_n of x [N, in] and its own directions [N, M, out]: [N, M, in], reverse mode."""
    return product(_rows_each, space_map, x, directions)


def _rows_each(space_map, x, directions):
    _, pullback = torch.func.vjp(space_map, x)
    return torch.func.vmap(lambda u: pullback(u)[0], in_dims=1, out_dims=1)(directions)


def top_singular_values(matrices, k):
    """The k largest singular values of [N, a, b] float32 matrices: [N, k] float32, descending.

    From the eigenvalues of the smaller Gram matrix in float64: the products of float32 numbers are exact there, so the
    error is about 1e-8 of the largest singular value, below the rounding of the matrices themselves.
    """
    m = matrices.double()
    if m.shape[1] > m.shape[2]:
        m = m.transpose(1, 2)
    eigenvalues = gram_eigenvalues(m)
    return eigenvalues.flip(1)[:, :k].clamp(min=0).sqrt().float()


def gram_eigenvalues(m):
    """Ascending eigenvalues [N, a] of m mᵀ for m [N, a, b]; rows of NaN where m is not finite."""
    gram = m @ m.transpose(1, 2)
    broken = ~torch.isfinite(gram).flatten(1).all(dim=1)
    gram[broken] = 0  # LAPACK refuses NaN; such rows are reported as NaN instead of stopping the rest
    eigenvalues = torch.linalg.eigvalsh(gram)
    eigenvalues[broken] = torch.nan
    return eigenvalues
