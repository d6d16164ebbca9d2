"""Stand-in for `dnnlib` and `dnnlib.util`."""

import importlib


class EasyDict(dict):
    """A dictionary whose keys can also be read, written and deleted as attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


def get_obj_by_name(name):
    """The object with the dotted `name`: the longest prefix that is a module, then attributes.

    Raises ImportError when not even the first part is a module, AttributeError when an attribute is missing.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        try:
            found = importlib.import_module(prefix)
        except ModuleNotFoundError as error:
            if length == 1 or not f"{prefix}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found


def call_func_by_name(*args, func_name=None, **kwargs):
    """Call the function with the dotted name `func_name`. Raises as `get_obj_by_name` does."""
    return get_obj_by_name(func_name)(*args, **kwargs)


def construct_class_by_name(*args, class_name=None, **kwargs):
    """An instance of the class with the dotted name `class_name`. Raises as `get_obj_by_name` does."""
    return call_func_by_name(*args, func_name=class_name, **kwargs)


PUBLIC = {f.__name__: f for f in (EasyDict, get_obj_by_name, call_func_by_name, construct_class_by_name)}
