"""Two distributions in the plane, with the scalings that the literature on WGAN-GP and its successors uses.

Both come as functions of a number of points and a CPU torch.Generator, which return float32 [n, 2].
"""

import math

import torch


def swiss_roll(n, random):
    """A spiral of one and a half turns, r = angle, from 1.5 π to 4.5 π, with noise of 0.25, divided by 7.5."""
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=random))
    points = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
    return (points + 0.25 * torch.randn(n, 2, generator=random)) / 7.5


def gaussians25(n, random):
    """25 equally likely Gaussians of standard deviation 0.05 at the even integers from −4 to 4 squared, over 2√2."""
    means = 2.0 * (torch.randint(5, (n, 2), generator=random) - 2)
    return (means + 0.05 * torch.randn(n, 2, generator=random)) / math.sqrt(8)


DISTRIBUTIONS = {"swissroll": swiss_roll, "25gaussians": gaussians25}


def points(name, n, seed):
    """n points float32 [n, 2] of a distribution by its name, a function of the seed. Raises ValueError for others."""
    return distribution(name)(n, torch.Generator().manual_seed(seed))


def distribution(name):
    """The function of DISTRIBUTIONS called `name`. Raises ValueError for an unknown name."""
    if name not in DISTRIBUTIONS:
        raise ValueError(f"unknown distribution {name!r}; known ones: {', '.join(DISTRIBUTIONS)}")
    return DISTRIBUTIONS[name]
