"""Look over a pickle before it is read: is it whole, and does it ask for more than it can need?

The scan follows the stack of the pickle's machine without making any object. What it cannot follow is refused.
"""

import pickletools

from dnnlib_compat.budgets import MAX_DIGITS, MAX_MEMO_GAP, MAX_OPCODES, MAX_TUPLE_DEPTH
from dnnlib_compat.errors import NetworkFileError

PREFIX_LENGTHS = {  # bytes of the length in front of an argument
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
LINES = {"GLOBAL": 2, "INST": 2}  # of text arguments; others have one
NUMBERS = ("INT", "LONG", "FLOAT", "GET", "PUT")
MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
FETCH = {"GET", "BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
PASSED_ON = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}  # calls may return what they are given
MARK = object()


def _table():
    """{opcode's byte: (name, length of its argument or None, bytes of the length's prefix or 0, values that it takes
    off the stack, whether everything down to the last mark goes first, values that it puts there)}."""
    table = {}
    for code in pickletools.opcodes:
        size = 0 if code.arg is None else code.arg.n
        prefix = PREFIX_LENGTHS.get(size, 0)
        to_mark = pickletools.markobject in code.stack_before
        takes = code.stack_before.index(pickletools.markobject) if to_mark else len(code.stack_before)
        fixed = size if size >= 0 else None
        table[ord(code.code)] = code.name, fixed, prefix, takes, to_mark, len(code.stack_after)
    return table


TABLE = _table()


def scan(data, start=0):
    """Where the pickle that begins at `start` of a byte string (or a mapped file) ends.

    Raises NetworkFileError for a pickle that ends too early, that no pickling could have written, or that is beyond the
    budgets: number of opcodes, memo entries beyond the opcodes before them, nested tuples, numbers as text.
    """
    try:
        return _scan(data, start)
    except NetworkFileError:
        raise
    except Exception as error:  # an empty stack, a missing mark, an unknown opcode, the end of the data
        raise NetworkFileError(
            f"truncated or damaged, download it again (no pickle: {type(error).__name__} in its opcodes)"
        ) from None


def _scan(data, start):
    size, position, count = len(data), start, 0
    stack, memo = [], {}  # of depths of tuples
    while True:
        name, length, prefix, takes, to_mark, gives = TABLE[data[position]]
        position, count = position + 1, count + 1
        if count > MAX_OPCODES:
            raise NetworkFileError(f"has more than {MAX_OPCODES} opcodes, far beyond a network's pickle")
        argument = position
        if prefix:
            length = prefix + int.from_bytes(data[position : position + prefix], "little")
        elif length is None:
            end = position
            for _ in range(LINES.get(name, 1)):
                end = _line_end(data, end)
            length = end - position
            if name in NUMBERS and length > MAX_DIGITS:
                raise NetworkFileError("damaged, download it again (a number of thousands of digits)")
        position += length
        if position > size:
            raise NetworkFileError("truncated or damaged, download it again (the data ends too early)")

        if name == "STOP":
            stack.pop()
            return position
        if name == "FRAME" and int.from_bytes(data[argument:position], "little") > size - position:
            raise NetworkFileError("truncated or damaged, download it again (the data ends too early)")
        if name in MEMO or name == "MEMOIZE":
            key = len(memo) if name == "MEMOIZE" else _index(name, data[argument:position])
            if not 0 <= key <= count + MAX_MEMO_GAP:
                raise NetworkFileError(f"damaged, download it again (it numbers an object {key})")
            memo[key] = _depth(stack[-1])
            continue
        if name in FETCH:
            stack.append(memo[_index(name, data[argument:position])])
            continue
        if name == "MARK":
            stack.append(MARK)
            continue
        if name == "POP" and stack[-1] is MARK:
            stack.pop()
            continue

        depth = first = 0
        if to_mark:
            while (top := stack.pop()) is not MARK:
                depth = max(depth, top)
        for _ in range(takes):
            first = _depth(stack.pop())
            depth = max(depth, first)
        if name in TUPLES:
            depth += 1
            if depth > MAX_TUPLE_DEPTH:
                raise NetworkFileError(f"nested too deeply for a network (more than {MAX_TUPLE_DEPTH} tuples)")
        elif name in ("BUILD", "DUP"):
            depth = first
        elif name not in PASSED_ON:
            depth = 0
        stack.extend([depth] * gives)


def _depth(value):
    if value is MARK:
        raise ValueError("a mark where a value should be")
    return value


def _line_end(data, start):
    """The place behind the line that begins at `start`."""
    end = data.find(b"\n", start)
    if end < 0:
        raise ValueError("a line without an end")
    return end + 1


def _index(name, argument):
    return int(argument) if name in ("PUT", "GET") else int.from_bytes(argument, "little")


def line_ends_changed(data):
    """Whether a file looks like one whose every line feed a transfer in text mode has made CR LF.

    Of random bytes one in 256 is a line feed, so in files that are longer that happens to none by chance.
    """
    part = bytes(data[: 1 << 20])
    return part.count(b"\n") > 3 and part.count(b"\n") == part.count(b"\r\n")


CHANGED = "damaged in transfer: its line ends were changed (every \\n is \\r\\n now); transfer it anew, in binary mode"
