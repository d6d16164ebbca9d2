"""How deep the brackets of a JSON text are nested, before a parser recurses into them."""

import numpy as np

DEEPEST, CHUNK = 100, 1 << 20  # levels of brackets; bytes that are looked at at once
QUOTE = ord('"')
OPENING, CLOSING = (list(brackets) for brackets in (b"[{", b"]}"))


def check_nesting(data):
    """Raise ValueError for brackets in JSON's UTF-8 that are nested deeper than in any file here.

    Before it is parsed: the parser recurses, and at the end of the stack whatever else runs there fails too.
    """
    if data.count(b"[") + data.count(b"{") > DEEPEST and nesting(data) > DEEPEST:
        raise ValueError(f"its brackets are nested more than {DEEPEST} deep")


def nesting(data):
    """The deepest level of the brackets in JSON's UTF-8, those within its strings aside, in a time linear in its size.

    Behind a character that is no JSON the number means nothing: a parser does not get there.
    """
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quotation mark that is left begins or ends a string
    depth = deepest = within = 0
    for start in range(0, len(data), CHUNK):
        codes = np.frombuffer(data, np.uint8)[start : start + CHUNK]
        outside = (np.cumsum(codes == QUOTE) + within) % 2 == 0
        steps = np.isin(codes, OPENING).astype(np.int64) - np.isin(codes, CLOSING)
        levels = depth + np.cumsum(steps * outside)
        depth, deepest, within = int(levels[-1]), max(deepest, int(levels.max())), int(not outside[-1])
    return deepest
