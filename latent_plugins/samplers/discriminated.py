"""What the samplers that ask a critic share: scores of latents, streams of proposals, an account of the effort.

A critic scores images, higher for what looks more real. Where a sampler is exact for a known density ratio, the score
stands for its logarithm, log p_data(x) − log p_generator(x): a discriminator's logit, calibrated if need be (see
`calibration`). Scores cost an image each, which is what these methods have in common and latent reweighting avoids.
"""

import abc
import time

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.priors import base_measure
from latent_plugins.randomness import philox, to_uniform, uniforms
from latent_plugins.samplers.base import Latents, Needs, Sampler, check_labels
from latent_plugins.samplers.effort import Effort

PROPOSED, DECIDED, SETUP = range(3)  # substreams of a sampler's stream: latents, decisions, constants


class SeedSource:
    """The random numbers of one seed: a pure function of it, whatever else is drawn.

    The first latent is the one that the prior sampler gives the seed, so that a seed kept by a sampler keeps its image.
    """

    def __init__(self, generator, seed, stream):
        self.generator, self.first = generator, generator.seed_latent(seed)
        self.proposed, self.decided = (philox(seed, stream, part) for part in (PROPOSED, DECIDED))

    def latents(self, n):
        """The next n latents [n, z_dim] of the prior, float32."""
        first, self.first = self.first[:n], self.first[n:]
        shape = n - len(first), self.generator.z_dim
        u = to_uniform(self.proposed.random_raw(shape[0] * shape[1])).reshape(shape)
        return torch.cat([first, prior_latents(self.generator, u)])

    def uniforms(self, n):
        """The next n uniform numbers in (0, 1), float64 [n]."""
        return torch.from_numpy(to_uniform(self.decided.random_raw(n)))


class BulkSource:
    """The same interface on a CPU torch.Generator, for many latents at once."""

    def __init__(self, generator, random):
        self.generator, self.random = generator, random

    def latents(self, n):
        """The next n latents [n, z_dim] of the prior, float32."""
        return self.generator.sample_prior(n, self.random)

    def uniforms(self, n):
        """The next n uniform numbers in [0, 1), float64 [n]."""
        return torch.rand(n, generator=self.random, dtype=torch.float64)


def prior_latents(generator, u):
    """Latents float32 [n, z_dim] of a generator's prior from uniform numbers u [n, z_dim]."""
    return torch.from_numpy(base_measure(generator.prior, generator.z_dim).transform(u).astype(np.float32))


class CriticSampler(Sampler):
    """Base of the samplers that ask a critic; subclasses set `name` and `stream` and provide `_run`.

    generator: unconditional. critic: images [N, C, H, W] as the generator makes them → scores [N] or [N, 1] that depend
    on each image alone; a discriminator with minibatch statistics sees each of them among the same few others. batch:
    images computed together. `last_effort` is the Effort of the last draw or sample, None before; its `proposed` counts
    the latents whose images were scored. Scores are float64 from here on.

    Raises ValueError for a conditional generator, whose critic would have to know the label, and for a batch below 1;
    from a draw, for scores that are not finite or not one an image.
    """

    needs = Needs.CRITIC
    takes_ratios = False  # whether scores stand for log density ratios, rather than for anything that rises
    stream: int

    def __init__(self, generator, critic, *, batch=256, **settings):
        self.settings = self.Settings(**settings)
        if generator.c_dim:
            raise ValueError(f"the sampler {self.name} scores images alone: its generator must be unconditional")
        check_positive("batch", batch)
        self.generator, self.batch, self.last_effort = generator, batch, None
        self.device = next(generator.parameters()).device
        self.critic = critic
        if hasattr(critic, "scoring_alone"):  # minibatch statistics: scores of a batch would depend on each other
            z = self._setup_latents(critic.references_needed).to(self.device)
            with torch.no_grad():
                self.critic = critic.scoring_alone(generator(z, torch.zeros(len(z), 0, device=z.device)))

    @abc.abstractmethod
    def _run(self, source, n):
        """(z [n, z_dim], how many latents were scored) with the random numbers of a source."""

    def draw(self, seeds, c=None):
        """See Sampler.draw. Every seed is computed on its own, so that its latent is the same to the last bit."""
        c, start = check_labels(c, len(seeds), 0), time.perf_counter()
        drawn = [self._run(SeedSource(self.generator, int(seed), self.stream), 1) for seed in seeds]
        z = torch.cat([torch.empty(0, self.generator.z_dim), *(z for z, _ in drawn)])
        return self._account(z, c, sum(scored for _, scored in drawn), start)

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        c, start = check_labels(c, n, 0), time.perf_counter()
        z, scored = (
            self._run(BulkSource(self.generator, generator), n) if n else (torch.empty(0, self.generator.z_dim), 0)
        )
        return self._account(z, c, scored, start)

    def _account(self, z, c, scored, start):
        self.last_effort = Effort(scored, len(z), time.perf_counter() - start)
        return Latents(z, c)

    def _setup_latents(self, n):
        """Latents [n, z_dim] of the prior from which a sampler estimates its constants, the same in every process."""
        u = uniforms(np.arange(n), self.generator.z_dim, seed=0, stream=self.stream, substream=SETUP)
        return prior_latents(self.generator, u)

    @no_grad
    def score(self, z):
        """Scores float64 [N] on the CPU of latents z [N, z_dim] on the CPU."""
        parts = [self._critic_score(part.to(self.device)).double().cpu() for part in z.split(self.batch)]
        return torch.cat([torch.empty(0, dtype=torch.float64), *parts])

    def _critic_score(self, z):
        """Scores [N] of z [N, z_dim], both on the generator's device, as differentiable as the critic is."""
        scores = self.critic(self.generator(z, torch.zeros(len(z), 0, device=z.device)))
        if scores.numel() != len(z):
            raise ValueError(f"the critic answers {list(scores.shape)} to {len(z)} images, not one score an image")
        if not scores.isfinite().all():
            raise ValueError("the critic's scores hold NaN or infinity: clip its probabilities, or train it again")
        return scores.reshape(-1)


def check_positive(name, value):
    """Raise ValueError for an option that must be 1 or more."""
    if value < 1:
        raise ValueError(f"{name}={value}: give 1 or more")
