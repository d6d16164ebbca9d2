"""Files of plain arrays and a JSON header (`.npz`): no code, no pickle.

Arrays stand under the part that they belong to, such as `weights/out.bias`; the header's `format` tells what the file
is. The same content gives the same bytes.
"""

import json

import numpy as np
import torch

from dnnlib_compat.util import atomic_output


def write_arrays(path, header, parts):
    """Write a JSON header (with its `format`) and {part: {name: tensor}} as `.npz`, atomically."""
    arrays = {
        f"{part}/{name}": tensor.detach().cpu().numpy()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def read_arrays(path, wanted, *, error, what):
    """(header, {part: {name: CPU tensor}}) of a file that `write_arrays` wrote in the format `wanted`.

    Raises `error`, a ValueError, saying that the file is not `what` or damaged; OSError when it cannot be read.
    """
    header, parts = read_header(path, wanted, error=error, what=what), {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                part, slash, name = key.partition("/")
                if slash:
                    parts.setdefault(part, {})[name] = torch.from_numpy(file[key]).clone()  # in torch's own memory
    except Exception as found:  # numpy and zipfile raise many kinds on damaged archives
        raise error(f"{path}: truncated or damaged ({found})") from None
    return header, parts


def read_header(path, wanted, *, error, what):
    """The header alone, as `read_arrays` gives it."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
            found = header["format"]
        except Exception as problem:  # as above
            raise error(f"{path}: not {what}, or damaged ({problem})") from None
    if found != wanted:
        raise error(f"{path}: a file of the format {found!r}, not {wanted!r}")
    return header
