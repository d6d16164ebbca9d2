"""Proposals of every prior, and random numbers that belong to (seed, chain, step).

Every proposal leaves its prior in balance, so that a chain needs nothing but volumes to be right:
log acceptance = ρ·(log-volume of the proposal − that of the state) + the correction that the proposal returns.
"""

import dataclasses

import numpy as np
import scipy.special
import torch

from latent_plugins.priors import NormalPrior, SpherePrior, as_prior
from latent_plugins.randomness import Stream, uniforms


@dataclasses.dataclass(frozen=True)
class Noise:
    """What one step of n chains needs: standard normal xi [n, d] and spread [n], uniform promote and accept [n]."""

    xi: np.ndarray
    spread: np.ndarray
    promote: np.ndarray
    accept: np.ndarray


def step_noise(chains, step, d, *, seed):
    """The Noise of the chains with these numbers in a step: a function of (seed, chain, step) alone."""
    u = uniforms(chains, d + 3, seed=seed, stream=Stream.MOVES, substream=step)
    normal = scipy.special.ndtri(u[:, : d + 1])
    return Noise(normal[:, :d], normal[:, d], u[:, d + 1], u[:, d + 2])


def check_rho(rho):
    """Raise ValueError for a polarity that is not a finite number."""
    if not np.isfinite(rho):
        raise ValueError(f"rho must be a finite number, not {rho}")


def rescaled(z):
    """Rows of z [n, d] at length √d."""
    return z * (np.sqrt(z.shape[1]) / np.linalg.norm(z, axis=1, keepdims=True))


def prior_latents(indices, d, *, seed, prior, stream=Stream.PROPOSALS):
    """Latents `indices` of a stream of independent draws from a prior: float64 [len(indices), d].

    prior: a Prior of d dimensions, or the name of a domain (`gaussian`, `sphere`).
    """
    prior = as_prior(prior, d)
    return prior.transform(uniforms(indices, prior.width, seed=seed, stream=stream))


def start(numbers, d, *, seed, prior):
    """Where the chains with these numbers begin: draws from the prior, float64 [len(numbers), d]."""
    return prior_latents(numbers, d, seed=seed, prior=prior, stream=Stream.START)


def autoregressive(z, xi, beta, prior):
    """Preconditioned Crank–Nicolson proposals (`Prior.propose`) from z [n, d] and their correction, 0.

    xi: standard normal [n, d]; beta: step sizes [n] in (0, 1].
    """
    return prior.propose(z, xi, beta), np.zeros(len(z))


def hamiltonian(z, xi, beta, prior, force, leaps):
    """Proposals that turn along great circles with kicks by `force` between, and their corrections [n].

    z: [n, d]; xi: standard normal [n, d], the velocity (on the sphere its tangent part); beta: sin of the angle t that
    a leap turns by; force: callable z → [n, d], an approximate gradient of ρ·log-volume; leaps: half kick, exact flow
    of the prior's Hamiltonian for the time t, half kick, so many times. A whole kick is 2 tan(t/2)·force. For
    N(0, I) the flow is the rotation z cos t + v sin t ("Hybrid Monte Carlo on Hilbert spaces", Beskos et al. 2011),
    and one leap is the Crank–Nicolson Langevin move, ∞-MALA; on the sphere it is the geodesic ("Geodesic Monte Carlo on
    embedded manifolds", Byrne and Girolami 2013). Other priors have no such flow: see `check_flow`.

    The map is reversible and keeps volume whatever the force is, since kicks are shears. The correction is what
    position and velocity lose of the prior's energy; with it and true volumes the acceptance is exact.
    """
    v = tangent(z, xi) if isinstance(prior, SpherePrior) else xi
    moved, turned = trajectory(z, v, np.arcsin(beta), prior, force, leaps)
    return moved, energy(z, v, prior) - energy(moved, turned, prior)


def trajectory(z, v, angle, prior, force, leaps):
    """Position and velocity [n, d] that the map of `hamiltonian` takes z and v to. angle: [n]."""
    angle = angle[:, None]
    half_kick = np.tan(angle / 2)
    push = field(force, z, prior)
    for _ in range(leaps):
        z, v = FLOWS[type(prior)](z, v + half_kick * push, angle)
        push = field(force, z, prior)
        v = v + half_kick * push
    return z, v


def tangent(z, v):
    """The part of v [n, d] that is tangent to the sphere at z [n, d]."""
    return v - z * ((z * v).sum(axis=1, keepdims=True) / (z * z).sum(axis=1, keepdims=True))


def field(force, z, prior):
    """force(z) as a field that the flow can take: finite, and tangent on the sphere."""
    push = np.nan_to_num(force(z), nan=0.0, posinf=0.0, neginf=0.0)
    return tangent(z, push) if isinstance(prior, SpherePrior) else push


def energy(z, v, prior):
    """½‖v‖², and ½‖z‖² where the prior is N(0, I): [n]."""
    kinetic = (v * v).sum(axis=1) / 2
    return kinetic if isinstance(prior, SpherePrior) else kinetic + (z * z).sum(axis=1) / 2


def rotation(z, v, t):
    """The flow of ½‖z‖² + ½‖v‖² for the times t [n, 1]."""
    return z * np.cos(t) + v * np.sin(t), v * np.cos(t) - z * np.sin(t)


def geodesic(z, v, t):
    """The great circle of the sphere of radius √d through z with velocity v, after the times t [n, 1]."""
    rate = np.linalg.norm(v, axis=1, keepdims=True) / np.sqrt(z.shape[1])
    turn = rate * t
    moved = rescaled(z * np.cos(turn) + v * (t * np.sinc(turn / np.pi)))
    return moved, tangent(moved, v * np.cos(turn) - z * (rate * np.sin(turn)))


FLOWS = {NormalPrior: rotation, SpherePrior: geodesic}


def check_flow(prior):
    """Raise ValueError for a prior whose Hamiltonian flow stays inside no support that is known here."""
    if type(prior) not in FLOWS:
        raise ValueError(
            f"Hamiltonian moves are for N(0, I) and the sphere, not for {prior.text}; leave the gradient out"
        )


def evaluate(function, z):
    """A callable over float32 tensors [n, d], at float64 z: its values as float64."""
    return np.asarray(torch.as_tensor(function(torch.from_numpy(z.astype(np.float32)))).cpu(), dtype=np.float64)


def log_weight(rho, volume):
    """ρ·log-volume [n], −∞ where there is no volume."""
    usable = np.isfinite(volume)
    return np.where(usable, rho * np.where(usable, volume, 0.0), -np.inf)


def log_ratio(rho, new, old):
    """ρ·(new − old) of log-volumes [n]: −∞ where a proposal has none, but +∞ where the state has none either.

    From a start without a volume a chain so wanders by its proposals alone, until it comes to where π is not zero.
    """
    ratio = log_weight(rho, new) - np.where(np.isfinite(old), log_weight(rho, old), 0.0)
    return np.where(np.isfinite(old), ratio, np.inf)
