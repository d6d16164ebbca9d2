"""Checksums of this project's own files: one flipped bit in a kept file is noticed when it is read.

One digest (BLAKE2b, 16 bytes) in three places. `.npz` files and safetensors hold it as an entry of their own, a JSON
file as a field, and a plain `.npy` file as a line behind its array. A line in the file itself was chosen over a file
beside it, and over one list of all shards: a shard and its digest become visible by the same rename, so that no kill
separates them, processes that share a build need no common file, and two builds still agree byte for byte. NumPy reads
such a file as before, since it takes what the header says and no more.

Files that were written before there were checksums have none, and are read as they were. Newer ones say in their header
or format number that they have one (SEALED), so that one that was lost is damage; caches without one are made anew.
"""

import hashlib
import io
import json
import os

import numpy as np
import torch

from dnnlib_compat.errors import check_regular

ENTRY = "checksum"  # of an `.npz`, the metadata of safetensors, a JSON object
MARK = b"\nlatent-plugins blake2b "
TRAILER = len(MARK) + 32 + 1
DIFFERS = "its checksum is not that of its content"
LOST = "its checksum is missing"
SEALED = "sealed"  # in a header of JSON: the file has a checksum


class ChecksumError(ValueError):
    """A file whose content is not what was written."""


def checksum(arrays, text=""):
    """Hexadecimal digest of {name: array or tensor}, in any order, and of a text: names, types, shapes and bytes."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        kind = str(array.dtype) if isinstance(array, torch.Tensor) else array.dtype.str
        found.update(f"\0{name}\0{kind}\0{list(array.shape)}\0".encode())
        if isinstance(array, torch.Tensor):  # of types that NumPy does not know, too
            array = array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found.hexdigest()


def check(recorded, arrays, text="", required=False):
    """Raise ChecksumError unless `recorded` is the `checksum` of the rest.

    None (an older file) passes, unless one is `required`.
    """
    if recorded is None and required:
        raise ChecksumError(LOST)
    if recorded is not None and recorded != checksum(arrays, text):
        raise ChecksumError(DIFFERS)


def write_npz(file, arrays, compress=False):
    """Write {name: array} and their checksum to an open binary file as `.npz`."""
    entries = {**arrays, ENTRY: np.array(checksum(arrays))}
    (np.savez_compressed if compress else np.savez)(file, **entries)


def check_npz(arrays, required=False):
    """{name: array} of a whole `.npz` without its checksum entry, which is compared. Raises ChecksumError.

    required: whether a file without one is refused too.
    """
    arrays = dict(arrays)
    recorded = arrays.pop(ENTRY, None)
    check(None if recorded is None else str(recorded), arrays, required=required)
    return arrays


def write_npy(file, array):
    """Write an array to an open binary file as `.npy`, with its digest on a line behind it."""
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    file.write(data.getbuffer())
    file.write(MARK + digest(data.getbuffer()) + b"\n")


def read_npy(path, required=False):
    """The array that `write_npy` wrote. required: whether a file without a digest is refused too.

    Raises ChecksumError where the bytes are others or there are more of them than belong to it, and what NumPy raises
    on files that are no arrays.
    """
    check_regular(path, ChecksumError)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - TRAILER))
        tail = file.read(TRAILER)
        sealed = len(tail) == TRAILER and tail.startswith(MARK)
        file.seek(0)
        if sealed or required:
            data = file.read(max(0, size - TRAILER))
            if not sealed or tail != MARK + digest(data) + b"\n":
                raise ChecksumError(DIFFERS)
            return np.load(io.BytesIO(data), allow_pickle=False)
        array = np.load(file, allow_pickle=False)
        if file.tell() != size:
            raise ChecksumError("it goes on behind its array")
        return array


def digest(data):
    """32 hexadecimal digits for bytes, as bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()


def sealed_json(fields):
    """A dict with the checksum of its other fields as its last one."""
    return {**fields, ENTRY: checksum({}, json.dumps(fields, sort_keys=True))}


def unsealed_json(fields, required=False):
    """The dict that `sealed_json` was given. Raises ChecksumError; without a checksum only where one is required."""
    fields = dict(fields)
    recorded = fields.pop(ENTRY, None)
    if recorded is None and not required:
        return fields
    if recorded != checksum({}, json.dumps(fields, sort_keys=True)):
        raise ChecksumError(DIFFERS)
    return fields
