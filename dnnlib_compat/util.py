"""Small helpers that speak the ecosystem's habits: atomic writes, cache folders, seeds."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

from dnnlib_compat.locks import flock, is_at

LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # how `atomic_output` names what it has not finished
SHORT_WRITE = "not all of it could be written: is the disk full?"


@contextlib.contextmanager
def atomic_output(path):
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    Nobody ever sees a half-written file, and an earlier one survives any error. Raises OSError as the file system
    does, with `path` in it also where the system leaves it out (a full disk).
    """
    path = Path(path)
    with naming_output(path):
        handle, tmp = _temporary(path)
        try:
            yield Path(tmp)
            os.chmod(tmp, 0o666 & ~_umask())
            os.replace(tmp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(tmp)
            raise
        finally:
            if handle is not None:
                os.close(handle)


def _temporary(path):
    """(open file or None, its name): a new file beside `path`, locked for as long as it is open.

    The lock tells `remove_leftovers` that somebody is at work on it. Without locks the file is closed.
    """
    while True:
        handle, tmp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        taken = flock(handle, wait=False)
        if taken is None:
            os.close(handle)
            return None, tmp
        if taken and is_at(handle, tmp):
            return handle, tmp
        os.close(handle)  # somebody was just looking whether it is a leftover


def remove_leftovers(folder):
    """Remove from a folder what `atomic_output` had not finished when its process was killed.

    What another process is at work on stays, which its lock tells; where there are no locks, everything stays.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [each.path for each in entries if is_leftover(each.name)]:
            with contextlib.suppress(OSError):
                handle = os.open(entry, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    if flock(handle, wait=False):
                        os.unlink(entry)
                finally:
                    os.close(handle)


def is_leftover(name):
    """Whether a file has a name that `atomic_output` gives to what it has not finished."""
    return LEFTOVER.fullmatch(name) is not None


@contextlib.contextmanager
def naming_output(path):
    """Give the system's errors the path of the file that was to be written, not that of its temporary stand-in."""
    try:
        yield
    except OSError as error:
        temporary = error.filename is not None and is_leftover(os.path.basename(os.fspath(error.filename)))
        if error.filename is not None and not temporary:
            raise
        if error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        if "requested" in str(error):  # NumPy's own, of a write that was cut short
            raise OSError(f"{path}: {SHORT_WRITE} ({error})") from None
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
