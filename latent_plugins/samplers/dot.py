"""Discriminator optimal transport in latent space."""

from __future__ import annotations

import math

import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler
from latent_plugins.settings import Settings, setting

DELTA = 1e-3  # keeps the gradient of the distance finite at the start; the authors' figure

# What is taken off a gradient g at z, in units of (g·z) z.
PROJECTIONS = {
    "tangent": lambda z: 1 / z.square().sum(dim=1, keepdim=True),
    "published": lambda z: 1 / math.sqrt(z.shape[1]),
    "none": lambda z: 0.0,
}


class DOTSampler(CriticSampler):
    """Latents moved to where the critic is content ("Discriminator optimal transport", Tanaka 2019, Algorithm 2).

    From a latent y of the prior, `steps` steps of gradient descent of size `rate` go down ‖z − y + δ‖ − score(z)/k. By
    default lipschitz, k, is the effective Lipschitz constant of the score as a function of z, the largest
    |score(z₁) − score(z₂)| / ‖z₁ − z₂‖ of `pairs` random pairs, and steps and rate are those of the authors' script.

    step_projection: what keeps latents near the sphere of radius √d on which a Gaussian prior of d dimensions lies.
    `tangent` replaces the gradient g by g − (g·z) z/‖z‖², its part along the sphere; `none` keeps g. `published`,
    g − (g·z) z/√d, is what paper and script write; as ‖z‖² is about d, it takes off the radial part √d times, which
    drives latents away from the sphere, and some of them to infinity.

    Raises ValueError for a critic through which no gradient flows, options that make no sense, a score that does not
    depend on the latent; and, from a draw, when latents run away.
    """

    name = "dot"
    summary = "transport of latents by a discriminator"
    stream = Stream.DOT

    class Settings(Settings):
        steps: int = setting(100, low=1, metavar="N", help="Gradient steps.")
        rate: float = setting(0.01, low=0, low_open=True, metavar="R", help="Size of a gradient step.")
        lipschitz: float | None = setting(
            None, low=0, low_open=True, metavar="K", help="What the score is divided by.", default_text="estimated"
        )
        pairs: int = setting(100, low=1, metavar="N", help="Pairs of latents that this is estimated from.")
        step_projection: str = setting(
            "tangent", choices=tuple(PROJECTIONS), help="What keeps latents near the sphere of radius sqrt(d)."
        )

    def __init__(self, generator, critic, **options):
        super().__init__(generator, critic, **options)
        self.steps, self.rate = self.settings.steps, self.settings.rate
        self.projection = PROJECTIONS[self.settings.step_projection]
        probe = self._setup_latents(1).to(self.device).requires_grad_(True)
        with torch.enable_grad():
            if not self._critic_score(probe).requires_grad:
                raise ValueError("the critic's scores have no gradients: transport needs a differentiable critic")
        k = self.settings.lipschitz
        self.k = self._effective_lipschitz(self.settings.pairs) if k is None else k
        if not 0 < self.k < math.inf:
            raise ValueError(f"k={self.k:g}: the Lipschitz constant must be positive; is the critic's score constant?")

    def _effective_lipschitz(self, pairs):
        first, second = self._setup_latents(2 * pairs).chunk(2)
        rise = (self._score(first) - self._score(second)).abs()
        return float((rise / (first - second).norm(dim=1)).max())

    def _run(self, source, n):
        parts = [self._transport(part.to(self.device)).cpu() for part in source.latents(n).split(self.batch)]
        return torch.cat([torch.empty(0, self.generator.z_dim), *parts]), n * self.steps

    def _transport(self, start):
        """Where latents start [N, z_dim] end."""
        z = start
        for _ in range(self.steps):
            z = z.detach().requires_grad_(True)
            with torch.enable_grad():
                objective = (z - start + DELTA).norm(dim=1) - self._critic_score(z) / self.k
                (g,) = torch.autograd.grad(objective.sum(), z)
            z = z.detach()
            z = z - self.rate * (g - (g * z).sum(dim=1, keepdim=True) * z * self.projection(z))
            if not z.isfinite().all():
                raise ValueError("latents ran away to infinity: take step_projection='tangent', or a smaller rate")
        return z
