"""What a network in a TensorFlow pickle recorded: its variables, and the keyword arguments of its function."""

import numpy as np

from dnnlib_compat.errors import NetworkFileError, quoted, shown
from dnnlib_compat.pickle_records import ArrayRecord, TFNetworkRecord

LARGEST = 1 << 16  # of any size: larger ones are damage
MORE_LAYERS = 256  # than any mapping network has

FORK_HINT = "a fork with changed source? This project reads the networks of the official releases"


def components(record):
    """{prefix of its variables' names: network} of a network itself and the networks that it is made of."""
    parts = record.state.get("components") or {}
    if not isinstance(parts, dict) or not all(isinstance(part, TFNetworkRecord) for part in parts.values()):
        raise TypeError("its components are no networks")
    return {"": record} | {f"{name}/": part for name, part in parts.items()}


def encoded_variables(record, path):
    """{name: array or number, not yet decoded} of a network and its components."""
    try:
        pairs = [(prefix, pair) for prefix, part in components(record).items() for pair in part.state["variables"]]
        found = {prefix + name: value for prefix, (name, value) in pairs}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NetworkFileError(f"{path}: its list of variables is damaged, download it again") from None
    return found


def decoded(value, name, path):
    """The float32 array of a variable. Raises NetworkFileError when it is anything else, or holds NaN."""
    name = printable(name)
    try:
        array = value.decode() if isinstance(value, ArrayRecord) else value
    except NetworkFileError as error:
        raise NetworkFileError(f"{path}: {name}: {error}; download the file again") from None
    if type(array) is not float and not (isinstance(array, np.ndarray) and array.dtype.kind == "f"):
        raise NetworkFileError(f"{path}: {name} is no array of floating-point numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise NetworkFileError(f"{path}: {name} holds NaN or infinity; the file is of a failed training run")
    return array


def variables(record, path):
    """{name: float32 array} of a network and its components, whose names become prefixes."""
    return {name: decoded(value, name, path) for name, value in encoded_variables(record, path).items()}


def printable(name):
    """A name from a file on one line of bounded length."""
    return shown(name, 60)


def level_of_detail(values, path):
    """How many of the last blocks a progressively grown network does not use yet: 0 when it is finished."""
    lod = values.get("lod", np.zeros(()))
    if lod.shape != ():
        raise NetworkFileError(f"{path}: lod is {list(lod.shape)} instead of a number")
    return float(lod)


class Arguments:
    """The recorded keyword arguments of a network's function, taken one by one.

    Whatever has no influence on images is taken with `ignore`; `finish` refuses by name what is left. Every method
    raises NetworkFileError for a value that cannot be.
    """

    def __init__(self, given, path):
        if not isinstance(given, dict):
            raise NetworkFileError(f"{path}: the arguments of its network are a {type(given).__name__}, not keywords")
        self.given, self.path = dict(given), path

    def take(self, name, default=None):
        value = self.given.pop(name, default)
        try:
            return value.decode().tolist() if isinstance(value, ArrayRecord) else value
        except NetworkFileError as error:
            raise NetworkFileError(f"{self.path}: {name}: {error}; download the file again") from None

    def expect(self, valid, name, value, right):
        if not valid:
            raise NetworkFileError(f"{self.path}: {name} is {quoted(value, 60)}, not {right}")
        return value

    def size(self, name, default, least=1):
        value = self.take(name)
        value = default if value is None else value
        valid = type(value) in (int, float) and least <= value <= LARGEST and value == int(value)
        return int(self.expect(valid, name, value, "a size"))

    def number(self, name, default):
        value = self.take(name, default)
        valid = type(value) in (int, float) and 0 <= value <= LARGEST
        return self.expect(valid, name, value, "a number that a network can have")

    def choice(self, name, default, allowed):
        value = self.take(name, default)
        valid = any(value == other and type(value) is type(other) for other in allowed)
        return self.expect(valid, name, value, " or ".join(map(str, allowed)))

    def flag(self, name, default):
        return bool(self.choice(name, default, (True, False, 1, 0)))

    def ignore(self, *names):
        for name in names:
            self.given.pop(name, None)

    def finish(self):
        if self.given:
            unknown = ", ".join(map(printable, list(self.given)[:3]))
            raise NetworkFileError(f"{self.path}: unknown argument {unknown}; {FORK_HINT}")
