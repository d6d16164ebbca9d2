"""Piecewise affine networks: which ones are, the code of a latent's region, and the affine piece of a map at a latent.

A network of affine layers and piecewise affine activations is a max-affine spline: on each region of the latent space,
the latents with one pattern of activation states, it is x = A z + b (Balestriero and Baraniuk, "A Spline Theory of Deep
Learning", 2018).
"""

import dataclasses

import torch
from torch import nn

from latent_plugins.geometry.jacobians import jacobians
from latent_plugins.spaces import SpaceMap
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.precision import full_precision

# Affine in evaluation mode, row by row, whatever their options (each mode of Upsample is linear).
AFFINE = (
    nn.Linear,
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.AvgPool2d,
    nn.Upsample,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Dropout,
)
# A Jacobian's entry: in its chunk, in their concatenation, and once more for its singular values.
BYTES_PER_ENTRY = 3 * 8


@dataclasses.dataclass(frozen=True)
class Bend:
    """A continuous piecewise affine function of one number: slopes[i]·x + offsets[i] in state i.

    State i is the number of `breaks` (one or two, ascending) that x has passed.
    """

    breaks: tuple
    slopes: tuple
    offsets: tuple

    def states(self, x):
        """The states int8 of x, of the same shape. A break itself belongs to the outer state, as in torch's derivatives
        (a ReLU at 0 is off, a clamp at its bound is shut)."""
        states = (x > self.breaks[0]).to(torch.int8)
        for upper in self.breaks[1:]:
            states += x >= upper
        return states

    def slope(self, states, like):
        """The slopes in these states, in the dtype and on the device of a tensor `like`."""
        return like.new_tensor(self.slopes)[states.long()]

    def apply(self, x, states):
        """The values at x in these states."""
        return x * self.slope(states, x) + x.new_tensor(self.offsets)[states.long()]

    def __call__(self, x):
        return self.apply(x, self.states(x))


def relu(negative_slope=0.0):
    """The Bend of a ReLU, leaky where it has a slope below zero."""
    return Bend((0.0,), (negative_slope, 1.0), (0.0, 0.0))


def clamp(low, high):
    """The Bend of a clamp to [low, high]."""
    return Bend((low, high), (0.0, 1.0, 0.0), (low, 0.0, high))


HARD_SIGMOID = Bend((-3.0, 3.0), (0.0, 1 / 6, 0.0), (0.0, 0.5, 1.0))

BENDS = {
    nn.ReLU: lambda m: relu(),
    nn.LeakyReLU: lambda m: relu(m.negative_slope),
    nn.Hardtanh: lambda m: clamp(m.min_val, m.max_val),  # and ReLU6, which runs as one
    nn.Hardsigmoid: lambda m: HARD_SIGMOID,
}


def check_piecewise_affine(network):
    """Raise ValueError unless the regions of this network are known exactly; the message names the first obstacle.

    Known are torch.nn.Sequential, nested or not, of the layers in AFFINE and BENDS: batch norms with running statistics
    and dropouts in evaluation mode only.
    """
    layers(network)


def layers(network):
    """The network as a list of affine modules and `Bend`s, to be applied in turn. Raises ValueError as
    `check_piecewise_affine`."""
    return [_layer(name, module) for name, module in _flattened("", network)]


def is_piecewise_affine(network):
    """Whether `check_piecewise_affine` accepts it."""
    try:
        layers(network)
    except ValueError:
        return False
    return True


def _flattened(name, module):
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for key, child in module._modules.items():  # named_children leaves out a module that is used twice
        yield from _flattened(f"{name}.{key}" if name else key, child)


def _layer(name, module):
    for kind, bend in BENDS.items():
        if _runs_as(module, kind):
            return bend(module)
    if not any(_runs_as(module, kind) for kind in AFFINE):
        raise _refusal(name, module, "is not one of the layers whose regions are known exactly")
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and (module.training or module.running_mean is None):
        raise _refusal(name, module, "depends on the whole batch, it needs evaluation mode and running statistics")
    if isinstance(module, nn.Dropout) and module.training:
        raise _refusal(name, module, "is random in training mode")
    if isinstance(module, nn.Flatten) and module.start_dim == 0:
        raise _refusal(name, module, "mixes the rows of a batch")
    return module


def _runs_as(module, kind):
    # A subclass counts as long as it computes the same thing.
    return isinstance(module, kind) and type(module).forward is kind.forward


def _refusal(name, module, reason):
    what = f"layer {name} ({type(module).__name__})" if name else f"a {type(module).__name__}"
    return ValueError(
        f"{what} {reason}: take the first-order map of affine_map, or sampled_partition instead of an exact one"
    )


def activation_code(network, z):
    """The states [N, bits] int8 of all activations at the latents z [N, in]: equal codes, same region.

    One entry an activation, layer by layer: 0 or 1, up to 2 for a clamp; see `Bend.states` for latents that sit on a
    boundary. Raises ValueError as `check_piecewise_affine`, and for latents that do not fit.
    """
    z = fitting(network, z)
    codes = [z.new_zeros(len(z), 0, dtype=torch.int8)]
    with torch.no_grad():
        for layer in layers(network):
            if isinstance(layer, Bend):
                states = layer.states(z)
                codes.append(states.flatten(1))
                z = layer.apply(z, states)
            else:
                z = layer(z)
    return torch.cat(codes, dim=1)


def same_region(network, z1, z2):
    """Whether the rows of z1 and z2, [N, in] each, lie in the same region: [N] bool. Raises ValueError as
    `activation_code`."""
    return (activation_code(network, z1) == activation_code(network, z2)).all(dim=1)


@dataclasses.dataclass(frozen=True)
class AffineMap:
    """slope [N, out, in] and offset [N, out] with map(z) = slope·z + offset at N latents, in the network's dtype.

    exact: the equation holds on the whole region of each latent; otherwise it is the tangent at the latent alone.
    """

    slope: torch.Tensor
    offset: torch.Tensor
    exact: bool


def affine_map(space_map, z, *, max_memory=None):
    """The AffineMap at the latents z [N, in]: the Jacobian A, and b = map(z) − A z.

    space_map: a network, a SpaceMap or any differentiable [N, in] → [N, …] with rows independent of each other; the
    output is flattened. Exact where `check_piecewise_affine` accepts it. max_memory: bound in bytes for what the
    products keep alive (None: automatic). Raises ValueError for latents that do not fit.
    """
    z = fitting(space_map, z)
    function = flat_function(space_map)
    with torch.no_grad(), full_precision(z.device):
        slope = torch.cat(list(jacobians(function, z, max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY)))
        moved = torch.einsum("noi,ni->no", slope.double(), z.double())
        offset = (function(z).double() - moved).to(z.dtype)
    return AffineMap(slope, offset, is_piecewise_affine(space_map))


def flat_function(space_map):
    """The map as a function [N, in] → [N, out]; a piecewise affine network without operations in place."""
    if not is_piecewise_affine(space_map):
        return lambda x: space_map(x).flatten(1)
    stack = layers(space_map)

    def function(x):
        for layer in stack:
            x = layer(x)
        return x.flatten(1)

    return function


def fitting(space_map, z):
    """z [N, in] in the map's dtype and on its device. Raises ValueError when it is no finite matrix, or the map refuses
    rows of this length."""
    if not (isinstance(z, torch.Tensor) and z.ndim == 2 and len(z) and z.is_floating_point()):
        raise ValueError(f"latents must be a tensor [N, in] of floats with at least one row, not {_described(z)}")
    if not torch.isfinite(z).all():
        raise ValueError(f"{int((~torch.isfinite(z)).any(dim=1).sum())} of {len(z)} latents are not finite")
    network = getattr(space_map, "generator", space_map)
    weight = next(iter(network.parameters()), z) if isinstance(network, nn.Module) else z
    z = z.to(weight.device, weight.dtype)
    try:
        with torch.no_grad():
            flat_function(space_map)(z[:1])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the map does not take latents of {z.shape[1]} entries: {reason}") from error
    return z


def _described(z):
    return f"{list(z.shape)} of {z.dtype}" if isinstance(z, torch.Tensor) else type(z).__name__


def rank_tolerance(dtype):
    """Singular values up to this part of the largest one are rounding: 1e-12 in float64, 1e-6 in float32."""
    return max(1e-12, 8 * torch.finfo(dtype).eps)


def log_volume(slope, top_k=None, *, pseudo=False):
    """log √det(AᵀA) [N] float64 of slopes A [N, out, in]: how a map stretches volume.

    top_k: the log of the product of the k largest singular values instead. −inf for slopes of too small a rank, up to
    the `rank_tolerance` of their dtype; pseudo: the product of those above zero instead, the pseudo-determinant (Lemma
    1 of "Max-Affine Spline Insights into Deep Generative Networks"), 0 for a slope of zeros, whose product is empty.
    NaN for slopes that are not finite.
    """
    k = slope.shape[2] if top_k is None else top_k
    broken = ~torch.isfinite(slope).flatten(1).all(dim=1)
    matrices = slope.double().masked_fill(broken[:, None, None], 0)  # LAPACK refuses NaN
    if slope.shape[1] > slope.shape[2]:
        matrices = torch.linalg.qr(matrices, mode="r").R
    volume = log_product(torch.linalg.svdvals(matrices), k, rank_tolerance(slope.dtype), pseudo=pseudo)
    return volume.masked_fill(broken, torch.nan)


def log_volumes(space_map, z, *, top_k=None, pseudo=False, max_memory=None):
    """`log_volume` [N] float64 of the map's Jacobian at the latents z [N, in], a chunk at a time.

    space_map: as for `affine_map`; the singular values of a float32 SpaceMap come from `spectrum`. Raises
    ValueError for latents that do not fit, or a top_k outside 1 to the map's rank.
    """
    z = fitting(space_map, z)
    with torch.no_grad(), full_precision(z.device):
        function = flat_function(space_map)
        n_in, n_out = z.shape[1], function(z[:1]).shape[1]
        rank = space_map.max_rank if isinstance(space_map, SpaceMap) else min(n_in, n_out)
        if top_k is not None and not 1 <= top_k <= rank:
            raise ValueError(f"top_k {top_k} is outside 1 to {rank}, the rank of the map")
        k = n_in if top_k is None else top_k
        if pseudo:
            k = min(k, rank)
        if k > rank:
            return z.new_full([len(z)], -torch.inf, dtype=torch.float64)
        if isinstance(space_map, SpaceMap) and z.dtype == torch.float32:
            values = spectrum(space_map, z, top_k=k, max_memory=max_memory)
            return log_product(values.double(), k, rank_tolerance(z.dtype), pseudo=pseudo)
        slopes = jacobians(function, z, max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY)
        return torch.cat([log_volume(slope, k, pseudo=pseudo) for slope in slopes])


def log_product(values, k, tolerance, *, pseudo=False):
    """Σ log [N] of the first k of descending singular values; −inf where there are fewer that count (`pseudo`: the sum
    over those that do)."""
    if k > values.shape[1] and not pseudo:
        return values.new_full([len(values)], -torch.inf)
    # Values of NaN are no larger than anything, and stay.
    lost = values <= tolerance * values[:, :1]
    return values.masked_fill(lost, 1 if pseudo else 0)[:, :k].log().sum(dim=1)
