"""What a metric found beside its figures, such as a curve or the lengths of all paths: a file beside the lines."""

import re
from pathlib import Path

from dnnlib_compat.checksums import checksum
from latent_plugins.files.arrays import read_arrays, write_arrays

FORMAT = "latent-plugins metric details 1"
PART = "details"
NAME = re.compile(r"metric-(\w{1,100})-[0-9a-f]{16}\.npz")


class DetailsError(ValueError):
    """A file of details that is none, or damaged."""


def details_name(metric, details):
    """The name of the file of {name: array} of a metric; the same for the same content alone."""
    return f"metric-{metric}-{checksum(details)[:16]}.npz"


def write_details(folder, metric, details):
    """Write {name: array} of a metric, atomically, into `folder` under its `details_name`."""
    import torch

    tensors = {name: torch.as_tensor(array) for name, array in details.items()}
    write_arrays(Path(folder) / details_name(metric, details), dict(format=FORMAT, metric=metric), {PART: tensors})


def metric_of(name):
    """The metric whose details a file of this name holds, or None for another name."""
    found = NAME.fullmatch(name)
    return found and found[1]


def read_details(folder, name):
    """{name: array} of a file that `write_details` wrote.

    Raises DetailsError, a ValueError, where it is none or damaged, or not of this name; OSError where it is not there.
    """
    about = dict(error=DetailsError, what="a file of metric details", remedy="calculate the metric again")
    _, parts = read_arrays(Path(folder) / name, FORMAT, **about)
    found = {each: tensor.numpy() for each, tensor in parts.get(PART, {}).items()}
    if metric_of(name) is None or details_name(metric_of(name), found) != name:
        raise DetailsError(f"{Path(folder) / name}: the content of another file; calculate the metric again")
    return found
