"""The family of this example: images that are one affine function of z, and their state dicts."""

import math

import torch

from dnnlib_compat.networks.interface import LatentGenerator


class LinearGenerator(LatentGenerator):
    """z [N, z_dim] → tanh(W z + b) as images [N, 1, R, R]. Truncation psi scales z."""

    family = "linear"

    def __init__(self, z_dim, img_resolution):
        sizes = dict(z_dim=z_dim, img_resolution=img_resolution)
        super().__init__(**sizes, c_dim=0, img_channels=1, init_kwargs=sizes)
        self.layer = torch.nn.Linear(z_dim, img_resolution**2)

    def images(self, z, c, psi):
        """Images in [−1, 1]."""
        side = self.img_resolution
        return torch.tanh(self.layer(z * psi)).reshape(-1, 1, side, side)

    @staticmethod
    def recognises(tensors):
        """Whether {name: tensor} of a file that torch.save wrote is a network of this kind."""
        return set(tensors) == {"layer.weight", "layer.bias"} and tensors["layer.weight"].ndim == 2

    @staticmethod
    def convert(tensors, path):
        """(keyword arguments of the constructor, state dict) of such tensors."""
        pixels, z_dim = tensors["layer.weight"].shape
        return dict(z_dim=z_dim, img_resolution=math.isqrt(pixels)), tensors
