"""Anybody's network as a Generator: z → image, whatever it is made of."""

import math

import numpy as np
import torch

from dnnlib_compat.networks.interface import LatentGenerator
from dnnlib_compat.networks.latent_laws import LAWS


class Function(torch.nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


class Method(torch.nn.Module):
    """A method of a module, such as a decoder's, as a module with that one's parameters."""

    def __init__(self, owner, method):
        super().__init__()
        self.owner, self.method = owner, method

    def forward(self, *args):
        return getattr(self.owner, self.method)(*args)


class WrappedGenerator(LatentGenerator):
    """What `dnnlib_compat.wrapping.wrap` makes of a module `network`, which has been looked at there.

    z_shape: of a latent as the network takes it, without the batch. prior: a name of LAWS. image_range: (low, high) of
    its images, which become [−1, 1]. With c_dim above 0 the network gets (z, c), c one-hot [N, c_dim]; else z alone.
    Truncation psi multiplies z. name, code: what tells it apart from networks with the same weights (`fingerprint`).
    """

    family = "wrapped"

    def __init__(
        self, network, *, z_dim, c_dim, z_shape, prior, image_range, img_resolution, img_channels, name, code
    ):  # fmt: skip
        sizes = dict(z_dim=z_dim, c_dim=c_dim, img_resolution=img_resolution, img_channels=img_channels)
        told = dict(z_shape=list(z_shape), prior=prior, image_range=list(image_range), name=name, code=code)
        super().__init__(**sizes, init_kwargs=sizes | told)
        self.network, self.z_shape, self.image_range = network, tuple(z_shape), tuple(image_range)
        self.law = LAWS[prior]
        self.prior, self.prior_text = self.law.base, self.law.text
        self.normalizes_z = self.law.on_sphere
        if self.normalizes_z:
            self.truncation_text = "does not exist, because z is normalised; psi must be 1"
        if next(network.parameters(), None) is None:  # so that the device can be told
            device = next((buffer.device for buffer in network.buffers()), "cpu")
            self.place = torch.nn.Parameter(torch.empty(0, device=device), requires_grad=False)

    def seed_latent(self, seed):
        """z [1, z_dim] float32 of a seed, drawn from numpy.random.RandomState(seed)."""
        return torch.tensor(self.law.of_seed(np.random.RandomState(seed), self.z_dim).astype(np.float32))

    def sample_prior(self, n, random):
        """n latents [n, z_dim] float32 of the prior. random: a torch.Generator on the CPU."""
        return self.law.sample(n, self.z_dim, random)

    def check_psi(self, psi):
        """Raise ValueError for a truncation other than 1 where z is normalised."""
        if self.normalizes_z and psi != 1:
            raise ValueError(f"this network's z is normalised, so truncation psi must be 1, not {psi}")

    def answer(self, z, c, psi=1):
        """What the network itself returns for z [N, z_dim] and c [N, c_dim]."""
        z = z.to(torch.float32)
        if self.normalizes_z:
            z = z * (math.sqrt(self.z_dim) / z.norm(dim=1, keepdim=True))
        z = (z * psi).reshape(z.shape[0], *self.z_shape)
        return self.network(z, c) if self.c_dim else self.network(z)

    def images(self, z, c, psi):
        """Images [N, img_channels, img_resolution, img_resolution], nominally in [−1, 1]."""
        images, (low, high) = self.answer(z, c, psi).to(torch.float32), self.image_range
        return images if (low, high) == (-1, 1) else (images - low) * (2 / (high - low)) - 1
