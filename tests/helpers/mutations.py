"""Seeded damage to files: what transfers, disks and enemies do to bytes, and to the entries of an archive."""

import io
import re
import struct
import warnings
import zipfile

INTERESTING = [0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, -0x80000000, 1 << 40, -(1 << 62)]
TOKENS = [
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"1000000000000",
    b'"x"',
    b"[]",
    b"{}",
    b"NaN",
    b"\xff",
    b"0.5",
    b"\\u0000",
]


def mutated(data, random):
    """The bytes of a file with one to three seeded changes. random: numpy.random.RandomState."""
    changed = data
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        changed = MUTATIONS[random.randint(len(MUTATIONS))](bytearray(changed), random)
    return bytes(changed)


def place(data, random):
    """A position, more often near the beginning or the end, where the structure of most formats is."""
    n = len(data)
    if n == 0:
        return 0
    kind = random.randint(4)
    if kind == 0:
        return random.randint(min(n, 512))
    if kind == 1:
        return n - 1 - random.randint(min(n, 512))
    return random.randint(n)


def flip_bit(data, random):
    if data:
        data[place(data, random)] ^= 1 << random.randint(8)
    return data


def set_byte(data, random):
    if data:
        data[place(data, random)] = random.randint(256)
    return data


def write_number(data, random):
    value, start = INTERESTING[random.randint(len(INTERESTING))], place(data, random)
    packed = struct.pack("<q", value)[: random.choice([1, 2, 4, 8])]
    data[start : start + len(packed)] = packed
    return data


def cut(data, random):
    return data[: place(data, random)]


def remove(data, random):
    start = place(data, random)
    del data[start : start + random.randint(1, 64)]
    return data


def repeat(data, random):
    start = place(data, random)
    part = data[start : start + random.randint(1, 256)]
    return data[:start] + part * random.randint(2, 20) + data[start:]


def insert(data, random):
    start = place(data, random)
    return data[:start] + random.bytes(random.randint(1, 32)) + data[start:]


def blank(data, random):
    start = place(data, random)
    length = min(random.randint(1, 4096), len(data) - start)
    data[start : start + length] = bytes(length)
    return data


def line_ends(data, random):
    return bytearray(bytes(data).replace(b"\n", b"\r\n"))


def replace_number(data, random):
    """A number, or another token, of text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?|null|true|false|\"[^\"]{0,40}\"", bytes(data[:20000])))
    if not found:
        return set_byte(data, random)
    match = found[random.randint(len(found))]
    data[match.start() : match.end()] = TOKENS[random.randint(len(TOKENS))]
    return data


MUTATIONS = [flip_bit, flip_bit, set_byte, write_number, cut, remove, repeat, insert, blank, line_ends, replace_number]


def mutated_entry(data, random):
    """A zip archive in which one entry is damaged, renamed, doubled or left out, and every checksum is right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    chosen, kind = random.randint(len(entries)), random.randint(8)
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # about the doubled name
        for i, (info, content) in enumerate(entries):
            name, compression = info.filename, info.compress_type
            if i == chosen and kind == 0:
                continue
            if i == chosen and kind == 1:
                name = bytes(flip_bit(bytearray(name, "utf-8"), random)).decode("latin1") or "x"
            elif i == chosen and kind == 2:
                archive.writestr(name, content, compression)
            elif i == chosen:
                content = mutated(content, random)
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()
