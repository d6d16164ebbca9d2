"""DCGAN generator (Radford et al., arXiv:1511.06434) in the layout of PyTorch's DCGAN tutorial, and its files."""

import re

import torch

from dnnlib_compat.assemble import fit_tensors
from dnnlib_compat.errors import NetworkFileError, naming
from dnnlib_compat.networks.interface import LatentGenerator

PREFIXES = ("main.", "")  # of the tutorial's names, and of those of a bare Sequential
COUNTER = ".num_batches_tracked"  # of training alone
KERNEL = 4  # of every transposed convolution but the first
MOST_LAYERS = 12  # doublings of the resolution behind it: beyond any image


class DCGANGenerator(LatentGenerator):
    """z [N, z_dim] → images: transposed convolutions, each but the last with batch norm and ReLU, then tanh.

    channels: of the features after each layer but the last. bottom_width: resolution after the first layer, which is
    its kernel size; every further layer doubles it. Truncation psi scales z. The batch norms are in evaluation mode
    with their running statistics. `main` has the tutorial's names.

    Raises ValueError for sizes that do not make a network.
    """

    family = "dcgan"

    def __init__(self, z_dim, channels, img_channels=3, bottom_width=4):
        if not 1 <= len(channels) <= MOST_LAYERS:
            raise ValueError(f"channels must be those of 1 to {MOST_LAYERS} layers, not of {len(channels)}")
        if min(z_dim, img_channels, bottom_width, *channels) < 1:
            raise ValueError("z_dim, channels, img_channels and bottom_width must be positive")
        super().__init__(
            z_dim=z_dim,
            c_dim=0,
            img_resolution=bottom_width << len(channels),
            img_channels=img_channels,
            init_kwargs=dict(
                z_dim=z_dim, channels=list(channels), img_channels=img_channels, bottom_width=bottom_width
            ),
        )
        first = torch.nn.ConvTranspose2d(z_dim, channels[0], bottom_width, 1, 0, bias=False)
        layers = [first, torch.nn.BatchNorm2d(channels[0]), torch.nn.ReLU()]
        for n_in, n_out in zip(channels[:-1], channels[1:]):
            doubling = torch.nn.ConvTranspose2d(n_in, n_out, KERNEL, 2, 1, bias=False)
            layers += [doubling, torch.nn.BatchNorm2d(n_out), torch.nn.ReLU()]
        last = torch.nn.ConvTranspose2d(channels[-1], img_channels, KERNEL, 2, 1, bias=False)
        self.main = torch.nn.Sequential(*layers, last, torch.nn.Tanh())

    def images(self, z, c, psi):
        """Images [N, img_channels, img_resolution, img_resolution] in [−1, 1]."""
        return self.main((z.to(torch.float32) * psi)[:, :, None, None])


def is_dcgan(tensors):
    """Whether {name: tensor} are those of a DCGAN generator or, without batch norm at the start, discriminator."""
    return prefix_of(tensors) is not None


def prefix_of(tensors):
    """What stands before the numbers of the layers; None where these are no DCGAN's tensors."""
    for prefix in PREFIXES:
        first = tensors.get(f"{prefix}0.weight")
        if first is not None and first.ndim == 4 and any(name.endswith("running_mean") for name in tensors):
            if all(re.fullmatch(rf"{prefix}\d+\.\w+", name) for name in tensors if name.startswith(prefix)):
                return prefix
    return None


def convert_dcgan(tensors, path):
    """(network class, constructor arguments, state dict) from {name: tensor} of a DCGAN, its sizes read off shapes.

    Strides and paddings leave no trace in a file: they are the tutorial's, 1 and 0 in the first layer, 2 and 1 in the
    others, whose kernels are 4×4. Raises NetworkFileError for a discriminator, for layers in another order, and for
    missing, surplus or misfit tensors.
    """
    with naming(path):
        prefix = prefix_of(tensors)
        if f"{prefix}1.running_mean" not in tensors and f"{prefix}3.running_mean" in tensors:
            raise NetworkFileError("a DCGAN discriminator, which makes no images; take the generator's file (netG)")
        kwargs = dcgan_architecture({name: tensor.shape for name, tensor in tensors.items()}, prefix)
        with torch.device("meta"):
            expected = DCGANGenerator(**kwargs).state_dict()
        names = {prefix + name.removeprefix("main."): name for name in expected if not name.endswith(COUNTER)}
        counters = [prefix + name.removeprefix("main.") for name in expected if name.endswith(COUNTER)]
        kept = {name: tensor for name, tensor in tensors.items() if name not in counters}
        state = fit_tensors(kept, names, expected, "the DCGAN of PyTorch's tutorial")
        # What training counted does not belong to the function that the network computes, nor to its fingerprint.
        state |= {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith(COUNTER)}
        return DCGANGenerator, kwargs, {name: state[name] for name in expected}


def dcgan_architecture(shapes, prefix):
    """Constructor arguments from the official {name: shape}."""
    convs = sorted(
        int(name.removeprefix(prefix).partition(".")[0])
        for name, shape in shapes.items()
        if name.startswith(prefix) and name.endswith(".weight") and len(shape) == 4
    )
    if convs != list(range(0, 3 * len(convs), 3)) or len(convs) < 2:
        found = ", ".join(f"{prefix}{k}" for k in convs[:6])
        raise NetworkFileError(
            f"not the DCGAN of PyTorch's tutorial, where every third layer is a transposed convolution (found {found})"
            "; a generator of another layout comes from a function of yours: --network=FILE.py:function"
        )
    kernels = [shapes[f"{prefix}{k}.weight"] for k in convs]
    for k, shape in zip(convs, kernels):
        if shape[2] != shape[3] or k and shape[2] != KERNEL or 0 in shape:
            right = f"{KERNEL}×{KERNEL}" if k else "square"
            raise NetworkFileError(
                f"{prefix}{k}.weight is {list(shape)}, whose kernel is not {right} as the tutorial's"
            )
    return dict(
        z_dim=kernels[0][0],
        channels=[shape[1] for shape in kernels[:-1]],
        img_channels=kernels[-1][1],
        bottom_width=kernels[0][2],
    )
