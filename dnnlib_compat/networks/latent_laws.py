"""The laws of latents that a wrapped network may have: their names, their words, and how they are drawn.

The names are those of the base measures of atlases, and `sphere`. Seeds are drawn as the ecosystem's scripts do it:
`RandomState(seed)`, and its `randn` or `uniform`.
"""

import numpy as np
import scipy.special
import scipy.stats
import torch

BOUND = 2.0  # of the truncated normal law, as of BigGAN's


class Normal:
    """N(0, I)."""

    base = "prior"
    text = "N(0, I)"
    on_sphere = False

    @staticmethod
    def of_seed(random, dim):
        """A latent [1, dim] from a numpy.random.RandomState."""
        return random.randn(1, dim)

    @staticmethod
    def sample(n, dim, random):
        """n latents, a float32 tensor [n, dim], from a CPU torch.Generator."""
        return torch.randn(n, dim, generator=random)


class Sphere(Normal):
    """Uniform directions: drawn from N(0, I), of which the network gets the direction alone, at the length √dim."""

    text = "N(0, I), of which the network sees the direction alone, at the length √z_dim"
    on_sphere = True


class Truncated:
    """N(0, I) with every coordinate cut to [−2, 2]."""

    base = "truncated"
    text = f"N(0, I) truncated to [−{BOUND:g}, {BOUND:g}]"
    on_sphere = False

    @staticmethod
    def of_seed(random, dim):
        return scipy.stats.truncnorm.rvs(-BOUND, BOUND, size=(1, dim), random_state=random)

    @staticmethod
    def sample(n, dim, random):
        low, high = scipy.special.ndtr([-BOUND, BOUND])
        u = torch.rand(n, dim, generator=random, dtype=torch.float64).numpy()
        return torch.tensor(scipy.special.ndtri(low + u * (high - low)).astype(np.float32))


class Uniform:
    """Uniform on [−1, 1]^dim."""

    base = "uniform"
    text = "uniform on [−1, 1]^z_dim"
    on_sphere = False

    @staticmethod
    def of_seed(random, dim):
        return random.uniform(-1, 1, (1, dim))

    @staticmethod
    def sample(n, dim, random):
        return torch.rand(n, dim, generator=random) * 2 - 1


class Ball:
    """Uniform on the ball of radius 1: a direction, and a length whose power dim is uniform."""

    base = "ball"
    text = "uniform on the ball of radius 1"
    on_sphere = False

    @staticmethod
    def of_seed(random, dim):
        direction = random.randn(1, dim)
        return direction / np.linalg.norm(direction) * random.rand() ** (1 / dim)

    @staticmethod
    def sample(n, dim, random):
        direction = torch.randn(n, dim, generator=random)
        return direction / direction.norm(dim=1, keepdim=True) * torch.rand(n, 1, generator=random) ** (1 / dim)


LAWS = {"prior": Normal, "truncated": Truncated, "uniform": Uniform, "ball": Ball, "sphere": Sphere}
