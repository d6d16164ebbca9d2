"""Locks between processes that share a file or a folder: appending to it, rewriting it, building what belongs in it.

The operating system's own locks (flock) where there are any: they end with the process that holds them, however it
ends. Elsewhere, and on file systems without them, a file beside it that only one process can create.
"""

import contextlib
import os
import time
from pathlib import Path

from dnnlib_compat.errors import check_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PAUSE = 0.05  # seconds between looks at a lock file
STALE = 600  # seconds after which a lock file counts as left behind: no append takes that long


def flock(handle, wait=True):
    """Whether the exclusive lock of an open file was taken; None where there are no such locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None


@contextlib.contextmanager
def locked(path):
    """Hold the lock of the file `path`, which is created if needed, while others that want it wait.

    Yields nothing; the file may be appended to and replaced within. Raises OSError as the file system does.
    """
    path = Path(path)
    if path.exists():
        check_regular(path, ValueError)  # a pipe would be waited for, and a device keeps nothing
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            taken = flock(handle)
            if taken is None:
                with lock_file(path):
                    yield
                return
            if is_at(handle, path):  # else somebody has put another file there while this one was waited for
                yield
                return
        finally:
            os.close(handle)


def is_at(handle, path):
    """Whether an open file is the one that stands at `path` now."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def lock_file(path, wait=True):
    """Hold `.NAME.lock` beside `path`; yields whether it was got, which it is in the end where `wait`."""
    target = Path(path).with_name(f".{Path(path).name}.lock")
    while True:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - target.stat().st_mtime > STALE:
                    target.unlink()
                    continue
            if not wait:
                yield False
                return
            time.sleep(PAUSE)
    try:
        yield True
    finally:
        target.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_locked(path, waiting=None):
    """Hold the lock of a folder; `waiting()` is called once where another process holds it.

    Where the system has no locks for folders nothing is held: what is written there is atomic, and the same.
    """
    handle = None
    try:
        with contextlib.suppress(PermissionError, IsADirectoryError):  # folders cannot be opened on Windows
            handle = os.open(path, os.O_RDONLY)
        if handle is not None and flock(handle, wait=False) is False:
            if waiting is not None:
                waiting()
            flock(handle)
        yield
    finally:
        if handle is not None:
            os.close(handle)
