"""This project's own network files: tensors and constructor arguments, no code, no pickle.

Two containers hold the same: `.npz` (NumPy's, compressed) and `.safetensors` (with the optional package safetensors).
The entry `config` is JSON with the family's short name and the keyword arguments of its class; tensors stand under
`state/` and their name in the state dict.
"""

import json
import zipfile

import numpy as np
import torch

from dnnlib_compat.assemble import assemble
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.families import FAMILIES
from dnnlib_compat.util import atomic_output


def write_npz(network, path, dtype=None):
    """Store a generator as a compressed `.npz`.

    dtype: of the floating-point tensors in the file, by default their own, so that nothing is lost; float16 halves the
    size and keeps scalars, filters and statistics float32. Raises ValueError for a network of another make (a fork's),
    whose classes this format does not know.
    """
    arrays = {f"state/{name}": tensor.numpy() for name, tensor in stored_tensors(network, dtype).items()}
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        np.savez_compressed(file, config=np.array(config_of(network)), **arrays)


def write_safetensors(network, path):
    """Store a generator as `.safetensors`. Raises ImportError without the package, ValueError as `write_npz`."""
    from safetensors.torch import save_file

    tensors = {f"state/{name}": tensor for name, tensor in stored_tensors(network, None).items()}
    with atomic_output(path) as tmp:
        save_file(tensors, tmp, metadata=dict(config=config_of(network)))


def config_of(network):
    """The JSON text that says how to build the network."""
    if network.family not in FAMILIES:
        raise ValueError(f"a network of the family {network.family!r} cannot be stored without its code")
    return json.dumps(dict(family=network.family, kwargs=network.init_kwargs))


def stored_tensors(network, dtype):
    """{name: CPU tensor} of the state dict, floating-point ones as `dtype` where that loses little."""
    found = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        exact = tensor.ndim == 0 or not tensor.is_floating_point() or name.endswith(("filter", "mean", "var"))
        found[name] = tensor if dtype is None or exact else tensor.to(dtype)
    return found


def read_npz(path):
    """The generator stored by `write_npz`. Raises NetworkFileError when the file is damaged or of another make."""
    try:
        with np.load(path, allow_pickle=False) as file:
            config = str(file["config"])
            tensors = {name[6:]: torch.from_numpy(file[name]) for name in file.files if name.startswith("state/")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise NetworkFileError(f"{path}: a truncated or damaged network file ({error})") from None
    return from_config(config, tensors, path)


def read_safetensors(path):
    """The generator stored by `write_safetensors`. Raises NetworkFileError as `read_npz`, or without the package."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise NetworkFileError(
            f"{path}: reading it needs the package safetensors; pip install 'latent-plugins[safetensors]' brings it"
        ) from None
    try:
        with safe_open(path, framework="pt") as file:
            config = (file.metadata() or {}).get("config", "")
            tensors = {name[6:]: file.get_tensor(name) for name in file.keys() if name.startswith("state/")}
    except SafetensorError as error:
        raise NetworkFileError(f"{path}: a truncated or damaged network file ({error})") from None
    return from_config(config, tensors, path)


def from_config(config, tensors, path):
    """The network of `config_of`'s text and its tensors."""
    try:
        config = json.loads(config)
        family, kwargs = config["family"], config["kwargs"]
    except (json.JSONDecodeError, TypeError, KeyError):
        raise NetworkFileError(f"{path}: does not say what network it holds; it was not written by convert") from None
    if family not in FAMILIES:
        raise NetworkFileError(f"{path}: a network of the unknown family {family!r}")
    return assemble(FAMILIES[family], kwargs, tensors, path)
