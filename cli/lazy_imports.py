"""Heavy packages imported when they are first used, so that help and errors of usage come at once.

(importlib's own LazyLoader does not do: `import torch` in a second module loads what it has put off.)
"""

import importlib
import importlib.util
import sys
import threading
import types

HEAVY = ("torch", "scipy.special", "scipy.stats", "scipy.optimize", "scipy.linalg", "requests")
WITH_CONTENT = ("__path__", "__version__", "__all__")  # names of modules' own that ask for the real one

_lock = threading.RLock()


class PutOff(types.ModuleType):
    """What stands for a package until somebody uses it, and then hands on everything that is asked of it."""

    def __getattr__(self, name):
        if name.startswith("__") and name not in WITH_CONTENT and not is_loaded(self.__name__):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")  # inspect asks all modules
        return getattr(real(self.__name__), name)

    def __setattr__(self, name, value):
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            setattr(real(self.__name__), name, value)

    def __delattr__(self, name):
        delattr(real(self.__name__), name)

    def __dir__(self):
        return dir(real(self.__name__))


class AlreadyThere:
    """A finder and loader for `import torch.nn` where it is the first use of torch.

    Python asks the package for its path in the middle of that import, which is when the real package comes, and its
    parts with it: this one then keeps Python from importing the part a second time.
    """

    def find_spec(self, name, path=None, target=None):
        """The spec of a module that came meanwhile; None of all others."""
        if name.partition(".")[0] not in _roots or name not in sys.modules or target is not None:
            return None
        spec = importlib.util.spec_from_loader(name, self)
        spec.loader_state = sys.modules[name], sys.modules[name].__spec__
        return spec

    def create_module(self, spec):
        """The module that is there."""
        return spec.loader_state[0]

    def exec_module(self, module):
        """Nothing is run again; the module keeps its own spec."""
        module.__spec__ = module.__spec__.loader_state[1]


_roots = set()


def put_off(names=HEAVY):
    """Let packages be imported at their first use, of those that are installed and that nothing has imported yet."""
    if not _roots:
        sys.meta_path.insert(0, AlreadyThere())
    _roots.update(name.partition(".")[0] for name in names)
    for name in names:
        parent, _, child = name.rpartition(".")
        if name in sys.modules or importlib.util.find_spec(parent or name) is None:
            continue
        module = PutOff(name)
        module.__spec__ = importlib.util.find_spec(name)
        sys.modules[name] = module
        if parent:
            setattr(sys.modules[parent], child, module)


def real(name):
    """The package itself, imported if need be.

    Our lock is not held meanwhile: Python's own, one for each module, know how to avoid a deadlock between threads.
    """
    with _lock:
        stand_in = sys.modules.get(name)
        if isinstance(stand_in, PutOff):
            del sys.modules[name]
    try:
        return importlib.import_module(name)
    except BaseException:  # a damaged installation, or Ctrl-C: the next use is told the same
        if isinstance(stand_in, PutOff):
            sys.modules.setdefault(name, stand_in)
        raise


def is_loaded(name):
    """Whether a package has been imported with its content."""
    return name in sys.modules and not isinstance(sys.modules[name], PutOff)
