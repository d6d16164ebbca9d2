"""What installed packages add by entry points: samplers, families and so on."""

import functools
import importlib.metadata
import os
import sys


def entry_points(group):
    """The entry points of a group, of the packages that are installed at the moment.

    Commands and recipes ask dozens of times, and reading every package's metadata takes milliseconds each time, so the
    answer is kept until the import path, or a folder on it, changes: a package that is installed meanwhile counts.
    """
    places = tuple((place, changed(place)) for place in sys.path)
    return _found(importlib.metadata.entry_points, group, places)  # who is asked is part of what is kept


@functools.lru_cache(maxsize=16)
def _found(look_up, group, places):
    return tuple(look_up(group=group))


def changed(place):
    """When a folder or archive on the import path last changed, in nanoseconds; None where there is none."""
    try:
        return os.stat(place or os.curdir).st_mtime_ns
    except OSError:
        return None
