"""All methods of volumes by name: of singular values and of predictors."""

from latent_plugins.volume.predictor.methods import PREDICTORS, Predictor
from latent_plugins.volume.spectrum.registry import METHODS

PREDICTED = PREDICTORS  # names of methods whose volumes a predictor gives


class _WithBasis:
    """The names of the methods that learn a basis, as a collection."""

    def __contains__(self, name):
        return is_method(name) and method_class(name).with_basis

    def __iter__(self):
        return (name for name in method_names() if method_class(name).with_basis)


WITH_BASIS = _WithBasis()


def method_names():
    """The names of all methods: first those of singular values."""
    return [*METHODS, *PREDICTORS]


def is_method(name):
    """Whether there is a method of this name."""
    return name in METHODS or name in PREDICTORS


def method_class(name):
    """The class of a method. Raises ValueError with the known names."""
    for registry in (METHODS, PREDICTORS):
        if name in registry:
            return registry[name]
    raise ValueError(f"unknown spectrum method {name!r}; known methods: {', '.join(method_names())}")


def register(method):
    """Add a Method or Predictor class of another package, and return it; see `latent_plugins.volume.spectrum.register`.

    Raises ValueError for a name that is taken, or settings that stand in the way of others.
    """
    predicted = isinstance(method, type) and issubclass(method, Predictor)
    other = METHODS if predicted else PREDICTORS
    if getattr(method, "name", None) in other:
        raise ValueError(f"there is a method {method.name!r} already")
    return (PREDICTORS if predicted else METHODS).register(method)
