"""Files of plain arrays and a JSON header (`.npz`): no code, no pickle.

Arrays stand under the part that they belong to, such as `weights/out.bias`; the header's `format` tells what the file
is. The same content gives the same bytes; a checksum of all of it is compared when the file is read.
"""

import contextlib
import json
import os

import numpy as np
import torch

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.budgets import MAX_JSON
from dnnlib_compat.checksums import ENTRY, SEALED, check_npz, write_npz
from dnnlib_compat.errors import check_regular, quoted, reason, without_advice
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.util import atomic_output

SLACK = 1 << 20  # bytes that headers and directories may take


def write_arrays(path, header, parts):
    """Write a JSON header (with its `format`) and {part: {name: tensor}} as `.npz`, atomically."""
    arrays = dict(header=np.array(json.dumps({**header, SEALED: True})))
    arrays |= {
        f"{part}/{name}": tensor.detach().cpu().numpy()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        write_npz(file, arrays)


def read_arrays(path, wanted, *, error, what, remedy):
    """(header, {part: {name: CPU tensor}}) of a file that `write_arrays` wrote in the format `wanted`.

    Raises `error`, a ValueError, saying that the file is not `what` or damaged, and the remedy; OSError when it cannot
    be read.
    """
    header, parts = read_header(path, wanted, error=error, what=what, remedy=remedy), {}
    with made_here(error, remedy), open_arrays(path, error=error) as file:
        if file.size > 2 * os.path.getsize(path) + SLACK:
            raise error(f"{path}: damaged, its arrays are packed, which `write_arrays` does not do")
        surplus = [name for name in file.shapes if "/" not in name and name not in ("header", ENTRY)]
        if surplus:
            raise error(f"{path}: damaged (it has an entry {quoted(surplus[0])})")
        arrays = {name: file.read(name) for name in file.shapes}
        for key, array in check_npz(arrays, required=header.pop(SEALED, False) is True).items():
            part, slash, name = key.partition("/")
            if slash:
                parts.setdefault(part, {})[name] = torch.from_numpy(array).clone()  # in torch's own memory
    return header, parts


@contextlib.contextmanager
def made_here(error, remedy):
    """While this lasts, an `error` of a reader ends in the remedy for a file that one of the commands wrote."""
    try:
        yield
    except error as problem:
        raise error(f"{without_advice(str(problem))}; {remedy}") from None


def read_header(path, wanted, *, error, what, remedy):
    """The header alone, as `read_arrays` gives it."""
    check_regular(path)
    try:
        with open_arrays(path, error=error) as archive:
            header = parse_json(archive.text("header", MAX_JSON))
            found = header["format"]
    except OSError:
        raise
    except Exception as problem:  # numpy and zipfile raise many kinds on damaged archives
        text = without_advice(reason(problem).removeprefix(f"{path}: "))
        raise error(f"{path}: not {what}, or damaged ({text}); {remedy}") from None
    if found != wanted:
        raise error(f"{path}: a file of the format {quoted(found)}, not {wanted!r}")
    return header
