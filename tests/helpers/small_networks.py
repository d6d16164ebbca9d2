"""Small untrained networks, and images of theirs."""

import numpy as np
import torch

from dnnlib_compat.networks.interface import LatentGenerator
from dnnlib_compat.networks.progan import ProGANGenerator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator


def images(network, n=2):
    z = torch.from_numpy(np.random.RandomState(0).randn(n, network.z_dim)).float()
    return network(z, torch.eye(max(network.c_dim, 1))[:n, : network.c_dim].expand(n, -1))


def small_stylegan3():
    torch.manual_seed(0)
    kwargs = dict(channel_base=128, channel_max=8, num_layers=4, margin_size=2, first_stopband=4)
    return StyleGAN3Generator(8, 0, 8, 16, 3, **kwargs).eval().requires_grad_(False)


def small_progan(seed=0, **kwargs):
    """An untrained 16×16 ProGAN."""
    torch.manual_seed(seed)
    defaults = dict(z_dim=8, c_dim=0, img_resolution=16, img_channels=3, channels=[8, 6, 4])
    network = ProGANGenerator(**(defaults | kwargs)).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.3)
    return network


class Line(LatentGenerator):
    """z in R → an image of one pixel, z itself."""

    family = "line"

    def __init__(self):
        super().__init__(z_dim=1, c_dim=0, img_resolution=1, img_channels=1, init_kwargs={})
        self.register_parameter("gain", torch.nn.Parameter(torch.ones(1), requires_grad=False))

    def images(self, z, c, psi):
        return (self.gain * z)[:, :, None, None]
