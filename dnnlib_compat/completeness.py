"""Whether a file that has just arrived is whole, told from its own content: no half may be kept as finished."""

import os
import pickletools
import zipfile

from dnnlib_compat.budgets import MAX_JSON, MAX_OPCODES
from dnnlib_compat.formats import LEGACY_CHECKPOINT
from dnnlib_compat.json_text import parse_json


def is_whole(path):
    """True for a whole file of a kind that tells its own end, False for a part of one, None for other kinds.

    Zip archives (checkpoints, arrays, data sets), pickles, safetensors and JSON tell their end. Nothing is executed.
    """
    with open(path, "rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            return _whole_zip(file)
        if head.startswith(LEGACY_CHECKPOINT):
            return None  # pickles, and tensors of sizes that only these tell
        if head[:1] == b"\x80":
            return _whole_pickle(file)
        if head[8:9] == b"{":
            return _whole_safetensors(file)
        if head.lstrip()[:1] == b"{":
            return _whole_json(file)
    return None


def _whole_zip(file):
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # zipfile raises many kinds on halves of archives
        return False
    return all(entry.header_offset + entry.compress_size < os.fstat(file.fileno()).st_size for entry in entries)


def _whole_pickle(file):
    count = 0
    try:
        for _ in pickletools.genops(file):
            count += 1
            if count > MAX_OPCODES:
                return None
    except Exception:  # the end came before the opcode that ends a pickle, or what follows is none
        return False
    return True if not file.read(1) else None


def _whole_safetensors(file):
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_JSON:
        return None
    try:
        tensors = parse_json(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0) == os.fstat(file.fileno()).st_size
    except Exception:  # half a header, or something else that begins alike
        return False


def _whole_json(file):
    data = file.read(MAX_JSON)
    if len(data) == MAX_JSON:
        return None
    try:
        parse_json(data)
    except ValueError:
        return False
    return True
