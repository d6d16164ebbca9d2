"""Rejection sampling from the prior, with a bound that is learned on the way."""

import dataclasses

import numpy as np

from latent_plugins.chains.moves import check_rho, evaluate, log_weight, prior_latents
from latent_plugins.randomness import Stream, uniforms

BATCH = 1024  # proposals whose volumes are computed together
TRIAL = 16 * BATCH  # proposals after which a hopeless acceptance is told from bad luck


@dataclasses.dataclass
class Draws:
    """Independent draws z float32 [n, d] with log_volume [n], and what they cost.

    evaluations: latents whose true volume was computed; acceptance: the share of them that was accepted; bound: the log
    of the bound on volume^ρ at the end, NaN for rules without one; exceeded: how many latents after the first batch
    raised it.
    """

    z: np.ndarray
    log_volume: np.ndarray
    evaluations: int
    acceptance: float
    bound: float = np.nan
    exceeded: int = 0


@dataclasses.dataclass
class Proposals:
    """Draws z float64 [n, d] of the prior, their log_volume, ρ·log-volume, and logs of uniform numbers, each [n]."""

    z: np.ndarray
    log_volume: np.ndarray
    logw: np.ndarray
    log_chance: np.ndarray


def proposals(log_volume, d, *, rho, prior, seed, limit):
    """Yield batches of Proposals until the consumer has enough. Raises ValueError after `limit` latents."""
    check_rho(rho)
    for begin in range(0, limit, BATCH):
        rows = np.arange(begin, min(begin + BATCH, limit))
        z = prior_latents(rows, d, seed=seed, prior=prior)
        volume = evaluate(log_volume, z)
        chance = uniforms(rows, 1, seed=seed, stream=Stream.CHANCES)[:, 0]
        yield Proposals(z, volume, log_weight(rho, volume), np.log(chance))
    raise ValueError(f"{limit} draws of the prior gave too few samples: use a smaller |rho|, a chain or a higher limit")


def rejection(log_volume, n, d, *, rho, prior, seed=0, bound=None, revise=True, limit=1_000_000):
    """n independent draws in d dimensions from π(z) ∝ p(z)·volume(z)^ρ, as Draws.

    A draw of the prior is accepted with probability volume^ρ/bound. bound: its log, where one is known; from None it is
    the largest weight among the latents so far ("Empirical supremum rejection sampling", Caffo, Booth and Davis 2002).
    revise: when the bound rises, draws accepted before are judged again by it, each with its own random number, as if
    the new bound had held from the start: a restart that wastes no volume. Otherwise they stay.

    What is left of a bias: the largest weight seen is not the largest there is. Where volume^ρ is above it the draws
    have the density p·bound instead, and without `revise` early draws are judged by bounds that were lower still.
    `exceeded` tells how far from settled the bound was.

    prior: as for `pcn`. Raises ValueError when `limit` draws of the prior do not give n, or after TRIAL of them where
    the acceptance so far says that they will not (a bound that keeps rising throws out what was accepted before); and
    for values out of range.
    """
    check_number(n)
    log_bound, exceeded, evaluations = -np.inf if bound is None else float(bound), 0, 0
    z, volume, slack = np.empty((0, d)), np.empty(0), np.empty(0)
    for batch in proposals(log_volume, d, rho=rho, prior=prior, seed=seed, limit=limit):
        running = np.maximum.accumulate(np.append(log_bound, batch.logw))
        if evaluations or bound is not None:
            exceeded += int((np.diff(running) > 0).sum())
        log_bound, evaluations = running[-1], evaluations + len(batch.z)
        # Accepted is log u < log w − log bound, that is, log w − log u is above the log bound.
        room = batch.logw - batch.log_chance
        accepted = room > running[1:]
        z, volume = np.concatenate([z, batch.z[accepted]]), np.concatenate([volume, batch.log_volume[accepted]])
        slack = np.concatenate([slack, room[accepted]])
        if revise:
            keep = slack > log_bound
            z, volume, slack = z[keep], volume[keep], slack[keep]
        if len(z) >= n:
            return Draws(
                z[:n].astype(np.float32), volume[:n], evaluations, len(z) / evaluations, float(log_bound), exceeded
            )
        if evaluations >= TRIAL and n * evaluations > 2 * limit * max(len(z), 1):
            raise ValueError(
                f"rejection accepted {len(z)} of {evaluations} draws of the prior, its bound rose {exceeded} times: "
                f"{n} would take far more than the limit of {limit}: use a smaller |rho|, a chain (pcn) or smc"
            )


def check_number(n):
    """Raise ValueError for a number of draws that is not positive."""
    if n < 1:
        raise ValueError(f"the number of draws must be positive, not {n}")
