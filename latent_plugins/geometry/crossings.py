"""The regions that a straight path through a piecewise affine network's latents crosses, found exactly.

Within a region every activation's input is affine along the path, so the next boundary is where the first of them
reaches a break of its `Bend`; there its state changes and nothing else does. Nothing is sampled, and the number of
latent dimensions does not matter.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912):
adjacent regions, Definition 1; the angle between their images, Theorem 4; their codes, appendix G.
"""

import copy
import dataclasses

import numpy as np
import torch

from latent_plugins.geometry.piecewise import Bend, fitting, layers, rank_tolerance

MAX_REGIONS = 10_000  # of a path


@dataclasses.dataclass(frozen=True)
class PathRegions:
    """The R regions that a path from `start` to `end` crosses, in order.

    t: where they begin and end, float64 [R + 1], from 0 to 1; codes: int8 [R, bits], see `activation_code`; slope:
    their matrices A float64 [R, out, in], of the network's flattened output.
    """

    t: np.ndarray
    codes: np.ndarray
    slope: np.ndarray

    def __len__(self):
        return len(self.codes)

    def changed(self):
        """How many activations change their state at each crossing, the codes' Hamming distance: [R − 1]."""
        return (self.codes[1:] != self.codes[:-1]).sum(axis=1)

    def angles(self):
        """Theorem 4 at each crossing: θ with sin θ = ‖P(A) − P(A')‖₂, radians float64 [R − 1]."""
        return subspace_angles(self.slope[:-1], self.slope[1:])


def regions_along(network, start, end, *, max_regions=MAX_REGIONS):
    """The PathRegions between two latents [in], computed in float64 on the CPU.

    network: see `check_piecewise_affine`. Boundaries that several activations share are crossed one activation after
    the other; regions of no length between them are left out, so that neighbours there differ in more than one. Raises
    ValueError for another kind of network, latents that do not fit, or more than max_regions regions.
    """
    with torch.no_grad():
        layers(network)  # tells what is wrong before anything is copied
        network = copy.deepcopy(network).to("cpu", torch.float64)
        ends = fitting(network, torch.stack([torch.as_tensor(start), torch.as_tensor(end)]).to("cpu", torch.float64))
        stack, path = layers(network), ends
        code, at, t, codes = _code_towards(stack, path), 0.0, [0.0], []
        while True:
            following, which = _next_crossing(stack, path, code, at)
            if following > at:  # else a region of no length, which gives way to the one beyond
                codes.append(code.clone())
                t.append(min(following, 1.0))
            if following >= 1:
                break
            if len(codes) > max_regions:
                raise ValueError(f"the path crosses more than {max_regions} regions: take a shorter one")
            position, state = which
            code[position], at = state, following
        codes = torch.stack(codes)
        slope = torch.cat([_slopes(stack, ends.shape[1], some) for some in codes.split(64)])
    return PathRegions(np.array(t), codes.numpy(), slope.numpy())


def _code_towards(stack, path):
    """The code int8 [bits] of the region that the path is in just after its start."""
    point, direction, states = path[:1], path[1:] - path[:1], []
    for layer in stack:
        if not isinstance(layer, Bend):
            point, direction = layer(point), layer(direction) - layer(torch.zeros_like(direction))
            continue
        state = torch.zeros_like(point, dtype=torch.int8)
        for at in layer.breaks:
            state += (point > at) | ((point == at) & (direction > 0))
        states.append(state.flatten())
        point, direction = layer.apply(point, state), direction * layer.slope(state, direction)
    return torch.cat(states) if states else torch.zeros(0, dtype=torch.int8)


def _next_crossing(stack, path, code, at):
    """(t, (position in the code, its new state)) where the path leaves a code's region; t is inf where it stays."""
    point, direction, used = path[:1], path[1:] - path[:1], 0
    nearest, which = np.inf, None
    for layer in stack:
        if not isinstance(layer, Bend):
            point, direction = layer(point), layer(direction) - layer(torch.zeros_like(direction))
            continue
        state = code[used : used + point.numel()].reshape(point.shape)
        last = len(layer.breaks)
        bounds = point.new_tensor([-np.inf, *layer.breaks, np.inf])
        low, high = bounds[state.long()], bounds[state.long() + 1]
        goal = torch.where(direction > 0, high, low)
        when = torch.where(direction == 0, np.inf, (goal - point) / direction).flatten()
        when = torch.where(torch.isnan(when), torch.inf, when).clamp(min=at)  # rounding puts nothing behind us
        first = int(when.argmin())
        if when[first] < nearest:
            nearest = float(when[first])
            step = 1 if direction.flatten()[first] > 0 else -1
            which = used + first, int(min(max(int(state.flatten()[first]) + step, 0), last))
        point, direction = layer.apply(point, state), direction * layer.slope(state, direction)
        used += point.numel()
    return nearest, which


def _slopes(stack, n_in, codes):
    """The matrices [R, out, in] of the regions of codes [R, bits]."""
    rows = torch.eye(n_in, dtype=torch.float64).repeat(len(codes), 1)
    used = 0
    for layer in stack:
        if isinstance(layer, Bend):
            shape = rows.shape[1:]
            states = codes[:, used : used + shape.numel()].unflatten(1, shape)
            rows = rows * layer.slope(states, rows).repeat_interleave(n_in, dim=0)
            used += shape.numel()
        else:
            rows = layer(rows) - layer(torch.zeros_like(rows[:1]))
    return rows.flatten(1).unflatten(0, (-1, n_in)).transpose(1, 2).contiguous()


def subspace_angles(a, b):
    """θ with sin θ = ‖P(A) − P(B)‖₂ of the column spaces of matrices a and b [N, out, in]: radians float64 [N].

    P projects onto a column space (of the numerical rank). The norm of the difference of two projections is the sine of
    the greatest principal angle where the spaces have one dimension, and 1 where they have not; the theorem assumes the
    former. Small angles come from the sines, large ones from the cosines, so that both are exact to rounding.
    """
    found = []
    for first, second in zip(*(np.asarray(each, dtype=np.float64) for each in (a, b))):
        p, q = _column_space(first), _column_space(second)
        if p.shape[1] != q.shape[1]:
            found.append(np.pi / 2)
        elif not p.shape[1]:
            found.append(0.0)
        else:
            common = p.T @ q
            sine = min(np.linalg.norm(q - p @ common, 2), 1.0)
            cosine = min(np.linalg.svd(common, compute_uv=False)[-1], 1.0)
            found.append(np.arcsin(sine) if sine < cosine else np.arccos(cosine))
    return np.array(found)


def _column_space(matrix):
    """An orthonormal basis [out, rank] of a matrix's columns."""
    vectors, values, _ = np.linalg.svd(matrix, full_matrices=False)
    kept = values > rank_tolerance(torch.float64) * max(values[0], np.finfo(np.float64).tiny)
    return vectors[:, kept]
