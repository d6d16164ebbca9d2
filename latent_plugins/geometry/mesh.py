"""A rectangle as a mesh of convex polygons that share their vertices, cut by the zero lines of affine functions."""

import itertools
import math
import typing

import numpy as np

CHUNK_ROWS = 2048


class Mesh:
    """Convex polygons that share their vertices, cut by zero lines of functions that are affine on each of them.

    points: (x, y) of each vertex; loops: the vertices of each polygon, counter-clockwise. Every edge inside the
    rectangle belongs to exactly two loops.
    """

    def __init__(self, corners, least_area, max_regions):
        self.points = [tuple(corner) for corner in corners.tolist()]
        self.loops = [list(range(len(corners)))]
        self.least_area, self.max_regions = least_area, max_regions

    def cut(self, values, tolerance):
        """Cut all polygons where a column of values [V, lines], one row a vertex, changes sign.

        tolerance [lines]: smaller values count as zero. Returns the values [V', lines] at old and new vertices and the
        former index [R'] of the polygon that each one comes from.
        """
        self.tolerance, self.cuts = tolerance, {}
        self.values, self.used = _snapped(values, tolerance), len(values)
        loops, parents, total = [], [], len(self.loops)
        for parent, (loop, crossing) in enumerate(zip(self.loops, self._crossings())):
            stack = [(loop, crossing)]
            while stack:
                loop, crossing = stack.pop()
                if not len(crossing):
                    loops.append(loop)
                    parents.append(parent)
                    continue
                children = self._split(self._refined(loop), crossing[0])
                total += len(children) - 1
                if total > self.max_regions:
                    raise ValueError(
                        f"the slice has more than max_regions {self.max_regions} regions: take a smaller rectangle, or "
                        "raise the bound"
                    )
                for child in children:
                    block = self.values[child][:, crossing[1:]]
                    stack.append((child, crossing[1:][(block.min(axis=0) < 0) & (block.max(axis=0) > 0)]))
        self.loops = [self._refined(loop) for loop in loops]
        return self.values[: self.used], np.array(parents)

    def area(self, loop):
        """The area of a polygon."""
        return _area([self.points[i] for i in loop])

    def _crossings(self):
        """Yield for each polygon the lines that change sign on it: only those at whose vertices the sign differs."""
        for low, high in extremes(self.values, self.loops):
            for crosses in (low < 0) & (high > 0):
                yield np.flatnonzero(crosses)

    def _refined(self, loop):
        """The loop with all vertices that polygons on the other side of its edges have put there."""
        result, edges = [], list(zip(loop, loop[1:] + loop[:1]))[::-1]
        while edges:
            u, v = edges.pop()
            middle = self.cuts.get((u, v))
            if middle is None:
                result.append(u)
            else:
                edges += [(middle, v), (u, middle)]
        return result

    def _split(self, loop, line):
        """The loop's positive and negative part; the loop alone if one of them would be too small.

        The positive part is the run of positive vertices around the largest one: a convex polygon has no other, up to
        rounding.
        """
        values, n = self.values[loop, line].tolist(), len(loop)
        first = last = max(range(n), key=values.__getitem__)
        while values[first - 1] > 0:
            first -= 1
        while values[(last + 1) % n] > 0:
            last += 1
        run = [loop[i % n] for i in range(first, last + 1)]
        rest = [loop[i % n] for i in range(last + 1, first + n)]
        left, right = self._end(run[-1], rest[0], line), self._end(run[0], rest[-1], line)
        # A vertex at zero is itself the end of the cut.
        rest = [i for i in rest if i not in (left.vertex, right.vertex)]
        positive = [right.point, *(self.points[i] for i in run), left.point]
        negative = [left.point, *(self.points[i] for i in rest), right.point]
        if min(_area(positive), _area(negative)) <= self.least_area:
            return [loop]
        left, right = self._vertex(left, line), self._vertex(right, line)
        return [[right, *run, left], [left, *rest, right]]

    def _end(self, inside, beyond, line):
        """Where the zero of a line lies on the edge from a positive vertex to one that is not."""
        a, b = self.values[[inside, beyond], line].tolist()
        if b == 0:
            return _End(beyond, self.points[beyond])
        part = a / (a - b)
        (x0, y0), (x1, y1) = self.points[inside], self.points[beyond]
        return _End(None, (x0 + part * (x1 - x0), y0 + part * (y1 - y0)), (inside, beyond), part)

    def _vertex(self, end, line):
        """The index of an end's vertex, made where it is new."""
        if end.vertex is not None:
            return end.vertex
        u, v = end.edge
        row = _snapped(self.values[u] + end.part * (self.values[v] - self.values[u]), self.tolerance)
        row[line] = 0
        if self.used == len(self.values):
            self.values = np.concatenate([self.values, np.empty_like(self.values)])
        self.values[self.used] = row
        self.points.append(end.point)
        self.cuts[u, v] = self.cuts[v, u] = self.used
        self.used += 1
        return self.used - 1


class _End(typing.NamedTuple):
    """An end of a cut: an old vertex, or a new one at `part` of the way along an edge."""

    vertex: int | None
    point: tuple
    edge: tuple | None = None
    part: float = 0.0


def _snapped(values, tolerance):
    return np.where(np.abs(values) <= tolerance, 0.0, values)


def _area(corners):
    """The area of a polygon with these corners, by the shoelace formula around its first corner."""
    x0, y0 = corners[0]
    shifted = [(x - x0, y - y0) for x, y in corners[1:]]
    return 0.5 * sum(x * w - u * y for (x, y), (u, w) in itertools.pairwise(shifted))


def extremes(values, loops):
    """Yield (lowest, highest), each [r, lines], of values [V, lines] over the vertices of successive loops."""
    longest = max(map(len, loops))
    # Short loops repeat their first vertex.
    padded = np.array([loop + loop[:1] * (longest - len(loop)) for loop in loops])
    for chunk in np.split(padded, range(CHUNK_ROWS, len(padded), CHUNK_ROWS)):
        low = values[chunk[:, 0]]
        high = low.copy()
        for vertices in chunk.T[1:]:
            rows = values[vertices]
            np.minimum(low, rows, out=low)
            np.maximum(high, rows, out=high)
        yield low, high


def adjacency(loops, points, least_length):
    """(neighbours, bounded): for each polygon those across its edges longer than least_length, and whether there is one
    across each of them."""
    owner = {edge: i for i, loop in enumerate(loops) for edge in zip(loop, loop[1:] + loop[:1])}
    neighbours, bounded = [set() for _ in loops], np.ones(len(loops), dtype=bool)
    for (u, v), i in owner.items():
        if math.dist(points[u], points[v]) <= least_length:
            continue
        if (v, u) in owner:
            neighbours[i].add(owner[v, u])
        else:
            bounded[i] = False
    return [tuple(sorted(each)) for each in neighbours], bounded
