"""Reading the records of images in a samples.jsonl, which may be anybody's: every value is checked."""

import os
from pathlib import Path

from dnnlib_compat.arguments import is_number, is_whole
from dnnlib_compat.budgets import MAX_CLASSES, MAX_NUMBERS, MAX_SHOWN, MAX_SIZE
from dnnlib_compat.errors import check_regular, quoted, reading
from dnnlib_compat.json_text import parse_json
from latent_plugins.atlas.checks import CHECKS as VOLUME_CHECKS
from latent_plugins.priors import BASES, DOMAINS

LARGEST_BATCH = 4096  # images that anybody computes at once
MAX_SEED = 2**32 - 1


def _text(value):
    return isinstance(value, str) and value != ""


def _name(value):
    return _text(value) and len(value) <= MAX_SHOWN


def is_picture_name(value):
    """Whether a record's `file` is the plain name of an image, which can be written without harm to other files."""
    return _text(value) and value == os.path.basename(value) and not value.startswith(".") and value.endswith(".png")


def _pair(value):
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


# What a field can be, of those that a line may have. Settings of samplers check themselves.
CHECKS = {name: VOLUME_CHECKS[name] for name in ("candidates", "projection", "oversample", "iterations", "basis")}
CHECKS |= {name: VOLUME_CHECKS[name] for name in ("labels", "precision", "compile", "max_memory", "top_k", "layer")}
CHECKS |= dict(
    file=is_picture_name,
    network=_text,
    sampler=_name,
    projected_w=_text,
    seed=lambda value: is_whole(value, 0, MAX_SEED),
    row=lambda value: is_whole(value, 0, MAX_NUMBERS),
    batch=lambda value: is_whole(value, 1, LARGEST_BATCH),
    trunc=is_number,
    trunc_cutoff=lambda value: is_whole(value, 0, MAX_SIZE),
    noise_mode=_name,
    output=_name,
    smooth=is_number,
    translate=_pair,
    rotate=is_number,
    rho=lambda value: is_number(value) or value in ("inf", "-inf"),
    space=_name,
    domain=lambda value: value in DOMAINS,
    base=lambda value: value in BASES,
    radius=lambda value: is_number(value) and value > 0,
    method=_name,
    detector=_text,
    atlas=_text,
    weights=_text,
    method_settings=lambda value: isinstance(value, dict),
    atlas_seed=lambda value: is_whole(value, 0, MAX_SEED),
)
CHECKS["class"] = lambda value: is_whole(value, 0, MAX_CLASSES)
DRAWN = ("sampler", "seed", "trunc", "noise_mode", "batch")  # what a line of an image with a drawn latent has
PROJECTED = ("projected_w", "row", "noise_mode")


def read_lines(path):
    """The records of a samples.jsonl, as dicts. Raises ValueError, with the path and the line, for what is none."""
    lines = []
    with reading(path, ValueError):
        check_regular(path)
        texts = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        for number, text in enumerate(texts, 1):
            try:
                lines.append(checked(parse_json(text)))
            except ValueError as error:
                raise ValueError(f"{path}: line {number} is damaged ({error})") from None
    return lines


def checked(line):
    """A record, if it is one that an image can be made from, without what is None in it.

    Raises ValueError with what is missing or wrong.
    """
    if not isinstance(line, dict):
        raise ValueError(f"a {type(line).__name__} and no record")
    line = {name: value for name, value in line.items() if value is not None}
    wanted = ("file", "network", *(PROJECTED if "projected_w" in line else DRAWN))
    missing = [name for name in wanted if name not in line]
    if missing:
        raise ValueError(f"it does not say its {missing[0]}; it may be of an earlier version")
    wrong = [name for name, value in line.items() if name in CHECKS and not CHECKS[name](value)]
    if wrong:
        raise ValueError(f"its {wrong[0]} is {quoted(line[wrong[0]])}")
    return line
