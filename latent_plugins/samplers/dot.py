"""Discriminator optimal transport in latent space."""

from __future__ import annotations

import math

import torch

from latent_plugins.randomness import Stream
from latent_plugins.samplers.discriminated import CriticSampler
from latent_plugins.samplers.projections import projected, projection_setting
from latent_plugins.samplers.trails import Trailed
from latent_plugins.settings import Settings, setting

DELTA = 1e-3  # keeps the gradient of the distance finite at the start; the authors' figure


class DOTSampler(Trailed, CriticSampler):
    """Latents moved to where the critic is content ("Discriminator optimal transport", Tanaka 2019, Algorithm 2).

    From a latent y of the prior, `steps` steps of gradient descent of size `rate` go down ‖z − y + δ‖ − score(z)/k. By
    default lipschitz, k, is the effective Lipschitz constant of the score as a function of z, the largest
    |score(z₁) − score(z₂)| / ‖z₁ − z₂‖ of `pairs` random pairs, and steps and rate are those of the authors' script.

    step_projection: one of `projections.PROJECTIONS`; `published` is what paper and script write, and drives some
    latents to infinity.

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
        step_projection: str = projection_setting()

    def __init__(self, generator, critic, **options):
        super().__init__(generator, critic, **options)
        self.steps, self.rate = self.settings.steps, self.settings.rate
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
        rise = (self.score(first) - self.score(second)).abs()
        return float((rise / (first - second).norm(dim=1)).max())

    def _run(self, source, n):
        parts = [self._transport(part.to(self.device)).cpu() for part in source.latents(n).split(self.batch)]
        return torch.cat([torch.empty(0, self.generator.z_dim), *parts]), n * self.steps

    def _transport(self, start):
        """Where latents start [N, z_dim] end."""
        z = start
        self._visit(0, z)
        for step in range(1, self.steps + 1):
            z = z.detach().requires_grad_(True)
            with torch.enable_grad():
                objective = (z - start + DELTA).norm(dim=1) - self._critic_score(z) / self.k
                (g,) = torch.autograd.grad(objective.sum(), z)
            z = z.detach()
            z = z - self.rate * projected(g, z, self.settings.step_projection)
            if not z.isfinite().all():
                raise ValueError("latents ran away to infinity: take step_projection='tangent', or a smaller rate")
            self._visit(step, z)
        return z

    def _height(self, z, c):
        """See Trailed: the critic's scores."""
        return self.score(z).numpy()

    def _height_text(self, height):
        """See Trailed."""
        return f"score {height:.3g}"
