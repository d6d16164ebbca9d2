"""Import paths of an earlier release whose names are functions of the package now; they go with the next release."""

import sys
import types


def callable_module(name, function):
    """Let a module be called as a function of the same name: importing it puts it in the function's place."""
    module = sys.modules[name]
    call = staticmethod(function)
    module.__class__ = type("FormerPath", (types.ModuleType,), {"__call__": lambda self, *a, **k: call(*a, **k)})
