"""Latent reweighting: latents of the prior kept, or moved, by a trained network of importance weights.

"Latent reweighting, an almost free improvement for GANs" (Issenhuth, Tanielian, Picard, Mary; WACV 2022). The weights
are a TrainedWeights of latent_plugins.reweighting, or any object with its `m`, `check_network`, `to` and `weights`.
They see latents (or styles) alone: no image is made before a latent is chosen.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.priors import base_measure
from latent_plugins.randomness import Stream, philox, to_uniform
from latent_plugins.samplers.base import Latents, Needs, Sampler, check_labels
from latent_plugins.samplers.effort import Effort
from latent_plugins.samplers.projections import projected, projection_setting
from latent_plugins.samplers.trails import Trailed
from latent_plugins.settings import Settings, setting

AT_ONCE = 8  # proposals of a seed whose weights are computed together; part of the definition of a seed's latent


def proposals(seed, first, z_dim, base="prior"):
    """Proposals `first` to `first + AT_ONCE` of a seed: (z float32 [AT_ONCE, z_dim], u float64 [AT_ONCE] in (0, 1)).

    Each is a pure function of the seed and its number. base: the prior, as in `candidate_latents`.
    """
    numbers = range(first, first + AT_ONCE)
    bits = [philox(seed, Stream.WEIGHT_PROPOSALS, block=number).random_raw(z_dim + 1) for number in numbers]
    u = to_uniform(np.stack(bits))
    z = base_measure(base, z_dim).transform(u[:, :-1]).astype(np.float32)
    return torch.from_numpy(z), torch.from_numpy(u[:, -1])


def ascend(weights, z, *, steps=10, rate=0.05, projection="tangent", visit=lambda step, z: None):
    """Latents z [N, z_dim] moved uphill on weights(z) → [N], `steps` times by `rate` along the gradient.

    visit(step, z) hears of every step, from 0, where the latents start. projection: of the gradient, one of
    `projections.PROJECTIONS`. By default latents keep the length that the Gaussian prior gives them, about √d;
    `published` is what Algorithm 4 of the paper writes. Where the weight is zero there is no slope and z stays. Raises
    ValueError when latents run away.
    """
    visit(0, z)
    for step in range(1, steps + 1):
        z = z.detach().requires_grad_(True)
        with torch.enable_grad():
            (g,) = torch.autograd.grad(weights(z).sum(), z)
        z = z.detach()
        z = z + rate * projected(g, z, projection)
        if not z.isfinite().all():
            raise ValueError("latents ran away to infinity: take step_projection='tangent', or a smaller rate")
        visit(step, z)
    return z


class WeightedSampler(Sampler):
    """What the samplers of this file share: weights that fit the generator, and an account of the last draw.

    `last_effort` is the Effort of the last draw or sample, None before. batch: latents whose weights `sample` computes
    together. Raises ValueError without weights, or for a batch below 1; WeightsError for weights of another network.
    """

    needs = Needs.WEIGHTS

    def __init__(self, generator, weights=None, *, batch=1024, **settings):
        self.settings = self.Settings(**settings)
        if weights is None:
            raise ValueError(f"the sampler {self.name} needs trained weights: make them with train_weights")
        if batch < 1:
            raise ValueError(f"a batch of {batch} latents: give 1 or more")
        weights.check_network(generator)
        self.generator, self.batch, self.last_effort = generator, batch, None
        self.device = next(generator.parameters()).device
        self.weights = weights.to(self.device)

    def draw(self, seeds, c=None):
        """See Sampler.draw. Every seed is computed on its own, so that its latent is the same to the last bit."""
        c = check_labels(c, len(seeds), self.generator.c_dim)
        start, proposed, chosen = time.perf_counter(), 0, torch.empty(len(seeds), self.generator.z_dim)
        for i, seed in enumerate(seeds):
            chosen[i], tries = self._draw_one(int(seed), c[i : i + 1])
            proposed += tries
        return self._account(chosen, c, proposed, start)

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        c = check_labels(c, n, self.generator.c_dim)
        start = time.perf_counter()
        z, proposed = self._sample_all(c, generator)
        return self._account(z, c, proposed, start)

    def _account(self, z, c, proposed, start):
        self.last_effort = Effort(proposed, len(z), time.perf_counter() - start)
        return Latents(z, c, weight=self._weights_of(z, c))

    @no_grad
    def _weights_of(self, z, c):
        """Weights float64 [N] of CPU latents and labels."""
        return self._in_batches(self._weigh, z, c).double().numpy() if len(z) else np.empty(0)

    def _weigh(self, z, c):
        """Weights [N] of CPU latents and labels, on the generator's device."""
        return self.weights.weights(self.generator, z.to(self.device), c.to(self.device))

    def _in_batches(self, function, z, c):
        """function(z, c) of CPU latents and labels, batch by batch, as one CPU tensor."""
        parts = [function(*part).cpu() for part in zip(z.split(self.batch), c.split(self.batch))]
        return torch.cat(parts)


class RejectionSettings(Settings):
    """The bound of the weights in latent rejection sampling."""

    m: float | None = setting(
        None, low=1, low_open=True, help="Bound of the weights.", default_text="that of the training"
    )
    max_tries: int = setting(
        10_000, low=1, metavar="N", help="Proposals rejected in a row after which a draw gives up."
    )


class LatentRSSampler(WeightedSampler):
    """Rejection sampling: a latent z of the prior is accepted with probability min(w(z), m) / m (latentRS).

    The accepted latents follow min(w, m) · prior. Proposal 0 of a seed is the latent that the prior sampler gives it,
    so that accepted seeds keep their image; the others are its own stream of numbers. With labels, the proposals for a
    label are accepted on their own: labels stay as they are asked for.

    m: by default that of the training. max_tries: proposals rejected in a row after which a draw gives up. Raises
    ValueError for m that does not exceed 1 or max_tries below 1, and, from a draw, when it gives up.
    """

    name = "latentrs"
    summary = "the prior, accepted by trained importance weights"
    Settings = RejectionSettings

    def __init__(self, generator, weights=None, **options):
        super().__init__(generator, weights, **options)
        self.m, self.max_tries = checked_bound(self.settings.m, self.weights), self.settings.max_tries

    @no_grad
    def _chances(self, z, c):
        """The probability float64 [N] that each z [N, z_dim] is accepted."""
        return self._weigh(z, c).double().clamp(max=self.m) / self.m

    def _draw_one(self, seed, c):
        c = c.expand(AT_ONCE, -1)
        for first in range(0, self.max_tries, AT_ONCE):
            z, u = proposals(seed, first, self.generator.z_dim, self.generator.prior)
            if first == 0:
                z[0] = self.generator.seed_latent(seed)[0]
            accepted = torch.nonzero(u < self._chances(z, c).cpu())
            if len(accepted):
                number = int(accepted[0])
                return z[number], first + number + 1
        raise self._rejected(self.max_tries)

    def _sample_all(self, c, random):
        z = torch.empty(len(c), self.generator.z_dim)
        pending, proposed, rejected = torch.arange(len(c)), 0, 0
        while len(pending):
            tried = self.generator.sample_prior(len(pending), random)
            u = torch.rand(len(pending), generator=random, dtype=torch.float64)
            accepted = torch.nonzero(u < self._in_batches(self._chances, tried, c[pending]))[:, 0]
            z[pending[accepted]] = tried[accepted]
            proposed += len(pending)
            # Rejections in a row over all latents: with weights that are zero everywhere nobody waits long.
            rejected = rejected + len(pending) if not len(accepted) else len(pending) - 1 - int(accepted[-1])
            if rejected >= self.max_tries:
                raise self._rejected(rejected)
            waiting = torch.ones(len(pending), dtype=torch.bool)
            waiting[accepted] = False
            pending = pending[waiting]
        return z, proposed

    def _rejected(self, tries):
        return ValueError(
            f"none of {tries} latents in a row was accepted: the weights are zero (almost) everywhere; train others"
        )


class AscentSettings(Settings):
    """Gradient ascent on the weight."""

    steps: int = setting(10, low=0, metavar="N", help="Gradient steps.")
    rate: float = setting(0.05, low=0, low_open=True, metavar="R", help="Size of a gradient step.")
    step_projection: str = projection_setting()


class Climbing(Trailed):
    """Gradient ascent on the weight, for samplers with AscentSettings; a trail tells the weights on the way."""

    def _climb(self, z, c):
        ascent = dict(steps=self.settings.steps, rate=self.settings.rate, projection=self.settings.step_projection)
        return ascend(lambda x: self._weigh(x, c), z.to(self.device), **ascent, visit=self._visit).cpu()

    def _height(self, z, c):
        """See Trailed: the weights w."""
        return self._weights_of(z, c)

    def _height_text(self, height):
        """See Trailed: w, and P = min(w, m) / m with which latentRS would accept the latent."""
        m = getattr(self, "m", self.weights.m)
        return f"w {height:.3g}, P {min(height, m) / m:.2f}"


class LatentGASampler(Climbing, WeightedSampler):
    """Gradient ascent: latents of the prior moved uphill on the weight, as `ascend` does (latentGA).

    What comes out follows no stated density: it is where the prior's draws arrive. Of a prior with an edge (BigGAN's
    truncated normal) some arrive beyond it.
    steps, rate: the paper's by default. Latents with the weight zero stay where they are. Raises ValueError for a
    negative number of steps or a rate that is not positive.
    """

    name = "latentga"
    summary = "the prior, moved uphill on the weights"
    Settings = AscentSettings

    def _draw_one(self, seed, c):
        return self._climb(self.generator.seed_latent(seed), c)[0], 1

    def _sample_all(self, c, random):
        return self._in_batches(self._climb, self.generator.sample_prior(len(c), random), c), len(c)


class LatentRSGASampler(Climbing, LatentRSSampler):
    """Rejection first, then gradient ascent from the accepted latents (latentRS+GA)."""

    name = "latentrs+ga"
    summary = "both: accepted, then moved uphill"

    class Settings(RejectionSettings, AscentSettings):
        """Those of both."""

    def _draw_one(self, seed, c):
        z, tries = super()._draw_one(seed, c)
        return self._climb(z[None], c)[0], tries

    def _sample_all(self, c, random):
        z, proposed = super()._sample_all(c, random)
        return self._in_batches(self._climb, z, c), proposed


def checked_bound(m, weights):
    """The bound m, or that of the weights' training. Raises ValueError where it does not exceed 1."""
    m = weights.m if m is None else m
    if not 1 < m < np.inf:
        raise ValueError(f"m must exceed 1, the mean of the weights that it bounds; it is {m}")
    return m
