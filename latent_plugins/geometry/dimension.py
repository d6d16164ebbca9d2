"""Intrinsic dimension: how many directions of a region's affine map, and what bounds it.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912),
Proposition 1: the dimension of a region of the generated manifold is the rank of the slope matrix there, which no layer
can raise above the rank of its own weights behind the activation pattern of that region. The `knee` of the singular
values is a statistic of ours, not the paper's: its "elbow method" (Theorem 2) compares the training errors of
generators with different numbers of inputs.
"""

import dataclasses

import torch

from latent_plugins.geometry.jacobians import check_rows
from latent_plugins.geometry.piecewise import AFFINE, BENDS, Bend, fitting, is_piecewise_affine, layers
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.subspace import RELATIVE_ROUNDING

# Singular values of a float32 Jacobian carry its rounding: forward and reverse mode differ, in the spectral norm, by
# 1.4e-7 to 3.4e-7 of the largest one over the embedded network and small StyleGAN2 and StyleGAN3 ones. What stands a
# few times above that is no rounding.
TOLERANCE = RELATIVE_ROUNDING

ELEMENTWISE = (
    torch.nn.ReLU,
    torch.nn.LeakyReLU,
    torch.nn.ELU,
    torch.nn.SiLU,
    torch.nn.GELU,
    torch.nn.Softplus,
    torch.nn.Tanh,
    torch.nn.Sigmoid,
    torch.nn.Dropout,
    torch.nn.Identity,
)
# Entries of the largest matrix whose rank is taken for a bound, and of those of several regions at once.
MOST_ENTRIES = 1 << 24
CHUNK_ENTRIES = 1 << 22
# Matrices with more entries are multiplied with random directions before their ranks are taken.
LARGE_ENTRIES = 1 << 16


def numerical_rank(values, tolerance=TOLERANCE):
    """How many of the singular values [N, k] exceed `tolerance` times the largest: int64 [N]; 0 where all are zero.

    Raises ValueError for a tolerance outside (0, 1) or values that are not finite.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"the tolerance must lie between 0 and 1, not at {tolerance}")
    broken = (~torch.isfinite(values).all(dim=1)).nonzero()[:, 0].tolist()
    if broken:
        raise ValueError(f"the Jacobian is not finite at {len(broken)} latents, the first is number {broken[0]}")
    return (values > tolerance * values.amax(dim=1, keepdim=True)).sum(dim=1)


def intrinsic_dimension(space_map, x, *, tolerance=TOLERANCE, max_memory=None):
    """The dimension of the generated manifold around each row of x [N, in]: int64 [N].

    It is the numerical rank of the whole Jacobian: singular values above `tolerance` times the largest, in float64 from
    the float32 Jacobian; 0 for a Jacobian of zeros. Real directions weaker than the tolerance are not counted; below
    about 1e-6 they cannot be told from rounding. max_memory: see `spectrum`. Raises ValueError for x of another shape,
    a tolerance outside (0, 1), or a Jacobian that is not finite.
    """
    check_rows(space_map, x)
    return numerical_rank(spectrum(space_map, x, top_k=space_map.max_rank, max_memory=max_memory), tolerance)


def known_layers(sequential):
    """The linear and element-wise layers of a Sequential, nested ones opened. Raises ValueError for any other."""
    found = [module for module in sequential.modules() if not isinstance(module, torch.nn.Sequential)]
    other = sorted({type(m).__name__ for m in found if not isinstance(m, (torch.nn.Linear, *ELEMENTWISE))})
    if other:
        raise ValueError(f"only Linear and element-wise layers have a known rank here, not {', '.join(other)}")
    if not any(isinstance(module, torch.nn.Linear) for module in found):
        raise ValueError("there is no Linear layer in this network")
    return found


def rank_bound(sequential, *, tolerance=TOLERANCE):
    """The smallest rank of the linear layers of a torch.nn.Sequential, an int: no region has a larger dimension.

    It holds for any element-wise activations. `region_bounds`, which knows which of them are off, is sharper.
    Ranks are numerical, and never above a layer's widths. Raises ValueError for layers that are neither Linear nor
    element-wise.
    """
    weights = [layer.weight for layer in known_layers(sequential) if isinstance(layer, torch.nn.Linear)]
    values = [torch.linalg.svdvals(weight.detach().double())[None] for weight in weights]
    return min(int(numerical_rank(v, tolerance)) for v in values)


def region_bounds(network, z, *, tolerance=TOLERANCE):
    """Proposition 1 at the latents z [N, in]: min(in, min over layers of rank(diag(s) W)), int64 [N].

    s: the slopes of the layer's activations in the region of a latent; a layer is all affine modules up to the next
    activations (or to the end, then s is 1), and W the matrix of their composition. Only whether a slope is zero counts
    for the rank, so leaky activations give rank(W), and so do smooth ones. Ranks are numerical, from matrices in
    float64; those of large layers are taken up to the number of inputs alone, behind random directions. network: see
    `check_piecewise_affine`, or a Sequential of Linear and element-wise layers. Raises ValueError for other networks,
    latents that do not fit, a tolerance outside (0, 1), or layers of more than 2²⁴ weights as a matrix.
    """
    stack = _stack(network)
    x = fitting(network, z)
    bounds = torch.full([len(x)], x.shape[1], dtype=torch.int64, device=x.device)
    group, before = [], x
    with torch.no_grad():
        for layer in [*stack, None]:
            if layer is not None and not _bends(layer):
                group.append(layer)
                x = layer(x)
                continue
            if layer is None and not group:
                break
            if group:
                matrix = _matrix(group, before)
            else:
                matrix = torch.eye(x[0].numel(), dtype=torch.float64, device=x.device)
            if isinstance(layer, Bend):
                kept = layer.slope(layer.states(x), x).flatten(1) != 0
            else:
                kept = torch.ones(len(x), len(matrix), dtype=torch.bool, device=x.device)
            bounds = torch.minimum(bounds, _masked_ranks(_narrow(matrix, z.shape[1]), kept, tolerance))
            group, before = [], x if layer is None else layer(x)
            x = before
    return bounds


def _stack(network):
    """The network's affine modules, `Bend`s and smooth element-wise modules, in their order."""
    if is_piecewise_affine(network):
        return layers(network)
    known = [m for m in known_layers(network) if not isinstance(m, (torch.nn.Dropout, torch.nn.Identity))]
    return [next((bend(m) for kind, bend in BENDS.items() if isinstance(m, kind)), m) for m in known]


def _bends(layer):
    return isinstance(layer, Bend) or isinstance(layer, ELEMENTWISE) and not isinstance(layer, AFFINE)


def _matrix(group, like):
    """The matrix [out, in] float64 of affine modules one after the other; like [N, …]: what goes in."""
    shape = like.shape[1:]
    still = like.new_zeros(1, *shape)
    out = still
    for module in group:
        out = module(out)
    if out.numel() * shape.numel() > MOST_ENTRIES:
        raise ValueError(f"a layer of {shape.numel()} × {out.numel()} weights is too large for the bound of Prop. 1")
    columns = torch.eye(shape.numel(), dtype=like.dtype, device=like.device).unflatten(1, shape)
    for module in group:
        columns, still = module(columns), module(still)
    return (columns - still).flatten(1).double().T


def _narrow(matrix, n_in):
    """A matrix [out, in] times 2 n_in random directions where it is large: all ranks up to n_in are as before, almost
    surely, and others do not matter."""
    if matrix.shape[1] <= 4 * n_in or matrix.numel() <= LARGE_ENTRIES:
        return matrix
    generator = torch.Generator().manual_seed(0)
    return matrix @ torch.randn(matrix.shape[1], 2 * n_in, generator=generator, dtype=matrix.dtype).to(matrix.device)


def _masked_ranks(matrix, kept, tolerance):
    """The ranks [N] of a matrix [out, in] with only the rows kept [N, out], each different pattern once."""
    patterns, which = kept.unique(dim=0, return_inverse=True)
    blocks = patterns.split(max(1, CHUNK_ENTRIES // matrix.numel()))
    values = [torch.linalg.svdvals(matrix * pattern[:, :, None]) for pattern in blocks]
    return numerical_rank(torch.cat(values), tolerance)[which]


@dataclasses.dataclass(frozen=True)
class Knee:
    """Where singular values fall off: a statistic of ours.

    `curve`: mean over latents of their logarithms, float64 [k], falling; `index`: the entry of the curve farthest from
    the straight line between its ends, from 0, so that the values before it are those above the knee; `height`: its
    distance from that line, in units of the logarithm; near 0 there is no knee.
    """

    curve: torch.Tensor
    index: int
    height: float


def knee(spectra):
    """The Knee of singular values spectra [N, k], k at least 3, each row descending.

    Values below float32's rounding of their latent's largest one (a part of 1e-6) are raised to it. Latents with
    values that are not finite, or none above zero, are left out. Raises ValueError for another shape, or no latents.
    """
    values = torch.as_tensor(spectra).double()
    if values.ndim != 2 or values.shape[1] < 3:
        raise ValueError(f"a knee takes spectra [N, k] with k of at least 3, not of shape {list(values.shape)}")
    values = values[torch.isfinite(values).all(dim=1) & (values[:, 0] > 0)]
    if not len(values):
        raise ValueError("no latent has a usable spectrum")
    curve = torch.maximum(values, TOLERANCE * values[:, :1]).log().mean(dim=0)
    chord = curve[0].lerp(curve[-1], torch.linspace(0, 1, len(curve), dtype=curve.dtype, device=curve.device))
    # Distances from the line are these ones times one and the same cosine.
    height, index = (curve - chord).abs().max(dim=0)
    return Knee(curve, int(index), height.item())
