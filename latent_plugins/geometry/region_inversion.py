"""Inversion as a search over regions, with a proof of how near any latent can come.

Proposition 4 of "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk,
arXiv:2002.11912): x = G(z) is inverted by the region ω with the least ‖x − G(G_ω⁻¹(x))‖, where G_ω⁻¹ is the inverse of
the region's affine map, a discrete problem that integer programming can solve. For targets that no latent makes, G_ω⁻¹
may lead out of ω; here each region is a least-squares problem within its own borders instead, so that the least over
regions is min over z of ‖x − G(z)‖ for every target, and the proposition's value where it is zero.

Two inputs: all regions of an exact partition. More: a mixed-integer linear program over the activation codes, one
binary variable a unit, whose lower bound is raised by one cutting plane for each region that it proposes. A region's
cutting plane supports its image at the point nearest to the target, so no region is proposed twice and the search ends.
"""

import copy
import dataclasses
import time

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp, nnls
from scipy.sparse import csr_array

from latent_plugins.geometry.piecewise import Bend, fitting, layers

# What separates the distance found from the proven bound, as a part of the target's length, at least of 1. The solver's
# own tolerances are 1e-6.
TOLERANCE = 1e-5
BOX = 4.0  # half side of the cube of latents, in standard deviations
MOST_REGIONS = 1000
SECONDS = 60.0
# Ridge towards the last point, as a part of the slope's norm, and how often a region's problem is solved with it.
RIDGE = 1e-3
PROXIMAL_STEPS = 50
# Singular values of the last layer below this part of the largest are none.
RANK = 1e-12


@dataclasses.dataclass(frozen=True)
class RegionInversion:
    """The nearest outputs to n targets x among all latents of a rectangle or cube.

    z [n, in]: the latents; distance [n]: ‖x − G(z)‖₂; lower [n]: no latent there comes nearer than this; certified [n]
    bool: they agree up to the tolerance; regions [n] int64: how many regions were solved for it. Tensors are float64.
    """

    z: torch.Tensor
    distance: torch.Tensor
    lower: torch.Tensor
    certified: torch.Tensor
    regions: torch.Tensor


def invert_in_partition(partition, x):
    """The RegionInversion of targets x [n, out] over all regions of an exact Partition, always certified.

    The latents are those of the partition's rectangle: for a network with two inputs the plane's, for others the
    slice's alone. Regions are visited by how near their affine maps come anywhere, until the next one cannot be nearer.
    Raises ValueError for a sampled partition or targets that do not fit.
    """
    if not partition.exact:
        raise ValueError("a certified inversion needs an exact partition, not a sampled one")
    x = _targets(x, partition.offset.shape[1])
    inverse = np.linalg.pinv(partition.slope, rcond=RANK)
    places, distances, visited = [], [], []
    for target in x:
        rest = target - partition.offset
        free = np.einsum("rio,ro->ri", inverse, rest)
        bounds = np.linalg.norm(rest - np.einsum("roi,ri->ro", partition.slope, free), axis=1)
        best, place, count = np.inf, None, 0
        inside = partition.outside(free[None])[0] <= 0
        for i in np.argsort(bounds, kind="stable"):
            if bounds[i] >= best:
                break
            count += 1
            found = free[i : i + 1] if inside[i] else _on_edges(partition.vertices[i], partition.slope[i], rest[i])
            values = np.linalg.norm(rest[i] - found @ partition.slope[i].T, axis=1)
            nearest = values.argmin()
            if values[nearest] < best:
                best, place = values[nearest], found[nearest]
        places.append(place)
        distances.append(best)
        visited.append(count)
    distances = torch.tensor(distances, dtype=torch.float64)
    return RegionInversion(
        z=partition.slice.latents(np.array(places)),
        distance=distances,
        lower=distances.clone(),
        certified=torch.ones(len(x), dtype=torch.bool),
        regions=torch.tensor(visited),
    )


def _on_edges(vertices, slope, rest):
    """The point [V, 2] of each edge of a polygon whose image under the slope is nearest to `rest`."""
    steps = np.roll(vertices, -1, axis=0) - vertices
    images = steps @ slope.T
    lengths = np.einsum("vo,vo->v", images, images)
    along = np.einsum("vo,vo->v", images, rest - vertices @ slope.T)
    part = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0)
    return vertices + np.clip(part, 0, 1)[:, None] * steps


def invert_by_codes(network, x, *, box=BOX, tolerance=TOLERANCE, most_regions=MOST_REGIONS, seconds=SECONDS):
    """The RegionInversion of targets x [n, out] over all activation codes of a small network, in the cube |zᵢ| ≤ box.

    network: see `check_piecewise_affine`, with activations of two pieces (ReLUs, leaky or not); some tens of units are
    small. The bound is that of HiGHS in floating point, good to its own tolerances of 1e-6. tolerance: of the
    certificate, times the target's length or 1, whichever is larger. A target that takes more than `most_regions`
    regions or `seconds` keeps the best latent found and its bound, uncertified. Raises ValueError for another network,
    a box, tolerance or limit that is not positive, or targets that do not fit.
    """
    if not (box > 0 and tolerance > 0 and most_regions > 0 and seconds > 0):
        raise ValueError(
            f"box {box}, tolerance {tolerance}, most_regions {most_regions} and seconds {seconds} must be above zero"
        )
    program = _Program(network, box)
    found = [program.invert(target, tolerance, most_regions, seconds) for target in _targets(x, program.n_out)]
    z, distance, lower, certified, regions = zip(*found)
    return RegionInversion(
        z=torch.from_numpy(np.array(z)),
        distance=torch.tensor(distance, dtype=torch.float64),
        lower=torch.tensor(lower, dtype=torch.float64),
        certified=torch.tensor(certified),
        regions=torch.tensor(regions),
    )


def _targets(x, n_out):
    x = np.asarray(torch.as_tensor(x).detach().cpu(), dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != n_out or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"targets must be finite and [n, {n_out}] with at least one row, not {list(x.shape)}")
    return x


def units_of(network, n_in):
    """How many activations a piecewise affine network with n_in inputs has; None where one has more than two pieces.

    Raises ValueError as `check_piecewise_affine`.
    """
    stages = _stages(network, n_in)
    bends = [bend for _, _, bend in stages if bend is not None]
    if any(len(bend.breaks) > 1 for bend in bends):
        return None
    return sum(len(weight) for weight, _, bend in stages if bend is not None)


def _stages(network, n_in=None):
    """[(weight [out, in], bias [out], Bend or None), …] float64 arrays: the network as matrices and activations."""
    layers(network)  # tells what is wrong before anything is copied
    network = copy.deepcopy(network).to("cpu", torch.float64)
    if n_in is None:
        first = next((m for m in network.modules() if hasattr(m, "in_features")), None)
        if first is None:
            raise ValueError("no Linear layer tells how many inputs the network takes")
        n_in = first.in_features
    z = fitting(network, torch.zeros(1, n_in, dtype=torch.float64))
    stages, group, shape = [], [], z.shape[1:]
    with torch.no_grad():
        for layer in [*layers(network), None]:
            if layer is not None and not isinstance(layer, Bend):
                group.append(layer)
                continue
            if layer is None and not group and stages:
                break
            still = torch.zeros(1, *shape, dtype=torch.float64)
            columns = torch.eye(shape.numel(), dtype=torch.float64).unflatten(1, shape)
            for module in group:
                still, columns = module(still), module(columns)
            weight = (columns - still).flatten(1).T.numpy()
            stages.append((weight, still.flatten().numpy(), layer))
            group, shape = [], still.shape[1:]
    return stages


class _Program:
    """A network as a mixed-integer linear program: variables z, then for each activation its value and its state."""

    def __init__(self, network, box):
        self.stages = _stages(network)
        self.n_in = self.stages[0][0].shape[1]
        bends = [(weight, bias, bend) for weight, bias, bend in self.stages if bend is not None]
        if any(len(bend.breaks) > 1 for _, _, bend in bends):
            raise ValueError("the search over codes takes activations of two pieces, not clamps")
        self.box, self.units = box, [len(weight) for weight, _, _ in bends]
        total = sum(self.units)
        # z, values, states, and the distance.
        self.size = self.n_in + 2 * total + 1
        self.low = np.concatenate([np.full(self.n_in, -box), np.full(total, -np.inf), np.zeros(total + 1)])
        self.high = np.concatenate([np.full(self.n_in, box), np.full(total, np.inf), np.ones(total), [np.inf]])
        self.rows, self.row_low, self.row_high = [], [], []
        inputs, low, high, used = np.arange(self.n_in), np.full(self.n_in, -box), np.full(self.n_in, box), 0
        for weight, bias, bend in bends:
            values = self.n_in + used + np.arange(len(weight))
            low, high = self._layer(weight, bias, bend, inputs, low, high, values, values + total)
            inputs, used = values, used + len(weight)
        weight, bias, bend = self.stages[-1]
        if bend is not None:  # the activations are the outputs
            weight, bias = np.eye(len(weight)), np.zeros(len(weight))
        self.last, self.offset, self.n_out = inputs, bias, len(weight)
        # Outputs move in the span of the last weights only: directions across it are a constant of the distance.
        u, s, vt = np.linalg.svd(weight, full_matrices=False)
        rank = int((s > RANK * s[:1]).sum()) if len(s) and s[0] > 0 else 0
        self.span, self.reduced = u[:, :rank], s[:rank, None] * vt[:rank]

    def _layer(self, weight, bias, bend, inputs, low, high, values, states):
        """Add a layer's constraints; (lowest, highest) values of its activations."""
        positive, negative = weight.clip(min=0), weight.clip(max=0)
        u_low, u_high = positive @ low + negative @ high + bias, positive @ high + negative @ low + bias
        (at,), (before, after), (o_before, o_after) = bend.breaks, bend.slopes, bend.offsets
        ends = [before * u.clip(max=at) + o_before for u in (u_low, u_high)]
        ends += [after * u.clip(min=at) + o_after for u in (u_low, u_high)]
        change = after - before
        for k in range(len(weight)):
            below, above = min(u_low[k] - at, 0.0), max(u_high[k] - at, 0.0)
            self.low[values[k]], self.high[values[k]] = min(e[k] for e in ends), max(e[k] for e in ends)
            if u_low[k] >= at:
                self.low[states[k]] = 1
            if u_high[k] <= at:
                self.high[states[k]] = 0 if u_low[k] < at else 1
            # The state says on which side of the break the pre-activation is.
            self._add(inputs, weight[k], {states[k]: -above}, high=at - bias[k])
            self._add(inputs, weight[k], {states[k]: below}, low=at - bias[k] + below)
            # value − (before · u + offset) = change · (u − at) in state 1, else 0; and the same from the other piece.
            for slope, offset, reach, constant, coefficient in (
                (before, o_before, change * above, 0.0, 1.0),
                (after, o_after, change * below, 1.0, -1.0),
            ):
                # With s = state, or 1 − state for the other piece: 0 ≤ ±(value − slope · u − offset) ≤ ±span · s.
                shift = offset + slope * bias[k]
                sign = 1.0 if change >= 0 else -1.0
                width = abs(reach)
                extra = {values[k]: sign}
                self._add(inputs, -sign * slope * weight[k], extra, low=sign * shift)
                extra = {values[k]: sign, states[k]: -coefficient * width}
                self._add(inputs, -sign * slope * weight[k], extra, high=sign * shift + constant * width)
        return np.minimum.reduce(ends), np.maximum.reduce(ends)

    def _add(self, inputs, weight, extra, low=-np.inf, high=np.inf):
        row = np.zeros(self.size)
        row[inputs] = weight
        for place, value in extra.items():
            row[place] += value
        self.rows.append(row)
        self.row_low.append(low)
        self.row_high.append(high)

    def invert(self, target, tolerance, most_regions, seconds):
        """(z, distance, lower bound, certified, regions) of one target [out]."""
        end = time.monotonic() + seconds
        centred = target - self.offset
        aim = self.span.T @ centred
        across = np.linalg.norm(centred - self.span @ aim)  # the same for all latents
        allowed = tolerance * max(1.0, np.linalg.norm(target))
        directions = [*np.eye(len(aim)), *-np.eye(len(aim))]
        best, z_best, lower, seen, solved = np.inf, np.zeros(self.n_in), across, set(), 0
        while solved < most_regions and (left := end - time.monotonic()) > 0:
            found = self._solve(directions, aim, left)
            bound = getattr(found, "mip_dual_bound", None)
            if bound is not None and np.isfinite(bound):
                lower = max(lower, float(np.hypot(max(bound, 0.0), across)))
            if found.x is None:
                break
            solved += 1
            states = np.rint(found.x[self.n_in + sum(self.units) : -1]).astype(int)
            z, residual = self._nearest(states, found.x[: self.n_in], target)
            distance = np.linalg.norm(self._outputs(z) - target)
            if distance < best:
                best, z_best = distance, z
            key = states.tobytes()
            if best - lower <= allowed or key in seen:
                break
            seen.add(key)
            length = np.linalg.norm(residual)
            if length == 0:
                break
            directions.append(residual / length)
        if not np.isfinite(best):
            best = np.linalg.norm(self._outputs(z_best) - target)
        lower = min(lower, best)
        return z_best, best, lower, bool(best - lower <= allowed), solved

    def _solve(self, directions, aim, seconds):
        """The program with the distance at least direction · (reduced outputs − aim) for all directions."""
        cuts = np.zeros((len(directions), self.size))
        if directions:
            directions = np.array(directions)
            cuts[:, self.last] = directions @ self.reduced
            cuts[:, -1] = -1
        rows = np.concatenate([np.array(self.rows).reshape(-1, self.size), cuts])
        high = np.concatenate([self.row_high, directions @ aim if len(cuts) else []])
        low = np.concatenate([self.row_low, np.full(len(cuts), -np.inf)])
        objective = np.zeros(self.size)
        objective[-1] = 1
        total = sum(self.units)
        integer = np.zeros(self.size)
        integer[self.n_in + total : self.n_in + 2 * total] = 1
        constraints = [LinearConstraint(csr_array(rows), low, high)] if len(rows) else []
        options = dict(time_limit=seconds, mip_rel_gap=1e-9)
        bounds = Bounds(self.low, self.high)
        return milp(objective, integrality=integer, bounds=bounds, constraints=constraints, options=options)

    def _outputs(self, z):
        for weight, bias, bend in self.stages:
            z = weight @ z + bias
            if bend is not None:
                z = bend(torch.from_numpy(z)).numpy()
        return z

    def _nearest(self, states, start, target):
        """(z, the reduced residual) of the latent nearest to the target within the closed region of these states."""
        slope, offset, used = np.eye(self.n_in), np.zeros(self.n_in), 0
        sides, heights = [np.eye(self.n_in), -np.eye(self.n_in)], [np.full(self.n_in, -self.box)] * 2
        for weight, bias, bend in self.stages:
            slope, offset = weight @ slope, weight @ offset + bias
            if bend is None:
                continue
            state = states[used : used + len(weight)]
            sign = 2.0 * state - 1
            sides.append(sign[:, None] * slope)
            heights.append(sign * (bend.breaks[0] - offset))
            slopes, offsets = np.array(bend.slopes)[state], np.array(bend.offsets)[state]
            slope, offset = slopes[:, None] * slope, slopes * offset + offsets
            used += len(weight)
        z = _least_squares(slope, target - offset, np.concatenate(sides), np.concatenate(heights), start)
        z = z.clip(-self.box, self.box)
        return z, self.span.T @ (slope @ z + offset - target)


def _least_squares(a, b, sides, heights, start):
    """z with the least ‖a z − b‖ where sides · z ≥ heights, starting at a z that fulfils this.

    Each step has a ridge towards the last z, which makes the problem one of least distance (Lawson and Hanson,
    "Solving Least Squares Problems", 1974, chapter 23) whatever the rank of a; the steps end at the solution.
    """
    n, z = a.shape[1], start
    ridge = RIDGE * max(np.linalg.norm(a, 2), 1e-12)
    q, r = np.linalg.qr(np.concatenate([a, ridge * np.eye(n)]))
    sides_r = np.linalg.solve(r.T, sides.T).T
    for _ in range(PROXIMAL_STEPS):
        centre = q.T @ np.concatenate([b, ridge * z])
        rest = heights - sides_r @ centre
        system = np.concatenate([sides_r.T, rest[None]])
        scale = np.linalg.norm(system, axis=0)
        scale = np.where(scale > 0, scale, 1)
        weights, _ = nnls(system / scale, np.concatenate([np.zeros(n), [1.0]]))
        residual = (system / scale) @ weights - np.concatenate([np.zeros(n), [1.0]])
        if abs(residual[-1]) < 1e-14:  # no point fulfils the sides: rounding of the start
            return z
        following = np.linalg.solve(r, centre - residual[:-1] / residual[-1])
        moved = np.linalg.norm(following - z)
        z = following
        if moved <= 1e-12 * max(1.0, np.linalg.norm(z)):
            break
    return z
