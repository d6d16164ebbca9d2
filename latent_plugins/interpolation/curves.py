"""Curves between latents, in flat space and on a sphere. Rows are points [d] float64; places t run from 0 to 1."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

OPPOSITE = "the ends lie opposite each other, so that there is no shortest way; take other seeds"
NEARLY = 1e-12  # sine of an angle below which there is no direction to turn in


def linear(start, end, t):
    """start + t (end − start): points [T, d] of places t [T]."""
    return start + np.asarray(t, dtype=np.float64)[:, None] * (end - start)


def slerp(start, end, t):
    """Spherical linear interpolation [T, d] of places t [T]: start · sin((1 − t) ω)/sin ω + end · sin(t ω)/sin ω.

    ω is the angle between the ends (Shoemake 1985; for latents White, "Sampling Generative Networks", 2016). Ends of
    one length are joined by their great circle; of other lengths the same weights are taken. Ends in one direction are
    joined by the straight line. Raises ValueError for ends that lie opposite each other, or at the origin.
    """
    t = np.asarray(t, dtype=np.float64)
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if min(lengths) == 0:
        raise ValueError("an end lies at the origin, which has no direction; take other seeds")
    a, b = start / lengths[0], end / lengths[1]
    omega = 2 * math.atan2(np.linalg.norm(a - b), np.linalg.norm(a + b))
    if math.sin(omega) < NEARLY:
        if omega > 1:
            raise ValueError(OPPOSITE)
        return linear(start, end, t)
    first, second = np.sin((1 - t) * omega) / math.sin(omega), np.sin(t * omega) / math.sin(omega)
    return first[:, None] * start + second[:, None] * end


class Flat:
    """Euclidean space."""

    def distances(self, a, b):
        """Distances of points a [..., d] and b [..., d]."""
        return np.linalg.norm(a - b, axis=-1)

    def between(self, start, end, t):
        """Points [T, d] of the shortest way from start to end at places t [T]."""
        return linear(start, end, t)


@dataclasses.dataclass(frozen=True)
class Sphere:
    """The sphere of a radius around the origin, whose points all rows are; its distances are those along it."""

    radius: float

    def distances(self, a, b):
        """See Flat: lengths of great circles."""
        chord = np.linalg.norm(a - b, axis=-1)
        return 2 * self.radius * np.arcsin(np.minimum(chord / (2 * self.radius), 1))

    def between(self, start, end, t):
        """See Flat. Raises ValueError for ends that lie opposite each other."""
        found = slerp(start, end, t)
        return found * (self.radius / np.linalg.norm(found, axis=1, keepdims=True))


def along(geometry, knots, t):
    """Points [T, d] of a polygon through knots [n + 1, d], at shares t [T] of its length: at an even speed.

    Its sides are the shortest ways of a geometry; its ends are the first and the last knot, bit for bit.
    """
    t = np.asarray(t, dtype=np.float64)
    ends = np.concatenate([[0], np.cumsum(geometry.distances(knots[:-1], knots[1:]))])
    place = t * ends[-1]
    side = np.clip(np.searchsorted(ends, place, side="right") - 1, 0, len(knots) - 2)
    found = np.empty((len(t), knots.shape[1]))
    for i in np.unique(side):
        rows = np.flatnonzero(side == i)
        found[rows] = geometry.between(knots[i], knots[i + 1], (place[rows] - ends[i]) / (ends[i + 1] - ends[i]))
    found[t == 0], found[t == 1] = knots[0], knots[-1]
    return found
