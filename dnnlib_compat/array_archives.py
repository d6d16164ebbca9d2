"""`.npz` files read with care: names, shapes and sizes are known before any array is unpacked."""

import contextlib
import io
import math
import os

import numpy as np

from dnnlib_compat.archives import open_archive, read_entry
from dnnlib_compat.budgets import MAX_ARRAY_HEADER
from dnnlib_compat.errors import NetworkFileError, quoted, reading

KINDS = "biufcSU"  # plain numbers and text; no objects, which would be pickles


class ArrayArchive:
    """An open `.npz`: `shapes` {name: (shape, dtype)} is read from the arrays' headers alone."""

    def __init__(self, path, archive, error):
        self.path, self._archive, self._error = path, archive, error
        self._entries = {name.removesuffix(".npy"): name for name in archive.namelist()}
        self.shapes = {name: self._header(entry) for name, entry in self._entries.items()}

    @property
    def size(self):
        """Bytes of all arrays, unpacked."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.shapes.values())

    def __contains__(self, name):
        return name in self.shapes

    def read(self, name):
        """An array, its checksum compared. Raises KeyError when there is none of this name."""
        shape, dtype = self.shapes[name]
        size = math.prod(shape) * dtype.itemsize
        if size > physical_memory():
            raise self._error(f"{self.path}: its array {quoted(name)} of {list(shape)} is larger than the memory here")
        data = read_entry(self.path, self._archive, self._entries[name], size + MAX_ARRAY_HEADER, error=self._error)
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)

    def text(self, name, limit):
        """The text in an array of one string, of at most `limit` characters."""
        shape, dtype = self.shapes[name]
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * limit:
            raise self._error(f"{self.path}: damaged, {quoted(name)} in it is no text")
        codes = np.atleast_1d(self.read(name)).astype(dtype.newbyteorder("=")).view(np.uint32)
        # NumPy makes strings of numbers that are no characters, which Python then cannot handle.
        if ((codes > 0x10FFFF) | (codes >> 11 == 0x1B)).any():
            raise self._error(f"{self.path}: damaged, {quoted(name)} in it is no text")
        return "".join(map(chr, codes)).rstrip("\0")

    def _header(self, entry):
        info = self._archive.getinfo(entry)
        with self._archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"{quoted(entry)} has a header of the version {version}")
            shape, _, dtype = read[version](stream)
            begin = stream.tell()
        if dtype.kind not in KINDS:
            raise ValueError(f"{quoted(entry)} holds objects or records, not plain numbers")
        if begin + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"{quoted(entry)} has {info.file_size} bytes, its header says {list(shape)} of {dtype}")
        return tuple(shape), dtype


def physical_memory():
    """Bytes of memory that this machine has; where it does not say, more than any array needs."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


@contextlib.contextmanager
def open_arrays(path, *, error=NetworkFileError):
    """The ArrayArchive of a `.npz` file. Whatever is wrong with it, here or within, is one `error` with the path."""
    with reading(path, error), open_archive(path, error=error) as archive:
        yield ArrayArchive(path, archive, error)
