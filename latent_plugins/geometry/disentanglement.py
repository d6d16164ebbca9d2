"""Disentanglement: whether the latent's coordinates move the output in directions of their own.

A generator is disentangled where the columns of its Jacobian are orthogonal: then Q, the matrix of their absolute
cosines, is the identity. Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and
Baraniuk, arXiv:2002.11912), where the columns are those of a region's slope matrix.
"""

import dataclasses

import torch

from latent_plugins.geometry.jacobians import check_rows, jacobians
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.subspace import RELATIVE_ROUNDING


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
    most √(in (in − 1)); `spectral_mean`, `spectral_max`: of the spectral norm ‖Q − I‖₂, at most in − 1;
    `pair_sum_mean`, `pair_sum_max`: of the cosines' sum over pairs of columns. (The paper's Table 1 is of ‖Q − I‖₂ in
    the text, which may mean either norm, and of the sum in its caption.) `latents`: how many latents that is;
    `left_out`: those with fewer than two columns or with a Jacobian that is not finite; `zero_columns`: columns of
    zeros in the latents that count, all together.
    """

    cosine_mean: float
    cosine_max: float
    distance_mean: float
    distance_max: float
    spectral_mean: float
    spectral_max: float
    pair_sum_mean: float
    pair_sum_max: float
    latents: int
    left_out: int
    zero_columns: int


@dataclasses.dataclass(frozen=True)
class LatentCosines:
    """What each of N latents has: mean `cosine` [N] over its pairs of columns that are not zero (NaN without a pair, or
    for a Jacobian that is not finite), `distance` [N], ‖Q − I‖_F, `spectral` [N], ‖Q − I‖₂, and `pair_sum` [N], the sum
    over pairs, all float64, and how many `zero_columns` [N].

    `total` [in, in]: the sum of Q over the latents whose cosine is not NaN.
    """

    cosine: torch.Tensor
    distance: torch.Tensor
    spectral: torch.Tensor
    pair_sum: torch.Tensor
    zero_columns: torch.Tensor
    total: torch.Tensor

    @staticmethod
    def joined(parts):
        """The LatentCosines of all latents of the parts, in their order."""
        names = ("cosine", "distance", "spectral", "pair_sum", "zero_columns")
        rows = (torch.cat([getattr(part, name) for part in parts]) for name in names)
        return LatentCosines(*rows, sum(part.total for part in parts))

    @property
    def counts(self):
        """Which latents count: [N] bool."""
        return torch.isfinite(self.cosine)

    @property
    def mean_matrix(self):
        """The mean Q [in, in] float64 of the latents that count."""
        return self.total / self.counts.sum()

    def summary(self):
        """The Disentanglement of these latents. Raises ValueError when none counts."""
        counts = self.counts
        if not counts.any():
            raise ValueError("no latent has a finite Jacobian with two columns that are not zero")
        found = {}
        for name in ("cosine", "distance", "spectral", "pair_sum"):
            values = getattr(self, name)[counts]
            found |= {f"{name}_mean": values.mean().item(), f"{name}_max": values.max().item()}
        return Disentanglement(
            **found,
            latents=int(counts.sum()),
            left_out=int((~counts).sum()),
            zero_columns=int(self.zero_columns[counts].sum()),
        )


def latent_cosines(space_map, x, *, max_memory=None):
    """The LatentCosines of `space_map` at the latents x [N, in]; max_memory as for `jacobians`.

    On the sphere the columns are those of the map on the tangent space, whose coordinates depend on each other a
    little. Raises ValueError for x of another shape.
    """
    check_rows(space_map, x)
    parts = []
    # Beyond the Jacobian's own: the products, their cosines and intermediates.
    extra = 6 * 8 * space_map.in_dim // max(space_map.out_dim, 1)
    for jacobian in jacobians(space_map, x, max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY + extra):
        q, zero = _cosines(jacobian)
        off = q - torch.eye(q.shape[1], dtype=q.dtype, device=q.device)
        distance = off.flatten(1)
        columns = (~zero).sum(dim=1)
        # The diagonal is gone, and zero columns have only zeros. No pairs: NaN.
        cosine = distance.sum(dim=1) / (columns * (columns - 1))
        total = q[torch.isfinite(cosine)].sum(dim=0)
        broken = ~torch.isfinite(distance).all(dim=1)
        # Entries that are not negative: the largest eigenvalue is the spectral norm. LAPACK refuses NaN.
        spectral = torch.linalg.eigvalsh(off.masked_fill(broken[:, None, None], 0))[:, -1]
        spectral = spectral.masked_fill(broken, torch.nan)
        sums = distance.sum(dim=1) / 2
        parts.append(LatentCosines(cosine, distance.norm(dim=1), spectral, sums, zero.sum(dim=1), total))
    return LatentCosines.joined(parts)


def over_networks(found):
    """{figure: (mean, standard deviation)} of the Disentanglements of several networks: a column of Table 1.

    For the figures of one network, `cosine_mean` to `pair_sum_max`; the published table has 8 networks, trained from
    different starts. The deviation is the sample's, with n − 1. Raises ValueError for fewer than two.
    """
    if len(found) < 2:
        raise ValueError(f"a mean and a deviation over networks need at least 2 of them, not {len(found)}")
    names = [f"{name}_{what}" for name in ("cosine", "distance", "spectral", "pair_sum") for what in ("mean", "max")]
    values = {name: torch.tensor([getattr(each, name) for each in found], dtype=torch.float64) for name in names}
    return {name: (each.mean().item(), each.std().item()) for name, each in values.items()}


def disentanglement(space_map, x, *, max_memory=None):
    """The Disentanglement of `space_map` at the latents x [N, in].

    A latent's mean cosine is over pairs of columns that are not zero; in ‖Q − I‖_F zero columns contribute nothing.
    Otherwise as `latent_cosines`. Raises ValueError for x of another shape, or when no latent counts.
    """
    return latent_cosines(space_map, x, max_memory=max_memory).summary()


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
    images = JacobianOperator(space_map, x, at_once=len(columns)).columns(directions.T)[0].T
    largest = images.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, images / largest, 0).reshape(-1, *shape)
