"""Plain networks, a torch.nn.Sequential that torch.save wrote, as generators: their partitions can be exact.

Such a file is read by torch's reader for untrusted files, which is told of the layers listed here and of nothing else.
"""

import math
import pickletools

import torch
from torch import nn

from dnnlib_compat.archives import open_archive, read_entry
from dnnlib_compat.budgets import MAX_PICKLE
from dnnlib_compat.errors import NetworkFileError, check_regular, reading, reason
from dnnlib_compat.networks.interface import LatentGenerator
from dnnlib_compat.torch_archives import check_checkpoint, content_entry
from latent_plugins.geometry.dimension import ELEMENTWISE
from latent_plugins.geometry.piecewise import AFFINE, BENDS

LAYERS = tuple(dict.fromkeys((nn.Sequential, *AFFINE, *BENDS, nn.ReLU6, *ELEMENTWISE)))
MARK = "torch.nn.modules.container Sequential"  # how torch.save names what such a file begins with
HOOKS = "_hooks"


class SequentialGenerator(LatentGenerator):
    """A Sequential [N, in] → [N, out] or [N, C, H, H] as a Generator; z follows N(0, I), truncation scales it.

    Flat outputs of a square number of entries are grayscale images, others a picture of one pixel with as many
    channels. Raises NetworkFileError when the layers do not tell the number of inputs, or do not fit each other.
    """

    family = "sequential"

    def __init__(self, network):
        z_dim = inputs_of(network)
        first = next(network.parameters(), torch.zeros(0))
        try:
            with torch.no_grad():
                shape = list(network(first.new_zeros(1, z_dim)).shape[1:])
        except RuntimeError as error:
            raise NetworkFileError(f"the layers do not fit each other ({str(error).splitlines()[0]})") from error
        if len(shape) != 3 or shape[1] != shape[2]:
            count = math.prod(shape)
            side = math.isqrt(count)
            shape = [1, side, side] if side**2 == count else [count, 1, 1]
        super().__init__(
            z_dim=z_dim, c_dim=0, img_resolution=shape[1], img_channels=shape[0], init_kwargs=dict(layers=str(network))
        )
        self.network = network

    def images(self, z, c, psi):
        """[N, C, H, H] of z [N, z_dim]."""
        side = self.img_resolution
        return self.network(psi * z).reshape(len(z), self.img_channels, side, side)


def inputs_of(network):
    """How many inputs a Sequential takes, as its first layer of a known size tells."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.Unflatten):
            return math.prod(module.unflattened_size)
        if isinstance(module, nn.BatchNorm1d):
            return module.num_features
    raise NetworkFileError("no Linear, Unflatten or BatchNorm1d layer tells how many inputs the network takes")


def is_sequential_file(source):
    """Whether `source` is a file of torch.save whose content is a Sequential itself. Nothing in it is executed."""
    try:
        check_regular(source)
        with open_archive(source, ignore_case=True) as archive:
            data = read_entry(source, archive, content_entry(archive), MAX_PICKLE)
        names = (arg for code, arg, _ in pickletools.genops(data) if code.name == "GLOBAL")
        return next(names, None) == MARK
    except Exception:  # a file of another kind, or damaged: its own reader will say so
        return False


def read_sequential(path, device="cpu"):
    """The SequentialGenerator of a file that torch.save wrote of a Sequential, in evaluation mode and float32.

    Raises NetworkFileError for a damaged file, layers that are not known here, or layers with hooks or a `forward` of
    their own.
    """
    check_checkpoint(path)
    try:
        with torch.serialization.safe_globals(list(LAYERS)):
            network = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged stream fails in many ways, all of them while collecting data
        raise NetworkFileError(f"{path}: not a Sequential of known layers ({reason(error)})") from None
    if not isinstance(network, nn.Sequential):
        raise NetworkFileError(f"{path}: holds a {type(network).__name__}, not a Sequential")
    for module in network.modules():
        altered = "forward" in vars(module) or any(content for name, content in vars(module).items() if HOOKS in name)
        if type(module) not in LAYERS or altered:
            raise NetworkFileError(f"{path}: its {type(module).__name__} is not a plain layer of torch")
        if getattr(module, "inplace", False):
            module.inplace = False  # derivatives need what would be overwritten
    with reading(path):
        generator = SequentialGenerator(network.float().eval())
    return generator.eval().requires_grad_(False).to(device)
