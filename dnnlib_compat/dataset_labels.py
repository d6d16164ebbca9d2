"""Labels of a data set: classes or vectors, as dataset.json has them."""

import json

import numpy as np

from dnnlib_compat.errors import quoted, reason
from dnnlib_compat.json_text import parse_json

LABELS = "dataset.json"
LABELS_FORM = 'write it as {"labels": [["00000/img00000000.png", 6], ...]}'
HIGHEST_CLASS = 2**31 - 1
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def parse_labels(data):
    """The labels in the bytes of dataset.json: dict of name → number or list, None if they are null or absent.

    Raises ValueError, worded to follow the name of the file, if they have another form.
    """
    try:
        content = parse_json(data)
    except ValueError as error:
        raise ValueError(f"is malformed ({reason(error)}); {LABELS_FORM}") from error
    if not isinstance(content, dict):
        raise ValueError(f"is malformed (it holds a {type(content).__name__}); {LABELS_FORM}")
    labels = content.get("labels")
    if labels is None:
        return None
    if not isinstance(labels, list):
        raise ValueError(f"is malformed (its labels are a {type(labels).__name__}, not a list); {LABELS_FORM}")
    for position, pair in enumerate(labels):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"is malformed (entry {position} of its labels is no [name, label]); {LABELS_FORM}")
    found, spelled = {}, {}
    for name, label in labels:
        plain, label = plain_name(name), _whole(label)
        if plain in found and found[plain] != label:
            raise ValueError(
                f"is malformed (its entries {quoted(spelled[plain])} and {quoted(name)} give one image two labels); "
                "keep one of them"
            )
        found[plain], spelled[plain] = label, name
    return found


def plain_name(name):
    """A file's name with forward slashes and no `./` in front, whatever wrote it."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _whole(label):
    """A class that was written as 3.0, as other tools do, as 3; anything else as it is."""
    return int(label) if type(label) is float and label.is_integer() else label


def labels_of(labels, names):
    """Labels of the images `names`: classes int64 [N] or vectors float32 [N, D], from what `parse_labels` found.

    Raises ValueError, worded as there, if an image has none or they are not all of one kind.
    """
    plain = [plain_name(name) for name in names]
    missing = next((name for name in plain if name not in labels), None)
    if missing is not None:
        raise ValueError(f"has no label for {missing!r}; give every image one")
    values = [labels[name] for name in plain]
    for name, value in zip(names, values):
        if isinstance(value, list) != isinstance(values[0], list):
            raise ValueError(f"mixes classes and vectors ({names[0]!r}, {name!r}); label all images in one way")
        _check_label(name, value)
        if isinstance(value, list) and len(value) != len(values[0]):
            raise ValueError(
                f"mixes vectors of {len(values[0])} and {len(value)} numbers ({names[0]!r}, {name!r}); label all "
                "images in one way"
            )
    return np.array(values, np.float32 if isinstance(values[0], list) else np.int64)


def _check_label(name, value):
    if isinstance(value, list):
        # A comparison that NaN fails, and that takes whole numbers of any size.
        if not value or not all(type(n) in (int, float) and abs(n) <= LARGEST_FLOAT32 for n in value):
            raise ValueError(f"is malformed (the vector of {name!r} is not of finite numbers); {LABELS_FORM}")
    elif type(value) is not int or not 0 <= value <= HIGHEST_CLASS:
        raise ValueError(
            f"is malformed (the label of {name!r}, {_brief(value)}, is neither a class, a whole number from 0, nor a "
            f"vector); {LABELS_FORM}"
        )


def _brief(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
