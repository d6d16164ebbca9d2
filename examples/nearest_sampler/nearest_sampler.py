"""The sampler of this example: of several latents of the prior, the one nearest to the centre."""

import torch

from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.randomness import torch_seed
from latent_plugins.samplers import Latents, Sampler
from latent_plugins.samplers.base import check_labels
from latent_plugins.settings import Settings, setting


class NearestSampler(Sampler):
    """Best of `choices` latents of N(0, I), by their norm: fewer unusual images, less variety.

    What stands in `Settings` becomes options of the commands, with their checks and help, and part of the record:
    `gen_images --sampler=nearest --choices=20 --widest`.
    """

    name = "nearest"
    summary = "of several latents of the prior, the one nearest to the centre"

    class Settings(Settings):
        choices: int = setting(10, low=1, metavar="N", help="Latents that one is chosen of.")
        widest: bool = setting(False, help="Choose the one farthest from the centre instead.")

    def __init__(self, generator, **settings):
        self.generator, self.settings = generator, self.Settings(**settings)

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
        z = candidate_latents(range(self.settings.choices), self.generator.z_dim, seed=seed)
        norms = z.norm(dim=1)
        return z[norms.argmax() if self.settings.widest else norms.argmin()]
