"""Stand-ins for the ecosystem's helper packages, for the source code that network files carry.

Such source imports `torch_utils` and `dnnlib`. A checkout of the user's own is preferred where one can be imported;
otherwise the modules here answer to those names while a file is being loaded. They have the functions that network
code calls, under the same names and with the same meaning of every argument, in plain torch that composes with
`torch.func`.
"""

import contextlib
import importlib.util
import sys
import threading
import types

from dnnlib_compat.shims import filters, misc, persistence, util

# Loading patches the process-wide table of modules, so one thread at a time.
_LOCK = threading.RLock()

PUBLIC = {
    "dnnlib": {"EasyDict": util.EasyDict},
    "dnnlib.util": util.PUBLIC,
    "torch_utils": {},
    "torch_utils.misc": misc.PUBLIC,
    "torch_utils.persistence": persistence.PUBLIC,
    "torch_utils.ops": {},
    **{f"torch_utils.ops.{name}": functions for name, functions in filters.PUBLIC.items()},
}


class MissingNameError(AttributeError):
    """A stand-in lacks what somebody asks for. `missing` is the dotted name."""

    def __init__(self, missing):
        super().__init__(missing)
        self.missing = missing


class StandIn(types.ModuleType):
    """A module whose missing names are told apart from any other missing attribute."""

    def __getattr__(self, name):
        if name.startswith("__"):  # the import system probes for these
            raise AttributeError(name)
        raise MissingNameError(f"{self.__name__}.{name}")


def _make_modules():
    """{dotted name: StandIn}, children set as attributes of their parents."""
    modules = {}
    for name, functions in PUBLIC.items():
        modules[name] = StandIn(name)
        vars(modules[name]).update(functions)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    return modules


MODULES = _make_modules()


def importable(package):
    """Whether the user has `package` (a top-level name)."""
    return package in sys.modules or importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def stand_ins():
    """Let the stand-ins be imported inside the block, each package only where the user has none of that name.

    Afterwards they are found no more, and stay alive in whatever imported them.
    """
    with _LOCK:
        packages = {package for package in ("dnnlib", "torch_utils") if not importable(package)}
        added = {name: module for name, module in MODULES.items() if name.partition(".")[0] in packages}
        sys.modules.update(added)
        try:
            yield
        finally:
            for name in added:
                sys.modules.pop(name, None)
