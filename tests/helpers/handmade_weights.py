"""Weights of latents that are known in closed form."""

import torch


class Handmade:
    """Weights of a known function of z, or of z and c, that count how often they are asked."""

    def __init__(self, function, m=2.0):
        self.function, self.m, self.asked = function, m, 0

    def check_network(self, generator):
        pass

    def to(self, device):
        return self

    def weights(self, generator, z, c=None):
        self.asked += len(z)
        return self.function(z, c)


def tilted(z, c):
    """2 Φ(z₀): mean 1, below 2; the first coordinate of z ~ w · prior has the distribution function Φ²."""
    return 2 * torch.special.ndtr(z[:, 0])
