"""Trained importance weights on disk: `.npz` files of plain arrays and a JSON header, no code, no pickle.

The header tells what the file is of (network, data dimensions, schedule); arrays stand under the part that they belong
to, such as `weights/out.bias`. Checkpoints of a training use the same container under another format name.
"""

import dataclasses
import math

import torch

from dnnlib_compat.arguments import check_arguments, is_number, is_whole
from dnnlib_compat.assemble import fill, is_finite
from dnnlib_compat.budgets import MAX_CLASSES
from dnnlib_compat.errors import reason
from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.reweighting.networks import INPUTS, build_critic, build_weight_network, network_input

FORMAT = "latent-plugins weights 1"
WHAT = "a file of trained weights"
REMEDY = "train_weights makes one"


class WeightsError(ValueError):
    """Importance weights that cannot be used: damaged, no weights file, or trained for another network."""


@dataclasses.dataclass(frozen=True)
class TrainedWeights:
    """Importance weights of the latents of one generator, and the critic that they were trained against.

    network: fingerprint of that generator; z_dim, w_dim, c_dim: its sizes; input: `z` or `w`, what the weight network
    sees; m: the bound of the training's soft clipping; schedule: its numbers, a dict; steps, seed: how it went;
    mean_weight, acceptance: E[w] and E[min(w, m)] / m over the prior, measured at the end; weight_network: the averaged
    WeightNetwork; critic: maps images [N, C, H, W], nominally in [−1, 1], to [N], larger for more realistic ones.
    """

    path: str
    network: str
    z_dim: int
    w_dim: int
    c_dim: int
    input: str
    m: float
    schedule: dict
    steps: int
    seed: int
    mean_weight: float
    acceptance: float
    weight_network: torch.nn.Module
    critic: torch.nn.Module

    def check_network(self, generator):
        """Raise WeightsError when the weights were trained for another network."""
        if self.network != fingerprint(generator):
            raise WeightsError(f"{self.path}: weights of another network, train some for this network")

    def to(self, device):
        """The same weights with both networks moved to a device."""
        self.weight_network.to(device)
        self.critic.to(device)
        return self

    def weights(self, generator, z, c=None):
        """Importance weights [N], float32, of z [N, z_dim] and, of conditional networks, c [N, c_dim].

        All of them on one device; differentiable in z.
        """
        c = z.new_zeros(len(z), 0) if c is None else c
        return self.weight_network(network_input(generator, z, c, self.input))


def save_weights(path, generator, weight_network, critic, **fields):
    """Write trained weights; fields: those of TrainedWeights that neither the networks nor the generator tell."""
    header = dict(
        format=FORMAT,
        network=fingerprint(generator),
        **{name: getattr(generator, name) for name in ("z_dim", "w_dim", "c_dim")},
        **fields,
        weight_network=weight_network.settings,
        critic=critic.settings,
    )
    write_arrays(path, header, dict(weights=weight_network.state_dict(), critic=critic.state_dict()))


def load_weights(path):
    """The TrainedWeights in a file, on the CPU.

    Raises WeightsError when the file is damaged or no weights file, OSError when it cannot be read.
    """
    header, parts = read_arrays(path, FORMAT, error=WeightsError, what=WHAT, remedy=REMEDY)
    try:
        del header["format"]
        for name in ("weight_network", "critic"):
            check_arguments(header[name], path)
        built = dict(
            weight_network=filled(build_weight_network, header.pop("weight_network"), parts["weights"]),
            critic=filled(build_critic, header.pop("critic"), parts["critic"]),
        )
        found = TrainedWeights(path=str(path), **header, **built)
        check_fields(found)
        expected = dict(z=found.z_dim, w=found.w_dim)[found.input] if found.input in INPUTS else None
        if found.weight_network.in_dim != expected:
            raise ValueError(f"its network does not take {found.input!r}")
        if not (math.isfinite(found.m) and found.m > 1):
            raise ValueError(f"m must exceed 1; it is {found.m}")
    except Exception as error:  # settings that fit nothing fail in many ways
        text = reason(error).removeprefix(f"{path}: ")
        raise WeightsError(f"{path}: damaged, its networks cannot be built ({text}); {REMEDY}") from None
    return found


def check_fields(found):
    """Raise ValueError unless the fields of TrainedWeights are of the kinds that its docstring says."""
    sizes = all(is_whole(getattr(found, name), 0, MAX_CLASSES) for name in ("z_dim", "w_dim", "c_dim"))
    counts = is_whole(found.steps, 0, 1 << 60) and is_whole(found.seed, -(1 << 64), 1 << 64)
    numbers = all(is_number(getattr(found, name), -math.inf, math.inf) for name in ("m", "mean_weight", "acceptance"))
    if not (sizes and counts and numbers and isinstance(found.network, str) and isinstance(found.schedule, dict)):
        raise ValueError("a size, count or number in its header is of another kind")


def filled(build, settings, tensors):
    """A network of its settings and tensors, for inference. Raises what `load_weights` turns into its own error."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not is_finite(tensor):
            raise ValueError(f"{name} holds NaN, infinity or no floating-point numbers")
    with torch.device("meta"):  # sizes only: no random initialisation, and no memory for what the file does not hold
        network = build(settings)
    return fill(network, tensors).eval().requires_grad_(False)
