"""Files of JSON records, a line each, that several processes may write to at once."""

import json
from pathlib import Path

from dnnlib_compat.locks import locked
from dnnlib_compat.util import atomic_output


def append_lines(path, lines):
    """Append JSON records to a file of lines, whole and in one piece whoever else appends.

    What a crash left half-written at the end stays a line of its own.
    """
    with locked(path), open(path, "ab+") as file:
        file.seek(max(0, file.seek(0, 2) - 1))
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(start + "".join(json.dumps(line) + "\n" for line in lines).encode())


def merge_lines(path, lines, key):
    """Append JSON records to a file of lines in place of those with the same key; what is no record of ours stays.

    key: function of a record; what raises KeyError or TypeError has none. Of several records with one key there
    already, the last one is kept.
    """
    with locked(path):
        kept, seen = [], {key(line) for line in lines}
        texts = Path(path).read_bytes().decode("utf-8", "surrogateescape").split("\n")
        for text in reversed(texts if texts[-1] else texts[:-1]):
            try:
                found = key(json.loads(text))
                if found in seen:
                    continue
                seen.add(found)
            except (ValueError, KeyError, TypeError, RecursionError):
                pass  # not one of ours: leave it as it is
            kept.append(text)
        kept = [*reversed(kept), *map(json.dumps, lines)]
        with atomic_output(path) as tmp:
            tmp.write_bytes("".join(text + "\n" for text in kept).encode("utf-8", "surrogateescape"))
