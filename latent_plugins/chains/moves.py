"""Proposals on both domains, and random numbers that belong to (seed, chain, step).

Every proposal leaves the prior of its domain in balance, so that a chain needs nothing but volumes to be right:
log acceptance = ρ·(log-volume of the proposal − that of the state) + the correction that the proposal returns.
"""

import dataclasses

import numpy as np
import scipy.special
import torch

from latent_plugins.candidates import uniforms
from latent_plugins.spaces import DOMAINS

# Streams of `latent_plugins.candidates`, beside its own.
MOVES, START, RESAMPLING, PROPOSALS, CHANCES, DIRECTIONS = range(8, 14)


@dataclasses.dataclass(frozen=True)
class Noise:
    """What one step of n chains needs: standard normal xi [n, d] and spread [n], uniform promote and accept [n]."""

    xi: np.ndarray
    spread: np.ndarray
    promote: np.ndarray
    accept: np.ndarray


def step_noise(chains, step, d, *, seed):
    """The Noise of the chains with these numbers in a step: a function of (seed, chain, step) alone."""
    u = uniforms(chains, d + 3, seed=seed, stream=MOVES, substream=step)
    normal = scipy.special.ndtri(u[:, : d + 1])
    return Noise(normal[:, :d], normal[:, d], u[:, d + 1], u[:, d + 2])


def check_domain(domain):
    """Raise ValueError for a domain that there is none of."""
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")


def check_rho(rho):
    """Raise ValueError for a polarity that is not a finite number."""
    if not np.isfinite(rho):
        raise ValueError(f"rho must be a finite number, not {rho}")


def rescaled(z):
    """Rows of z [n, d] at length √d."""
    return z * (np.sqrt(z.shape[1]) / np.linalg.norm(z, axis=1, keepdims=True))


def prior_latents(indices, d, *, seed, domain, stream=PROPOSALS):
    """Latents `indices` of a stream of independent draws from the prior of a domain: float64 [len(indices), d]."""
    check_domain(domain)
    z = scipy.special.ndtri(uniforms(indices, d, seed=seed, stream=stream))
    return rescaled(z) if domain == "sphere" else z


def start(numbers, d, *, seed, domain):
    """Where the chains with these numbers begin: draws from the prior, float64 [len(numbers), d]."""
    return prior_latents(numbers, d, seed=seed, domain=domain, stream=START)


def autoregressive(z, xi, beta, domain):
    """Preconditioned Crank–Nicolson proposals √(1 − β²) z + β ξ (Cotter et al. 2013) and their correction, 0.

    z, xi: [n, d]; beta: step sizes [n] in (0, 1]. In balance with N(0, I). On the sphere the result is rescaled to the
    length √d: given z its law depends on the angle to z alone, because ξ's law knows no direction, and the reflection
    that swaps two points of the sphere keeps that angle. So z → z' is as likely as z' → z, and the uniform measure is
    in balance.
    """
    beta = beta[:, None]
    z = np.sqrt(1 - beta**2) * z + beta * xi
    return (rescaled(z) if domain == "sphere" else z), np.zeros(len(z))


def hamiltonian(z, xi, beta, domain, force, leaps):
    """Proposals that turn along great circles with kicks by `force` between, and their corrections [n].

    z: [n, d]; xi: standard normal [n, d], the velocity (on the sphere its tangent part); beta: sin of the angle t that
    a leap turns by; force: callable z → [n, d], an approximate gradient of ρ·log-volume; leaps: half kick, exact flow
    of the prior's Hamiltonian for the time t, half kick, so many times. A whole kick is 2 tan(t/2)·force. On
    `gaussian` the flow is the rotation z cos t + v sin t ("Hybrid Monte Carlo on Hilbert spaces", Beskos et al. 2011),
    and one leap is the Crank–Nicolson Langevin move, ∞-MALA; on `sphere` it is the geodesic ("Geodesic Monte Carlo on
    embedded manifolds", Byrne and Girolami 2013).

    The map is reversible and keeps volume whatever the force is, since kicks are shears. The correction is what
    position and velocity lose of the prior's energy; with it and true volumes the acceptance is exact.
    """
    v = tangent(z, xi) if domain == "sphere" else xi
    moved, turned = trajectory(z, v, np.arcsin(beta), domain, force, leaps)
    return moved, energy(z, v, domain) - energy(moved, turned, domain)


def trajectory(z, v, angle, domain, force, leaps):
    """Position and velocity [n, d] that the map of `hamiltonian` takes z and v to. angle: [n]."""
    angle = angle[:, None]
    half_kick = np.tan(angle / 2)
    push = field(force, z, domain)
    for _ in range(leaps):
        z, v = FLOWS[domain](z, v + half_kick * push, angle)
        push = field(force, z, domain)
        v = v + half_kick * push
    return z, v


def tangent(z, v):
    """The part of v [n, d] that is tangent to the sphere at z [n, d]."""
    return v - z * ((z * v).sum(axis=1, keepdims=True) / (z * z).sum(axis=1, keepdims=True))


def field(force, z, domain):
    """force(z) as a field that the flow can take: finite, and tangent on the sphere."""
    push = np.nan_to_num(force(z), nan=0.0, posinf=0.0, neginf=0.0)
    return tangent(z, push) if domain == "sphere" else push


def energy(z, v, domain):
    """½‖v‖², and ½‖z‖² where the prior is N(0, I): [n]."""
    kinetic = (v * v).sum(axis=1) / 2
    return kinetic + (z * z).sum(axis=1) / 2 if domain == "gaussian" else kinetic


def rotation(z, v, t):
    """The flow of ½‖z‖² + ½‖v‖² for the times t [n, 1]."""
    return z * np.cos(t) + v * np.sin(t), v * np.cos(t) - z * np.sin(t)


def geodesic(z, v, t):
    """The great circle of the sphere of radius √d through z with velocity v, after the times t [n, 1]."""
    rate = np.linalg.norm(v, axis=1, keepdims=True) / np.sqrt(z.shape[1])
    turn = rate * t
    moved = rescaled(z * np.cos(turn) + v * (t * np.sinc(turn / np.pi)))
    return moved, tangent(moved, v * np.cos(turn) - z * (rate * np.sin(turn)))


FLOWS = {"gaussian": rotation, "sphere": geodesic}


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
