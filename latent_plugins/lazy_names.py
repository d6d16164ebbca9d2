"""Names of a package that are imported from its modules when they are first used."""

import importlib
import sys


def lazy_names(package, where):
    """The `__getattr__` and `__dir__` of a package. where: {name: module}, or {name: module:other name there}."""
    namespace = vars(sys.modules[package])

    def get(name):
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, other = where[name].partition(":")
        namespace[name] = getattr(importlib.import_module(module), other or name)
        return namespace[name]

    return get, lambda: sorted({*namespace, *where})
