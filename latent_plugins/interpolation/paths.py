"""Interpolation through key frames: which points its frames are."""

from __future__ import annotations

import dataclasses

import numpy as np

from latent_plugins.interpolation.curves import along, linear, slerp
from latent_plugins.interpolation.density import Densities
from latent_plugins.interpolation.search import SearchSettings, dense_path, energy, geometry_of
from latent_plugins.priors import SpherePrior

KINDS = ("linear", "slerp", "density")


@dataclasses.dataclass(frozen=True)
class Frames:
    """The F frames of an interpolation.

    points: coordinates [F, d] float64; segment: which segment each is of [F]; t: its place there, from 0 to 1 [F].
    """

    points: np.ndarray
    segment: np.ndarray
    t: np.ndarray

    def __len__(self):
        return len(self.points)


@dataclasses.dataclass(frozen=True)
class DenseFrames(Frames):
    """Frames along paths of high density, at an even speed.

    straight: the points [F, d] of the shortest paths at the same places; found, before: the Densities of the points and
    of the straight ones; energies: of each segment's path, see `search.energy`.
    """

    straight: np.ndarray
    found: Densities
    before: Densities
    energies: list[float]


def check_keys(n):
    """Raise ValueError for too few key frames."""
    if n < 2:
        raise ValueError(f"{n} key frame{'s' * (n != 1)}: an interpolation needs at least two seeds")


def number_of_frames(keys, frames, loop):
    """How many frames an interpolation through so many keys has, with `frames` of each segment."""
    return keys * frames if loop else (keys - 1) * frames + 1


def places(keys, frames, loop):
    """(segments [F], t [F]) of an interpolation through so many keys, with `frames` of each segment.

    Segment i goes from key i to the next one, by t = 0, 1/frames, …; behind the last segment there is the last key
    itself, unless it is a `loop`, whose last segment goes back to the first key.
    """
    segments = keys if loop else keys - 1
    segment, t = np.repeat(np.arange(segments), frames), np.tile(np.arange(frames) / frames, segments)
    return (segment, t) if loop else (np.append(segment, segments - 1), np.append(t, 1.0))


def curve_frames(kind, keys, prior, *, frames, loop=False):
    """The Frames of straight lines (`linear`) or great circles (`slerp`) through keys [K, d] float64.

    Where the prior lives on a sphere, the points of straight lines are rescaled to its radius. frames: of each segment.
    Raises ValueError for fewer than two keys, and where slerp has no way.
    """
    check_keys(len(keys))
    curve = dict(linear=linear, slerp=slerp)[kind]
    segment, t = places(len(keys), frames, loop)
    points = piece_by_piece(keys, segment, t, lambda i, a, b, at: curve(a, b, at))
    if isinstance(prior, SpherePrior):
        if not (np.linalg.norm(points, axis=1) > 0).all():
            raise ValueError("a straight line meets the origin, which no sphere has; take --path=slerp or other seeds")
        points = prior.enter(points)
    return Frames(points, segment, t)


def dense_frames(keys, prior, density, settings=None, *, frames, loop=False, segments=iter):
    """The DenseFrames through keys [K, d] float64.

    density: callable points [N, d] → Densities; settings: SearchSettings; segments: what hears of each segment's
    number as it is begun, such as a display of progress. Raises ValueError as `dense_path`.
    """
    check_keys(len(keys))
    settings, geometry = settings or SearchSettings(), geometry_of(prior)
    segment, t = places(len(keys), frames, loop)
    paths = []
    for i in segments(range(segment[-1] + 1)):
        ends = keys[i], keys[(i + 1) % len(keys)]
        paths.append(dense_path(*ends, lambda points: density(points).height(settings.rho), prior, settings))
    points = piece_by_piece(keys, segment, t, lambda i, a, b, at: along(geometry, paths[i].knots, at))
    straight = piece_by_piece(keys, segment, t, lambda i, a, b, at: geometry.between(a, b, at))
    energies = [energy(geometry, path.knots) for path in paths]
    return DenseFrames(points, segment, t, straight, density(points), density(straight), energies)


def piece_by_piece(keys, segment, t, piece):
    """Points [F, d] from piece(segment, start, end, places [T]) → [T, d]; keys themselves are those given."""
    found = np.empty((len(t), keys.shape[1]))
    for i in np.unique(segment):
        rows, start, end = segment == i, keys[i], keys[(i + 1) % len(keys)]
        found[rows] = piece(i, start, end, t[rows])
        found[rows & (t == 0)], found[rows & (t == 1)] = start, end
    return found
