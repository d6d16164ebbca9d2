"""Read official network pickles without running anything from them.

A pickle is a small program: it names functions and calls them. Here every name is looked up in a fixed table, and each
entry of that table only collects data. What comes out is a tree of plain containers, numbers and the types of
`pickle_records`; tensors stay encoded until somebody asks for them, so that networks that are not needed cost nothing.

Everything handed to the unpickler is an immutable type or an instance without attributes, so that a hostile file cannot
alter it either. Classes of other packages that a file names beside what is asked for (a discriminator of a fork, say)
become inert records; `refuse_inert` refuses what is asked for where one is a part of it.
"""

import mmap
import os
import pickle
import sys

import numpy as np

from dnnlib_compat.budgets import MAX_MADE, MAX_NAMES, MORE
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, quoted, reason, shown, what
from dnnlib_compat.pickle_records import (
    ArrayRecord,
    DTypeRecord,
    InertRecord,
    ModuleRecord,
    PersistentRecord,
    PlainDict,
    Sealed,
    StorageRecord,
    TensorRecord,
    TFNetworkRecord,
    TorchModuleRecord,
    byte_string,
    check_keys,
)
from dnnlib_compat.pickle_scan import CHANGED, line_ends_changed, scan


class Call:
    """Stands for a function named in a pickle. Has no attributes that a pickle could set."""

    __slots__ = ()


def call(function):
    """An instance that calls `function`, and can do nothing else."""
    return type("Call", (Call,), {"__slots__": (), "__call__": staticmethod(function)})()


def _numpy_scalar(dtype, data):
    return np.frombuffer(byte_string(data), dtype.dtype(), count=1)[0].item()


def _buffer_array(data, dtype, shape, order, axes=None):
    """An array as protocol 5 stores it: its bytes in line, in the order C, F or, transposed by `axes`, K."""
    record = ArrayRecord()
    record.state = (1, shape, dtype, order == "F", data, *([axes] if order == "K" and axes is not None else []))
    return record


def _small(kind, items):
    if not isinstance(items, (list, tuple)):
        raise pickle.UnpicklingError("a set of something else than a list")
    check_keys(items)  # before they are hashed
    return kind(items)


def _reconstructor(cls, base, state):
    """An object of the oldest protocols, before it gets its state."""
    if not isinstance(cls, type) or not issubclass(cls, (TorchModuleRecord, TFNetworkRecord, InertRecord, PlainDict)):
        raise pickle.UnpicklingError("an object of a class that is none of a network")
    return cls.__new__(cls)


def _text(text, encoding="latin1"):
    if not isinstance(text, str):
        raise pickle.UnpicklingError("a byte string that is none")
    return text.encode("latin1")


_PERSISTENT = call(lambda meta: PersistentRecord(meta))
_TENSOR = call(lambda storage, offset, size, stride, *rest: TensorRecord(storage, offset, size, stride))
_PARAMETER = call(lambda data, *rest: data)
_STORAGE = call(lambda data: StorageRecord(data))
_DTYPE = call(DTypeRecord)
_SCALAR = call(_numpy_scalar)
_ARRAY = call(lambda *args: ArrayRecord())
_ARRAY_TYPE = object()  # numpy.ndarray is named in pickles as an argument only
_SET = call(lambda items=(): _small(set, items))
_FROZENSET = call(lambda items=(): _small(frozenset, items))
_BUFFER_ARRAY = call(_buffer_array)
_BYTES = call(_text)
_SIZE = call(lambda size: tuple(size))
_RECONSTRUCTOR = call(_reconstructor)
_OBJECT = object()  # builtins.object is named as an argument only

ALLOWED = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _PERSISTENT,
    ("dnnlib.tflib.network", "Network"): TFNetworkRecord,
    ("tfutil", "Network"): TFNetworkRecord,
    ("network", "Network"): TFNetworkRecord,
    ("dnnlib.util", "EasyDict"): PlainDict,
    ("dnnlib", "EasyDict"): PlainDict,
    ("collections", "OrderedDict"): PlainDict,
    ("builtins", "dict"): PlainDict,
    ("builtins", "set"): _SET,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "frozenset"): _FROZENSET,
    ("builtins", "object"): _OBJECT,
    ("builtins", "bytes"): _BYTES,
    ("copyreg", "_reconstructor"): _RECONSTRUCTOR,
    ("torch._utils", "_rebuild_tensor"): _TENSOR,
    ("torch._utils", "_rebuild_tensor_v2"): _TENSOR,
    ("torch._utils", "_rebuild_parameter"): _PARAMETER,
    ("torch.storage", "_load_from_bytes"): _STORAGE,
    ("torch", "Size"): _SIZE,
    ("_codecs", "encode"): _BYTES,
    ("numpy", "dtype"): _DTYPE,
    ("numpy", "ndarray"): _ARRAY_TYPE,
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _ARRAY for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _BUFFER_ARRAY for core in ("core", "_core")},
}
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}

# Packages whose functions no network needs: those of Python itself, which act on the machine, and our own. A file that
# names one elsewhere than in the table above is refused as a whole; of others, what is not asked for stays inert.
REFUSED = sys.stdlib_module_names | {"dnnlib_compat", "latent_plugins", "cli"}
# Modules of which everything that a network needs is in the table.
KNOWN = ("torch_utils.persistence", "dnnlib.tflib.network", "tfutil", "network")
# What parts of networks use of Python itself, harmless as it becomes a record like the classes of other packages.
INERT = {("functools", "partial"), ("collections", "defaultdict"), ("collections", "Counter"), ("collections", "deque")}


# Files of other formats that a user may hold, told by the first name that they ask for.
OTHER_FORMATS = {
    "argparse": "a training checkpoint, not a network pickle",
}


# Entries that make something as large as what they are given: what they make is counted, file by file.
COUNTED = {("builtins", name) for name in ("list", "tuple", "set", "frozenset", "bytes")}
COUNTED |= {("_codecs", "encode"), ("torch", "Size")}


class Made:
    """How many items and bytes the calls of one file have made so far."""

    __slots__ = ("count",)

    def __init__(self):
        self.count = 0

    def counted(self, function):
        """A Call of `function` that adds what it is given. Raises NetworkFileError beyond the budget."""

        def checked(*args):
            self.count += sum(len(each) for each in args if hasattr(each, "__len__"))
            if self.count > MAX_MADE:
                raise NetworkFileError(f"makes more than {MAX_MADE} items and bytes of what it holds; {MORE}")
            return function(*args)

        return call(checked)


class RestrictedUnpickler(pickle.Unpickler):
    """Looks up every name in the table `allowed`; others are refused or become inert records."""

    allowed = ALLOWED

    def __init__(self, file, **options):
        super().__init__(file, **options)
        self.inert, self.counting, self.made = {}, {}, Made()  # one class, one call a name

    def find_class(self, module, name):
        if module in OTHER_FORMATS:
            raise NetworkFileError(OTHER_FORMATS[module])
        module = PYTHON_2.get(module, module)
        if (module, name) in COUNTED and (module, name) in self.allowed:
            if (module, name) not in self.counting:
                self.counting[module, name] = self.made.counted(self.allowed[module, name])
            return self.counting[module, name]
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        if module.startswith("torch.nn.modules."):
            return TorchModuleRecord
        if not f"{module}.{name}".isprintable():
            raise pickle.UnpicklingError(f"it asks for a name that cannot be, {quoted(f'{module}.{name}')}")
        if module in KNOWN or module.partition(".")[0] in REFUSED and (module, name) not in INERT:
            raise UnsafePickleError(asks_for(f"{module}.{name}"))
        if len(self.inert) > MAX_NAMES:
            raise NetworkFileError(
                f"names more than {MAX_NAMES} functions and classes, far more than a network; {MORE}"
            )
        if (module, name) not in self.inert:
            namespace = {"__slots__": (), "asked_for": f"{module}.{name}"}
            self.inert[module, name] = Sealed("Inert", (InertRecord,), namespace)
        return self.inert[module, name]

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it refers to data outside of itself")


def asks_for(name):
    return f"it asks for {shown(name)}, which is not on the list of safe names"


def refuse_inert(value, path):
    """Raise UnsafePickleError when a part of what was read is of a class that is not known here."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, InertRecord) or isinstance(each, type) and issubclass(each, InertRecord):
            raise UnsafePickleError(refusal(path, asks_for(each.asked_for)))
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            waiting.extend(dict.values(each))
        elif isinstance(each, (list, tuple, set, frozenset)):
            waiting.extend(each)
        elif isinstance(each, (ModuleRecord, TFNetworkRecord)):
            waiting.append(each.state)


def refusal(path, reason):
    return f"{path}: refused, nothing from it has run: {reason}; if you trust it: --allow-code"


def read_pickle(path):
    """The content of an official network pickle as containers, numbers and records.

    Raises UnsafePickleError when the file asks for anything that acts on the machine, NetworkFileError when it is
    truncated, beyond the budgets, or no pickle at all; OSError when it cannot be read. Nothing from the file is ever
    executed. Parts of unknown classes are `InertRecord`s: call `refuse_inert` with what is used of the content.
    """
    with open(path, "rb") as file:
        try:
            check_pickle(file)
            return RestrictedUnpickler(file, encoding="latin1").load()
        except Exception as error:  # a damaged opcode stream fails in many ways, all of them while collecting data
            raise explained(error, file, path) from None


def check_pickle(file):
    """`scan` of a file's pickle, which is mapped, not read. Raises NetworkFileError."""
    if os.fstat(file.fileno()).st_size == 0:
        raise NetworkFileError("the file is empty, download it again")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        scan(data)


def explained(error, file, path):
    """The exception, with one line that names the file, for one that was met while reading a pickle."""
    if isinstance(error, OSError):
        return error
    file.seek(0)
    if line_ends_changed(file.read(1 << 20)):
        return NetworkFileError(f"{path}: {CHANGED}")
    if isinstance(error, UnsafePickleError):
        return UnsafePickleError(refusal(path, reason(error)))
    if isinstance(error, NetworkFileError):
        return NetworkFileError(f"{path}: {error}")
    if isinstance(error, (EOFError, pickle.UnpicklingError)):
        detail = reason(error) if str(error) else "the data ends too early"
        return NetworkFileError(f"{path}: truncated or damaged, download it again ({detail})")
    return NetworkFileError(f"{path}: not a readable network pickle, or damaged ({what(error)})")
