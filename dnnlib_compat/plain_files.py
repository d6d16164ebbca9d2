"""This project's own network files: tensors and constructor arguments, no code, no pickle.

Two containers hold the same: `.npz` (NumPy's, compressed) and `.safetensors` (with the optional package safetensors).
The entry `config` is JSON with the family's short name and the keyword arguments of its class; tensors stand under
`state/` and their name in the state dict. The entry `checksum` is compared when the file is read.
"""

import contextlib
import json

import numpy as np
import torch

from dnnlib_compat import checksums
from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.assemble import assemble, empty_network, misfits, refuse
from dnnlib_compat.budgets import MAX_ENTRIES, MAX_JSON, MORE
from dnnlib_compat.errors import NetworkFileError, quoted, reading, reason, shown
from dnnlib_compat.families import FAMILIES
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.util import SHORT_WRITE, atomic_output

SAFE_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # as safetensors names them


def write_npz(network, path, dtype=None, about=None):
    """Store a network as a compressed `.npz`.

    dtype: of the floating-point tensors in the file, by default their own, so that nothing is lost; float16 halves the
    size and keeps scalars, filters and statistics float32. about: a JSON-able dict that `read_about` gives back, such
    as what was measured of the network. Raises ValueError for a network of another make (a fork's), whose classes this
    format does not know.
    """
    arrays = {f"state/{name}": tensor.numpy() for name, tensor in stored_tensors(network, dtype).items()}
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        checksums.write_npz(file, dict(config=np.array(config_of(network, about)), **arrays), compress=True)


def write_safetensors(network, path):
    """Store a generator as `.safetensors`. Raises ImportError without the package, ValueError as `write_npz`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"state/{name}": tensor for name, tensor in stored_tensors(network, None).items()}
    config = config_of(network)
    metadata = {"config": config, checksums.ENTRY: checksums.checksum(tensors, config)}
    with atomic_output(path) as tmp:
        try:
            save_file(tensors, tmp, metadata=metadata)
        except SafetensorError as error:  # how it words what the system says
            raise OSError(f"{path}: {SHORT_WRITE} ({reason(error)})") from None


def config_of(network, about=None):
    """The JSON text that says how to build the network, and what else its writer says about it."""
    if network.family not in FAMILIES:
        raise ValueError(f"a network of the family {network.family!r} cannot be stored without its code")
    more = {} if about is None else dict(about=about)
    return json.dumps(dict(family=network.family, kwargs=network.init_kwargs, **{checksums.SEALED: True}, **more))


def read_about(path):
    """What the writer of an `.npz` of this project said about its network (`write_npz`): a dict, empty if nothing.

    Raises NetworkFileError when the file is damaged or of another make.
    """
    with open_arrays(path) as arrays:
        if "config" not in arrays:
            raise NetworkFileError(f"{path}: does not say what network it holds; it was not written by convert")
        text = arrays.text("config", MAX_JSON)
    parse_config(text, path)
    about = parse_json(text).get("about", {})
    return about if isinstance(about, dict) else {}


def stored_tensors(network, dtype):
    """{name: CPU tensor} of the state dict, floating-point ones as `dtype` where that loses little."""
    found = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        exact = tensor.ndim == 0 or not tensor.is_floating_point() or name.endswith(("filter", "mean", "var"))
        found[name] = tensor if dtype is None or exact else tensor.to(dtype)
    return found


def read_npz(path):
    """The generator stored by `write_npz`. Raises NetworkFileError when the file is damaged or of another make.

    Arrays are unpacked once their names and shapes are known to be those of the network.
    """
    with open_arrays(path) as arrays:
        if "config" not in arrays:
            raise NetworkFileError(f"{path}: does not say what network it holds; it was not written by convert")
        family, kwargs, sealed = parse_config(arrays.text("config", MAX_JSON), path)
        shapes = {name[6:]: arrays.shapes[name][0] for name in arrays.shapes if name.startswith("state/")}
        check_surplus([name for name in arrays.shapes if not name.startswith("state/")], path)
        refuse(misfits(empty_network(family, kwargs, path).state_dict(), shapes), family, path)
        named = [name for name in ("config", checksums.ENTRY) if name in arrays] + [f"state/{name}" for name in shapes]
        found = checksums.check_npz({name: arrays.read(name) for name in named}, required=sealed)
        tensors = {name: torch.from_numpy(found[f"state/{name}"]) for name in shapes}
    return assemble(family, kwargs, tensors, path)


def read_safetensors(path):
    """The generator stored by `write_safetensors`. Raises NetworkFileError as `read_npz`, or without the package."""
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
        check_surplus([name for name in metadata if name != "format"], path)
        config = metadata.get("config", "")
        family, kwargs, sealed = parse_config(config, path)
        names = [name for name in file.keys() if name.startswith("state/")]
        shapes = {name[6:]: file.get_slice(name).get_shape() for name in names}
        check_types(file, path)
        refuse(misfits(empty_network(family, kwargs, path).state_dict(), shapes), family, path)
        tensors = {name: file.get_tensor(name) for name in names}
        checksums.check(metadata.get(checksums.ENTRY), tensors, config, required=sealed)
    tensors = {name[6:]: tensors[name] for name in names}
    return assemble(family, kwargs, tensors, path)


@contextlib.contextmanager
def open_safetensors(path):
    """The open file of the package safetensors. Raises NetworkFileError for whatever is wrong, here or within."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise NetworkFileError(
            f"{path}: reading it needs the package safetensors; pip install 'latent-plugins[safetensors]' brings it"
        ) from None
    with reading(path):
        try:
            opened = safe_open(path, framework="pt")
        except OSError:
            raise
        except Exception as error:
            raise NetworkFileError(f"{path}: a truncated or damaged network file ({reason(error)})") from None
        with opened as file:
            yield file


def check_types(file, path):
    """Raise NetworkFileError for a tensor of a type that no network here has."""
    if len(file.keys()) > MAX_ENTRIES:
        raise NetworkFileError(f"{path}: has {len(file.keys())} tensors, more than any network; {MORE}")
    for name in file.keys():
        dtype = file.get_slice(name).get_dtype()
        if dtype not in SAFE_TYPES:
            raise NetworkFileError(f"{path}: {shown(name)} is of the type {shown(dtype)}, not {', '.join(SAFE_TYPES)}")


def check_surplus(names, path):
    """Raise NetworkFileError where there is more beside the tensors than what convert writes."""
    surplus = [name for name in names if name not in ("config", checksums.ENTRY)]
    if surplus:
        raise NetworkFileError(f"{path}: damaged, or not written by convert (it has an entry {quoted(surplus[0])})")


def parse_config(config, path):
    """(family's class, keyword arguments, whether the file has a checksum) of `config_of`'s text."""
    try:
        config = parse_json(config)
        family, kwargs = config["family"], config["kwargs"]
    except (ValueError, TypeError, KeyError):
        raise NetworkFileError(f"{path}: does not say what network it holds; it was not written by convert") from None
    if not isinstance(family, str) or family not in FAMILIES:
        raise NetworkFileError(f"{path}: a network of the unknown family {quoted(family)}")
    return FAMILIES[family], kwargs, config.get(checksums.SEALED) is True
