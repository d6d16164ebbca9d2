"""A share of the latents from one sampler, the rest from another."""

import numpy as np
import torch

from latent_plugins.candidates import MIXTURE, uniforms
from latent_plugins.samplers.base import Latents, Sampler, check_labels, torch_seed


class MixtureSampler(Sampler):
    """Draws the share `fraction` from `sampler` and the rest from `base`, as MaGNET's FID experiment does with 4.1 %.

    `sample` takes exactly round(fraction · n) latents from `sampler`, at random places. For the same random numbers a
    larger fraction keeps the places of a smaller one and all other latents, so that figures over several fractions
    differ by the mixture alone. `draw` decides for every seed on its own. In the Latents, index −1 marks those of
    `base`.

    Raises ValueError for a fraction outside 0 to 1.
    """

    name = "mixture"

    def __init__(self, sampler, base, fraction):
        if not 0 <= fraction <= 1:
            raise ValueError(f"the fraction of a mixture lies between 0 and 1, not at {fraction}")
        self.sampler, self.base, self.fraction = sampler, base, fraction

    def draw(self, seeds, c=None):
        """See Sampler.draw."""
        seeds = np.asarray(seeds, dtype=np.int64)
        chosen = np.flatnonzero(uniforms(seeds, 1, seed=0, stream=MIXTURE)[:, 0] < self.fraction)
        drawn = self.base.draw(seeds, c)
        return merged(drawn, chosen, lambda: self.sampler.draw(seeds[chosen], drawn.c[chosen]))

    def sample(self, n, generator, c=None):
        """See Sampler.sample. With fraction 0 or 1 it is what `base` or `sampler` give for this generator."""
        places, own = generator.clone_state(), generator.clone_state()
        order = np.argsort(uniforms(np.arange(n), 1, seed=torch_seed(places), stream=MIXTURE)[:, 0])
        chosen = np.sort(order[: round(self.fraction * n)])
        drawn = self.base.sample(n, generator, c)
        return merged(drawn, chosen, lambda: self.sampler.sample(len(chosen), own, drawn.c[chosen]))


def merged(drawn, chosen, replacements):
    """`drawn` Latents with the rows `chosen` replaced by those of `replacements()`."""
    index, log_volume = np.full(len(drawn.z), -1, dtype=np.int64), np.full(len(drawn.z), np.nan)
    z = drawn.z.clone()
    if len(chosen):
        new = replacements()
        z[torch.from_numpy(chosen)] = new.z
        if new.index is not None:
            index[chosen], log_volume[chosen] = new.index, new.log_volume
    return Latents(z, check_labels(drawn.c, len(z), drawn.c.shape[1]), index, log_volume)
