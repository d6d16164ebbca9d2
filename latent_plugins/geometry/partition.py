"""The regions that a piecewise affine network cuts a plane through its latents into, exactly; a grid for other maps.

Such partitions are those of Humayun, Balestriero, Balakrishnan, Baraniuk, "SplineCam" (2023). Here the plane is a mesh
of convex polygons, cut layer by layer by the zero lines of the activations. Polygons share their vertices, and the sign
of an activation is decided once a vertex, so that rounding opens no gaps: areas add up to the rectangle's.
"""

import copy
import dataclasses
import functools

import numpy as np
import torch

from latent_plugins.geometry.jacobians import jacobians
from latent_plugins.geometry.mesh import CHUNK_ROWS, Mesh, adjacency, extremes
from latent_plugins.geometry.piecewise import (
    BYTES_PER_ENTRY,
    Bend,
    activation_code,
    fitting,
    flat_function,
    is_piecewise_affine,
    layers,
    log_volume,
)
from latent_plugins.metrics.neighbours import unwatched

# Pre-activations below this part of the sum of their terms' magnitudes are rounding and count as zero.
ZERO_TOLERANCE = 1e-12
# A cut that would leave less than this part of the rectangle's area on one side is not made.
AREA_TOLERANCE = 1e-12
# Edges shorter than this part of the rectangle's diagonal count as points.
EDGE_TOLERANCE = 1e-9
ORTHONORMAL_TOLERANCE = 1e-6
# Directions at a smaller angle (in radians) count as parallel.
PARALLEL_TOLERANCE = 1e-6
# Entries of the largest temporary arrays: 128 MB in float64.
CHUNK_ENTRIES = 1 << 24


@dataclasses.dataclass(frozen=True)
class Slice:
    """A rectangle in a plane of latents: origin + t₀ axes₀ + t₁ axes₁ with low ≤ t ≤ high.

    origin: [in]; axes: [2, in] orthonormal, so that areas in slice coordinates t are areas among latents; low, high:
    [2], or one number for both coordinates. All are kept as float64 arrays. Raises ValueError for anything that is no
    rectangle with an inside.
    """

    origin: np.ndarray
    axes: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __post_init__(self):
        for name in ("origin", "axes", "low", "high"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise ValueError(f"the slice's {name} must be finite numbers")
            if name in ("low", "high"):
                if array.shape not in ((), (1,), (2,)):
                    raise ValueError(f"the slice's {name} must be one number or two, not {list(array.shape)}")
                array = np.broadcast_to(array, 2).copy()
            object.__setattr__(self, name, array)
        if self.origin.ndim != 1 or self.axes.shape != (2, len(self.origin)):
            raise ValueError(
                f"a slice needs an origin [in] and axes [2, in], not {list(self.origin.shape)} and "
                f"{list(self.axes.shape)}"
            )
        if np.abs(self.axes @ self.axes.T - np.eye(2)).max() > ORTHONORMAL_TOLERANCE:
            raise ValueError("the slice's axes are not orthonormal: make it with slice_along or slice_through")
        if not (self.low < self.high).all():
            raise ValueError(f"the slice's low {self.low.tolist()} must lie below its high {self.high.tolist()}")

    @property
    def corners(self):
        """The rectangle's corners [4, 2], counter-clockwise."""
        (x0, y0), (x1, y1) = self.low, self.high
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    @property
    def area(self):
        return float(np.prod(self.high - self.low))

    @property
    def diagonal(self):
        return float(np.linalg.norm(self.high - self.low))

    def latents(self, points):
        """The latents [..., in] float64, a tensor, at slice coordinates [..., 2]."""
        return torch.from_numpy(self.origin + np.asarray(points, dtype=np.float64) @ self.axes)


def slice_along(origin, directions, *, low=-1.0, high=1.0):
    """The Slice around origin [in] spanned by directions [2, in], which are made orthonormal; low and high as there.

    Raises ValueError for directions that span no plane.
    """
    directions = np.asarray(directions, dtype=np.float64)
    if directions.ndim != 2 or len(directions) != 2 or not np.isfinite(directions).all():
        raise ValueError(f"a slice needs two finite directions [2, in], not {list(directions.shape)}")
    q, r = np.linalg.qr(directions.T)
    lengths = np.linalg.norm(directions, axis=1)
    if directions.shape[1] < 2 or lengths[0] == 0 or np.abs(r[1, 1]) <= PARALLEL_TOLERANCE * lengths[1]:
        raise ValueError("the directions of a slice must not be zero or parallel")
    return Slice(origin, (q * np.sign(np.diag(r))).T, low, high)


def slice_through(z0, z1, z2, *, margin=0.25):
    """The Slice through three latents [in]: z0 is the origin, z1 lies on the first axis.

    The rectangle holds all three, with `margin` of its size around them. Raises ValueError for latents on one line.
    """
    z0, z1, z2 = (np.asarray(z, dtype=np.float64) for z in (z0, z1, z2))
    if not z0.ndim == 1 or not z0.shape == z1.shape == z2.shape:
        raise ValueError(f"a slice goes through three latents [in], not {[list(z.shape) for z in (z0, z1, z2)]}")
    directions = np.stack([z1 - z0, z2 - z0])
    places = np.concatenate([np.zeros((1, 2)), directions @ slice_along(z0, directions).axes.T])
    low, high = places.min(axis=0), places.max(axis=0)
    return slice_along(z0, directions, low=low - margin * (high - low), high=high + margin * (high - low))


@dataclasses.dataclass(frozen=True)
class Region:
    """One region of a slice: a convex polygon on which the network is output = slope·t + offset.

    vertices [V, 2] float64 in slice coordinates t, counter-clockwise; area; code: its activation code as bytes; slope
    [out, 2] and offset [out] float64; log_volume: log √det(AᵀA) of the slope, −inf without full rank; neighbours:
    indices of regions that share an edge with it; bounded: False where it has an edge on the rectangle's border, so
    that it may go on beyond.
    """

    vertices: np.ndarray
    area: float
    code: bytes
    slope: np.ndarray
    offset: np.ndarray
    log_volume: float
    neighbours: tuple
    bounded: bool


@dataclasses.dataclass(frozen=True)
class Partition:
    """All R regions of a slice, as a sequence of `Region`s and as arrays.

    vertices: R arrays [V, 2]; area [R]; codes [R, bits] int8; slope [R, out, 2]; offset [R, out]; log_volume [R];
    neighbours: R tuples; bounded [R] bool. Floating-point arrays are float64.
    """

    slice: Slice
    vertices: list
    area: np.ndarray
    codes: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    log_volume: np.ndarray
    neighbours: list
    bounded: np.ndarray
    exact: bool = True

    def __len__(self):
        return len(self.vertices)

    def __getitem__(self, i):
        return Region(
            vertices=self.vertices[i],
            area=float(self.area[i]),
            code=self.codes[i].tobytes(),
            slope=self.slope[i],
            offset=self.offset[i],
            log_volume=float(self.log_volume[i]),
            neighbours=self.neighbours[i],
            bounded=bool(self.bounded[i]),
        )

    @functools.cached_property
    def adjacent(self):
        """The pairs [P, 2] int64 of regions that share an edge, each once, the smaller index first."""
        pairs = [(i, j) for i, each in enumerate(self.neighbours) for j in each if i < j]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @functools.cached_property
    def hamming_distances(self):
        """In how many entries the codes of the `adjacent` regions differ: int64 [P].

        One, unless several units have the same zero line (Appendix G of "Max-Affine Spline Insights into Deep
        Generative Networks": r entries across a common face of r dimensions less).
        """
        first, second = self.adjacent.T
        return (self.codes[first] != self.codes[second]).sum(axis=1)

    def locate(self, points):
        """The index [N] of the region that holds each of points [N, 2] in slice coordinates; −1 off the rectangle."""
        points = np.asarray(points, dtype=np.float64)
        rows = max(1, CHUNK_ENTRIES // self._half_planes[0].size)
        found = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(points), rows):
            outside = self.outside(points[start : start + rows, None, :])
            nearest = outside.argmin(axis=1)
            inside = outside.min(axis=1) <= EDGE_TOLERANCE * self.slice.diagonal
            found.append(np.where(inside, nearest, -1))
        return np.concatenate(found)

    def outside(self, points):
        """The largest signed distance [N, R] of points [N, R or 1, 2] to a side of each region: negative inside."""
        normals, heights = self._half_planes
        x, y = points[:, :, :1], points[:, :, 1:]
        return (x * normals[:, :, 0] + y * normals[:, :, 1] - heights).max(axis=2)

    @functools.cached_property
    def _half_planes(self):
        """Outer unit normals [R, E, 2] and heights [R, E] of the sides: inside is normal·t ≤ height.

        A short edge has no direction to speak of; the bounding box stands in for it, and fills up the arrays.
        """
        box = np.array([[-1.0, 0], [0, -1], [1, 0], [0, 1]])
        most = max(len(v) for v in self.vertices)
        normals, heights = np.zeros((len(self), most + 4, 2)), np.zeros((len(self), most + 4))
        for i, v in enumerate(self.vertices):
            edges = np.roll(v, -1, axis=0) - v
            lengths = np.linalg.norm(edges, axis=1)
            long = lengths > EDGE_TOLERANCE * self.slice.diagonal
            sides = (edges[:, ::-1] * [1, -1])[long] / lengths[long, None]
            filling = np.broadcast_to(box[0], (most - len(sides), 2))
            normals[i] = np.concatenate([sides, box, filling])
            heights[i] = (v @ normals[i].T).max(axis=0)
        return normals, heights


def exact_partition(network, slice, *, max_regions=100_000):
    """The Partition of a Slice into the regions of a piecewise affine network, computed in float64 on the CPU.

    network: see `check_piecewise_affine`. Regions are told apart by their activation codes, even where they share one
    affine map. What the tolerances of this file call rounding (lines through a vertex, duplicate activations, slivers)
    goes to a neighbouring region, no area is lost. The slopes come from the codes, so they are as exact as the weights.
    Memory: (R + vertices) · (activations of the largest layer + 3 · out) numbers. Raises ValueError for another kind of
    network, a slice that does not fit it, weights that are not finite, or more than max_regions regions.
    """
    with torch.no_grad():
        layers(network)  # tells what is wrong before anything is copied
        network = copy.deepcopy(network).to("cpu", torch.float64)
        fitting(network, slice.latents(slice.corners))
        stack = layers(network)
        bends = [i for i, layer in enumerate(stack) if isinstance(layer, Bend)]
        mesh, codes = _cut(stack[: bends[-1] + 1 if bends else 0], slice, max_regions)
        slope, offset = _affine_pieces(stack, slice, codes)
    if not (np.isfinite(slope).all() and np.isfinite(offset).all()):
        raise ValueError("the network's outputs are not finite on this slice: check its weights")
    points = np.array(mesh.points)
    neighbours, bounded = adjacency(mesh.loops, points, EDGE_TOLERANCE * slice.diagonal)
    return Partition(
        slice=slice,
        vertices=[points[loop] for loop in mesh.loops],
        area=np.array([mesh.area(loop) for loop in mesh.loops]),
        codes=codes,
        slope=slope,
        offset=offset,
        log_volume=log_volume(torch.from_numpy(slope)).numpy(),
        neighbours=neighbours,
        bounded=bounded,
    )


def _cut(stack, slice, max_regions):
    """(mesh, codes [R, bits] int8): the rectangle, cut by one layer of activations after the other."""
    mesh = Mesh(slice.corners, AREA_TOLERANCE * slice.area, max_regions)
    x = slice.latents(slice.corners)
    magnitude = torch.from_numpy(np.abs(slice.origin) + np.abs(slice.corners) @ np.abs(slice.axes))
    codes = [np.zeros((1, 0), dtype=np.int8)]
    for layer in stack:
        if not isinstance(layer, Bend):
            x, magnitude = _in_chunks(layer, x), _in_chunks(_absolute(layer), magnitude)
            continue
        if not torch.isfinite(x).all():
            raise ValueError("the network's activations are not finite on this slice: check its weights")
        before, shape = x.flatten(1).numpy(), x.shape[1:]
        scale = magnitude.flatten(1).amax(dim=0).numpy()
        # One column a break: the activations' distance from it.
        values = np.concatenate([before - at for at in layer.breaks], axis=1)
        values, parents = mesh.cut(values, ZERO_TOLERANCE * np.concatenate([scale + abs(at) for at in layer.breaks]))
        codes = [part[parents] for part in codes] + [_states(values, mesh.loops, len(layer.breaks))]
        x = torch.from_numpy(values[:, : before.shape[1]] + layer.breaks[0]).unflatten(1, shape)
        x = layer(x)
        magnitude = x.abs()
    return mesh, np.concatenate(codes, axis=1)


def _in_chunks(layer, x):
    return torch.cat([layer(rows) for rows in x.split(CHUNK_ROWS)])


def _absolute(layer):
    """The layer that sums its terms' magnitudes: cancellation in a sum shows against it."""
    layer = copy.deepcopy(layer)
    for parameter in layer.parameters():
        parameter.abs_()
    if getattr(layer, "running_mean", None) is not None:
        layer.running_mean.abs_().neg_()  # a batch norm subtracts it
    return layer


def _states(values, loops, breaks):
    """The states [R, n] int8 of n activations on the polygons, from values [V, breaks · n].

    The sign of the larger side counts where a cut was not made. Zero all over a polygon is the outer state, as in
    `Bend.states`.
    """
    states = []
    for low, high in extremes(values, loops):
        low, high = (side.reshape(len(side), breaks, -1) for side in (low, high))
        above = (high[:, :1] > -low[:, :1]).sum(axis=1) + (high[:, 1:] >= -low[:, 1:]).sum(axis=1)
        states.append(above.astype(np.int8))
    return np.concatenate(states)


def _affine_pieces(stack, slice, codes):
    """(slope [R, out, 2], offset [R, out]) from slice coordinates to the output in the regions of codes [R, bits]."""
    pieces = [_affine_piece(stack, slice, chunk) for chunk in torch.from_numpy(codes).split(CHUNK_ROWS)]
    slopes, offsets = zip(*pieces)
    return torch.cat(slopes).numpy(), torch.cat(offsets).numpy()


def _affine_piece(stack, slice, codes):
    point = torch.from_numpy(slice.origin).expand(len(codes), -1)
    axes = torch.from_numpy(slice.axes).repeat(len(codes), 1)  # two rows a region
    used = 0
    for layer in stack:
        if isinstance(layer, Bend):
            shape = point.shape[1:]
            states = codes[:, used : used + shape.numel()].unflatten(1, shape)
            point, axes = layer.apply(point, states), axes * layer.slope(states, axes).repeat_interleave(2, dim=0)
            used += shape.numel()
        else:
            still = layer(torch.zeros_like(point[:1]))
            point, axes = layer(point), layer(axes) - still
    return axes.flatten(1).unflatten(0, (-1, 2)).transpose(1, 2).contiguous(), point.flatten(1)


@dataclasses.dataclass(frozen=True)
class SampledPartition:
    """A grid over a slice: for maps whose regions are not known, or have none.

    log_volume: [resolution, resolution] float64 at the centres of the cells, the first row at the lowest second
    coordinate: log of the product of both singular values of the map along the slice, −inf without full rank. code: ids
    of the activation codes there, int64, where the map is a piecewise affine network, else None. Regions smaller than a
    cell may be missing.
    """

    slice: Slice
    log_volume: np.ndarray
    code: np.ndarray | None
    exact: bool = False

    @property
    def points(self):
        """The slice coordinates [resolution, resolution, 2] of the cells' centres."""
        return _grid(self.slice, len(self.log_volume))


def _grid(slice, resolution):
    x, y = (slice.low + (np.arange(resolution)[:, None] + 0.5) / resolution * (slice.high - slice.low)).T
    return np.stack(np.meshgrid(x, y), axis=2)


def sampled_partition(space_map, slice, *, resolution=128, max_memory=None, progress=unwatched):
    """The SampledPartition of any differentiable map (see `affine_map`) on a grid over a Slice, to first order.

    Computed in the network's dtype. max_memory: bound in bytes for what the products keep alive (None: automatic).
    progress(counts, total, label) wraps the loop over the grid's rows. Raises ValueError for a slice that does not fit
    the map, or a resolution below 1.
    """
    if resolution < 1:
        raise ValueError(f"the resolution must be at least 1, not {resolution}")
    z = fitting(space_map, slice.latents(_grid(slice, resolution).reshape(-1, 2)))
    options = dict(
        directions=torch.from_numpy(slice.axes).to(z), max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY
    )
    function, volumes = flat_function(space_map), []

    def rows_done():
        for rows in z.split(resolution):
            volumes.extend(log_volume(slope) for slope in jacobians(function, rows, **options))
            yield len(rows)

    for _ in progress(rows_done(), len(z), "latents of the slice"):
        pass
    code = None
    if is_piecewise_affine(space_map):
        codes = activation_code(space_map, z).cpu().numpy()
        code = np.unique(codes, axis=0, return_inverse=True)[1].reshape(resolution, resolution)
    return SampledPartition(slice, torch.cat(volumes).cpu().numpy().reshape(resolution, resolution), code)
