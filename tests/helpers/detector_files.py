"""Detector files for tests: random networks in the formats that the ecosystem has, and a small TorchScript detector."""

import warnings

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.inception_v3 import InceptionV3, layer_names
from helpers.pickles import module_record, record, write_pickle


class SmallDetector(torch.nn.Module):
    """The official call of all three detectors in one small network, for RGB images of any size."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.fc = torch.nn.Linear(8 * 4, 10)

    def forward(
        self,
        img,
        resize_images: bool = True,
        return_features: bool = False,
        return_lpips: bool = False,
        no_output_bias: bool = False,
    ):
        x = F.relu(self.conv(img.to(torch.float32) / 127.5 - 1))
        if return_lpips:
            return x.flatten(1) * 0.01
        x = F.adaptive_avg_pool2d(x, 2).flatten(1)
        if return_features:
            return x
        weight_only = F.linear(x, self.fc.weight)
        return torch.softmax(weight_only if no_output_bias else weight_only + self.fc.bias, dim=1)


def write_torchscript(path, network=None, seed=0):
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network or SmallDetector()).save(str(path))
    return path


def random_inception(seed=0):
    """An Inception-v3 with random weights whose batch norms do not scale, as NVIDIA's."""
    torch.manual_seed(seed)
    network = InceptionV3().eval().requires_grad_(False)
    for name, tensor in network.named_parameters():
        if tensor.ndim == 4:
            torch.nn.init.kaiming_normal_(tensor)
        elif name.endswith("bn.bias"):
            tensor.normal_(0, 0.1)
    return network


def nvidia_names(network):
    """{NVIDIA's tensor name: tensor} of an InceptionV3."""
    parts = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}
    state = network.state_dict()
    found = {f"{theirs}.{a}": state[f"{ours}.{b}"] for ours, theirs in layer_names() for a, b in parts.items()}
    return found | {"output.weight": state["fc.weight"], "output.bias": state["fc.bias"]}


def planted(module, tensors, *, buffers=False):
    """The module with tensors {dotted name: tensor} in submodules of its own, as parameters or as buffers."""
    for name, tensor in tensors.items():
        *parents, leaf = name.split(".")
        place = module
        for parent in parents:
            if parent not in place._modules:
                place.add_module(parent, torch.nn.Module())
            place = place._modules[parent]
        if buffers:
            place.register_buffer(leaf, tensor.clone())
        else:
            place.register_parameter(leaf, torch.nn.Parameter(tensor.clone(), requires_grad=False))
    return module


def tree_of(tensors, top):
    """A pickle record of nested modules with these tensors: the ecosystem's own classes outside, torch's inside."""
    module = planted(torch.nn.Module(), tensors)
    linear = torch.nn.Linear(1, 1)  # torch's own modules are pickled as such, not as records
    linear._parameters = dict(module.output._parameters)
    state = module_record(module, top).args[0]["state"]
    state["_modules"] = dict(state["_modules"], output=linear)
    return record(top, state)


def write_persistent(path, network):
    return write_pickle(path, tree_of(nvidia_names(network), "InceptionV3"))
