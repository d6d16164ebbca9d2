"""How deep the brackets of a JSON text are nested, before a parser recurses into them."""

import re

import numpy as np

DEEPEST, CHUNK = 100, 1 << 20  # levels of brackets; bytes that are looked at at once
TEXT = rb'"(?:[^"\\]|\\.)*"'  # a string of JSON
OPENING, CLOSING = (list(brackets) for brackets in (b"[{", b"]}"))


def check_nesting(data):
    """Raise ValueError for brackets in JSON's bytes that are nested deeper than any file here is.

    Before it is parsed: the parser recurses, and at the end of the stack whatever else runs there fails too.
    """
    if nesting(data) > DEEPEST and nesting(re.sub(TEXT, b"", data)) > DEEPEST:  # names may have brackets
        raise ValueError(f"its brackets are nested more than {DEEPEST} deep")


def nesting(data):
    """The deepest level of the brackets in bytes, those in texts among them."""
    depth = deepest = 0
    for start in range(0, len(data), CHUNK):
        codes = np.frombuffer(data, np.uint8)[start : start + CHUNK]
        levels = depth + np.cumsum(np.isin(codes, OPENING).astype(np.int64) - np.isin(codes, CLOSING))
        depth, deepest = int(levels[-1]), max(deepest, int(levels.max()))
    return deepest
