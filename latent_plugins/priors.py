"""Priors: the laws that latents follow before anything weighs them.

A generator has one (`prior_of`); the base measures of atlases are priors too. Candidates, chains, filters and geometry
ask it for draws, densities, entropies, and moves that leave it in balance.
"""

import abc
import dataclasses
import math

import numpy as np
import scipy.special
import torch

EDGE = 2.0**-54  # how near to 0 and 1 a probability may come before its normal score is infinite
CUT = 2.0  # where BigGAN's truncated prior ends


@dataclasses.dataclass(frozen=True)
class Prior(abc.ABC):
    """A law of latents z in `dim` dimensions.

    Subclasses say how a latent comes from uniform numbers (`transform`) and from a normal vector (`from_normal`), and
    what its density is. Arrays are float64. Raises ValueError, when made, for sizes that make no sense.
    """

    dim: int
    flat = False  # whether the density is the same everywhere on the support

    def __post_init__(self):
        if self.dim < 1:
            raise ValueError(f"a prior needs at least one dimension, not {self.dim}")

    @property
    def width(self):
        """How many uniform numbers a latent takes."""
        return self.dim

    @property
    @abc.abstractmethod
    def text(self):
        """The law in words."""

    @abc.abstractmethod
    def transform(self, u):
        """Latents [N, dim] of uniform numbers u [N, width] in (0, 1)."""

    @abc.abstractmethod
    def from_normal(self, g):
        """Latents [N, dim] that follow the prior where g [N, dim] follows N(0, I)."""

    @abc.abstractmethod
    def to_normal(self, z):
        """A g [N, dim] with from_normal(g) = z that follows N(0, I), given its length where z does not tell it."""

    @abc.abstractmethod
    def log_prob(self, z):
        """The log-density at latents z, tensor or array [N, dim]: float64 tensor [N]; −inf outside the support."""

    @property
    @abc.abstractmethod
    def entropy(self):
        """The differential entropy in nats, on the sphere with respect to its own volume."""

    def enter(self, z):
        """z [N, dim] brought to the support; what cannot be brought there raises ValueError."""
        if not np.isfinite(self.log_prob(z).numpy()).all():
            raise ValueError(f"some latents are outside the support of the prior, {self.text}")
        return z

    def sample(self, n, rng):
        """n latents [n, dim] float64 from a CPU torch.Generator."""
        u = torch.rand(n, self.width, dtype=torch.float64, generator=rng).numpy()
        return torch.from_numpy(self.transform(np.clip(u, EDGE, 1 - EDGE)))

    def propose(self, z, xi, beta):
        """Moves of z [N, dim] by xi ~ N(0, I) [N, dim] and step sizes beta [N] in (0, 1] that are in balance with the
        prior: z → z' is as likely as z' → z.

        The preconditioned Crank–Nicolson move √(1 − β²) g + β ξ (Cotter et al. 2013) of the normal vector g behind z.
        """
        beta = beta[:, None]
        return self.from_normal(np.sqrt(1 - beta**2) * self.to_normal(z) + beta * xi)


@dataclasses.dataclass(frozen=True)
class NormalPrior(Prior):
    """N(0, I)."""

    @property
    def text(self):
        """See Prior."""
        return f"N(0, I) in {self.dim} dimensions"

    def transform(self, u):
        """See Prior."""
        return self.from_normal(scipy.special.ndtri(u))

    def from_normal(self, g):
        """See Prior."""
        return g

    def to_normal(self, z):
        """See Prior."""
        return z

    def log_prob(self, z):
        """See Prior."""
        z = checked(z, self.dim)
        return -z.square().sum(dim=1) / 2 - self.dim / 2 * math.log(2 * math.pi)

    @property
    def entropy(self):
        """See Prior."""
        return self.dim / 2 * math.log(2 * math.pi * math.e)

    def sample(self, n, rng):
        """See Prior."""
        return self.from_normal(torch.randn(n, self.dim, dtype=torch.float64, generator=rng))


@dataclasses.dataclass(frozen=True)
class ScaledNormalPrior(NormalPrior):
    """N(0, scale² I)."""

    scale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.scale < math.inf:
            raise ValueError(f"the standard deviation of a normal law must be positive and finite, not {self.scale}")

    @property
    def text(self):
        """See Prior."""
        return f"N(0, {self.scale:g}² I) in {self.dim} dimensions"

    def from_normal(self, g):
        """See Prior."""
        return g * self.scale

    def to_normal(self, z):
        """See Prior."""
        return z / self.scale

    def log_prob(self, z):
        """See Prior."""
        return super().log_prob(checked(z, self.dim) / self.scale) - self.dim * math.log(self.scale)

    @property
    def entropy(self):
        """See Prior."""
        return super().entropy + self.dim * math.log(self.scale)


@dataclasses.dataclass(frozen=True)
class TruncatedNormalPrior(Prior):
    """N(0, I) with every coordinate cut to [−bound, bound]."""

    bound: float = CUT

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.bound < math.inf:
            raise ValueError(f"the bound of a truncated normal must be positive and finite, not {self.bound}")

    @property
    def text(self):
        """See Prior."""
        return f"N(0, I) in {self.dim} dimensions, cut to [−{self.bound:g}, {self.bound:g}]"

    def transform(self, u):
        """See Prior."""
        tail = scipy.special.ndtr(-self.bound)
        return np.clip(scipy.special.ndtri(tail + u * (1 - 2 * tail)), -self.bound, self.bound)

    def from_normal(self, g):
        """See Prior."""
        return self.transform(scipy.special.ndtr(g))

    def to_normal(self, z):
        """See Prior."""
        tail = scipy.special.ndtr(-self.bound)
        return scipy.special.ndtri(np.clip((scipy.special.ndtr(z) - tail) / (1 - 2 * tail), EDGE, 1 - EDGE))

    def log_prob(self, z):
        """See Prior."""
        z = checked(z, self.dim)
        log_mass = math.log1p(-2 * scipy.special.ndtr(-self.bound))
        density = -z.square().sum(dim=1) / 2 - self.dim * (math.log(2 * math.pi) / 2 + log_mass)
        return density.masked_fill((z.abs() > self.bound).any(dim=1), -math.inf)

    @property
    def entropy(self):
        """See Prior."""
        import scipy.stats  # takes a while, and looks at torch

        return self.dim * float(scipy.stats.truncnorm(-self.bound, self.bound).entropy())


@dataclasses.dataclass(frozen=True)
class SpherePrior(Prior):
    """Uniform on the sphere of radius √dim, for networks that normalise z."""

    flat = True

    def __post_init__(self):
        if self.dim < 2:
            raise ValueError(f"a prior on a sphere needs at least two dimensions, not {self.dim}")

    @property
    def text(self):
        """See Prior."""
        return f"uniform on the sphere of radius √{self.dim}, with respect to its volume"

    def transform(self, u):
        """See Prior."""
        return self.from_normal(scipy.special.ndtri(u))

    def from_normal(self, g):
        """See Prior."""
        return g * (np.sqrt(self.dim) / np.linalg.norm(g, axis=1, keepdims=True))

    def to_normal(self, z):
        """z itself, a normal vector of the length √dim.

        Moves from it are in balance all the same: given z, the law of the rescaled √(1 − β²) z + β ξ depends on the
        angle to z alone, because ξ's law knows no direction, and the reflection that swaps two points of the sphere
        keeps that angle.
        """
        return z

    def log_prob(self, z):
        """See Prior. On the sphere; the length of z is not looked at."""
        return torch.full((len(checked(z, self.dim)),), -self.entropy, dtype=torch.float64)

    def enter(self, z):
        """See Prior: z at the length √dim."""
        return self.from_normal(z)

    @property
    def entropy(self):
        """The log of the sphere's volume, in nats."""
        unit = math.log(2) + self.dim / 2 * math.log(math.pi) - math.lgamma(self.dim / 2)
        return unit + (self.dim - 1) / 2 * math.log(self.dim)


@dataclasses.dataclass(frozen=True)
class BoxPrior(Prior):
    """Uniform on the cube [low, high]^dim ("MaGNET", Algorithm 1, has a uniform law on the latent domain)."""

    low: float = -1.0
    high: float = 1.0
    flat = True

    def __post_init__(self):
        super().__post_init__()
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a uniform prior needs finite bounds low < high, not {self.low} and {self.high}")

    @property
    def text(self):
        """See Prior."""
        return f"uniform on [{self.low:g}, {self.high:g}]^{self.dim}"

    def transform(self, u):
        """See Prior."""
        if self.low == -self.high:  # a cube around the origin, as atlases have it: the same bits as ever
            return (2 * u - 1) * self.high
        return self.low + (self.high - self.low) * u

    def from_normal(self, g):
        """See Prior."""
        return self.transform(scipy.special.ndtr(g))

    def to_normal(self, z):
        """See Prior."""
        return scipy.special.ndtri(np.clip((z - self.low) / (self.high - self.low), EDGE, 1 - EDGE))

    def log_prob(self, z):
        """See Prior."""
        z = checked(z, self.dim)
        outside = ((z < self.low) | (z > self.high)).any(dim=1)
        return z.new_full([len(z)], -self.entropy).masked_fill(outside, -math.inf)

    @property
    def entropy(self):
        """See Prior."""
        return self.dim * math.log(self.high - self.low)


@dataclasses.dataclass(frozen=True)
class BallPrior(Prior):
    """Uniform on the ball of a radius."""

    radius: float = 1.0
    flat = True

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.radius < math.inf:
            raise ValueError(f"the radius of a ball must be positive and finite, not {self.radius}")

    @property
    def width(self):
        """A direction, and a length."""
        return self.dim + 1

    @property
    def text(self):
        """See Prior."""
        return f"uniform on the ball of radius {self.radius:g} in {self.dim} dimensions"

    def transform(self, u):
        """See Prior."""
        g = scipy.special.ndtri(u[:, :-1])
        return g / np.linalg.norm(g, axis=1, keepdims=True) * self.radius * u[:, -1:] ** (1 / self.dim)

    def from_normal(self, g):
        """See Prior."""
        length = np.linalg.norm(g, axis=1, keepdims=True)
        share = scipy.special.gammainc(self.dim / 2, length**2 / 2)  # of the normal law within this length
        return g / length * self.radius * share ** (1 / self.dim)

    def to_normal(self, z):
        """See Prior."""
        length = np.linalg.norm(z, axis=1, keepdims=True)
        share = np.clip((length / self.radius) ** self.dim, EDGE, 1 - EDGE)
        return (
            z
            / np.maximum(length, np.finfo(np.float64).tiny)
            * np.sqrt(2 * scipy.special.gammaincinv(self.dim / 2, share))
        )

    def log_prob(self, z):
        """See Prior."""
        z = checked(z, self.dim)
        outside = z.norm(dim=1) > self.radius * (1 + 1e-6)  # float32 rounds lengths
        return z.new_full([len(z)], -self.entropy).masked_fill(outside, -math.inf)

    @property
    def entropy(self):
        """See Prior."""
        unit = self.dim / 2 * math.log(math.pi) - math.lgamma(self.dim / 2 + 1)
        return unit + self.dim * math.log(self.radius)


# Base measures of atlases by name; the names of the first two are those that generators give their priors.
BASES = {
    "prior": lambda dim, radius: NormalPrior(dim),
    "truncated": lambda dim, radius: TruncatedNormalPrior(dim),
    "uniform": lambda dim, radius: BoxPrior(dim, -radius, radius),
    "ball": lambda dim, radius: BallPrior(dim, radius),
    "normal": lambda dim, radius: ScaledNormalPrior(dim, radius),
}
WITH_RADIUS = ("uniform", "ball", "normal")  # half the side of the cube, the ball's radius, the standard deviation
DOMAINS = {"sphere": SpherePrior, "gaussian": NormalPrior}  # short names of where latents live


def base_measure(name, dim, radius=1.0):
    """The Prior that a base measure's name stands for. Raises ValueError for an unknown one."""
    if name not in BASES:
        raise ValueError(f"unknown base measure {name!r}; known ones: {', '.join(BASES)}")
    return BASES[name](dim, radius)


def prior_of(generator, domain=None):
    """The Prior of a generator's latents.

    domain: `sphere`, for networks that normalise z, `gaussian`, or a Prior to put in its place; by default what suits
    the family. Raises ValueError for another domain.
    """
    if domain is None:
        domain = "sphere" if generator.normalizes_z else "gaussian"
    if isinstance(domain, str) and domain == "gaussian":
        return base_measure(generator.prior, generator.z_dim)
    return as_prior(domain, generator.z_dim)


def as_prior(prior, dim):
    """A Prior of `dim` dimensions: itself, or the one that a domain's name (`sphere`, `gaussian`) stands for.

    Raises ValueError for another name, or a prior of other dimensions.
    """
    if isinstance(prior, str):
        if prior not in DOMAINS:
            raise ValueError(f"unknown domain {prior!r}; known domains: {', '.join(DOMAINS)}")
        return DOMAINS[prior](dim)
    if prior.dim != dim:
        raise ValueError(f"a prior of {prior.dim} dimensions for latents of {dim}")
    return prior


def checked(z, dim):
    """z as a float64 tensor. Raises ValueError unless it is [N, dim]."""
    z = torch.as_tensor(z)
    if z.ndim != 2 or z.shape[1] != dim:
        raise ValueError(f"the prior is one of {dim} dimensions, the latents have the shape {list(z.shape)}")
    return z.double().cpu()
