"""Manifold smoothing: a piecewise-affine network becomes smooth by softening which region a point belongs to.

Each ReLU picks one of two affine pieces. Picking softly, by a sigmoid whose sharpness β sets, gives swish-like units
and a smooth manifold that tends to the original one as β tends to 1. Sources: "From Hard to Soft: Understanding Deep
Network Nonlinearities via Vector Quantization and Statistical Inference" (Balestriero and Baraniuk, ICLR 2019); "Max-
Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912).
"""

import copy

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from dnnlib_compat.networks.interface import Generator

RELUS = (F.relu, torch.relu, torch.Tensor.relu)
# Units that have no pieces to soften, as functions and as modules.
SMOOTH_UNITS = (F.silu, F.elu, F.selu, F.celu, F.gelu, F.softplus, F.mish)
SMOOTH_MODULES = (
    torch.nn.SiLU,
    torch.nn.ELU,
    torch.nn.SELU,
    torch.nn.CELU,
    torch.nn.GELU,
    torch.nn.Softplus,
    torch.nn.Mish,
)


def smooth_leaky_relu(u, slope, beta):
    """αu + (1 − α) σ(βu / (1 − β)) u, element by element, for the slope α of negative u (0: ReLU) and β in [0, 1)."""
    gate = torch.sigmoid(u * (beta / (1 - beta)))
    return slope * u + (1 - slope) * gate * u


def smoothed(network, beta):
    """A copy of a network whose ReLUs u⁺ are σ(βu / (1 − β)) u and whose leaky ReLUs αu + (1 − α) σ(βu / (1 − β)) u.

    network: a Generator of any family, or another torch.nn.Module whose units are modules nn.ReLU and nn.LeakyReLU.
    beta: in [0, 1]; at 1 the copy computes exactly what the original does, which stays untouched in any case; at 0 all
    units are lines, u / 2 or (1 + α) u / 2, so that a network that bends nowhere else is globally affine. The copy is
    of the same class with the same parameters and composes with `torch.func`. A smoothed Generator has a `family` of
    its own, so that its atlases are not taken for the original's and no file drops the smoothing unnoticed.

    Only units are softened. Max-pooling (BigGAN's self-attention) and clamps stay hard; clamps seldom act. Units that
    work in place no longer do.

    Raises ValueError for a beta outside [0, 1], and for a network without ReLUs or with units that are smooth already,
    such as NVAE with its swish: that one is not piecewise affine.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must lie between 0 and 1, not at {beta}")
    network = copy.deepcopy(network)
    check_piecewise(network)
    if beta == 1:
        return network
    if not isinstance(network, Generator):
        network.forward = _Smooth(network.forward, beta)
        return network
    for name in ("mapping", "synthesis") if network.has_styles else ("images",):
        part = getattr(network, name)
        if isinstance(part, torch.nn.Module):
            part.forward = _Smooth(part.forward, beta)
        else:
            setattr(network, name, _Smooth(part, beta))
    network.family = f"{network.family} smoothed with beta {beta}"
    return network


def check_piecewise(network):
    """Raise ValueError, naming the units in the way, unless a network is made of ReLUs, leaky or not."""
    kind = f"a {network.family} network" if isinstance(network, Generator) else f"this {type(network).__name__}"
    hard, smooth = _units(network)
    if smooth:
        raise ValueError(f"{kind} is not piecewise affine, its units are smooth already: {', '.join(sorted(smooth))}")
    if not hard:
        where = "in its images" if isinstance(network, Generator) else "among its modules"
        raise ValueError(f"{kind} has no ReLU or leaky ReLU {where}, so there is nothing to smooth")


def _units(network):
    """({names of the ReLUs}, {names of the smooth units}): of a Generator's functions, of another network's modules."""
    if not isinstance(network, Generator):
        modules = list(network.modules())
        return tuple(
            {type(module).__name__ for module in modules if isinstance(module, kinds)}
            for kinds in ((torch.nn.ReLU, torch.nn.LeakyReLU), SMOOTH_MODULES)
        )
    device = next(network.parameters()).device
    z, c = network.seed_latent(0).to(device), torch.eye(max(network.c_dim, 1), device=device)[:1, : network.c_dim]
    with torch.no_grad(), _Watch() as watch:
        network(z, c)
    return tuple(
        {f.__name__ for f in watch.seen.intersection(kinds)} for kinds in ((*RELUS, F.leaky_relu), SMOOTH_UNITS)
    )


class _Watch(TorchFunctionMode):
    """Remembers which torch functions are called."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.add(func)
        return func(*args, **(kwargs or {}))


class _SoftUnits(TorchFunctionMode):
    """While it is entered, ReLUs are smooth; autograd and `torch.func` see the formula alone."""

    def __init__(self, beta):
        super().__init__()
        self.beta = beta

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in RELUS or func is F.leaky_relu:
            return smooth_leaky_relu(*_unit_arguments(func, *args, **(kwargs or {})), self.beta)
        return func(*args, **(kwargs or {}))


def _unit_arguments(func, input, negative_slope=0.01, inplace=False):
    """(u, slope) of a call of a ReLU or leaky ReLU; the names are torch's."""
    return input, negative_slope if func is F.leaky_relu else 0


class _Smooth:
    """A network's method, run with soft units. A bound method follows its network when that is copied or pickled."""

    def __init__(self, method, beta):
        self.method, self.beta = method, beta

    def __call__(self, *args, **kwargs):
        with _SoftUnits(self.beta):
            return self.method(*args, **kwargs)
