"""What the parts of official pickles become: records that only hold data, and decode it when somebody asks.

Each class may be handed to an unpickler as it is: nothing can be assigned to it, and its objects have no attributes of
a file's choosing.
"""

import io
import math
import pickle

import numpy as np
import torch

from dnnlib_compat.budgets import MAX_MODULE_DEPTH, MAX_MODULES, MAX_REPEATED, MAX_TUPLE_KEYS
from dnnlib_compat.errors import NetworkFileError, shown, what
from dnnlib_compat.pickle_scan import scan


class Sealed(type):
    """A class that nothing can be assigned to, so that it may be handed to a pickle as it is."""

    def __setattr__(cls, name, value):
        raise AttributeError(f"{cls.__name__} cannot be changed")


class PlainDict(dict, metaclass=Sealed):
    """Stands for the dictionaries with attributes that networks use; the attributes are dropped."""

    __slots__ = ()

    def __init__(self, items=()):
        pairs = list(items.items() if isinstance(items, dict) else items)
        check_keys([pair[0] for pair in pairs])  # before they are hashed
        super().__init__(pairs)

    def __setstate__(self, state):
        pass


def check_keys(keys):
    """Raise UnpicklingError for more tuples among the keys of a dictionary or the items of a set than networks have."""
    if sum(isinstance(key, tuple) for key in keys) > MAX_TUPLE_KEYS:
        raise pickle.UnpicklingError("a dictionary or set of thousands of tuples")


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


class TFNetworkRecord(metaclass=Sealed):
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


class InertRecord(metaclass=Sealed):
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
            whole = tensor.is_contiguous() and tensor.numel() * tensor.element_size() == data.nbytes()
        except Exception as error:  # torch.load raises many kinds on damaged payloads; none has run code
            raise NetworkFileError(f"a tensor of the file cannot be decoded ({what(error)})") from error
        return tensor if whole else tensor.clone()  # each call has a storage of its own; of a part, the rest may go


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
            array = np.frombuffer(byte_string(data), dtype.dtype()).reshape(shape, order="F" if fortran else "C")
            return (array.transpose(axes[0]) if axes else array).copy()
        except Exception as error:
            raise NetworkFileError(f"an array of the file cannot be decoded ({what(error)})") from error


def byte_string(data):
    """Byte strings of Python 2, which wrote the oldest of these files, arrive as text."""
    return data.encode("latin1") if isinstance(data, str) else data
