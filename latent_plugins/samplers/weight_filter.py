"""The acceptance of latent reweighting, for any sampler's latents."""

from __future__ import annotations

from dnnlib_compat.gradients import no_grad
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.filtered import Filter
from latent_plugins.samplers.reweighted import checked_bound
from latent_plugins.settings import Settings, setting


class WeightFilter(Filter):
    """Keeps a latent z with probability min(w(z), m) / m, as LatentRSSampler does with the prior.

    Of latents with the density p it makes min(w, m) · p (Issenhuth et al., WACV 2022). weights: a TrainedWeights, or
    any object with its `m`, `check_network`, `to` and `weights`; m: by default that of the training; generator: the
    network that the weights belong to. Raises ValueError for m that does not exceed 1, WeightsError for weights of
    another network.
    """

    name = "latentrs"
    needs = Needs.WEIGHTS

    class Settings(Settings):
        m: float | None = setting(
            None, low=1, low_open=True, help="Bound of the weights.", default_text="that of the training"
        )

    @classmethod
    def make(cls, generator, *, weights, **settings):
        """See Filter.make."""
        return cls(weights, cls.Settings(**settings).m, generator=generator)

    def __init__(self, weights, m=None, *, generator):
        weights.check_network(generator)
        self.generator, self.device = generator, next(generator.parameters()).device
        self.weights = weights.to(self.device)
        self.m = checked_bound(m, self.weights)
        self.settings = self.Settings(m=m)

    def accept(self, z, c, u):
        """See Filter.accept."""
        return self.decide(z, c, u)[0]

    @no_grad
    def decide(self, z, c, u):
        """See Filter.decide: the weights."""
        found = self.weights.weights(self.generator, z.to(self.device), c.to(self.device)).double().cpu()
        return u < found.clamp(max=self.m) / self.m, dict(weight=found.numpy())
