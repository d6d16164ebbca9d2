"""Finding methods by name: those of this package, those that are registered, and those of installed packages."""

from collections.abc import Mapping

from dnnlib_compat.installed import entry_points
from latent_plugins.volume.spectrum.exact import Exact
from latent_plugins.volume.spectrum.method import NUMBERS, RESERVED, Method
from latent_plugins.volume.spectrum.projected import Projected
from latent_plugins.volume.spectrum.shared import Shared
from latent_plugins.volume.spectrum.subspace import Subspace


class Registry(Mapping):
    """{name: class} of methods; those of entry points are imported when they are asked for.

    base: what every one is a subclass of; group: of the entry points, whose names are those of their methods.
    """

    def __init__(self, base, group, builtin):
        self.base, self.group, self._classes = base, group, {}
        for each in builtin:
            self.register(each)

    def register(self, method):
        """Add a method class, and return it. Raises ValueError for one that does not describe itself rightly."""
        check_method(method, self.base)
        known = self._classes.setdefault(method.name, method)
        if known is not method:
            raise ValueError(f"there is a method {method.name!r} already, {known.__module__}.{known.__qualname__}")
        return method

    @property
    def loaded(self):
        """The classes that are imported already."""
        return list(self._classes.values())

    def entry_points(self):
        """{name: entry point} of installed packages, without names that are taken."""
        found = entry_points(self.group)
        return {entry.name: entry for entry in found if entry.name not in self._classes}

    def __getitem__(self, name):
        if name not in self._classes:
            entry = self.entry_points()[name]
            try:
                method = entry.load()
                if getattr(method, "name", None) != name:
                    raise ValueError(f"it has the name {getattr(method, 'name', None)!r}")
                self.register(method)
            except Exception as error:  # anything may be wrong with somebody else's package
                raise ValueError(f"the method {name!r} of {entry.value} cannot be used ({error})") from None
        return self._classes[name]

    def __contains__(self, name):
        return isinstance(name, str) and (name in self._classes or name in self.entry_points())

    def __iter__(self):
        return iter([*self._classes, *self.entry_points()])

    def __len__(self):
        return len(list(iter(self)))


def check_method(method, base):
    """Raise ValueError for a class that is no method, or whose settings stand in the way of others."""
    if not (isinstance(method, type) and issubclass(method, base)):
        raise ValueError(f"{method!r:.80} is no subclass of {base.__name__}")
    if not (isinstance(method.name, str) and method.name.replace("-", "_").isidentifier() and method.help):
        raise ValueError(f"{method.__qualname__} needs a name (letters, digits, dashes) and a help")
    settings = method.Settings.described()
    for each in settings.values():
        if each.name in RESERVED:
            raise ValueError(f"the method {method.name} cannot have a setting {each.name!r}: the name is taken")
        if each.name in NUMBERS and each.kind is not int:
            raise ValueError(f"the setting {each.name!r} of the method {method.name} must be a whole number")
    if method.with_basis and not {"basis", "labels"} <= settings.keys():
        raise ValueError(f"the method {method.name} learns a basis, so it needs the settings basis and labels")


METHODS = Registry(Method, "latent_plugins.methods", (Exact, Projected, Subspace, Shared))
