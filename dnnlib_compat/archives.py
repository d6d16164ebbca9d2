"""Zip archives that nobody has made to be read in two ways.

Two entries of one name, names that lead out of the archive, or an entry whose own header disagrees with the archive's
directory: of such archives different readers see different content, so that what one has checked another need not get.
"""

import contextlib
import re
import struct
import zipfile
import zlib

from dnnlib_compat.budgets import MAX_ENTRIES, MORE
from dnnlib_compat.errors import NetworkFileError, check_regular, quoted

LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # of an entry: mark, five numbers, sums and sizes, lengths of name and extra
CHUNK = 1 << 20
ENCRYPTED, UTF8 = 1, 1 << 11
HALF = "a truncated or damaged archive, download it again"


@contextlib.contextmanager
def open_archive(path, *, error=NetworkFileError, ignore_case=False):
    """The `zipfile.ZipFile` of a file whose directory is sound: within, reading an entry verifies its CRC.

    For archives of tensors and arrays; `check_names` is the part that concerns data sets too. ignore_case: names that
    differ in case alone count as the same, as they do for torch's reader. Raises `error` with the path.
    """
    check_regular(path, error)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except Exception:  # a damaged directory fails in many ways, also with the system's errors of its own
            raise error(f"{path}: {HALF}") from None
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise error(f"{path}: an archive of {len(entries)} entries, more than any network has; {MORE}")
        check_names(path, [entry.orig_filename for entry in entries], error=error, ignore_case=ignore_case)
        for entry in entries:
            check_entry(path, archive, entry, error)
        yield archive


def check_names(path, names, *, error=NetworkFileError, ignore_case=False):
    """Raise `error` when two entries of an archive have one name, or a name leads out of it."""
    seen = set()
    for name in names:
        key = name.casefold() if ignore_case else name
        if key in seen:
            raise error(f"{path}: refused, it has two entries with the name {quoted(name)}; get the file anew")
        seen.add(key)
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:[/\\]", name) or "\0" in name:
            raise error(f"{path}: refused, its entry {quoted(name)} leads out of the archive; get the file anew")


def check_entry(path, archive, entry, error):
    """Raise `error` when an entry's own header names another file than the archive's directory does."""
    try:
        archive.fp.seek(entry.header_offset)
        header = archive.fp.read(LOCAL_HEADER.size)
    except (OSError, ValueError):  # a place before the file's beginning
        header = b""
    if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise error(f"{path}: {HALF}")
    flags, name_length = struct.unpack_from("<H", header, 6)[0], struct.unpack_from("<H", header, 26)[0]
    name = archive.fp.read(name_length).decode("utf-8" if flags & UTF8 else "cp437", "replace")
    if flags & ENCRYPTED or entry.flag_bits & ENCRYPTED:
        raise error(f"{path}: its entry {quoted(entry.filename)} is encrypted; store it without a password")
    if name != entry.orig_filename:
        raise error(
            f"{path}: damaged, an entry is named {quoted(entry.orig_filename)} in one place and {quoted(name)} in "
            "another; get the file anew"
        )


def verify(path, archive, *, error=NetworkFileError):
    """Read every entry and compare its CRC; nothing is kept. Raises `error` that names the damaged one."""
    for entry in archive.infolist():
        try:
            with archive.open(entry) as stream:
                while stream.read(CHUNK):
                    pass
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError):
            raise error(
                f"{path}: damaged, the checksum of its entry {quoted(entry.filename)} is wrong; download it again"
            ) from None


def read_entry(path, archive, name, limit, *, error=NetworkFileError):
    """The bytes of an entry, at most `limit`, its CRC compared. Raises `error`."""
    entry = archive.getinfo(name)
    if entry.file_size > limit:
        raise error(f"{path}: its entry {quoted(name)} says that it has {entry.file_size} bytes, more than can be")
    try:
        with archive.open(entry) as stream:
            data = stream.read(entry.file_size)
            stream.read(1)  # the end, where the CRC is compared
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError):
        raise error(f"{path}: damaged, its entry {quoted(name)} cannot be read; download it again") from None
    if len(data) != entry.file_size:
        raise error(f"{path}: damaged, its entry {quoted(name)} ends too early; download it again")
    return data
