"""Laws of latents other than the generator's own, without volumes: what volume-aware samplers are compared with."""

from __future__ import annotations

import numpy as np
import torch

from latent_plugins.priors import WITH_RADIUS, base_measure
from latent_plugins.randomness import Stream, torch_seed, uniforms
from latent_plugins.samplers.base import Latents, Sampler, check_labels
from latent_plugins.settings import Settings, setting

SEEDS, BULK = range(2)  # substreams


class BaselineSampler(Sampler):
    """Latents of N(0, scale² I), or uniform on a cube or ball, whatever the network was trained with.

    The baselines of "MaGNET" (Humayun et al. 2022, Sec. 4.1 and appendix): N(0, aI) with a = scale² of 0.5 to 2, and
    uniform on [−2, 2]. A network that normalises z sees the direction alone, so that all scales of the normal law and
    all radii of the ball are its own prior. Raises ValueError for a scale that is not positive and finite.
    """

    name = "baseline"
    summary = "N(0, scale^2 I), or uniform on a cube or ball: what MaGNET is compared with"

    class Settings(Settings):
        law: str = setting("normal", choices=WITH_RADIUS, help="Law of the latents.")
        scale: float = setting(
            1.0,
            low=0,
            low_open=True,
            metavar="X",
            help="Standard deviation of normal, half side of the cube uniform, radius of the ball.",
        )

    def __init__(self, generator, **settings):
        self.settings = self.Settings(**settings)
        self.generator = generator
        self.prior = base_measure(self.settings.law, generator.z_dim, self.settings.scale)

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        return self._latents(np.asarray(seeds, dtype=np.int64), c, seed=0, substream=SEEDS)

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        return self._latents(np.arange(n), c, seed=torch_seed(generator), substream=BULK)

    def _latents(self, rows, c, **stream):
        c = check_labels(c, len(rows), self.generator.c_dim)
        u = uniforms(rows, self.prior.width, stream=Stream.BASELINE, **stream)
        return Latents(torch.from_numpy(self.prior.transform(u).astype(np.float32)), c)
