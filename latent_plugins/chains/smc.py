"""Annealed sequential Monte Carlo: a population of latents taken from the prior to the target."""

import dataclasses

import numpy as np
import scipy.special

from latent_plugins.chains.moves import check_rho, log_weight, start
from latent_plugins.chains.pcn import Kernel, State, adapted
from latent_plugins.importance.resampling import systematic
from latent_plugins.importance.weights import normalized
from latent_plugins.priors import as_prior
from latent_plugins.randomness import Stream, uniforms

HALVINGS = 50  # of the bisection for the next ρ: beyond float64's digits
MOST_STAGES = 1000


@dataclasses.dataclass(frozen=True)
class Stage:
    """One rung of the ladder: its ρ, the effective sample size of the weights that lead there, and the moves' mean
    acceptance and last β."""

    rho: float
    ess: float
    acceptance: float
    beta: float


@dataclasses.dataclass
class Population:
    """Equally weighted latents z float32 [n, d] with log_volume [n], and what the way there showed.

    log_normalizer: estimate of log E_p[volume^ρ], whose exponential is unbiased but for the adaptation; stages: list of
    Stage; ancestors: how many of the prior's draws have descendants here; evaluations: latents whose true volume was
    computed.
    """

    z: np.ndarray
    log_volume: np.ndarray
    log_normalizer: float
    stages: list
    ancestors: int
    evaluations: int


def smc(
    log_volume,
    n,
    d,
    *,
    rho,
    prior,
    fraction=0.5,
    moves=10,
    beta=0.5,
    seed=0,
    surrogate=None,
    gradient=None,
    leaps=1,
    spread=0.3,
):
    """n latents in d dimensions from π(z) ∝ p(z)·volume(z)^ρ, as a Population.

    Draws of the prior go up a ladder of polarities from 0 to ρ ("Sequential Monte Carlo samplers", Del Moral, Doucet
    and Jasra 2006). The next rung is as far as the weights volume^Δρ keep an effective sample size of `fraction`·n,
    found by bisection; then particles are resampled systematically and moved by `moves` steps of a Kernel, whose β goes
    on being adapted by the mean acceptance. prior: as for `pcn`; surrogate, gradient, leaps and spread: see Kernel.
    Estimates from the population are consistent as n grows; adaptation adds a bias of order 1/n: a few particles do not
    follow π, however they are chosen from afterwards.

    Raises ValueError for values out of range, or when no draw of the prior has a volume.
    """
    check_rho(rho)
    if n < 2 or moves < 1 or not 0 < beta <= 1:
        raise ValueError(f"n {n} is at least 2, moves {moves} at least 1, and beta {beta} lies above 0 and up to 1")
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction of the effective sample size lies between 0 and 1, not at {fraction}")
    prior = as_prior(prior, d)
    kernel = Kernel(log_volume, prior, seed, surrogate, gradient, leaps, spread)
    state = kernel.enter(start(np.arange(n), d, seed=seed, prior=prior))
    if not np.isfinite(state.volume).any():
        raise ValueError(f"none of the {n} draws of the prior has a usable spectrum")
    particles, ancestor = np.arange(n), np.arange(n)
    done, step, log_normalizer, log_beta, stages = 0.0, 0, 0.0, np.log(beta), []
    while done < 1:
        share = next_share(rho * (1 - done), state.volume, fraction)
        reached = 1.0 if share == 1 else done + share * (1 - done)
        logw = log_weight(rho * (reached - done), state.volume)
        log_normalizer += scipy.special.logsumexp(logw) - np.log(n)
        u = uniforms([len(stages)], 1, seed=seed, stream=Stream.RESAMPLING)[0, 0]
        chosen = systematic(normalized(logw), n, u)
        state, ancestor = State(state.z[chosen], state.volume[chosen], state.guess[chosen]), ancestor[chosen]
        done, acceptance = reached, 0.0
        for move in range(moves):
            chance = kernel.step(state, particles, step, rho * done, np.full(n, np.exp(log_beta))).mean()
            log_beta = adapted(log_beta, chance, move)
            acceptance += chance / moves
            step += 1
        stages.append(Stage(float(rho * done), effective_size(logw), float(acceptance), float(np.exp(log_beta))))
        if len(stages) == MOST_STAGES:
            raise ValueError(
                f"after {MOST_STAGES} stages rho is at {rho * done:.3g} of {rho}: use a smaller |rho| or fraction"
            )
    return Population(
        state.z.astype(np.float32),
        state.volume,
        float(log_normalizer),
        stages,
        len(np.unique(ancestor)),
        kernel.evaluations,
    )


def effective_size(logw):
    """(Σw)²/Σw² of log-weights [n]."""
    return float(np.exp(2 * scipy.special.logsumexp(logw) - scipy.special.logsumexp(2 * logw)))


def next_share(rho, volume, fraction):
    """The largest share of `rho` whose weights volume^(share·ρ) have an effective sample size of fraction·n.

    All of it where that suffices. Latents without a volume count neither among the n nor in the weights.
    """
    volume = volume[np.isfinite(volume)]
    enough = fraction * len(volume)
    if effective_size(rho * volume) >= enough:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if effective_size(middle * rho * volume) >= enough else (low, middle)
    return low
