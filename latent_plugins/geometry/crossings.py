"""Where a path of latents leaves one region of a generator and enters the next, and the slopes on either side.

A region is where every piecewise affine unit (a ReLU, a clamp) stays in one of its states. With the states held, the
map goes on beyond its region's borders, affine or at least smooth; so the border is the first point at which the held
map's pre-activations would leave the states, and both regions' slopes are known there, at the same latent. For a
piecewise affine network on a straight path the border comes from one division, otherwise from Newton's method within a
bracket. Everything is computed in float64, on the map's own device.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912):
adjacent regions, Definition 1; their codes, Appendix G.
"""

import copy
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch.func import jvp
from torch.overrides import TorchFunctionMode

from latent_plugins.geometry.jacobians import jacobians
from latent_plugins.geometry.piecewise import (
    HARD_SIGMOID,
    check_piecewise_affine,
    clamp,
    fitting,
    is_piecewise_affine,
    relu,
)
from latent_plugins.geometry.subspaces import subspace_angles
from latent_plugins.priors import DOMAINS
from latent_plugins.spaces import SpaceMap, to_sphere

MAX_REGIONS = 10_000  # of a path
# Pre-activations this near a break, as a part of their layer's largest and of what changes most along the path, are on
# it.
ON_BREAK = 1e-12
# The longest step along a path between two looks at a map that is not affine in its regions: a unit that leaves its
# state and comes back within one is missed.
STRIDE = 0.02
# The shortest step: t is no more accurate.
LEAST_STEP = 1e-15
# Halvings and secants of one bracket.
MOST_TRIALS = 200
BYTES_PER_ENTRY = 3 * 8

HARD_UNITS = {
    F.relu: lambda inplace=False: relu(),
    F.leaky_relu: lambda negative_slope=0.01, inplace=False: relu(negative_slope),
    F.hardtanh: lambda min_val=-1.0, max_val=1.0, inplace=False: clamp(min_val, max_val),
    F.relu6: lambda inplace=False: clamp(0.0, 6.0),
    F.hardsigmoid: lambda inplace=False: HARD_SIGMOID,
}
HARD_UNITS[torch.relu] = HARD_UNITS[torch.Tensor.relu] = HARD_UNITS[F.relu]


class _Units(TorchFunctionMode):
    """While it is entered, hard units are seen, in their order, and are in the states `held`, if there are any.

    Networks that ask for float32 get float64 where they have it.
    """

    def __init__(self, held=None):
        super().__init__()
        self.held, self.bends, self.inputs, self.states = held, [], [], []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.to, torch.Tensor.float) and args[0].dtype == torch.float64:
            args = tuple(torch.float64 if each is torch.float32 else each for each in args)
            kwargs = {name: torch.float64 if each is torch.float32 else each for name, each in kwargs.items()}
            return args[0] if func is torch.Tensor.float else func(*args, **kwargs)
        if func not in HARD_UNITS:
            return func(*args, **kwargs)
        x, *rest = args if args else (kwargs.pop("input"),)
        bend = HARD_UNITS[func](*rest, **kwargs)
        states = bend.states(x) if self.held is None else self.held[len(self.states)]
        self.bends.append(bend)
        self.inputs.append(x)
        self.states.append(states)
        return bend.apply(x, states)


class BentMap:
    """A map in float64 whose hard units can be held in states, lists of int8 tensors [1, …], one a call of a unit.

    space_map: a SpaceMap, a torch.nn.Module or another differentiable [N, in] → [N, …], whose hard units are those of
    torch.nn.functional: relu, leaky_relu, hardtanh, relu6 and hardsigmoid. Other kinks (clamps of values that are too
    large, max-pooling) are not seen. The given map stays as it is. max_memory: bound in bytes for what the slope's
    products keep alive (None: `automatic_memory`). Raises ValueError for a map through a feature detector.
    """

    def __init__(self, space_map, max_memory=None):
        if getattr(space_map, "detector", None) is not None:
            raise ValueError(f"regions of the space {space_map.name} are not known: its feature detector bends, too")
        self.given, self.affine = space_map, is_piecewise_affine(space_map)
        self.max_memory = max_memory
        if isinstance(space_map, SpaceMap):
            generator = copy.deepcopy(space_map.generator).double()
            space_map = dataclasses.replace(space_map, generator=generator, c=space_map.c.double())
        elif isinstance(space_map, torch.nn.Module):
            space_map = copy.deepcopy(space_map).double()
        self.map = space_map

    def run(self, z, held=None):
        """(outputs [1, out], the _Units that were seen) at z [1, in]."""
        with _Units(held) as units:
            outputs = self.map(z).flatten(1)
        return outputs, units

    def states(self, z):
        """The states of all units at z [1, in]. Raises ValueError where there are none: the map is smooth."""
        with torch.no_grad():
            _, units = self.run(z.double())
        if not units.states:
            raise ValueError("the map has no ReLUs or other hard units, so it has no regions: its image has no kinks")
        return units.states

    def slope(self, z, states):
        """The slope [out, in] float64 at z [1, in] of the map with these states: A of that region, at z or beyond."""
        if self.affine:  # a plain network: all directions fit memory at once
            directions = torch.eye(z.shape[1], dtype=torch.float64, device=z.device)
            with torch.no_grad():
                (_, columns) = jvp(
                    lambda x: self.run(x, states)[0], (z.double().repeat(len(directions), 1),), (directions,)
                )
            return columns.T.contiguous()
        options = dict(max_memory=self.max_memory, bytes_per_entry=BYTES_PER_ENTRY)
        return torch.cat(list(jacobians(lambda x: self.run(x, states)[0], z.double(), **options)))[0]

    def along(self, path, t, states):
        """(pre-activations [units], their derivatives by t [units], the lowest and the highest that these states allow
        [units], what counts as on a break [units]) at path(t), with the states held."""
        bends = []

        def inputs(t):
            _, units = self.run(path(t)[None], states)
            bends[:] = units.bends
            return tuple(units.inputs)

        device = states[0].device
        t = torch.tensor(t, dtype=torch.float64, device=device)
        with torch.no_grad():
            values, slopes = jvp(inputs, (t,), (torch.ones_like(t),))
        low, high, near = [], [], []
        for bend, state, value, slope in zip(bends, states, values, slopes):
            edges = value.new_tensor([-math.inf, *bend.breaks, math.inf])
            low.append(edges[state.long()].flatten())
            high.append(edges[state.long() + 1].flatten())
            near.append((ON_BREAK * (value.abs().amax() + slope.abs().amax())).expand(value.numel()))
        return tuple(torch.cat([each.flatten() for each in part]) for part in (values, slopes, low, high, near))


class Line:
    """The straight path from `start` [in] at t = 0 to `end` [in] at t = 1, in float64."""

    straight = True

    def __init__(self, start, end):
        self.start, self.step = start.double(), end.double() - start.double()

    def __call__(self, t):
        return self.start + t * self.step


class GreatCircle:
    """The shorter way around the sphere of radius √in from start to end, both [in] and rescaled to it, in float64.

    Raises ValueError for points opposite to each other or the same, between which there is no such way.
    """

    straight = False

    def __init__(self, start, end):
        self.start, end = to_sphere(torch.stack([start, end]).double())
        radius2 = self.start.square().sum()
        across = end - (end @ self.start) / radius2 * self.start
        if across.norm() <= 1e-9 * radius2.sqrt():
            raise ValueError("there is no one great circle through a point and itself or its opposite")
        self.across = across * (radius2.sqrt() / across.norm())
        self.angle = torch.atan2(across.norm(), (end @ self.start) / radius2.sqrt())

    def __call__(self, t):
        return torch.cos(self.angle * t) * self.start + torch.sin(self.angle * t) * self.across


def path_between(start, end, domain="gaussian"):
    """The path from start to end, both [in]: a Line, or in the domain `sphere` a GreatCircle."""
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
    return GreatCircle(start, end) if domain == "sphere" else Line(start, end)


@dataclasses.dataclass(frozen=True)
class Crossing:
    """Where a path goes from one region into an adjacent one: at `t`, the latent `z` [1, in] float64.

    before, after: the states of all units in the two regions; `hamming`: in how many entries they differ.
    """

    t: float
    z: torch.Tensor
    before: list
    after: list
    hamming: int


@dataclasses.dataclass(frozen=True)
class PathRegions:
    """The R regions of a piecewise affine network that a path from one latent to another goes through, in order.

    t: where they begin and end, float64 [R + 1], from 0 to 1; codes: int8 [R, bits], see `activation_code`; slope:
    their matrices A float64 [R, out, in], of the network's flattened output.
    """

    t: torch.Tensor
    codes: torch.Tensor
    slope: torch.Tensor

    def __len__(self):
        return len(self.codes)

    def changed(self):
        """How many activations change their state at each crossing, the codes' Hamming distance: [R − 1]."""
        return (self.codes[1:] != self.codes[:-1]).sum(dim=1)

    def angles(self):
        """Theorem 4 at each crossing: θ with sin θ = ‖P(A) − P(A′)‖₂, radians float64 [R − 1]."""
        return subspace_angles(self.slope[:-1], self.slope[1:])


def regions_along(network, start, end, *, max_regions=MAX_REGIONS):
    """The PathRegions on the straight path between two latents [in].

    network: see `check_piecewise_affine`. Raises ValueError for another kind of network or one without activations,
    latents that do not fit, or more than max_regions regions.
    """
    check_piecewise_affine(network)
    bent, path = BentMap(network), Line(torch.as_tensor(start), torch.as_tensor(end))
    found = crossings(bent, path, most=max_regions)
    if len(found) >= max_regions:
        raise ValueError(f"the path crosses more than {max_regions} regions: take a shorter one")
    first = found[0].before if found else _settled(bent, path, 0.0, bent.states(_at(path, 0.0)))[0]
    states = [first, *(each.after for each in found)]
    codes = torch.stack([torch.cat([state.flatten() for state in each]) for each in states])
    slope = torch.stack([bent.slope(_at(path, 0.0), each) for each in states])
    t = torch.tensor([0.0, *(each.t for each in found), 1.0], dtype=torch.float64)
    return PathRegions(t, codes, slope)


def crossings(bent, path, *, most=1000):
    """The Crossings of a path, in order, at most so many: every region border between its ends.

    bent: a BentMap; path: a Line or GreatCircle. Where several units switch at one point, to ON_BREAK, it is one
    crossing; borders at the start are none. Exact to the rounding of float64 for piecewise affine networks on a Line;
    for others, whose units may leave a state and come back within a stride of 0.02 of the path, such a visit is missed.
    Raises ValueError for a map without hard units, or ends that are not finite or do not fit it.
    """
    fitting(bent.given, torch.cat([_at(path, 0.0), _at(path, 1.0)]))
    t, found = 0.0, []
    states, look = _settled(bent, path, t, bent.states(_at(path, t)))
    while len(found) < most:
        t = _exit(bent, path, t, states, look)
        if t is None:
            break
        after, look = _settled(bent, path, t, states)
        hamming = sum(int((a != b).sum()) for a, b in zip(states, after))
        if hamming:  # units that touch a break and turn back switch nothing
            found.append(Crossing(t, _at(path, t), states, after, hamming))
        states = after
        if t >= 1:
            break
    return found


def _at(path, t):
    """The latent [1, in] float64 of a path at a number t."""
    return path(torch.tensor(t, dtype=torch.float64, device=path.start.device))[None]


def _exit(bent, path, t, states, look):
    """The first t from here on at which a unit is about to leave its state; None where none does up to 1.

    look: what `along` says here. No unit may be about to leave here: these are the states of the way ahead.
    """
    stride = math.inf if bent.affine and path.straight else STRIDE
    good = t
    while good < 1:
        bad = min(good + max(_step(look), LEAST_STEP), good + stride, 1.0)
        for trial in range(MOST_TRIALS):
            next_look = bent.along(path, bad, states)
            if not (_beyond(next_look) > next_look[4]).any():
                break
            # Too far: the first of the roots that lines between both ends have, or half way.
            middle = (good + bad) / 2 if trial % 3 == 2 else good + _secant(look, next_look) * (bad - good)
            if bad - good <= LEAST_STEP or not good < middle < bad:
                return bad
            bad = middle
        good, look = bad, next_look
        if _leaving(look).any():
            return good
    return None


def _beyond(look):
    """How far pre-activations are outside of what their states allow [units]; negative inside."""
    value, _, low, high, _ = look
    return torch.maximum(low - value, value - high)


def _leaving(look):
    """Which units are on a break, or beyond it, and on their way out [units]."""
    value, slope, low, high, near = look
    return ((value - high >= -near) & (slope > 0)) | ((low - value >= -near) & (slope < 0))


def _step(look):
    """How far it is to the first break, along tangents; infinite where none is ahead."""
    value, slope, low, high, _ = look
    ahead = torch.where(slope > 0, high - value, low - value) / slope
    ahead = torch.where(slope == 0, math.inf, ahead.clamp(min=0))
    return ahead.min().item()


def _secant(look, beyond_look):
    """Which part of the way to a look that is too far its first crossing is at, along straight lines."""
    value, _, low, high, near = look
    reached = beyond_look[0]
    edge = torch.where(reached > high, high, low)
    out = _beyond(beyond_look) > near
    part = ((edge - value) / (reached - value))[out]
    return part.clamp(0, 1).min().item()


def _settled(bent, path, t, states):
    """(states, look) just behind path(t): units on a break go where they head, which may turn units after them."""
    look = bent.along(path, t, states)
    for _ in range(len(states) + 1):
        leaving, up = _leaving(look), look[1] > 0
        if not leaving.any():
            break
        change = torch.where(leaving, torch.where(up, 1, -1), 0).to(torch.int8)
        sizes = [state.numel() for state in states]
        states = [state + part.reshape(state.shape) for state, part in zip(states, change.split(sizes))]
        look = bent.along(path, t, states)
    return states, look
