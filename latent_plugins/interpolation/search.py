"""Paths of high density between two latents, by dynamic programming over moves of their knots.

The Polarity paper (Humayun, Balestriero, Baraniuk, CVPR 2022, section 5.2) suggests interpolation "along a
high-likelihood path" and leaves open how; functional and search are ours.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special

from latent_plugins.interpolation.curves import Flat, Sphere
from latent_plugins.priors import SpherePrior
from latent_plugins.randomness import Stream, uniforms
from latent_plugins.settings import Settings, setting

PROBE = 0.5  # size of the moves in random directions, in units of the largest
CLIMBS = (1.0, 0.5, 0.25, 0.125)  # sizes of those along a slope
MEMORY = 0.7  # what is left of a slope at the next search
FINER, CALMER = 0.5**0.5, 0.5  # what is left of the largest move at the next halving, after a search without any


class SearchSettings(Settings):
    """What a path minimises, and how long it is looked for."""

    rho: float = setting(
        -1.0, help="Below 0: through typical images (-1: by their density itself); above 0: through unusual ones."
    )
    weight: float = setting(
        0.1, low=0, low_open=True, metavar="W", help="What a nat of density is worth, where the shortest path costs 1."
    )
    halvings: int = setting(3, low=1, high=10, metavar="N", help="How often a segment is halved: into 2^N pieces.")
    rounds: int = setting(4, low=1, metavar="N", help="Searches after each halving.")
    directions: int = setting(8, low=1, metavar="N", help="Random directions that each search looks in.")
    step: float = setting(0.5, low=0, low_open=True, high=1, metavar="B", help="Largest move, up to 1, a fresh latent.")


@dataclasses.dataclass(frozen=True)
class DensePath:
    """knots [2^halvings + 1, d] float64 of a path, its ends included; trace: [(pieces, functional), …] of the shortest
    path and after each halving and search."""

    knots: np.ndarray
    trace: list[tuple[int, float]]


def geometry_of(prior):
    """Where latents of a prior live: a Sphere of radius √d, or Flat."""
    return Sphere(np.sqrt(prior.dim)) if isinstance(prior, SpherePrior) else Flat()


def energy(geometry, knots):
    """n Σ d(x_{i−1}, x_i)² / d(x₀, x_n)² of knots x₀, …, x_n [n + 1, d].

    It is 1 for the shortest path at an even speed and more for all others, and has no unit.
    """
    sides = geometry.distances(knots[:-1], knots[1:])
    return float((len(knots) - 1) * np.square(sides).sum() / geometry.distances(knots[0], knots[-1]) ** 2)


def functional(geometry, knots, heights, weight):
    """F = energy − weight · ∫h of knots x₀, …, x_n [n + 1, d] with heights h [n + 1] in nats.

    ∫h, the mean height of the path, is taken by the trapezoidal rule: (h₀/2 + h₁ + … + h_{n−1} + h_n/2)/n.
    """
    mean = (heights[1:-1].sum() + (heights[0] + heights[-1]) / 2) / (len(knots) - 1)
    return energy(geometry, knots) - weight * float(mean)


def dense_path(start, end, height, prior, settings=None):
    """The DensePath between two latents [d] that minimises `functional`, as far as the search finds it.

    height: callable latents [N, d] float64 → log-densities [N] in nats, −inf or NaN for latents that are not to be met;
    prior: the Prior, on whose support the path stays and whose `propose` makes the moves; settings: SearchSettings,
    whose rho is the height's business.

    The search starts with the shortest path in two pieces; on a sphere that is the great circle. In each of `rounds`
    searches every inner knot may stay, move in one of `directions` random directions, the same for all knots, or go up
    the slope that these moves told of, the knot's own or the mean of all knots, by one of four sizes. Of all
    combinations the best one is taken, which dynamic programming finds exactly, so that the functional never rises.
    Then every piece is halved, with moves that are smaller by √2, and so on; after a search that moves nothing they are
    half as large. No gradient is taken: volumes of piecewise affine networks are constant within each region. The same
    ends give the same path, whatever else is computed.

    Raises ValueError for ends that coincide, lie opposite each other on a sphere, or outside of the prior's support.
    """
    settings = settings or SearchSettings()
    geometry = geometry_of(prior)
    knots = np.array(prior.enter(np.stack([start, end]).astype(np.float64)))
    if not geometry.distances(knots[0], knots[1]) > 0:
        raise ValueError("the ends of a path are the same; take different seeds")

    def measured(points):
        found = np.asarray(height(points.reshape(-1, prior.dim)), dtype=np.float64).reshape(points.shape[:-1])
        return np.where(np.isnan(found), -np.inf, found)

    heights, slopes, trace = measured(knots), np.zeros((0, prior.dim)), []
    for level in range(settings.halvings):
        knots = halved(geometry, knots)
        heights = np.insert(heights, np.arange(1, len(heights)), measured(knots[1::2]))
        slopes, n, largest = spread(slopes), len(knots) - 1, settings.step * FINER**level
        trace.append((n, functional(geometry, knots, heights, settings.weight)))
        for number in range(settings.rounds):
            inner = knots[1:-1]
            probes = moved(prior, inner, directions(prior, settings, level, number), [PROBE * largest])
            tall = measured(probes)
            slopes = MEMORY * slopes + slopes_of(inner, heights[1:-1], probes, tall)
            climbs = moved(prior, inner, uphill(slopes), [size * largest for size in CLIMBS])
            points = np.concatenate([inner[None], probes, climbs])
            tall = np.concatenate([heights[None, 1:-1], tall, measured(climbs)])
            chosen = best_choice(geometry, knots[0], points, knots[-1], -settings.weight * tall / n)
            rows = np.arange(n - 1)
            knots[1:-1], heights[1:-1] = points[chosen, rows], tall[chosen, rows]
            largest *= 1 if chosen.any() else CALMER
            trace.append((n, functional(geometry, knots, heights, settings.weight)))
    return DensePath(knots, trace)


def evaluations(settings):
    """How many heights `dense_path` computes."""
    inner = sum(2 ** (level + 1) - 1 for level in range(settings.halvings))
    return 1 + 2**settings.halvings + settings.rounds * (settings.directions + 2 * len(CLIMBS)) * inner


def halved(geometry, knots):
    """knots [n + 1, d] with the middle of every side between them: [2n + 1, d]."""
    middles = [geometry.between(a, b, [0.5]) for a, b in zip(knots[:-1], knots[1:])]
    return np.insert(knots, np.arange(1, len(knots)), np.concatenate(middles), axis=0)


def spread(slopes):
    """Slopes of n inner knots [n, d] for those of the halved path [2n + 1, d]: new ones have their neighbours'."""
    found = np.zeros((2 * len(slopes) + 1, slopes.shape[1]))
    if len(slopes):
        padded = np.concatenate([slopes[:1], slopes, slopes[-1:]])
        found[1::2], found[::2] = slopes, (padded[:-1] + padded[1:]) / 2
    return found


def directions(prior, settings, level, number):
    """The random directions of a search: standard normal [directions, 1, d], for all knots."""
    substream = level * settings.rounds + number
    u = uniforms(np.arange(settings.directions), prior.dim, seed=0, stream=Stream.INTERPOLATION, substream=substream)
    return scipy.special.ndtri(u)[:, None]


def moved(prior, points, directions, sizes):
    """Where points [n, d] go along directions [D, n or 1, d] by sizes: [D · sizes, n, d], on the prior's support."""
    return np.stack(
        [
            prior.propose(points, np.broadcast_to(xi, points.shape), np.full(len(points), size))
            for xi in directions
            for size in sizes
        ]
    )


def slopes_of(points, heights, probes, tall):
    """Estimates [n, d] of the directions in which heights [n] at points [n, d] rise, from those of probes [D, n, d]."""
    away, known = probes - points, np.isfinite(tall) & np.isfinite(heights)
    rise = np.where(known, tall, 0) - np.where(known, heights, 0)
    rate = rise / np.square(away).sum(axis=2)
    return (rate[:, :, None] * away).mean(axis=0)


def uphill(slopes):
    """Slopes [n, d], each knot's own and the mean of all, as directions of the length √d: [2, n, d]."""
    both = np.stack([slopes, np.broadcast_to(slopes.mean(axis=0), slopes.shape)])
    lengths = np.linalg.norm(both, axis=2, keepdims=True)
    return both * (np.sqrt(slopes.shape[1]) / np.where(lengths > 0, lengths, 1))


def best_choice(geometry, start, points, end, costs):
    """Which of the points [K, n, d] a path from start to end takes at each of its n places, at the least cost: [n].

    Minimises the `energy` of the path plus the costs [K, n] of its points, exactly. Of equal ones the first is taken.
    """
    k, n, _ = points.shape
    scale = (n + 1) / geometry.distances(start, end) ** 2
    total = scale * geometry.distances(start, points[:, 0]) ** 2 + costs[:, 0]
    before = np.zeros((n, k), dtype=int)
    for i in range(1, n):
        ways = total[:, None] + scale * geometry.distances(points[:, None, i - 1], points[None, :, i]) ** 2
        before[i] = ways.argmin(axis=0)
        total = ways[before[i], np.arange(k)] + costs[:, i]
    chosen = [int((total + scale * geometry.distances(points[:, -1], end) ** 2).argmin())]
    for i in range(n - 1, 0, -1):
        chosen.append(int(before[i, chosen[-1]]))
    return np.array(chosen[::-1])
