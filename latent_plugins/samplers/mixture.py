"""A share of the latents from one sampler, the rest from another."""

import numpy as np
import torch

from latent_plugins.randomness import Stream, integer_key, torch_seed, uniforms
from latent_plugins.samplers.base import UNKNOWN, Latents, Sampler

PLACES, OWN = range(2)  # what the numbers of the stream are for; two more for every mixture that stands on others


class MixtureSampler(Sampler):
    """Draws the share `fraction` from `sampler` and the rest from `base`, as MaGNET's FID experiment does with 4.1 %.

    The parts have random numbers of their own: no row of one is a copy of the other's. `sample` takes exactly
    round(fraction · n) latents from `sampler`, at random places. For the same random numbers a larger fraction keeps
    the places of a smaller one and all latents of `base` that are left, so that figures over several fractions differ
    by the mixture alone. `draw` decides for every seed on its own. A truncation that one of them gives its latents
    stays with these. In the Latents, index −1 marks those of `base`; the report is the sampler's.

    Raises ValueError for a fraction outside 0 to 1.
    """

    name = "mixture"

    def __init__(self, sampler, base, fraction):
        if not 0 <= fraction <= 1:
            raise ValueError(f"the fraction of a mixture lies between 0 and 1, not at {fraction}")
        self.sampler, self.base, self.fraction = sampler, base, fraction
        self.depth = 1 + max(getattr(part, "depth", 0) for part in (sampler, base))

    def record(self):
        """See Sampler.record: the sampler's, with its share."""
        return self.sampler.record() | dict(mix=self.fraction)

    @property
    def truncates(self):
        """See Sampler."""
        return self.sampler.truncates or self.base.truncates

    @property
    def capacity(self):
        """See Sampler.capacity: the smaller one of the parts'."""
        known = [part.capacity for part in (self.sampler, self.base) if part.capacity is not None]
        return min(known, default=None)

    def independent(self):
        """See Sampler.independent."""
        return MixtureSampler(self.sampler.independent(), self.base.independent(), self.fraction)

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)
        chosen = np.flatnonzero(self._numbers(seeds, 0) < self.fraction)
        drawn = self.base.draw(seeds, c)
        return merged(drawn, chosen, lambda: self.sampler.draw(seeds[chosen], drawn.c[chosen]))

    def sample(self, n, generator, c=None):
        """See Sampler.sample. With fraction 0 it is what `base` gives for this generator."""
        seed = torch_seed(generator.clone_state())
        order = np.argsort(self._numbers(np.arange(n), seed))
        chosen = np.sort(order[: round(self.fraction * n)])
        key = integer_key(0, seed=seed, stream=Stream.MIXTURE, substream=2 * self.depth + OWN)
        own = torch.Generator().manual_seed(key)
        drawn = self.base.sample(n, generator, c)
        return merged(drawn, chosen, lambda: self.sampler.sample(len(chosen), own, drawn.c[chosen]))

    def _numbers(self, rows, seed):
        """Uniform numbers [n] that decide which part the rows come from."""
        return uniforms(rows, 1, seed=seed, stream=Stream.MIXTURE, substream=2 * self.depth + PLACES)[:, 0]


def merged(drawn, chosen, replacements):
    """`drawn` Latents with the rows `chosen` replaced by those of `replacements()`."""
    if not len(chosen):
        return drawn
    new, z = replacements(), drawn.z.clone()
    z[torch.from_numpy(chosen)] = new.z
    mixed = Latents(z, drawn.c, report=dict(new.report, from_sampler=len(chosen)))
    for field, (unknown, dtype) in UNKNOWN.items():
        ours, theirs = getattr(drawn, field), getattr(new, field)
        if ours is None and theirs is None:
            continue
        values = np.full(len(z), unknown, dtype=dtype) if ours is None else ours.copy()
        values[chosen] = unknown if theirs is None else theirs
        setattr(mixed, field, values)
    return mixed
