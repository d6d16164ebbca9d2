"""Look over a pickle before it is read: is it whole, and does it ask for more than it can need?

The scan follows the stack of the pickle's machine without making any object. What it cannot follow is refused.
"""

import pickletools

from dnnlib_compat.budgets import (
    MAX_DIGITS,
    MAX_LONG_NUMBERS,
    MAX_MEMO_GAP,
    MAX_OPCODES,
    MAX_TUPLE_DEPTH,
    MAX_TUPLE_KEYS,
    MAX_TUPLE_PARTS,
    MORE,
)
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
# Which of the values that these take off the stack, the topmost first, are keys.
KEYS = {
    "SETITEM": slice(1, 2),
    "SETITEMS": slice(1, -1, 2),
    "DICT": slice(1, None, 2),
    "ADDITEMS": slice(0, -1),
    "FROZENSET": slice(None),
}
WORDS = {"INT": 20, "LONG": 21, "LONG1": 8, "LONG4": 8}  # characters or bytes of a number that a computer word holds
MARK, NOTHING = object(), None


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
    budgets: number of opcodes, memo entries beyond the opcodes before them, tuples in tuples, tuples as keys, long
    numbers.
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
    size, position, count, long_numbers, tuple_keys = len(data), start, 0, 0, 0
    stack, memo = [], {}  # of (depth, parts) of tuples, and NOTHING for all else
    while True:
        name, length, prefix, takes, to_mark, gives = TABLE[data[position]]
        position, count = position + 1, count + 1
        if count > MAX_OPCODES:
            raise NetworkFileError(f"has more than {MAX_OPCODES} opcodes, far beyond a network's pickle; {MORE}")
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
        if name in WORDS and length > WORDS[name] + prefix:
            long_numbers += 1
            if long_numbers > MAX_LONG_NUMBERS:
                raise NetworkFileError(f"has more than {MAX_LONG_NUMBERS} numbers that no computer word holds")
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
            memo[key] = _value(stack[-1])
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

        taken = []
        if to_mark:
            while (top := stack.pop()) is not MARK:
                taken.append(top)
        taken += [_value(stack.pop()) for _ in range(takes)]
        if name in KEYS:
            tuple_keys += sum(each is not NOTHING for each in taken[KEYS[name]])
            if tuple_keys > MAX_TUPLE_KEYS:
                raise NetworkFileError(f"has more than {MAX_TUPLE_KEYS} tuples in dictionaries and sets, too many")
        result = NOTHING
        if name in TUPLES or name in PASSED_ON:
            result = _tuple_of(taken)
        elif name in ("BUILD", "DUP"):
            result = taken[-1]
        stack.extend([result] * gives)


def _tuple_of(parts):
    """(depth, parts) of a tuple. Raises NetworkFileError for one that takes too long to hash, or too deep a stack."""
    tuples = [each for each in parts if each is not NOTHING]
    depth = 1 + max((each[0] for each in tuples), default=0)
    count = 1 + len(parts) + sum(each[1] for each in tuples)
    if depth > MAX_TUPLE_DEPTH or count > MAX_TUPLE_PARTS:
        raise NetworkFileError(f"nested too deeply for a network ({depth} tuples in each other, {count} parts)")
    return depth, count


def _value(value):
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
