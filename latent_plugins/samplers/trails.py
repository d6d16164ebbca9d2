"""The way of latents in samplers that move them step by step: where they were, and how high they stood.

What Figures 5 to 9 of "Latent reweighting, an almost free improvement for GANs" (Issenhuth et al., WACV 2022) show.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from latent_plugins.samplers.base import Latents

USUAL = 10  # stages after the first one that are kept where nobody says how many


@dataclasses.dataclass(frozen=True)
class Trail:
    """Stages of the latents of N seeds.

    latents: what `draw` gives for these seeds; steps: numbers of the steps that were kept, from 0 (where the seeds
    start) to the last; z: [N, z_dim] float32 after each of them, the last being those of `latents`; heights: float64
    [stages, N], what the sampler climbs on; texts: the same as captions, [stages][N].
    """

    latents: Latents
    steps: list[int]
    z: list[torch.Tensor]
    heights: np.ndarray
    texts: list[list[str]]

    def stage(self, i):
        """The Latents of stage i."""
        return self.latents if i in (-1, len(self.steps) - 1) else Latents(self.z[i], self.latents.c)


class Trailed:
    """A sampler whose `draw` moves the latents of one seed after the other, and tells of each step to `_visit`.

    Subclasses call `self._visit(step, z [1, z_dim])` for step 0, 1, … of every seed, and provide `_height` and
    `_height_text`.
    """

    def _visit(self, step, z):
        """What is done with a latent on its way: nothing, unless a trail is followed."""

    def trail(self, seeds, c=None, every=None):
        """The Trail of seeds, with every `every`-th step and the last one.

        seeds, c: as for `draw`, whose latents the last stage has to the last bit. every: by default the least with
        which no more than ten stages follow the first. Raises ValueError for one below 1 and, as `draw`, where latents
        run away.
        """
        if every is not None and every < 1:
            raise ValueError(f"every={every}: give 1 or more")
        visits = []
        self._visit = lambda step, z: visits.append((step, z.detach().cpu()))
        try:
            latents = self.draw(seeds, c)
        finally:
            del self._visit
        last = max((step for step, _ in visits), default=0)
        every = every or max(1, -(-last // USUAL))
        steps = sorted({*range(0, last + 1, every), last})
        z = [torch.cat([latents.z[:0], *(each for step, each in visits if step == kept)]) for kept in steps]
        heights = np.stack([self._height(each, latents.c) for each in z])
        return Trail(latents, steps, z, heights, [[self._height_text(h) for h in row] for row in heights])


def is_trailed(cls):
    """Whether samplers of a class have a `trail`."""
    return isinstance(cls, type) and issubclass(cls, Trailed)
