"""Top singular values by randomized block power iteration."""

import torch

from latent_plugins.spectrum.composition import Products, first_part_bytes, leading_directions
from latent_plugins.spectrum.exact import exact
from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks
from latent_plugins.spectrum.products import top_singular_values

# The float64 copies of a block's entry that its orthonormalisation makes: the argument and Q.
QR_BYTES_PER_ENTRY = 8 + 8
# Singular values below this part of the largest one are float32 rounding, they must not enter the residual.
RELATIVE_ROUNDING = 1e-6


def subspace(space_map, x, *, top_k, max_memory, oversample=8, iterations=1, generator):
    """Top-k singular values [N, top_k] float32 of the Jacobian J at each row of x [N, in], approached from below.

    Halko, Martinsson, Tropp, "Finding structure with randomness" (2011), Algorithm 4.4: Y = JΩ for
    q = top_k + oversample random orthonormal directions, then `iterations` times Z = Jᵀ orth(Y), Y = J orth(Z); the
    values are those of the last Y. One Ω serves all latents, so that their volumes are comparable; it comes from
    `generator`, a CPU torch.Generator (None: torch's own). Of a composition with a cheap first part (z → w → pixel) the
    leading right-singular vectors of the first Jacobian take the place of Ω: a far better start, which depends on the
    latent alone. That is (2·iterations + 1)·q products: cheaper than `exact`
    only when the Jacobian's smaller side is longer. Where q reaches the rank the result is `exact`'s.
    """
    options = dict(oversample=oversample, iterations=iterations, generator=generator)
    return subspace_with_residual(space_map, x, top_k=top_k, max_memory=max_memory, **options)[0]


def subspace_with_residual(space_map, x, *, top_k, max_memory, oversample=8, iterations=1, generator):
    """(values, residual [N] float32): the values of `subspace`, and how much its last products changed the log-volume.

    The residual is Σ log of the values of the last Y minus Σ log of those of the Z before. Both are bounds from below
    (Courant–Fischer) and the second is the smaller, so the residual is what the last products J orth(Z) gained: a
    small one says that another iteration would change little. It is an estimate and no bound. Zero where the result
    is exact; NaN without iterations, which leave nothing to compare.
    """
    q = min(top_k + oversample, space_map.max_rank, space_map.in_dim)
    if q == space_map.max_rank:
        return exact(space_map, x, top_k=top_k, max_memory=max_memory), x.new_zeros(len(x))
    start = orthonormal(torch.randn(space_map.in_dim, q, generator=generator)).to(x.device)
    block_bytes = q * (space_map.in_dim + space_map.out_dim) * (BYTES_PER_ENTRY + QR_BYTES_PER_ENTRY)
    block_bytes += first_part_bytes(space_map)
    # Reverse mode keeps the activations of the forward pass and their gradients.
    row_bytes = (2 if iterations else 1) * bytes_per_row(space_map, x)
    n, m = plan_chunks(len(x), q, row_bytes, block_bytes, max_memory, x.device)
    parts = [_iterate(space_map, rows, start, m, top_k, iterations) for rows in x.split(n)]
    values, residual = (torch.cat(part) for part in zip(*parts))
    return values, residual


def _iterate(space_map, x, start, m, top_k, iterations):
    """(values, residual) of a few latents from the directions start [in, q], at most m of them at a time."""
    products = Products(space_map, x)
    if products.first is None:
        directions = start.expand(len(x), -1, -1)
    else:
        directions = leading_directions(products.first, start)
    y = products.columns(directions, m)
    before = x.new_full([len(x), top_k], torch.nan)
    for _ in range(iterations):
        z = products.rows(orthonormal(y).transpose(1, 2), m)
        before = top_singular_values(z, top_k)
        y = products.columns(orthonormal(z.transpose(1, 2)), m)
    values = top_singular_values(y, top_k)
    floor = RELATIVE_ROUNDING * values[:, :1]
    residual = (torch.maximum(values, floor).double().log() - torch.maximum(before, floor).double().log()).sum(dim=1)
    # A Jacobian of zeros has nothing to gain; with NaN in it the values and the residual stay NaN.
    return values, torch.where(values[:, 0] == 0, 0, residual).float()


def orthonormal(block):
    """An orthonormal basis [..., a, q] float32 of the columns of [..., a, q], a at least q, computed in float64."""
    return torch.linalg.qr(block.double()).Q.float()
