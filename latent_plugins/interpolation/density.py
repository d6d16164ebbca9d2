"""How dense images are along a path: the law of the latents over the volume that the generator gives them."""

from __future__ import annotations

import dataclasses

import numpy as np

from latent_plugins.atlas.settings import make_settings
from latent_plugins.samplers.recipe import advice_for, usable_advice
from latent_plugins.samplers.volumes import Volumes
from latent_plugins.spaces import Space
from latent_plugins.volume.defaults import paper_top_k
from latent_plugins.volume.methods import PREDICTED, WITH_BASIS
from latent_plugins.watching import ArgumentError

STYLE_SPACE = "w:pixel"  # whose volume counts for paths in styles, where nobody says


@dataclasses.dataclass(frozen=True)
class Densities:
    """Figures of N points in nats, float64 [N]: the log-density `log_prior` of their latents (or styles), and the
    `log_volume` there, NaN where the spectrum is zero or not finite."""

    log_prior: np.ndarray
    log_volume: np.ndarray

    @property
    def log_density(self):
        """That of the images, log_prior − log_volume ("MaGNET", Theorem 1), in the space of the volume.

        Where top_k is the rank and the map is injective it is exact; fewer singular values leave out the others'
        factor.
        """
        return self.log_prior - self.log_volume

    def height(self, rho):
        """log_prior + rho · log_volume: the log-density of latents by Polarity's law; of the image itself for −1."""
        return self.log_prior + rho * self.log_volume

    def lines(self):
        """[{name: number}] of each point, without those that are not finite."""
        columns = dict(log_prior=self.log_prior, log_volume=self.log_volume, log_density=self.log_density)
        rows = (dict(zip(columns, map(float, row))) for row in zip(*columns.values()))
        return [{name: value for name, value in row.items() if np.isfinite(value)} for row in rows]


class PathDensity:
    """Callable points [N, d] of coordinates → Densities.

    log_volume: callable inputs of a map that starts where the coordinates are → log-volumes [N], as `LogVolume.at`.
    """

    def __init__(self, coordinates, log_volume):
        self.coordinates, self.log_volume = coordinates, log_volume

    def __call__(self, points):
        return Densities(self.coordinates.log_prior(points), self.log_volume(self.coordinates.inputs(points)))


def check_path_space(start, space=None, method=None):
    """The canonical name of the space given, or None. Raises ValueError before any work.

    start: `z` or `w`, where the path runs and the space's map has to start.
    """
    if method in (*WITH_BASIS, *PREDICTED):
        raise ArgumentError(f"`method`={method} needs an atlas; a path takes exact, projected or subspace")
    if space is None:
        return None
    space = Space.parse(space)
    if space.start != start:
        other = f"{start}:{space.end}" if space.end != "w" else STYLE_SPACE
        raise ArgumentError(f"`space`={space.name} starts at {space.start} and the path runs in {start}: take {other}")
    return space.name


def path_volumes(generator, start, *, space=None, top_k=None, advice=None, **settings):
    """The Volumes for paths in `start`, z or w: function class index → LogVolume, and a record.

    space, top_k: by default those recommended in `advice` (`recommended` of the network's catalogue entry) or the
    papers'; settings: psi, cutoff, classes, domain, method and so on, as for `make_settings`. Raises ValueError for
    what does not fit.
    """
    advice = usable_advice(generator, advice or {})
    space = check_path_space(start, space, settings.get("method"))
    space = space or (advice["space"] if start == "z" else STYLE_SPACE)
    made = make_settings(generator, space=space, top_k=top_k, candidates=1, **settings)
    usual = advice_for(advice, made.space).get("top_k", paper_top_k(made.space, generator.family))
    return Volumes(generator, made, top_k or min(usual, made.top_k))
