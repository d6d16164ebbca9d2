"""Networks in torch.save files: BigGAN and BigGAN-deep in two formats, NVAE, DCGAN."""

from pathlib import Path

import torch

from dnnlib_compat.assemble import assemble
from dnnlib_compat.budgets import MAX_JSON
from dnnlib_compat.checkpoint import read_checkpoint, state_dict_of, without_wrappers
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, check_regular, reason, shown
from dnnlib_compat.families import converted
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.networks.biggan_files import convert_biggan, convert_biggan_hf, is_biggan, is_biggan_hf
from dnnlib_compat.networks.dcgan import convert_dcgan, is_dcgan
from dnnlib_compat.networks.nvae import NVAEGenerator
from dnnlib_compat.networks.nvae_files import convert_nvae, is_nvae
from dnnlib_compat.plain_files import check_types, open_safetensors

CONFIG, WEIGHTS, SAFE_WEIGHTS = "config.json", "pytorch_model.bin", "model.safetensors"
# Files of a weights folder, the averaged generator first.
WEIGHT_FILES = (
    WEIGHTS,
    SAFE_WEIGHTS,
    "G_ema*.pth",
    "G.pth",
    "G_*.pth",
    "checkpoint.pt",
    "*.pkl",
    "*.npz",
    "*.safetensors",
)


class UnknownTensors(NetworkFileError):
    """Tensors whose names are those of no network that is known here."""


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
    for name in (WEIGHTS, SAFE_WEIGHTS):
        if path.with_name(name).exists():
            return path.with_name(name)
    raise NetworkFileError(f"{path}: there is no {WEIGHTS} beside it, nor a {SAFE_WEIGHTS}, which holds the weights")


def read(path, config=None):
    """The generator in a torch.save file, told by the names of its tensors.

    config: the settings of a network whose weights do not tell them, by default the `config.json` beside the file.
    Raises NetworkFileError for what holds none of the known ones, and says what it holds.
    """
    try:
        content = read_checkpoint(path)
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{error}; {WHOLE_MODULE}") from None
    family, kwargs, state = convert(*state_of(content, path), path, config)
    return assemble(family, kwargs, state, path)


def read_converted(path):
    """The generator in a `.safetensors` file that `convert` did not write; None where it did."""
    with open_safetensors(path) as file:
        if "config" in (file.metadata() or {}):
            return None
        check_types(file, path)
        state = without_wrappers({name: file.get_tensor(name) for name in file.keys()})
        if not state:
            raise NetworkFileError(f"{path}: holds no tensors")
    try:
        family, kwargs, state = convert(state, None, path)
    except UnknownTensors as error:
        raise NetworkFileError(f"{error}; and it was not written by convert") from None
    return assemble(family, kwargs, state, path)


def convert(tensors, arguments, path, config=None):
    """(family's class, keyword arguments, state dict) of a checkpoint's tensors and training arguments (or None)."""
    if is_biggan_hf(tensors):
        return convert_biggan_hf(tensors, read_config(path, config), path)
    if is_nvae(tensors):
        if arguments is None:
            raise NetworkFileError(f"{path}: an NVAE without 'args', which tell its architecture; take checkpoint.pt")
        return NVAEGenerator, *convert_nvae(tensors, arguments, path)
    if is_biggan(tensors):
        return convert_biggan(tensors, path)
    if is_dcgan(tensors):
        return convert_dcgan(tensors, path)
    found = converted(tensors, path)
    if found is not None:
        return found
    for is_other, what in OTHERS:
        if is_other(set(tensors)):
            raise NetworkFileError(f"{path}: {what}")
    some = shown(", ".join(list(tensors)[:3]))
    raise UnknownTensors(
        f"{path}: not a BigGAN, BigGAN-deep, NVAE or DCGAN generator (its tensors are {some}, …); any other network "
        "comes from a function of yours: --network=FILE.py:function"
    )


WHOLE_MODULE = (
    "a module that torch.save wrote as a whole is code, which --allow-code runs of .pkl files alone; where it was "
    "made, save its state_dict() (BigGAN, NVAE, DCGAN), or the dictionary of networks by pickle as the official "
    "training does; or load it in a function of yours: --network=FILE.py:function"
)
# Formats that are known and not read: a test of the tensors' names, and what to do.
OTHERS = (
    (
        lambda names: (
            {"style.1.weight", "conv1.conv.weight"} <= names or {"style.1.weight", "to_rgb1.conv.weight"} <= names
        ),
        "a checkpoint of rosinality's stylegan2-pytorch, which is not read here; take NVIDIA's .pkl that it was "
        "converted from, or train or convert with NVIDIA's code",
    ),
    (
        lambda names: any(name.startswith("synthesis.b4.") or name.startswith("synthesis.input.") for name in names),
        "a bare state dict of a StyleGAN2 or StyleGAN3 without the arguments of its constructor; take the official "
        ".pkl, or load the state dict where it was made and pickle the network",
    ),
    (
        lambda names: any(name.startswith(("GE.", "S.net.", "G.blocks.")) for name in names),
        "a checkpoint of lucidrains' stylegan2-pytorch, which is not read here; networks of NVIDIA's code are",
    ),
    (
        lambda names: any("time_embed" in name for name in names),
        "a diffusion model, which has no latent space of this kind; give a GAN or an NVAE",
    ),
)


def state_of(content, path):
    """(tensors, training arguments or None) of a checkpoint: a bare state dict, or one beside other things."""
    state = state_dict_of(content)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not all(isinstance(name, str) for name in tensors):
        raise NetworkFileError(f"{path}: damaged, a tensor in it has no name")
    if not tensors:
        known = shown(", ".join(map(str, list(content)[:5])))
        raise NetworkFileError(
            f"{path}: holds no tensors of a network (only {known}); a training state? Take the generator's file"
        )
    return tensors, content.get("args") if state is not content else None


def read_config(path, beside=None):
    """The settings of the weights `path`: in the file `beside`, by default their `config.json`."""
    beside = Path(beside or Path(path).with_name(CONFIG))
    try:
        check_regular(beside)
        with open(beside, "rb") as file:
            data = file.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise NetworkFileError(f"{beside}: larger than {MAX_JSON} bytes, not the settings of a network")
        config = parse_json(data)
    except FileNotFoundError:
        raise NetworkFileError(f"{path}: there is no {CONFIG} beside it, which tells the architecture") from None
    except NetworkFileError:
        raise
    except ValueError as error:
        raise NetworkFileError(f"{beside}: not readable as JSON ({reason(error)})") from None
    if not isinstance(config, dict):
        raise NetworkFileError(f"{beside}: holds a {type(config).__name__}, not the settings of a network")
    return config
