"""Stand-in for `torch_utils.persistence`: classes that travel together with their source code."""

import copy
import functools
import hashlib
import sys
import types

from dnnlib_compat.shims.util import EasyDict

_hooks = []
_modules = {}  # source: the module that it became


def persistent_class(cls):
    """Class decorator: instances remember their constructor's arguments, as `init_args` and `init_kwargs`."""
    if is_persistent(cls):
        return cls
    construct = cls.__init__

    @functools.wraps(construct)
    def remembering(self, *args, **kwargs):
        construct(self, *args, **kwargs)
        self._init_args, self._init_kwargs = copy.deepcopy(args), copy.deepcopy(kwargs)

    cls.__init__ = remembering
    cls.init_args = property(lambda self: copy.deepcopy(self._init_args))
    cls.init_kwargs = property(lambda self: EasyDict(copy.deepcopy(self._init_kwargs)))
    cls._is_persistent_class = cls
    return cls


def is_persistent(obj):
    """Whether a class, or the class of an object, is decorated itself. A subclass of a decorated class isn't."""
    cls = obj if isinstance(obj, type) else type(obj)
    return vars(cls).get("_is_persistent_class") is cls


def import_hook(hook):
    """Let `hook` (record → record) see every record before it becomes an object."""
    _hooks.append(hook)


def module_of(source):
    """The module that `source` makes. **Executes it**, once in a process. Raises whatever the source raises."""
    if source not in _modules:
        name = f"_network_source_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
        module = types.ModuleType(name)
        sys.modules[name] = module  # dataclasses and their like look their own module up there
        try:
            exec(compile(source, f"<{name}>", "exec", dont_inherit=True), vars(module))  # the point of it
        except BaseException:
            del sys.modules[name]
            raise
        _modules[source] = module
    return _modules[source]


def _reconstruct_persistent_obj(meta):
    """The object of a pickled record: `module_src`, `class_name` in it, `state`. **Executes the source.**

    Raises whatever the source raises, and KeyError, AttributeError or TypeError for a record of another make.
    """
    meta = EasyDict(meta, state=EasyDict(meta["state"]))
    for hook in _hooks:
        meta = hook(meta)
    cls = persistent_class(getattr(module_of(meta.module_src), meta.class_name))
    obj = cls.__new__(cls)
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(meta.state)
    else:
        vars(obj).update(meta.state)
    return obj


PUBLIC = {f.__name__: f for f in (persistent_class, is_persistent, import_hook, _reconstruct_persistent_obj)}
