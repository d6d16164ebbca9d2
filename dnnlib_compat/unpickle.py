"""Read official network pickles without running anything from them.

A pickle is a small program: it names functions and calls them. Here every name is looked up in a fixed table, and each
entry of that table only collects data. What comes out is a tree of plain containers, numbers and the record types
below; tensors stay encoded until somebody asks for them, so the networks of a file that are not needed cost nothing.

Everything handed to the unpickler is an immutable type or an instance without attributes, so that a hostile file cannot
alter it either.
"""

import collections
import io
import os
import pickle
import pickletools

import numpy as np
import torch

from dnnlib_compat.errors import NetworkFileError, UnsafePickleError, reason


class ModuleRecord:
    """A pickled network module: its class name and attributes."""

    __slots__ = ("class_name", "state")

    def children(self):
        """Nested module records by name."""
        modules = self.state.get("_modules") or {}
        return {name: child for name, child in modules.items() if isinstance(child, ModuleRecord)}

    def class_names(self):
        """The set of class names of this module and everything below it."""
        names = {self.class_name}
        for child in self.children().values():
            names |= child.class_names()
        return names

    def tensors(self):
        """{official parameter or buffer name: TensorRecord} of this module and everything below it."""
        found = {}
        for group in ("_parameters", "_buffers"):
            for name, value in (self.state.get(group) or {}).items():
                if isinstance(value, TensorRecord):
                    found[name] = value
        for name, child in self.children().items():
            found |= {f"{name}.{key}": value for key, value in child.tensors().items()}
        return found


class PersistentRecord(ModuleRecord):
    """A module of the ecosystem, which carries the source of its class."""

    __slots__ = ("source",)

    def __init__(self, meta):
        if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a persistent object without class and state")
        self.class_name = meta.get("class_name")
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


class _Sealed(type):
    """A class that nothing can be assigned to, so that it may be handed to a pickle as it is."""

    def __setattr__(cls, name, value):
        raise AttributeError(f"{cls.__name__} cannot be changed")


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


class StorageRecord:
    """The bytes of one tensor storage: itself a small pickle, still encoded."""

    __slots__ = ("data",)

    def __init__(self, data):
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("a tensor storage that is not a byte string")
        self.data = data


class TensorRecord:
    """A tensor of a pickle: encoded storage and geometry."""

    __slots__ = ("storage", "offset", "size", "stride")

    def __init__(self, storage, offset, size, stride):
        if not isinstance(storage, StorageRecord):
            raise pickle.UnpicklingError("a tensor without a storage")
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def decode(self):
        """The tensor, on the CPU wherever it was saved. Raises NetworkFileError when the payload is damaged."""
        try:
            storage = torch.load(io.BytesIO(self.storage.data), map_location="cpu", weights_only=True)
            data = storage._untyped_storage  # the typed one warns about itself whatever one asks
            tensor = torch.empty(0, dtype=storage.dtype)
            last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
            available = data.nbytes() // tensor.element_size()
            if min(self.offset, *self.stride, 0) < 0 or min(self.size, default=1) > 0 and last >= available:
                raise ValueError("it lies outside its storage")  # set_ would grow the storage with whatever is there
            tensor.set_(data, self.offset, self.size, self.stride)
        except Exception as error:  # torch.load raises many kinds on damaged payloads; none has run code
            raise NetworkFileError(f"a tensor of the file cannot be decoded ({type(error).__name__})") from error
        return tensor.clone()


class DTypeRecord:
    """A pickled NumPy dtype. Only plain numbers and byte strings are readable."""

    __slots__ = ("spec", "byteorder")

    def __init__(self, spec, *flags):
        self.spec, self.byteorder = spec, "="

    def __setstate__(self, state):
        self.byteorder = state[1]

    def dtype(self):
        dtype = np.dtype(str(self.spec))
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
            _, shape, dtype, fortran, data = self.state
            return np.frombuffer(_byte_string(data), dtype.dtype()).reshape(shape, order="F" if fortran else "C").copy()
        except Exception as error:
            raise NetworkFileError(f"an array of the file cannot be decoded ({type(error).__name__})") from error


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


_PERSISTENT = _call(lambda meta: PersistentRecord(meta))
_TENSOR = _call(lambda storage, offset, size, stride, *rest: TensorRecord(storage, offset, size, stride))
_PARAMETER = _call(lambda data, *rest: data)
_STORAGE = _call(lambda data: StorageRecord(data))
_DTYPE = _call(DTypeRecord)
_SCALAR = _call(_numpy_scalar)
_ARRAY = _call(lambda *args: ArrayRecord())
_ARRAY_TYPE = object()  # numpy.ndarray is named in pickles as an argument only
_BYTES = _call(lambda text, encoding: text.encode("latin1"))
_SIZE = _call(lambda size: tuple(size))

ALLOWED = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _PERSISTENT,
    ("dnnlib.tflib.network", "Network"): TFNetworkRecord,
    ("tfutil", "Network"): TFNetworkRecord,
    ("network", "Network"): TFNetworkRecord,
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
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
}


# Files of other formats that a user may hold, told by the first name that they ask for.
OTHER_FORMATS = {
    "argparse": "a training checkpoint, not a network pickle",
}


PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module in OTHER_FORMATS:
            raise NetworkFileError(OTHER_FORMATS[module])
        if module.startswith("torch.nn.modules."):
            return TorchModuleRecord
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise UnsafePickleError(f"it asks for {module}.{name}, which is not on the list of safe names") from None

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it refers to data outside of itself")


def check_memo(path):
    """Raise NetworkFileError for a pickle that asks for a memo larger than itself: Python would allocate all of it."""
    limit = os.path.getsize(path)
    with open(path, "rb") as file:
        try:
            largest = max(
                (int(argument) for opcode, argument, _ in pickletools.genops(file) if opcode.name in PUTS), default=0
            )
        except Exception:  # a damaged stream: reading it for good will say so
            return
    if largest > limit:
        raise NetworkFileError(f"{path}: damaged, download it again (it numbers an object {largest})")


def read_pickle(path):
    """The content of an official network pickle as containers, numbers and records.

    Raises UnsafePickleError when the file asks for anything outside the allow-list, NetworkFileError when it is
    truncated or no pickle at all; OSError when it cannot be read. Nothing from the file is ever executed.
    """
    check_memo(path)
    with open(path, "rb") as file:
        try:
            return _RestrictedUnpickler(file, encoding="latin1").load()
        except UnsafePickleError as error:
            raise UnsafePickleError(
                f"{path}: refused, nothing from it has run: {reason(error)}; if you trust it: --allow-code"
            ) from None
        except NetworkFileError as error:
            raise NetworkFileError(f"{path}: {error}") from None
        except (EOFError, pickle.UnpicklingError) as error:
            detail = reason(error) if str(error) else "the data ends too early"
            raise NetworkFileError(f"{path}: truncated or damaged, download it again ({detail})") from None
        except OSError:
            raise
        except Exception as error:  # a damaged opcode stream fails in many ways, all of them while collecting data
            detail = f"{type(error).__name__}: {reason(error)}"
            raise NetworkFileError(f"{path}: not a readable network pickle ({detail})") from None
