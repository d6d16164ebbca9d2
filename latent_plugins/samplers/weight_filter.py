"""The acceptance of latent reweighting, for any sampler's latents."""

import numpy as np
import torch

from latent_plugins.samplers.filtered import Filter


class WeightFilter(Filter):
    """Keeps a latent z with probability min(w(z), m) / m, as LatentRSSampler does with the prior.

    Of latents with the density p it makes min(w, m) · p (Issenhuth et al., WACV 2022). weights: a TrainedWeights, or
    any object with its `m`, `check_network`, `to` and `weights`; m: by default that of the training; generator: the
    network that the weights belong to. Raises ValueError for m that does not exceed 1, WeightsError for weights of
    another network.
    """

    def __init__(self, weights, m=None, *, generator):
        weights.check_network(generator)
        self.generator, self.device = generator, next(generator.parameters()).device
        self.weights = weights.to(self.device)
        self.m = self.weights.m if m is None else m
        if not 1 < self.m < np.inf:
            raise ValueError(f"m must exceed 1, the mean of the weights that it bounds; it is {self.m}")

    @torch.no_grad()
    def accept(self, z, c, u):
        """See Filter.accept."""
        found = self.weights.weights(self.generator, z.to(self.device), c.to(self.device))
        return u < found.double().clamp(max=self.m).cpu() / self.m
