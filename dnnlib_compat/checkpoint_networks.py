"""Networks in torch.save files: BigGAN and BigGAN-deep in two formats, NVAE."""

import json
from pathlib import Path

import torch

from dnnlib_compat.assemble import assemble
from dnnlib_compat.checkpoint import read_checkpoint, state_dict_of
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.biggan_files import convert_biggan, convert_biggan_hf, is_biggan, is_biggan_hf
from dnnlib_compat.networks.nvae import NVAEGenerator
from dnnlib_compat.networks.nvae_files import convert_nvae, is_nvae

CONFIG, WEIGHTS = "config.json", "pytorch_model.bin"
# Files of a weights folder, the averaged generator first.
WEIGHT_FILES = (WEIGHTS, "G_ema*.pth", "G.pth", "G_*.pth", "checkpoint.pt", "*.pkl", "*.npz", "*.safetensors")


def file_in(folder):
    """The path of the network in a folder of weights. Raises NetworkFileError when there is none."""
    for pattern in WEIGHT_FILES:
        found = sorted(Path(folder).glob(pattern), key=lambda path: (len(path.name), path.name))
        if found:
            return found[0]
    raise NetworkFileError(f"{folder}: no network in this folder (looked for {', '.join(WEIGHT_FILES)})")


def beside_config(path):
    """The weights beside a `config.json`; any other path as it is."""
    path = Path(path)
    if path.suffix != ".json":
        return path
    weights = path.with_name(WEIGHTS)
    if not weights.exists():
        raise NetworkFileError(f"{path}: there is no {WEIGHTS} beside it, which holds the weights")
    return weights


def read(path):
    """The generator in a torch.save file, told by the names of its tensors.

    Raises NetworkFileError for what holds none of the known ones, and says what it holds.
    """
    family, kwargs, state = convert(*state_of(read_checkpoint(path), path), path)
    return assemble(family, kwargs, state, path)


def convert(tensors, arguments, path):
    """(family's class, keyword arguments, state dict) of a checkpoint's tensors and training arguments (or None)."""
    if is_biggan_hf(tensors):
        return convert_biggan_hf(tensors, read_config(path), path)
    if is_nvae(tensors):
        if arguments is None:
            raise NetworkFileError(f"{path}: an NVAE without 'args', which tell its architecture; take checkpoint.pt")
        return NVAEGenerator, *convert_nvae(tensors, arguments, path)
    if is_biggan(tensors):
        return convert_biggan(tensors, path)
    some = ", ".join(list(tensors)[:3])
    raise NetworkFileError(f"{path}: not a BigGAN, BigGAN-deep or NVAE generator (its tensors are {some}, …)")


def state_of(content, path):
    """(tensors, training arguments or None) of a checkpoint: a bare state dict, or one beside other things."""
    state = state_dict_of(content)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        known = ", ".join(map(str, list(content)[:5]))
        raise NetworkFileError(
            f"{path}: holds no tensors of a network (only {known}); a training state? Take the generator's file"
        )
    return tensors, content.get("args") if state is not content else None


def read_config(path):
    """The `config.json` beside the weights."""
    beside = Path(path).with_name(CONFIG)
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NetworkFileError(f"{path}: there is no {CONFIG} beside it, which tells the architecture") from None
    except ValueError as error:
        raise NetworkFileError(f"{beside}: not readable as JSON ({error})") from None
    if not isinstance(config, dict):
        raise NetworkFileError(f"{beside}: holds a {type(config).__name__}, not the settings of a network")
    return config
