"""The sampler of this example: of several latents of the prior, the one nearest to the centre."""

import torch

from latent_plugins.candidates import candidate_latents
from latent_plugins.randomness import torch_seed
from latent_plugins.samplers import Latents, Sampler
from latent_plugins.samplers.base import check_labels


class NearestSampler(Sampler):
    """Best of `steps` latents of N(0, I), by their norm: fewer unusual images, less variety.

    `settings` maps options of the commands to arguments of the constructor: `gen_images --sampler=nearest --steps=20`.
    """

    name = "nearest"
    settings = {"steps": "choices"}

    def __init__(self, generator, *, choices=10):
        if choices < 1:
            raise ValueError(f"one of {choices} latents cannot be chosen: give --steps=1 or more")
        self.generator, self.choices = generator, choices

    def draw(self, seeds, c=None):
        """One latent a seed; the same seed gives the same latent, whatever the batch."""
        z = [self._best(int(seed)) for seed in seeds]
        z = torch.stack(z) if z else torch.empty(0, self.generator.z_dim)
        return Latents(z, check_labels(c, len(z), self.generator.c_dim))

    def sample(self, n, generator, c=None):
        """n latents in bulk; `generator` is the only source of randomness."""
        first = torch_seed(generator)
        z = torch.stack([self._best(first + i) for i in range(n)])
        return Latents(z, check_labels(c, n, self.generator.c_dim))

    def _best(self, seed):
        z = candidate_latents(range(self.choices), self.generator.z_dim, seed=seed)
        return z[z.norm(dim=1).argmin()]
