"""Read the files of torch.save without running anything from them.

torch's own reader for untrusted files does the work; it knows tensors and plain containers. The few other names that
training scripts leave in their files are given to it as stand-ins that only collect data, and whatever else the caller
of this process has declared safe does not count here.
"""

import contextlib
import mmap
import pickle
import re
import threading
import warnings
import zipfile

import torch

from dnnlib_compat.archives import open_archive, read_entry
from dnnlib_compat.budgets import MAX_PICKLE, MAX_REPEATED
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, names, reason, shown, what
from dnnlib_compat.formats import LEGACY_CHECKPOINT
from dnnlib_compat.pickle_records import LEGACY_PICKLES, DTypeRecord
from dnnlib_compat.pickle_scan import scan
from dnnlib_compat.torch_archives import check_checkpoint, content_entry
from dnnlib_compat.unpickle import ALLOWED

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
    a tensor's bytes is noticed in archives, which have checksums.
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
        raise error if names(error, path) else NetworkFileError(f"{path}: {error}") from None
    except RecursionError:
        raise NetworkFileError(f"{path}: nested too deeply for a checkpoint") from None
    except OSError:
        raise
    except Exception as error:
        raise NetworkFileError(f"{path}: {DAMAGED} ({what(error)})") from None


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
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise NetworkFileError(DAMAGED) from None
    inside = {entry.filename.partition("/")[2] for entry in entries}
    if "data.pkl" not in inside:
        raise NetworkFileError("an archive of another kind, not a checkpoint of torch.save")
    if "constants.pkl" in inside:
        raise NetworkFileError("a TorchScript program, not a checkpoint of torch.save")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise NetworkFileError(
            "a checkpoint that was compressed afterwards; unpack it and store it without compression"
        )
    return True


def mentions(path, words):
    """Whether an archive's pickle has any of these words in it. Raises NetworkFileError when it is damaged."""
    with open_archive(path, ignore_case=True) as archive:
        content = read_entry(path, archive, content_entry(archive), MAX_PICKLE)
    return any(word.encode() in content for word in words)


def check_stream(path):
    """`scan` of the pickles that a file of the older format begins with. Raises NetworkFileError."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = 0
        for _ in range(LEGACY_PICKLES):
            place = scan(data, place)


def _load(path, mapped):
    """What torch's reader makes of the file."""
    try:
        (check_checkpoint if is_archive(path) else check_stream)(path)
    except (NetworkFileError, OSError):
        raise
    except RecursionError:
        raise
    except Exception as error:
        raise NetworkFileError(f"{DAMAGED} ({what(error)})") from None
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
            return UnsafePickleError(f"it asks for {shown(name[1])}, which is not on the list of safe names")
        if re.search(r"call reduce for|Can only (create|build)|must be imported|persistent_load", text):
            return UnsafePickleError("it asks for a kind of object that no checkpoint needs")
        return NetworkFileError(f"{DAMAGED}; or it was saved with another pickle protocol than torch.save's own")
    return NetworkFileError(f"{DAMAGED} ({shown(reason(error), 100)})")


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
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > max(stored, MAX_REPEATED):
        raise NetworkFileError(
            f"holds a tensor of {tensor.numel()} entries that repeats a storage of {stored}; damaged"
        )
    return torch.Tensor.detach(tensor)


# Names under which training scripts keep a generator's state dict, the averaged one first.
STATE_KEYS = ("G_ema", "g_ema", "ema", "netG_ema", "netG", "netG_state_dict", "generator", "G", "state_dict")
STATE_KEYS += ("model_state_dict", "model")
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


def state_dict_of(content):
    """The state dict in the content of a checkpoint: the content itself, or what stands under one of STATE_KEYS.

    Wrappers' prefixes that all names have are cut off, in whatever order they stand there.
    """
    state = content
    for _ in range(2):  # some keep {"model": {"state_dict": …}}
        key = next((key for key in STATE_KEYS if isinstance(state.get(key), dict)), None)
        if key is None:
            break
        state = state[key]
    return state if state is content and not is_wrapped(state) else without_wrappers(state)


def is_wrapped(state):
    return bool(state) and any(all(isinstance(k, str) and k.startswith(w) for k in state) for w in WRAPPERS)


def without_wrappers(state):
    """A state dict whose names have no wrapper's prefix that all of them share."""
    while is_wrapped(state):
        wrapper = next(w for w in WRAPPERS if next(iter(state)).startswith(w))
        state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return state
