"""The small convolutional GAN for digits at 32×32 that the sampling experiments are about."""

import copy

import torch
import torch.nn.functional as F

from dnnlib_compat.families import FAMILIES
from dnnlib_compat.networks.interface import LatentGenerator
from latent_plugins.reweighting.networks import CRITICS

IMG_RESOLUTION = 32


class CNNGenerator(LatentGenerator):
    """z [N, z_dim] to images [N, 1, 32, 32] in (−1, 1): transposed convolutions, ReLU, tanh at the end.

    channels: of the features at 4×4, 8×8 and 16×16. normalized: with batch normalization before each ReLU, for
    training; `folded` gives the same function in evaluation mode without it, which is piecewise affine up to the tanh.
    """

    family = "cnn"

    def __init__(self, z_dim=64, channels=(128, 64, 32), normalized=False):
        kwargs = dict(z_dim=z_dim, channels=list(channels), normalized=normalized)
        super().__init__(z_dim=z_dim, c_dim=0, img_resolution=IMG_RESOLUTION, img_channels=1, init_kwargs=kwargs)
        self.fc = torch.nn.ConvTranspose2d(z_dim, channels[0], 4)
        pairs = zip(channels, [*channels[1:], 1])
        self.convs = torch.nn.ModuleList(torch.nn.ConvTranspose2d(i, o, 4, stride=2, padding=1) for i, o in pairs)
        norms = [torch.nn.BatchNorm2d(width) if normalized else torch.nn.Identity() for width in channels]
        self.norms = torch.nn.ModuleList(norms)

    def images(self, z, c, psi=1):
        """See LatentGenerator: psi scales z, there are no labels."""
        x = self.fc((z * psi)[:, :, None, None])
        for norm, conv in zip(self.norms, self.convs):
            x = conv(F.relu(norm(x)))
        return torch.tanh(x)


@torch.no_grad()
def renew_statistics(network, random, batches=20, batch=500):
    """Set the batch-norm statistics of a normalized CNNGenerator to those of its prior. random: a torch.Generator."""
    for norm in network.norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    network.train()
    for _ in range(batches):
        network.images(network.sample_prior(batch, random), None)
    return network.eval()


def folded(network):
    """A CNNGenerator without batch norm that computes what a normalized one computes in evaluation mode."""
    plain = CNNGenerator(network.z_dim, network.init_kwargs["channels"])
    plain.load_state_dict(copy.deepcopy({k: v for k, v in network.state_dict().items() if not k.startswith("norms")}))
    for norm, conv in zip(network.norms, [plain.fc, *plain.convs]):
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        conv.weight.data.mul_(scale[:, None, None])
        conv.bias.data.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return plain.eval().requires_grad_(False)


class CNNDiscriminator(torch.nn.Module):
    """Images [N, 1, 32, 32] to real numbers [N], higher for what looks real: strided convolutions, leaky ReLU."""

    family = kind = "cnn-discriminator"

    def __init__(self, channels=(32, 64, 128)):
        super().__init__()
        self.init_kwargs = dict(channels=list(channels))
        pairs = zip([1, *channels], channels)
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairs)
        self.out = torch.nn.Linear(channels[-1] * 16, 1)

    @property
    def settings(self):
        """See latent_plugins.reweighting.networks: the training of importance weights can go on from this network."""
        return dict(kind=self.kind, **self.init_kwargs)

    def forward(self, images):
        x = images
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        return self.out(x.flatten(1)).squeeze(1)


# Plain files of these networks, and weights with this critic, are read wherever this module is imported.
FAMILIES.add(CNNGenerator, CNNDiscriminator)
CRITICS[CNNDiscriminator.kind] = CNNDiscriminator
