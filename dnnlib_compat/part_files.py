"""Part files of downloads: one process at a time writes to each, and what came is kept for a later resume."""

import contextlib
import os
import uuid

try:
    import fcntl
except ImportError:  # Windows: part files are private there, see part_file
    fcntl = None


@contextlib.contextmanager
def part_file(path, on_wait):
    """Yield a part file that nobody else writes to while the block runs.

    This is `path` under a lock, kept for a later resume if the block fails. Where files cannot be locked it is a
    private file, which does not outlive the block.
    """
    lock = _lock(path, on_wait)
    if lock is None:
        path = path.with_name(f"{path.stem}_{uuid.uuid4().hex}.part")
    try:
        yield path
    finally:
        # Once moved into the cache, the name may already be another process's part: not ours to remove.
        if lock is None or (_still_names(path, lock) and size_of(path) == 0):
            drop(path)
        if lock is not None:
            os.close(lock)


def _lock(path, on_wait):
    """Return a descriptor that holds the lock of `path`, or None where there are no locks."""
    told = False
    while fcntl is not None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:  # the lock may pass to several others before it is ours
                    on_wait()
                told = True
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            os.close(handle)
            return None
        if _still_names(path, handle):
            return handle
        os.close(handle)  # its owner moved the file into the cache or removed it while we waited: lock the next one
    return None


def _still_names(path, handle):
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def size_of(path):
    """Bytes of a file; 0 without one."""
    return path.stat().st_size if path.exists() else 0


def drop(part):
    """Remove a part file and what is beside it."""
    part.unlink(missing_ok=True)
    validator_file(part).unlink(missing_ok=True)


def validator_file(part):
    """Beside a part file: what tells the version of the file on the server that it is a part of."""
    return part.with_suffix(".version")


def drop_contents(part):
    """Start a part file anew."""
    # Emptied, not removed: the lock is on this very file.
    os.truncate(part, 0)
