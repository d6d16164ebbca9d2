"""A report on a generator's geometry: one section a file, each a function of the subject.

A section returns facts, plain numbers under names that say what they are, and figures that are yet to be drawn.
"""

import importlib

from latent_plugins.lazy_names import lazy_names

# The sections in their order: each a function of this name in a module of this name.
SECTIONS = (
    "partition",
    "dimension",
    "dropout",
    "entropy",
    "disentanglement",
    "angularity",
    "lipschitz",
    "inversion",
    "latent_classes",
    "jacobian_norms",
    "precision_bounds",
    "concentration",
)
# Which sections need MaGNET samples, and which compare with real images, by a classifier where there is one.
NEED_SAMPLER = ("lipschitz", "concentration")
NEED_REAL = ("latent_classes", "jacobian_norms", "precision_bounds", "concentration")

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(["DECENT", "QUICK"], f"{__name__}.sizes")
    | dict.fromkeys(["Figure", "Section", "Subject"], f"{__name__}.subject"),
)

__all__ = [
    "DECENT",
    "NEED_REAL",
    "NEED_SAMPLER",
    "QUICK",
    "SECTIONS",
    "Figure",
    "Section",
    "Subject",
    "choose",
    "section",
]


def choose(names):
    """The names of sections in `names`, separated by commas, in the order of SECTIONS; None: all of them.

    Raises ValueError for an unknown name.
    """
    if names is None:
        return list(SECTIONS)
    wanted = [name.strip().replace("-", "_") for name in names.split(",")]
    for name in wanted:
        if name not in SECTIONS:
            raise ValueError(f"unknown section {name!r}; known sections: {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in wanted]


def section(name):
    """The function of a section: Subject → Section, or None where there is nothing to say."""
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)
