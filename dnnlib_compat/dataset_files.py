"""The files of a data set, in a folder or a zip, and reading them in several threads."""

import collections
import concurrent.futures
import contextlib
import os
import threading
import zipfile
import zlib
from pathlib import Path

from dnnlib_compat.archives import ENCRYPTED, check_names
from dnnlib_compat.budgets import MAX_IMAGE_BYTES, MAX_LABEL_BYTES, MAX_REPEATED_FOLDERS, MAX_SHOWN, MORE
from dnnlib_compat.errors import DatasetError, check_regular, quoted, reason

CHUNK = 1 << 20
# What counts as an image, whatever this machine's Pillow was built with: a data set has the same images everywhere.
EXTENSIONS = (".apng", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png")
EXTENSIONS += (".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp")
NAMED = 3  # files that a line about many names


class Folder:
    """The files below a folder, named by their path in it with forward slashes. Links to folders are followed.

    `loops` are the links that lead back to a folder that they are in, which are not. Raises DatasetError where links
    lead to the same folders all too often.
    """

    def __init__(self, path):
        self._path = path
        self.names, self.loops = set(), []
        seen, repeated = set(), 0
        above = {str(path): {os.path.realpath(path)}}  # of each folder, the folders that it is in
        for parent, folders, names in os.walk(path, onerror=_raise, followlinks=True):
            prefix = "" if Path(parent) == path else Path(parent).relative_to(path).as_posix() + "/"
            self.names.update(prefix + name for name in names)
            holders = above.pop(parent)
            for folder in list(folders):
                real = os.path.realpath(os.path.join(parent, folder))
                if real in holders:
                    folders.remove(folder)
                    self.loops.append(prefix + folder)
                else:
                    above[os.path.join(parent, folder)] = holders | {real}
                    repeated += real in seen
                    seen.add(real)
            if repeated > MAX_REPEATED_FOLDERS:
                text = f"its links lead to the same folders more than {MAX_REPEATED_FOLDERS} times, last"
                raise DatasetError(f"{path}: {text} {quoted(prefix + folder)}; remove links, or {MORE}")

    def open(self):
        return contextlib.nullcontext(self)

    def read(self, name):
        file = self._path / name
        check_regular(file, DatasetError)
        check_bytes(name, file.stat().st_size)
        return file.read_bytes()

    def checksums(self, names):
        """(size, CRC-32) of each file."""
        return list(ordered_map(self._checksum, names, workers=4))

    def _checksum(self, name):
        size = crc = 0
        with blaming(self._path, name):
            check_regular(self._path / name, DatasetError)
        with blaming(self._path, name), open(self._path / name, "rb") as file:
            while chunk := file.read(CHUNK):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        return size, crc


class BoundedZip:
    """A handle of a zip whose files are read whole only where they are as large as such files are."""

    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.archive.close()

    def read(self, name):
        """The bytes of a file. Raises DatasetError beyond the budget, what zipfile raises on damage."""
        check_bytes(name, self.archive.getinfo(name).file_size)
        return self.archive.read(name)


def check_bytes(name, size):
    """Raise DatasetError for a file of a data set that is larger than an image, or than labels, can be."""
    limit = MAX_LABEL_BYTES if name.endswith(".json") else MAX_IMAGE_BYTES
    if size > limit:
        raise DatasetError(f"it has {size} bytes unpacked, and {limit} are the most; {MORE}")


class Zip:
    """The files in a zip, read from where they are."""

    def __init__(self, path):
        self._path = path
        self._handle = BoundedZip(path)
        self._archive = self._handle.archive
        self._lock = threading.Lock()
        check_names(path, self._archive.namelist(), error=DatasetError)
        self.names, self.loops = set(self._archive.namelist()), []
        locked = [entry.filename for entry in self._archive.infolist() if entry.flag_bits & ENCRYPTED]
        if locked:
            raise DatasetError(
                f"{path}: encrypted ({quoted(locked[0])} in it); unpack it with its password and give the folder"
            )

    def open(self):
        return BoundedZip(self._path)

    def read(self, name):
        with self._lock:
            return self._handle.read(name)

    def checksums(self, names):
        """(size, CRC-32) of each file as the zip's directory has them; reading a file compares them with its bytes."""
        return [(info.file_size, info.CRC) for info in map(self._archive.getinfo, names)]


def open_source(path):
    try:
        if not path.exists():
            raise DatasetError(f"{path}: no such file or folder; check the path")
        if path.is_dir():
            return Folder(path)
        check_regular(path, DatasetError)
        with open(path, "rb") as file:
            if file.read(2) != b"PK" and not zipfile.is_zipfile(file):
                raise DatasetError(f"{path}: neither a folder nor a zip; give a folder or zip of images")
        return Zip(path)
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({reason(error)}); check that it is intact and may be read"
        ) from error
    except Exception as error:  # zipfile raises errors of several kinds on damaged files
        raise DatasetError(f"{path}: a truncated or damaged zip ({reason(error)}); get an intact copy") from error


def _raise(error):
    raise error


def is_image(name):
    """Whether a file counts as an image: by its extension, unless a part of its path hides it."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in EXTENSIONS


def is_hidden(name):
    """Whether a part of a file's path hides it."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def several(names):
    """A few of the names, in words."""
    names = sorted(names)
    return ", ".join(map(quoted, names[:NAMED])) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


@contextlib.contextmanager
def reader_per_thread(source):
    """Yield read(name) → bytes for any number of threads: each gets its own handle, and all are closed at the end."""
    local = threading.local()
    with contextlib.ExitStack() as opened:

        def read(name):
            if not hasattr(local, "handle"):
                local.handle = opened.enter_context(source.open())
            return local.handle.read(name)

        yield read


def ordered_map(function, items, workers):
    """Yield function(item) in the order of `items`, computed in `workers` threads (0: in the caller's).

    At most workers + 1 results are under way or waiting, so that a slow caller does not fill the memory. An error is
    raised in its place. The threads have ended when the generator has.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        pending = collections.deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def blaming(path, name):
    """Turn any error into a DatasetError that names the file in the data set."""
    try:
        yield
    except Exception as error:  # zipfile and Pillow's many decoders raise errors of all kinds on damaged files
        named = (name if name.isprintable() else ascii(name))[:MAX_SHOWN]
        raise DatasetError(f"{path}: {named} in it is damaged ({reason(error)}); replace or remove it") from error
