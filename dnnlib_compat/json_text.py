"""JSON from files, which somebody else may have written: the one place where it is parsed."""

import json

from dnnlib_compat.budgets import MAX_DIGITS
from dnnlib_compat.errors import quoted
from dnnlib_compat.nesting import check_nesting


def parse_json(text):
    """What a JSON text says: text, or bytes in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises ValueError for what is no JSON, is nested deeper than any file here, has numbers of thousands of digits, or
    names a thing twice in one object, which different readers would take for different files.
    """
    if not isinstance(text, str):
        text = bytes(text).decode(json.detect_encoding(text), "surrogatepass")
    text = text.removeprefix("\ufeff")
    check_nesting(text.encode("utf-8", "surrogatepass"))
    return json.loads(text, object_pairs_hook=_distinct, parse_int=_whole)


def _distinct(pairs):
    """The dict of an object's names and values. Raises ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = set()
        twice = next(name for name, _ in pairs if name in names or names.add(name))
        raise ValueError(f"it has {quoted(twice)} twice in one object")
    return found


def _whole(digits):
    """The int of JSON's digits. Raises ValueError for thousands of them, which take a time that grows faster."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)
