"""Angles between the column spaces of matrices.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912),
Theorem 4; for small and large angles alike Björck and Golub, "Numerical Methods for Computing Angles between Linear
Subspaces", 1973.
"""

import math

import torch

from latent_plugins.geometry.piecewise import rank_tolerance


def subspace_angles(a, b, *, tolerance=None):
    """θ with sin θ = ‖P(A) − P(B)‖₂ of matrices a and b, both [N, out, in]: radians float64 [N], 0 to π/2.

    P projects onto a column space, up to the numerical rank: singular values above `tolerance` times the largest (None:
    `rank_tolerance` of the dtype). The norm is the sine of the greatest principal angle where the spaces have one
    dimension, and 1 where they have not; the theorem supposes full rank, or (in its footnote) a basis of either space.
    With orthonormal bases U and V, sines are the singular values of V − UUᵀV, cosines those of UᵀV: small angles come
    from the former and large ones from the latter, so that both are good to rounding. Matrices that are not finite give
    NaN. Raises ValueError for shapes that do not fit.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[:2] != b.shape[:2]:
        raise ValueError(f"matrices must be [N, out, in] of one output, not {list(a.shape)} and {list(b.shape)}")
    (u, ranks_a), (v, ranks_b) = spans(a, tolerance), spans(b, tolerance)
    angles = torch.full(a.shape[:1], math.pi / 2, dtype=torch.float64, device=a.device)
    angles[ranks_a == ranks_b] = 0.0
    for rank in ranks_a[ranks_a == ranks_b].unique().tolist():
        if rank > 0:
            rows = (ranks_a == rank) & (ranks_b == rank)
            left, right = u[rows][:, :, :rank], v[rows][:, :, :rank]
            common = left.transpose(1, 2) @ right
            sine = torch.linalg.svdvals(right - left @ common)[:, 0].clamp(max=1)
            cosine = torch.linalg.svdvals(common)[:, -1].clamp(max=1)
            angles[rows] = torch.where(sine < cosine, sine.asin(), cosine.acos())
    broken = ~(torch.isfinite(a).flatten(1).all(dim=1) & torch.isfinite(b).flatten(1).all(dim=1))
    return angles.masked_fill(broken, torch.nan)


def spans(matrices, tolerance=None):
    """(bases float64 [N, out, min(out, in)], ranks int64 [N]) of matrices [N, out, in].

    The first `rank` columns of a basis are orthonormal and span the matrix's columns.
    """
    tolerance = rank_tolerance(matrices.dtype) if tolerance is None else tolerance
    matrices = matrices.double()
    broken = ~torch.isfinite(matrices).flatten(1).all(dim=1)
    u, values, _ = torch.linalg.svd(matrices.masked_fill(broken[:, None, None], 0), full_matrices=False)
    return u, (values > tolerance * values[:, :1]).sum(dim=1)
