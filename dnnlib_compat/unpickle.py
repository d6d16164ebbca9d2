"""Read official network pickles without running anything from them.

A pickle is a small program: it names functions and calls them. Here every name is looked up in a fixed table, and each
entry of that table only collects data. What comes out is a tree of plain containers, numbers and the record types
below; tensors stay encoded until somebody asks for them, so the networks of a file that are not needed cost nothing.

Everything handed to the unpickler is an immutable type or an instance without attributes, so that a hostile file cannot
alter it either. Classes of other packages that a file names beside what is asked for (a discriminator of a fork, say)
become inert records; `refuse_inert` refuses what is asked for where one is a part of it.
"""

import io
import math
import mmap
import os
import pickle
import sys

import numpy as np
import torch

from dnnlib_compat.budgets import MAX_MODULE_DEPTH, MAX_MODULES, MAX_NAMES, MAX_REPEATED
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, quoted, reason, shown, what
from dnnlib_compat.pickle_scan import CHANGED, line_ends_changed, scan


class _Sealed(type):
    """A class that nothing can be assigned to, so that it may be handed to a pickle as it is."""

    def __setattr__(cls, name, value):
        raise AttributeError(f"{cls.__name__} cannot be changed")


class PlainDict(dict, metaclass=_Sealed):
    """Stands for the dictionaries with attributes that networks use; the attributes are dropped."""

    __slots__ = ()

    def __setstate__(self, state):
        pass


class ModuleRecord:
    """A pickled network module: its class name and attributes."""

    __slots__ = ("class_name", "state")

    def group(self, name):
        """The dictionary `name` (_modules, _parameters, _buffers) of the module; empty where there is none."""
        found = self.state.get(name) or {}
        if not isinstance(found, dict):
            raise NetworkFileError(f"damaged, the {name} of its {shown(self.class_name)} are a {type(found).__name__}")
        return found

    def children(self):
        """Nested module records by name."""
        return {name: child for name, child in self.group("_modules").items() if isinstance(child, ModuleRecord)}

    def walk(self):
        """Yield (prefix of the names of its tensors, module) for this module and everything below it.

        Raises NetworkFileError where that has no end, or none in sight: shared children count once for every path.
        """
        waiting, count = [("", self, 0)], 0
        while waiting:
            prefix, module, depth = waiting.pop()
            count += 1
            if depth > MAX_MODULE_DEPTH or count > MAX_MODULES:
                raise NetworkFileError("damaged, its modules contain each other without end")
            yield prefix, module
            children = [(f"{prefix}{name}.", child, depth + 1) for name, child in module.children().items()]
            waiting.extend(reversed(children))

    def class_names(self):
        """The set of class names of this module and everything below it."""
        return {module.class_name for _, module in self.walk()}

    def tensors(self):
        """{official parameter or buffer name: TensorRecord} of this module and everything below it."""
        return {
            f"{prefix}{name}": value
            for prefix, module in self.walk()
            for group in ("_parameters", "_buffers")
            for name, value in module.group(group).items()
            if isinstance(value, TensorRecord)
        }


class PersistentRecord(ModuleRecord):
    """A module of the ecosystem, which carries the source of its class."""

    __slots__ = ("source",)

    def __init__(self, meta):
        if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a persistent object without class and state")
        if not isinstance(meta.get("class_name"), str):
            raise pickle.UnpicklingError("a persistent object without the name of its class")
        self.class_name = meta["class_name"]
        self.source = meta.get("module_src")
        self.state = meta["state"]


class TorchModuleRecord(ModuleRecord):
    """A module of torch itself (Linear, Sequential, …) inside an ecosystem's module; which one matters to nobody."""

    __slots__ = ()

    def __new__(cls):
        record = super().__new__(cls)
        record.class_name, record.state = "torch.nn module", {}
        return record

    def __setstate__(self, state):
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a torch module without attributes")
        self.state = state


class TFNetworkRecord(metaclass=_Sealed):
    """A pickled network of NVIDIA's TensorFlow (or still older Theano) code: the state that its class recorded."""

    __slots__ = ("state",)

    def __new__(cls):
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state):
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a TensorFlow network without a state")
        self.state = state


class InertRecord(metaclass=_Sealed):
    """Stands for an object of a class that is not known here: takes whatever a pickle does to it, and keeps nothing.

    Subclasses have the `asked_for` name.
    """

    __slots__ = ()
    asked_for = "a class"

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass

    def __call__(self, *args, **kwargs):
        return self

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass

    def add(self, value):
        pass


class StorageRecord:
    """The bytes of one tensor storage: itself a small pickle, still encoded."""

    __slots__ = ("data",)

    def __init__(self, data):
        if not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("a tensor storage that is not a byte string")
        self.data = data

    def load(self):
        """(untyped storage on the CPU, dtype)."""
        place = 0
        for _ in range(LEGACY_PICKLES):
            place = scan(self.data, place)
        storage = torch.load(io.BytesIO(self.data), map_location="cpu", weights_only=True)
        # The typed storage warns about itself whatever one asks.
        return storage._untyped_storage, storage.dtype


LEGACY_PICKLES = 5  # of a stream of torch.save: mark, version, system, content, keys of the storages


class TensorRecord:
    """A tensor of a pickle: encoded storage and geometry. `storage.load()` gives its bytes and type."""

    __slots__ = ("storage", "offset", "size", "stride")

    def __init__(self, storage, offset, size, stride):
        if not callable(getattr(storage, "load", None)):
            raise pickle.UnpicklingError("a tensor without a storage")
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)
        if not all(type(n) is int for n in (offset, *self.size, *self.stride)) or len(self.size) != len(self.stride):
            raise pickle.UnpicklingError("a tensor whose size is not of whole numbers")

    def decode(self):
        """The tensor, on the CPU wherever it was saved. Raises NetworkFileError when the payload is damaged."""
        try:
            data, dtype = self.storage.load()
            tensor = torch.empty(0, dtype=dtype)
            check_geometry(self.offset, self.size, self.stride, data.nbytes() // tensor.element_size())
            tensor.set_(data, self.offset, self.size, self.stride)
        except Exception as error:  # torch.load raises many kinds on damaged payloads; none has run code
            raise NetworkFileError(f"a tensor of the file cannot be decoded ({what(error)})") from error
        return tensor.clone()


def check_geometry(offset, size, stride, available):
    """Raise NetworkFileError unless a tensor lies inside its storage of `available` entries.

    torch would grow the storage with whatever is there, and a tensor that repeats its storage can be of any size.
    """
    if min(offset, *stride, *size, 0) < 0:
        raise NetworkFileError("a size, stride or offset is negative")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if min(size, default=1) > 0 and last >= available:
        raise NetworkFileError("it lies outside its storage")
    if math.prod(size) > max(available, MAX_REPEATED):
        raise NetworkFileError(f"it repeats a storage of {available} entries {math.prod(size):.2g} times over")


class DTypeRecord:
    """A pickled NumPy dtype. Only plain numbers and byte strings are readable."""

    __slots__ = ("spec", "byteorder")

    def __init__(self, spec, *flags):
        self.spec, self.byteorder = spec, "="

    def __setstate__(self, state):
        self.byteorder = state[1]

    def dtype(self):
        dtype = np.dtype(shown(self.spec))
        if dtype.kind not in "biufcSU":
            raise pickle.UnpicklingError(f"NumPy data of kind {dtype.kind!r}")
        return dtype.newbyteorder("=" if self.byteorder == "|" else self.byteorder)


class ArrayRecord:
    """A pickled NumPy array, still encoded."""

    __slots__ = ("state",)

    def __setstate__(self, state):
        self.state = state

    def decode(self):
        """The array. Raises NetworkFileError when its parts do not fit together."""
        try:
            _, shape, dtype, fortran, data, *axes = self.state
            array = np.frombuffer(_byte_string(data), dtype.dtype()).reshape(shape, order="F" if fortran else "C")
            return (array.transpose(axes[0]) if axes else array).copy()
        except Exception as error:
            raise NetworkFileError(f"an array of the file cannot be decoded ({what(error)})") from error


class _Call:
    """Stands for a function named in a pickle. Has no attributes that a pickle could set."""

    __slots__ = ()


def _call(function):
    """An instance that calls `function`, and can do nothing else."""
    return type("Call", (_Call,), {"__slots__": (), "__call__": staticmethod(function)})()


def _byte_string(data):
    """Byte strings of Python 2, which wrote the oldest of these files, arrive as text."""
    return data.encode("latin1") if isinstance(data, str) else data


def _numpy_scalar(dtype, data):
    return np.frombuffer(_byte_string(data), dtype.dtype(), count=1)[0].item()


def _buffer_array(data, dtype, shape, order, axes=None):
    """An array as protocol 5 stores it: its bytes in line, in the order C, F or, transposed by `axes`, K."""
    record = ArrayRecord()
    record.state = (1, shape, dtype, order == "F", data, *([axes] if order == "K" and axes is not None else []))
    return record


def _reconstructor(cls, base, state):
    """An object of the oldest protocols, before it gets its state."""
    if not isinstance(cls, type) or not issubclass(cls, (TorchModuleRecord, TFNetworkRecord, InertRecord, PlainDict)):
        raise pickle.UnpicklingError("an object of a class that is none of a network")
    return cls.__new__(cls)


def _text(text, encoding="latin1"):
    if not isinstance(text, str):
        raise pickle.UnpicklingError("a byte string that is none")
    return text.encode("latin1")


_PERSISTENT = _call(lambda meta: PersistentRecord(meta))
_TENSOR = _call(lambda storage, offset, size, stride, *rest: TensorRecord(storage, offset, size, stride))
_PARAMETER = _call(lambda data, *rest: data)
_STORAGE = _call(lambda data: StorageRecord(data))
_DTYPE = _call(DTypeRecord)
_SCALAR = _call(_numpy_scalar)
_ARRAY = _call(lambda *args: ArrayRecord())
_ARRAY_TYPE = object()  # numpy.ndarray is named in pickles as an argument only
_BUFFER_ARRAY = _call(_buffer_array)
_BYTES = _call(_text)
_SIZE = _call(lambda size: tuple(size))
_RECONSTRUCTOR = _call(_reconstructor)
_OBJECT = object()  # builtins.object is named as an argument only

ALLOWED = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _PERSISTENT,
    ("dnnlib.tflib.network", "Network"): TFNetworkRecord,
    ("tfutil", "Network"): TFNetworkRecord,
    ("network", "Network"): TFNetworkRecord,
    ("dnnlib.util", "EasyDict"): PlainDict,
    ("dnnlib", "EasyDict"): PlainDict,
    ("collections", "OrderedDict"): PlainDict,
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "frozenset"): frozenset,
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


class RestrictedUnpickler(pickle.Unpickler):
    """Looks up every name in the table `allowed`; others are refused or become inert records."""

    allowed = ALLOWED

    def __init__(self, file, **options):
        super().__init__(file, **options)
        self.inert = {}  # one class a name

    def find_class(self, module, name):
        if module in OTHER_FORMATS:
            raise NetworkFileError(OTHER_FORMATS[module])
        module = PYTHON_2.get(module, module)
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        if module.startswith("torch.nn.modules."):
            return TorchModuleRecord
        if not f"{module}.{name}".isprintable():
            raise pickle.UnpicklingError(f"it asks for a name that cannot be, {quoted(f'{module}.{name}')}")
        if module in KNOWN or module.partition(".")[0] in REFUSED and (module, name) not in INERT:
            raise UnsafePickleError(asks_for(f"{module}.{name}"))
        if len(self.inert) > MAX_NAMES:
            raise NetworkFileError(f"names more than {MAX_NAMES} functions and classes, far more than a network")
        if (module, name) not in self.inert:
            namespace = {"__slots__": (), "asked_for": f"{module}.{name}"}
            self.inert[module, name] = _Sealed("Inert", (InertRecord,), namespace)
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
