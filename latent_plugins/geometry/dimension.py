"""Intrinsic dimension: how many directions of a region's affine map, and what bounds it.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912):
the dimension of every region of the generated manifold is the rank of the slope matrix there, bounded by the ranks of
the layers with their activations in that region (Proposition 1); noise on units or weights lowers it (Proposition 2).
The elbow of the singular values is ours: it is not the paper's Theorem 2, which compares training errors.
"""

import copy
import dataclasses

import torch

from latent_plugins.geometry.jacobians import check_rows
from latent_plugins.geometry.piecewise import BENDS
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
KINDS = ("dropout", "dropconnect")


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


def _layers(sequential):
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

    It is `region_bounds` without the activations' part, one number for all regions. Every slope matrix is a product of
    the layers' weights with diagonal matrices between them. Ranks are numerical, and never above a layer's widths.
    Raises ValueError for layers that are neither Linear nor element-wise.
    """
    weights = [layer.weight for layer in _layers(sequential) if isinstance(layer, torch.nn.Linear)]
    values = [torch.linalg.svdvals(weight.detach().double())[None] for weight in weights]
    return min(int(numerical_rank(v, tolerance)) for v in values)


def region_bounds(sequential, z, *, tolerance=TOLERANCE):
    """What Proposition 1 allows the dimension of the region of each latent of z [N, in]: int64 [N].

    min(S, min over the linear layers of rank(diag(σ'(ω)) W)), where σ'(ω) are the slopes, in that region, of the
    activations after the layer: rows of units that are off count for nothing, so that it lies below `rank_bound`
    wherever ReLUs are off, and depends on the region. Activations that are not piecewise affine have slopes other than
    zero. Ranks are numerical. Raises ValueError as `rank_bound`, and for latents that do not fit.
    """
    stack = _layers(sequential)
    x = torch.as_tensor(z)
    if x.ndim != 2:
        raise ValueError(f"latents must be [N, in], not {list(x.shape)}")
    bounds = torch.full((len(x),), x.shape[1])
    with torch.no_grad():
        for i, layer in enumerate(stack):
            weighted = isinstance(layer, torch.nn.Linear)
            x = (layer if weighted else layer.eval() if isinstance(layer, torch.nn.Dropout) else layer)(x)
            if not weighted:
                continue
            on = torch.ones(x.shape, dtype=torch.bool)
            y = x
            for following in stack[i + 1 :]:
                if isinstance(following, torch.nn.Linear):
                    break
                for kind, bend in BENDS.items():
                    if isinstance(following, kind):
                        found = bend(following)
                        on &= found.slope(found.states(y), y).cpu() != 0
                y = following(y)
            patterns, which = torch.unique(on, dim=0, return_inverse=True)
            ranks = torch.tensor([_rank(layer.weight[pattern], tolerance) for pattern in patterns])
            bounds = torch.minimum(bounds, ranks[which])
    return bounds


def _rank(weight, tolerance):
    """The numerical rank of a matrix that may have no rows."""
    if not len(weight):
        return 0
    return int(numerical_rank(torch.linalg.svdvals(weight.detach().double().cpu())[None], tolerance))


def dropped(sequential, rate, generator, kind="dropout"):
    """A copy of a torch.nn.Sequential of linear and element-wise layers, with one draw of dropout noise in it.

    kind: `dropout` silences units, each hidden one with probability `rate`, by zeroing the weights that leave it;
    `dropconnect` zeroes every weight with that probability. What stays is divided by 1 − rate, as in training, which
    changes no rank. generator: a CPU torch.Generator. Raises ValueError for a rate outside [0, 1), an unknown kind, or
    other layers.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the rate must be at least 0 and below 1, not {rate}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind of noise {kind!r}; known kinds: {', '.join(KINDS)}")
    noisy = copy.deepcopy(sequential)
    linear = [layer for layer in _layers(noisy) if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer in linear[1:] if kind == "dropout" else linear:
            shape = layer.weight.shape[1:] if kind == "dropout" else layer.weight.shape
            kept = torch.rand(shape, generator=generator) >= rate
            layer.weight.mul_(kept.to(layer.weight) / (1 - rate))
    return noisy


@dataclasses.dataclass(frozen=True)
class Elbow:
    """Where singular values fall off.

    `curve`: mean over latents of their logarithms, float64 [k], falling; `index`: the entry of the curve farthest from
    the straight line between its ends, from 0, so that the values before it are those above the elbow; `height`: its
    distance from that line, in units of the logarithm; near 0 there is no elbow.
    """

    curve: torch.Tensor
    index: int
    height: float


def elbow(spectra):
    """The Elbow of singular values spectra [N, k], k at least 3, each row descending.

    Values below float32's rounding of their latent's largest one (a part of 1e-6) are raised to it. Latents with
    values that are not finite, or none above zero, are left out. Raises ValueError for another shape, or no latents.
    """
    values = torch.as_tensor(spectra).double()
    if values.ndim != 2 or values.shape[1] < 3:
        raise ValueError(f"an elbow takes spectra [N, k] with k of at least 3, not of shape {list(values.shape)}")
    values = values[torch.isfinite(values).all(dim=1) & (values[:, 0] > 0)]
    if not len(values):
        raise ValueError("no latent has a usable spectrum")
    curve = torch.maximum(values, TOLERANCE * values[:, :1]).log().mean(dim=0)
    chord = curve[0].lerp(curve[-1], torch.linspace(0, 1, len(curve), dtype=curve.dtype, device=curve.device))
    # Distances from the line are these ones times one and the same cosine.
    height, index = (curve - chord).abs().max(dim=0)
    return Elbow(curve, int(index), height.item())
