"""The 1,000 classes of ImageNet (ILSVRC 2012) by name."""

import difflib
import functools
from pathlib import Path

from dnnlib_compat.json_text import parse_json

CLASSES = Path(__file__).resolve().parent / "imagenet_classes.json"


@functools.cache
def class_names():
    """The names in index order, a tuple of 1,000 strings; the synonyms within each are separated by ", "."""
    return tuple(parse_json(CLASSES.read_bytes()))


@functools.cache
def _indices():
    """{simplified synonym or whole entry: list of indices}."""
    found = {}
    for index, entry in enumerate(class_names()):
        for name in dict.fromkeys(simplified(name) for name in (*entry.split(", "), entry)):
            found.setdefault(name, []).append(index)
    return found


def simplified(name):
    """A name in small letters, with single spaces for underscores and white space."""
    return " ".join(name.replace("_", " ").casefold().split())


def class_index(name):
    """The index, 0 to 999, of the class of this name: one of its synonyms, or all of them as the list has them.

    Case does not matter, and underscores are spaces. Raises ValueError for a name that no class or more than one has,
    with the nearest names or the classes in question.
    """
    found = _indices().get(simplified(name), [])
    if len(found) == 1:
        return found[0]
    if found:
        listed = "; ".join(f"{index} ({class_names()[index]})" for index in found)
        raise ValueError(f"{name!r} is the name of several ImageNet classes, give the number: {listed}")
    near = difflib.get_close_matches(simplified(name), _indices(), n=3, cutoff=0)
    raise ValueError(f"no ImageNet class is called {name!r}; the nearest names are {', '.join(near)}")
