"""A report on a generator's geometry: one section a file, each a function of the subject.

A section returns facts, plain numbers under names that say what they are, and figures that are yet to be drawn.
"""

from latent_plugins.geometry.report.angularity import angularity
from latent_plugins.geometry.report.concentration import concentration
from latent_plugins.geometry.report.dimension import dimension
from latent_plugins.geometry.report.disentanglement import disentanglement
from latent_plugins.geometry.report.entropy import entropy
from latent_plugins.geometry.report.inversion import inversion
from latent_plugins.geometry.report.latent_classes import latent_classes
from latent_plugins.geometry.report.lipschitz import lipschitz
from latent_plugins.geometry.report.partition import partition
from latent_plugins.geometry.report.subject import DECENT, QUICK, Figure, Section, Subject

SECTIONS = {
    "partition": partition,
    "dimension": dimension,
    "entropy": entropy,
    "disentanglement": disentanglement,
    "angularity": angularity,
    "lipschitz": lipschitz,
    "inversion": inversion,
    "latent_classes": latent_classes,
    "concentration": concentration,
}
# Which sections need MaGNET samples, and which compare with real images, by a classifier where there is one.
NEED_SAMPLER = ("lipschitz", "concentration")
NEED_REAL = ("latent_classes", "concentration")

__all__ = ["DECENT", "NEED_REAL", "NEED_SAMPLER", "QUICK", "SECTIONS", "Figure", "Section", "Subject", "choose"]


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
