"""Files of JSON records, a line each, that several processes may write to at once."""

import json
from pathlib import Path

from dnnlib_compat.json_text import parse_json
from dnnlib_compat.locks import locked
from dnnlib_compat.util import atomic_output, naming_output


def append_lines(path, lines):
    """Append JSON records to a file of lines, whole and in one piece whoever else appends.

    What a crash left half-written at the end stays a line of its own.
    """
    with naming_output(Path(path)), locked(path), open(path, "ab+", buffering=0) as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 1))
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        data = start + "".join(json.dumps(line) + "\n" for line in lines).encode()
        try:
            while data:  # the system may take a part, and say at the next one that the disk is full
                data = data[file.write(data) :]
        except OSError:
            file.truncate(end)
            raise


def merge_lines(path, lines, key, keep_others=True):
    """Append JSON records to a file of lines in place of those with the same key.

    key: function of a record; what raises KeyError or TypeError has none. Of several records with one key there
    already, the last one is kept. keep_others: whether what is no record of ours stays.
    """
    with locked(path):
        kept, seen = [], {key(line) for line in lines}
        texts = Path(path).read_bytes().decode("utf-8", "surrogateescape").split("\n")
        for text in reversed(texts if texts[-1] else texts[:-1]):
            try:
                found = key(parse_json(text))
                if found in seen:
                    continue
                seen.add(found)
            except (ValueError, KeyError, TypeError):
                if not keep_others:
                    continue
            kept.append(text)
        kept = [*reversed(kept), *map(json.dumps, lines)]
        with atomic_output(path) as tmp:
            tmp.write_bytes("".join(text + "\n" for text in kept).encode("utf-8", "surrogateescape"))
