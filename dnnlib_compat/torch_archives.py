"""The zip archives of torch.save and of TorchScript, read without torch: which storages they name, and their tensors.

torch's own reader takes a storage's size from the pickle and does not compare it with the bytes that are there, and its
TorchScript reader runs the code inside. Here an archive is a pickle and byte strings, and nothing else.
"""

import io
import math
import pickle

import torch

from dnnlib_compat.archives import open_archive, read_entry, verify
from dnnlib_compat.budgets import MAX_MODULE_DEPTH, MAX_MODULES, MAX_PICKLE, MAX_SCRIPT_BYTES, MORE
from dnnlib_compat.errors import NetworkFileError, quoted, reading, shown
from dnnlib_compat.pickle_records import InertRecord, PlainDict, Sealed, TensorRecord
from dnnlib_compat.pickle_scan import scan
from dnnlib_compat.unpickle import ALLOWED, RestrictedUnpickler, call

CONTENT, CODE = "data.pkl", "/code/"
# {name of a class of storages: name of torch's dtype}
STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in dict(
        Double="float64",
        Float="float32",
        Half="float16",
        BFloat16="bfloat16",
        Long="int64",
        Int="int32",
        Short="int16",
        Char="int8",
        Byte="uint8",
        Bool="bool",
        ComplexDouble="complex128",
        ComplexFloat="complex64",
        Untyped="uint8",
    ).items()
}


class StorageType:
    """Stands for a class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype

    def __setstate__(self, state):
        raise pickle.UnpicklingError("a storage type with a state")


class ArchiveStorage:
    """A storage that lies in an archive as an entry of its own."""

    __slots__ = ("read", "dtype", "nbytes")

    def __init__(self, read, dtype, nbytes):
        self.read, self.dtype, self.nbytes = read, dtype, nbytes

    def load(self):
        """(untyped storage on the CPU, dtype)."""
        data = self.read()
        if not data:
            return torch.UntypedStorage(0), self.dtype
        return torch.frombuffer(bytearray(data), dtype=torch.uint8).untyped_storage(), self.dtype


class ScriptRecord(metaclass=Sealed):
    """A module of a TorchScript program: its attributes, which are tensors, modules and settings alike."""

    __slots__ = ("state",)

    def __new__(cls, *args):
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}  # what a module's own code would make of other states

    def tensors(self):
        """{dotted name: TensorRecord} of this module and everything below it."""
        found, waiting, count = {}, [("", self, 0)], 0
        while waiting:
            prefix, module, depth = waiting.pop()
            count += 1
            if depth > MAX_MODULE_DEPTH or count > MAX_MODULES:
                raise NetworkFileError("damaged, its modules contain each other without end")
            for name, value in module.state.items():
                if isinstance(value, ScriptRecord):
                    waiting.append((f"{prefix}{name}.", value, depth + 1))
                elif isinstance(value, TensorRecord):
                    found[f"{prefix}{name}"] = value
        return found


_SAME = call(lambda value, *rest: value)


class ArchiveUnpickler(RestrictedUnpickler):
    """Reads the pickle of an archive. `storage(key, dtype, count)` gives what stands for a storage."""

    allowed = {key: ALLOWED[key] for key in ALLOWED if key[0] in ("torch._utils", "torch", "builtins", "_codecs")}
    allowed |= {("collections", "OrderedDict"): PlainDict}

    def __init__(self, file, storage):
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(getattr(torch, STORAGES[name]))
        if module == "__torch__" or module.startswith("__torch__."):
            return ScriptRecord
        if module == "torch.jit._pickle":
            return _SAME
        return super().find_class(module, name)

    def persistent_load(self, pid):
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to something else than a storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, StorageType) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return self.storage(key, kind.dtype, count)


class StorageCollector(ArchiveUnpickler):
    """Reads a pickle for the sake of its storages alone: every name is inert."""

    allowed = {("torch._utils", "_rebuild_tensor_v2"): InertRecord}

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(getattr(torch, STORAGES[name]))
        return InertRecord


def content_entry(archive):
    """The name of the pickle in an archive. Raises NetworkFileError where there is none."""
    for name in archive.namelist():
        if name.partition("/")[2] == CONTENT:
            return name
    raise NetworkFileError("an archive of another kind, not one of torch")


def check_checkpoint(path):
    """Raise NetworkFileError unless an archive of torch.save is whole: its names, every checksum, its pickle within
    the budgets, and every storage as long as the pickle says."""
    with reading(path), open_archive(path, ignore_case=True) as archive:
        verify(path, archive)
        entry = content_entry(archive)
        data = read_entry(path, archive, entry, MAX_PICKLE)
        scan(data)
        StorageCollector(io.BytesIO(data), storage_of(path, archive, entry)).load()


def storage_of(path, archive, entry):
    """storage(key, dtype, count) for an unpickler; raises NetworkFileError for one that is not as long as it should."""
    folder = entry.removesuffix(CONTENT)

    def storage(key, dtype, count):
        name = f"{folder}data/{key}"
        found = archive.NameToInfo.get(name)
        size = count * torch.empty(0, dtype=dtype).element_size()
        if found is None or found.file_size < size:
            has = "is not there" if found is None else f"has {found.file_size} bytes instead of {size}"
            raise NetworkFileError(f"truncated or damaged, its storage {quoted(key)} {has}; download it again")
        return ArchiveStorage(lambda: read_entry(path, archive, name, size), dtype, size)

    return storage


def read_torchscript_tensors(path):
    """{dotted name: tensor} of a TorchScript file, without its code: nothing of it runs, and nothing else is read.

    Raises NetworkFileError when the file is damaged or holds no modules.
    """
    with reading(path), open_archive(path, ignore_case=True) as archive:
        entry = content_entry(archive)
        order = entry.removesuffix(CONTENT) + "byteorder"
        if order in archive.namelist() and read_entry(path, archive, order, 100).strip() != b"little":
            raise NetworkFileError(
                f"{path}: written on a machine with another order of bytes; save it anew on this one"
            )
        data = read_entry(path, archive, entry, MAX_PICKLE)
        scan(data)
        content = ArchiveUnpickler(io.BytesIO(data), storage_of(path, archive, entry)).load()
        if not isinstance(content, ScriptRecord):
            raise NetworkFileError(f"{path}: holds a {type(content).__name__}, not the module of a TorchScript program")
        records = content.tensors()
        # Every tensor is decoded on its own, also those that share a storage or repeat it.
        sizes = [(math.prod(each.size) * each.storage.dtype.itemsize, each.storage.nbytes) for each in records.values()]
        if sum(max(size) for size in sizes) > MAX_SCRIPT_BYTES:
            raise NetworkFileError(f"{path}: its tensors take more than {MAX_SCRIPT_BYTES} bytes; {MORE}")
        return {shown(name): record.decode() for name, record in records.items()}
