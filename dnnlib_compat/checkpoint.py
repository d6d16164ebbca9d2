"""Read the files of torch.save without running anything from them.

torch's own reader for untrusted files does the work; it knows tensors and plain containers. The few other names that
training scripts leave in their files are given to it as stand-ins that only collect data, and whatever else the caller
of this process has declared safe does not count here.
"""

import contextlib
import pickle
import re
import threading
import warnings
import zipfile

import torch

from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, reason
from dnnlib_compat.formats import LEGACY_CHECKPOINT
from dnnlib_compat.unpickle import ALLOWED, DTypeRecord

# Entries that only training needs.
TRAINING_STATE = ("optimizer", "optim", "g_optim", "d_optim", "scheduler", "grad_scalar")

ATOMS = (type(None), bool, int, float, complex, str, bytes)
DAMAGED = "a truncated or damaged checkpoint, download it again"


class NamespaceRecord:
    """Stands for argparse.Namespace: holds the attributes as a dictionary, and has none of its own to overwrite."""

    __slots__ = ("content",)
    __hash__ = None  # no key of a dictionary, because it will be converted to one

    def __new__(cls):
        record = super().__new__(cls)
        record.content = {}
        return record

    def __setstate__(self, state):
        if type(state) is not dict:
            raise pickle.UnpicklingError("a namespace without attributes")
        self.content = state


STAND_INS = [
    (NamespaceRecord, "argparse.Namespace"),
    (DTypeRecord, "numpy.dtype"),
    *((ALLOWED[module, name], f"{module}.{name}") for module, name in ALLOWED if name == "scalar"),
]

_lock = threading.Lock()  # torch's list of safe names belongs to the process


def read_checkpoint(path, *, skip=TRAINING_STATE):
    """The content of a torch.save file as plain dictionaries, lists, tuples, sets, numbers, strings and CPU tensors.

    Both formats are read, the zip archives and the older plain stream. Nothing from the file is executed. Namespaces of
    argparse become dictionaries, NumPy scalars numbers, torch's dtypes and devices strings. Entries of the outermost
    dictionary whose name is in `skip` are left out.

    An archive with entries to skip is mapped into memory copy-on-write: bytes that nobody reads are never loaded, and
    tensors that are kept want a copy, for the file must not change while they are in use. Other files are read, so
    that each tensor's memory can go when it is done with; of the older format in full, skipped entries included, which
    are freed before this returns.

    Raises UnsafePickleError when the file asks for anything that is not on the list of safe names, NetworkFileError
    when it is truncated, damaged, no checkpoint, or holds no dictionary; OSError when it cannot be read. Damage inside
    a tensor's bytes goes unnoticed.
    """
    try:
        content = _load(path, mapped=is_archive(path) and mentions(path, skip))
        if not isinstance(content, dict):
            raise NetworkFileError(f"holds a {type(content).__name__}, not the dictionary of a checkpoint")
        convert = _Plain()
        return {convert(name): convert(value) for name, value in dict.items(content) if name not in skip}
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: refused, nothing from it has run: {error}") from None
    except NetworkFileError as error:
        raise NetworkFileError(f"{path}: {error}") from None
    except RecursionError:
        raise NetworkFileError(f"{path}: nested too deeply for a checkpoint") from None


def is_archive(path):
    """Whether a torch.save file is a zip archive rather than a plain stream. Raises NetworkFileError for others."""
    with open(path, "rb") as file:
        head = file.read(len(LEGACY_CHECKPOINT))
    if not head:
        raise NetworkFileError("the file is empty, download it again")
    if head == LEGACY_CHECKPOINT:
        return False
    if not head.startswith(b"PK\x03\x04"):
        raise NetworkFileError(f"not a checkpoint of torch.save (it starts with {head[:8]!r})")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        raise NetworkFileError(DAMAGED) from None
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "data.pkl" not in names:
        raise NetworkFileError("an archive of another kind, not a checkpoint of torch.save")
    if "constants.pkl" in names:
        raise NetworkFileError("a TorchScript program, not a checkpoint of torch.save")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise NetworkFileError(
            "a checkpoint that was compressed afterwards; unpack it and store it without compression"
        )
    return True


def mentions(path, words):
    """Whether an archive's pickle has any of these words in it. Raises NetworkFileError when it is damaged."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
        try:
            content = archive.read(name)
        except (zipfile.BadZipFile, EOFError, ValueError):
            raise NetworkFileError(DAMAGED) from None
    return any(word.encode() in content for word in words)


def _load(path, mapped):
    """What torch's reader makes of the file."""
    with _lock, _only_safe_names(STAND_INS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about protocols and types that are checked below
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except OSError:
            raise
        except Exception as error:  # a damaged stream fails in many ways, all of them while collecting data
            raise _explained(error) from None


def _explained(error):
    """The exception for one that torch's reader raised, whose own advice is to read the file without protection."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        name = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", text)
        if name:
            return UnsafePickleError(f"it asks for {name[1]}, which is not on the list of safe names")
        if re.search(r"call reduce for|Can only (create|build)|must be imported|persistent_load", text):
            return UnsafePickleError("it asks for a kind of object that no checkpoint needs")
        return NetworkFileError(f"{DAMAGED}; or it was saved with another pickle protocol than torch.save's own")
    return NetworkFileError(f"{DAMAGED} ({reason(error)[:100]})")


@contextlib.contextmanager
def _only_safe_names(names):
    """Within, torch knows its own safe names and these, whatever was added to them before."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(names)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


class _Plain:
    """Converts what the reader collected to plain objects. An object that occurs twice is converted once."""

    def __init__(self):
        self.converted = {}

    def __call__(self, value):
        if type(value) in ATOMS:
            return value
        if id(value) not in self.converted:
            self.converted[id(value)] = self  # until it is known
            self.converted[id(value)] = self.convert(value)
        if self.converted[id(value)] is self:
            raise NetworkFileError("holds a container that contains itself")
        return self.converted[id(value)]

    def convert(self, value):
        kind = type(value)
        if issubclass(kind, dict):
            # The methods of the type: a file may give instances attributes of the same names.
            return {self(key): self(item) for key, item in dict.items(value)}
        if kind in (list, tuple, set):
            return kind(map(self, value))
        if kind is NamespaceRecord:
            return self(value.content)
        if kind in (torch.Tensor, torch.nn.Parameter):
            return plain_tensor(value)
        if kind is torch.Size:
            return tuple(value)
        if kind in (torch.dtype, torch.device):
            return str(value)
        raise NetworkFileError(f"holds a {kind.__name__}, which no checkpoint needs")


def plain_tensor(tensor):
    """The tensor without attributes, hooks or gradient. Raises NetworkFileError for other than dense CPU tensors."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise NetworkFileError("holds a tensor that is sparse, quantised or without data, which no network here has")
    return torch.Tensor.detach(tensor)


def state_dict_of(content):
    """The state dict in the content of a checkpoint: what stands under that name, or the content itself."""
    state = content.get("state_dict")
    return state if isinstance(state, dict) else content
