"""The exceptions of file loading. Each message is one line that names the file, the cause and the remedy.

Text that comes from files goes through `shown` before it reaches a message: a terminal would obey what is in it.
"""

import contextlib
import itertools
import os
import stat

from dnnlib_compat.budgets import MAX_MESSAGE, MAX_SHOWN

SHOWN_ITEMS = 8  # of a list in a message
SPACES = str.maketrans("\n\r\t", "   ")


class NetworkFileError(ValueError):
    """A network file that cannot be used: damaged, of another kind, or not matching the network it claims to be."""

    def __init__(self, message=""):
        super().__init__(escaped(message, MAX_MESSAGE))


class UnsafePickleError(NetworkFileError):
    """A pickle that asks for something outside the allow-list. Nothing from it has run."""


class DatasetError(ValueError):
    """A data set that cannot be used: the message is one line with its path, what is wrong, and what would be right."""


def check_regular(path, error=NetworkFileError):
    """Raise `error` for what is no plain file: reading a pipe waits, reading a device may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise error(f"{path}: {kind}, where a file is needed; give the path of a plain file")


def escaped(text, limit=None):
    """Text on one line: line ends become spaces, other control characters are escaped; cut at `limit` if given."""
    text = str(text).translate(SPACES)
    cut = limit is not None and len(text) > limit
    text = text[:limit] if cut else text
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return text[:limit] + "…" if cut else text


def shown(value, limit=MAX_SHOWN):
    """A value from a file as it may stand in a message: text as it is, others as Python writes them; one line, cut."""
    return escaped(value if isinstance(value, str) else brief(value, limit), limit)


def brief(value, limit, depth=3):
    """`repr` of plain values, but of no more than the beginning: shared lists can be of any size when written out."""
    if isinstance(value, (str, bytes)):
        return repr(value[: limit + 1])
    if type(value) is int and value.bit_length() > 4 * limit:
        return "a number of hundreds of digits"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        first = list(itertools.islice(value.items() if isinstance(value, dict) else value, SHOWN_ITEMS + 1))
        if depth == 0:
            parts = ["…"] if first else []
        elif isinstance(value, dict):
            parts = [f"{brief(k, limit, depth - 1)}: {brief(v, limit, depth - 1)}" for k, v in first[:SHOWN_ITEMS]]
        else:
            parts = [brief(each, limit, depth - 1) for each in first[:SHOWN_ITEMS]]
        parts += ["…"] if len(first) > SHOWN_ITEMS and depth else []
        left, right = {list: "[]", tuple: "()"}.get(type(value), "{}")
        return left + ", ".join(parts) + ("," if isinstance(value, tuple) and len(parts) == 1 else "") + right
    if value is None or type(value) in (bool, int, float, complex):
        return repr(value)
    return f"a {type(value).__name__}"


def quoted(value, limit=MAX_SHOWN):
    """As `shown`, with quotation marks around text."""
    return f"'{shown(value, limit)}'" if isinstance(value, str) else shown(value, limit)


@contextlib.contextmanager
def naming(path):
    """Put a file's path in front of what is wrong with it: any ValueError becomes a NetworkFileError."""
    try:
        yield
    except ValueError as error:
        raise NetworkFileError(f"{path}: {error}") from None


@contextlib.contextmanager
def reading(path, error=NetworkFileError):
    """The boundary of a reader: whatever goes wrong within names the file, in one line of the kind `error`.

    Messages that name it already are left alone, and so are the operating system's own errors (no such file, no
    permission), which carry their path. Everything else that a damaged file provokes becomes "PATH: damaged (what)".
    """
    try:
        yield
    except UnsafePickleError as problem:
        raise problem if names(problem, path) else UnsafePickleError(f"{path}: {problem}") from None
    except (NetworkFileError, DatasetError, error) as problem:
        raise problem if names(problem, path) else error(f"{path}: {problem}") from None
    except OSError as problem:
        if problem.errno is not None:
            raise
        raise error(f"{path}: damaged ({what(problem)})") from None
    except RecursionError:
        raise error(f"{path}: damaged (nested too deeply)") from None
    except MemoryError:
        raise error(f"{path}: damaged, or larger than this machine's memory") from None
    except ImportError:
        raise
    except Exception as problem:
        if isinstance(problem, ValueError) and names(problem, path):
            raise
        raise error(f"{path}: damaged ({what(problem)})") from None


# What readers of archives advise, who do not know whether a file was made here.
ADVICE = (", download it again", "; download it again", "; get the file anew")


def without_advice(text):
    """A message about a file that was made here: nobody can download that one again."""
    for each in ADVICE:
        text = text.replace(each, "")
    return text


def names(error, path):
    """Whether the message of an error speaks of a file."""
    return str(path) in str(error) or escaped(path) in str(error)


def what(error):
    """The kind and text of an exception, as a part of a message."""
    kind = type(error)
    name = f"{kind.__module__}.{kind.__name__}" if kind.__name__ == "error" else kind.__name__
    return f"{name}: {reason(error)}"


def reason(error):
    """An error's text on one line, escaped and cut."""
    text = error.strerror if isinstance(error, OSError) else None
    return shown(" ".join(str(text or text_of(error)).split())) or type(error).__name__


def text_of(error):
    """`str` of an exception; of one whose own code fails at that, nothing."""
    try:
        return str(error)
    except Exception:
        return ""
