"""Markov chains over latents whose proposals leave the prior in balance."""

import dataclasses
import functools

import numpy as np

from latent_plugins.chains.diagnostics import Chains
from latent_plugins.chains.moves import (
    autoregressive,
    check_flow,
    check_rho,
    evaluate,
    hamiltonian,
    log_ratio,
    step_noise,
)
from latent_plugins.priors import as_prior

# Acceptance that the warm-up aims at, for all moves. Hamiltonian moves do best near 0.65 on smooth targets (Beskos et
# al. 2013), but the log-volume of a piecewise affine map jumps from region to region: small steps gain nothing there.
TARGET_ACCEPTANCE = 0.35
SMALLEST_BETA = 1e-4


@dataclasses.dataclass
class State:
    """Where chains are: z float64 [n, d], its log-volume [n], and what the surrogate says of it [n], 0 without one."""

    z: np.ndarray
    volume: np.ndarray
    guess: np.ndarray


@dataclasses.dataclass
class Kernel:
    """One Metropolis–Hastings step with target p(z)·volume(z)^ρ, for many chains at once.

    surrogate: callable like log_volume, cheap; with it a proposal is first accepted or rejected by the surrogate's
    volume, and only then, for those promoted, corrected by the true one ("Markov chain Monte Carlo using an
    approximation", Christen and Fox 2005). gradient: callable z → ∇ surrogate log-volume [N, d] for Hamiltonian moves
    of `leaps` leaps; None: the autoregressive move. inner: moves by the surrogate alone between two corrections by the
    true volume ("Monte Carlo Strategies in Scientific Computing", Liu 2001, the surrogate transition rule), which cost
    next to nothing where the surrogate is cheap; several numbers take turns from step to step. Where the surrogate says
    far too little, a long way is hardly ever accepted, but a short one is, on which its error changes little. spread:
    standard deviation of the log of a chain's step size, drawn anew in every step. `evaluations` counts true volumes;
    `corrections` are the mean chances of acceptance by them after inner moves.
    """

    log_volume: object
    prior: object
    seed: int
    surrogate: object = None
    gradient: object = None
    leaps: int = 1
    spread: float = 0.3
    inner: int | tuple = 1
    evaluations: int = 0
    corrections: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        if self.gradient is not None:
            check_flow(self.prior)
        if self.leaps < 1:
            raise ValueError(f"a Hamiltonian move makes at least one leap, not {self.leaps}")
        self.inner = (self.inner,) if np.ndim(self.inner) == 0 else tuple(self.inner)
        if not self.inner or min(self.inner) < 1 or (self.inner != (1,) and self.surrogate is None):
            told = ", ".join(map(str, self.inner)) or "none"
            raise ValueError(f"inner moves need a surrogate, and number at least 1, not {told}")

    def enter(self, z):
        """The State at z [n, d]. Raises ValueError for z that is no finite matrix, or outside the prior's support."""
        z = self.prior.enter(matrix(z))
        return State(z, self._volumes(z, np.arange(len(z))), self._guesses(z))

    def step(self, state, chains, number, rho, beta):
        """Move the State by step `number`; the chains' chances of acceptance [n] (0 where not promoted; with inner
        moves the mean of theirs).

        chains: their numbers [n]; beta: step sizes [n] in (0, 1].
        """
        if self.inner != (1,):
            return self._surrogate_steps(state, chains, number, rho, beta)
        noise, z, ratio, promoted = self._proposed(state.z, chains, number, rho, beta)
        guess = self._guesses(z)
        if self.surrogate is not None:
            gain = rho * (guess - state.guess)
            promoted &= np.log(noise.promote) < gain + ratio
            ratio = -gain
        return self._corrected(state, z, guess, ratio, promoted, rho, noise)

    def _surrogate_steps(self, state, chains, number, rho, beta):
        """`inner` moves that leave p·surrogate^ρ in balance, and one correction of the whole way."""
        z, guess, chance, moves = state.z.copy(), state.guess.copy(), 0.0, self.inner[number % len(self.inner)]
        for move in range(moves):
            noise, proposed, ratio, usable = self._proposed(z, chains, number * max(self.inner) + move, rho, beta)
            hoped = self._guesses(proposed)
            ratio = np.where(usable, ratio + rho * (hoped - guess), -np.inf)
            accepted = np.log(noise.promote) < ratio
            z[accepted], guess[accepted] = proposed[accepted], hoped[accepted]
            chance = chance + np.exp(np.minimum(ratio, 0.0)) / moves
        moved = (z != state.z).any(axis=1)
        corrected = self._corrected(state, z, guess, -rho * (guess - state.guess), moved, rho, noise)
        self.corrections.append(corrected.mean())
        return chance

    def _proposed(self, z, chains, number, rho, beta):
        """(noise, proposals [n, d], their corrections [n], which of them are usable) from z [n, d]."""
        noise = step_noise(chains, number, z.shape[1], seed=self.seed)
        size = np.minimum(beta * np.exp(self.spread * noise.spread), 1.0)
        with np.errstate(over="ignore", invalid="ignore"):  # a wild gradient throws a chain out of all bounds
            proposed, ratio = self._propose(z, noise.xi, size, rho)
            usable = np.isfinite(proposed.astype(np.float32)).all(axis=1) & np.isfinite(ratio)
        return noise, np.where(usable[:, None], proposed, z), ratio, usable

    def _corrected(self, state, z, guess, ratio, promoted, rho, noise):
        """Accept or reject z [n, d] where promoted, by the true volume and `ratio`; the chances of acceptance [n]."""
        volume = self._volumes(z, np.flatnonzero(promoted))
        ratio = np.where(promoted, ratio + log_ratio(rho, volume, state.volume), -np.inf)
        accepted = np.log(noise.accept) < ratio
        for mine, proposed in ((state.z, z), (state.volume, volume), (state.guess, guess)):
            mine[accepted] = proposed[accepted]
        return np.exp(np.minimum(ratio, 0.0))

    def _propose(self, z, xi, size, rho):
        if self.gradient is None:
            return autoregressive(z, xi, size, self.prior)
        return hamiltonian(z, xi, size, self.prior, functools.partial(self._force, rho), self.leaps)

    def _force(self, rho, z):
        return rho * evaluate(self.gradient, z)

    def _volumes(self, z, rows):
        volume = np.full(len(z), np.nan)
        if len(rows):
            volume[rows] = evaluate(self.log_volume, z[rows])
            self.evaluations += len(rows)
        return volume

    def _guesses(self, z):
        # Any finite function will do for a surrogate, so one number stands for those that are none.
        if self.surrogate is None:
            return np.zeros(len(z))
        return np.nan_to_num(evaluate(self.surrogate, z), nan=0.0, posinf=0.0, neginf=0.0)


def matrix(z):
    """A copy of z as a float64 matrix. Raises ValueError where it is none, or not finite."""
    z = np.array(z, dtype=np.float64)
    if z.ndim != 2 or not np.isfinite(z).all():
        raise ValueError(f"chains start at finite latents [chains, z_dim], not at these of shape {list(z.shape)}")
    return z


def adapted(log_beta, chance, step):
    """Robbins–Monro: log β moved towards TARGET_ACCEPTANCE by a step that falls like t^−0.6."""
    gain = 2.0 * (step + 1) ** -0.6
    return np.clip(log_beta + gain * (chance - TARGET_ACCEPTANCE), np.log(SMALLEST_BETA), 0.0)


def pcn(
    log_volume,
    z0,
    *,
    rho,
    steps,
    prior,
    warmup=200,
    beta=0.3,
    seed=0,
    thin=1,
    anneal=0.0,
    surrogate=None,
    gradient=None,
    leaps=1,
    spread=0.3,
    inner=1,
    numbers=None,
):
    """Chains with the stationary law π(z) ∝ p(z)·volume(z)^ρ from z0 [chains, d], as Chains.

    prior: p, a Prior of d dimensions, or the name of a domain (`gaussian`, `sphere`).
    warmup: steps before the first that counts. In them every chain's β, from `beta` on, is adapted towards an
    acceptance of 0.35; afterwards it stays at the geometric mean of the warm-up's second half.
    anneal: share of the warm-up over which ρ rises from 0, linearly. thin: every so many draws one is kept. surrogate,
    gradient, leaps, spread, inner: see Kernel. seed, numbers: chain j takes the random numbers (seed, numbers[j]), by
    default (seed, j), so that chains are the same whatever others run beside them, as far as log_volume itself gives
    the same for a row in any batch.

    Raises ValueError for values out of range.
    """
    check_rho(rho)
    if warmup < 0 or not 1 <= thin <= steps:
        raise ValueError(f"warmup {warmup} must not be negative, and thin {thin} lies between 1 and the steps, {steps}")
    if not 0 < beta <= 1 or not 0 <= anneal <= 1:
        raise ValueError(f"beta {beta} lies above 0, anneal {anneal} from 0 on, both up to 1")
    z0 = matrix(z0)
    n, d = z0.shape
    kernel = Kernel(log_volume, as_prior(prior, d), seed, surrogate, gradient, leaps, spread, inner)
    state = kernel.enter(z0)
    chains = np.arange(n) if numbers is None else np.asarray(numbers)
    log_beta, tail = np.full(n, np.log(beta)), []
    for step in range(warmup):
        annealed = rho * min(1.0, (step + 1) / (anneal * warmup)) if anneal else rho
        inside = np.isfinite(state.volume)
        chance = kernel.step(state, chains, step, annealed, np.exp(log_beta))
        # Where there is no volume, acceptance says nothing of the step size.
        log_beta = adapted(log_beta, np.where(inside, chance, TARGET_ACCEPTANCE), step)
        if step >= warmup // 2:
            tail.append(log_beta)
    if warmup:
        log_beta = np.mean(tail, axis=0)
    kept = steps // thin
    z, volume = np.empty((n, kept, d), dtype=np.float32), np.empty((n, kept))
    acceptance = np.zeros(n)
    for step in range(steps):
        acceptance += kernel.step(state, chains, warmup + step, rho, np.exp(log_beta)) / steps
        if (step + 1) % thin == 0:
            z[:, step // thin], volume[:, step // thin] = state.z, state.volume
    corrections = kernel.corrections[warmup:]
    corrected = float(np.mean(corrections)) if corrections else np.nan
    return Chains(z, volume, acceptance, np.exp(log_beta), kernel.evaluations, corrected)
