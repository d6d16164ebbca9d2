"""A cheap surrogate of the log-volume that learns it where a stated ρ leads chains.

A predictor that has learned from draws of the prior knows little of where volume^ρ carries chains. So chains are run on
it alone, the true volume is computed at some of their draws and learned too, and again. What comes out goes into
`pcn(..., surrogate=…, inner=…)`, whose corrections by true volumes make the law exact whatever the surrogate's errors.
"""

import dataclasses

import numpy as np
import torch

from latent_plugins.chains.moves import prior_latents, start
from latent_plugins.chains.pcn import pcn
from latent_plugins.volume.predictor import fit

LESSONS = 4
INNER = (100, 3)  # moves by the surrogate between two corrections, in turn


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Latents that chains on a surrogate came to, and their true volumes.

    z: float32 [labels, d]; volumes: float64 [labels]; ends: where the chains ended [chains, d]; error: standard
    deviation of surrogate − truth, in nats, on these latents, none of which the surrogate had seen.
    """

    z: np.ndarray
    volumes: np.ndarray
    ends: np.ndarray
    error: float

    def __str__(self):
        mean = np.nanmean(self.volumes)
        return f"{len(self.z)} labels, mean log-volume {mean:.2f}, error of the surrogate {self.error:.2f} nats"


def learned_surrogate(inputs, z, volumes, *, seed=0):
    """A callable z [N, d] → log-volume [N] that has learned from the volumes [M] of latents z [M, d].

    inputs: callable z float32 [N, d] → what the predictor sees [N, F] (`predictor_inputs`). seed: of the training and
    of the choice of held-out rows. Raises ValueError for fewer than 50 usable volumes.
    """
    order = np.random.RandomState(seed).permutation(len(z))
    predictor, _ = fit(inputs(torch.as_tensor(z[order])), volumes[order], seed=seed)
    return lambda z: predictor(inputs(torch.as_tensor(z)))[0]


def lesson(log_volume, surrogate, d, *, rho, prior, chains=64, steps=400, labels=512, seed=0):
    """A Lesson by `chains` chains from the prior on the surrogate alone, at `labels` of their draws.

    Half of the `steps` are warm-up, in which ρ rises from 0. log_volume: callable z float32 [N, d] → [N]; seed: of the
    chains and of the choice. Raises ValueError for more labels than the chains have draws.
    """
    kept = steps - steps // 2
    if not 1 <= labels <= chains * kept:
        raise ValueError(f"{labels} labels of chains that have {chains * kept} draws: give 1 to that many")
    z0 = start(np.arange(chains), d, seed=seed, prior=prior)
    z = pcn(surrogate, z0, rho=rho, steps=kept, prior=prior, warmup=steps // 2, anneal=0.5, seed=seed).z
    chosen = z.reshape(-1, d)[np.sort(np.random.RandomState(seed).permutation(chains * kept)[:labels])]
    truth, guess = (np.asarray(function(torch.from_numpy(chosen))) for function in (log_volume, surrogate))
    return Lesson(chosen, truth, z[:, -1], float(np.nanstd(guess - truth)))


def taught_surrogate(log_volume, inputs, d, *, rho, prior, labels, lessons=LESSONS, seed=0):
    """(surrogate, [Lesson]) of `labels` latents of the prior and as many again from `lessons` lessons.

    Arguments and errors as in learned_surrogate and lesson.
    """
    z = prior_latents(np.arange(labels), d, seed=seed, prior=prior).astype(np.float32)
    volumes, learned = np.asarray(log_volume(torch.from_numpy(z))), []
    for number in range(lessons):
        surrogate = learned_surrogate(inputs, z, volumes, seed=seed)
        share = -(-labels // lessons)
        found = lesson(log_volume, surrogate, d, rho=rho, prior=prior, labels=share, seed=seed + number)
        z, volumes = np.concatenate([z, found.z]), np.concatenate([volumes, found.volumes])
        learned.append(found)
    return learned_surrogate(inputs, z, volumes, seed=seed), learned
