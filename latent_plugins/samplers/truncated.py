"""BigGAN's truncation trick: coordinates of z beyond a threshold are redrawn."""

from __future__ import annotations

import numpy as np
import scipy.special
import torch

from latent_plugins.randomness import Stream, torch_seed, uniforms
from latent_plugins.samplers.base import Latents, Sampler, check_labels
from latent_plugins.samplers.prior import seed_latents
from latent_plugins.settings import Settings, setting

SEEDS, BULK = range(2)  # substreams


class TruncatedNormalSampler(Sampler):
    """Latents whose coordinates lie within ±threshold: N(0, 1) cut there ("BigGAN", Brock et al. 2019, Sec. 3.1).

    Coordinates of a seed's official latent within the bounds stay; the others are drawn from the normal law between the
    bounds, which is what redrawing until they lie within amounts to. Threshold ∞ is the prior. Raises ValueError for a
    threshold that is not positive.
    """

    name = "truncated-normal"
    summary = "coordinates within a threshold, as BigGAN's truncation"

    class Settings(Settings):
        threshold: float = setting(
            low=0, low_open=True, infinite=True, metavar="T", help="Bound of the coordinates' absolute values."
        )

    def __init__(self, generator, **settings):
        self.settings = self.Settings(**settings)
        self.generator, self.threshold = generator, self.settings.threshold

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        z = seed_latents(self.generator, seeds)
        return self._cut(z, c, np.asarray(seeds, dtype=np.int64), seed=0, substream=SEEDS)

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        z = self.generator.sample_prior(n, generator)
        return self._cut(z, c, np.arange(n), seed=torch_seed(generator), substream=BULK)

    def _cut(self, z, c, rows, **stream):
        """Latents in which coordinates of z beyond the threshold come from the rows `rows` of a stream."""
        c = check_labels(c, len(z), self.generator.c_dim)
        below = scipy.special.ndtr(-self.threshold)
        u = uniforms(rows, z.shape[1], stream=Stream.TRUNCATED, **stream)
        redrawn = scipy.special.ndtri(below + u * (1 - 2 * below)).astype(np.float32)
        # Rounding to float32 may step over the bound.
        redrawn = torch.from_numpy(redrawn).clamp(-self.threshold, self.threshold)
        return Latents(torch.where(z.abs() > self.threshold, redrawn, z), c)
