"""The families of networks by their short names: those of this package, and those that installed packages add.

A package adds one by an entry point of the group `latent_plugins.families` with the family's name, which loads to a
subclass of Generator (mostly of LatentGenerator) whose constructor takes its `init_kwargs`. `convert` and `--network`
then know its files; with `recognises` and `convert` it also has published files of its own, see `converted`.
"""

import warnings
from collections.abc import Mapping

from dnnlib_compat.installed import entry_points
from dnnlib_compat.networks.biggan import BigGANGenerator
from dnnlib_compat.networks.biggan_deep import BigGANDeepGenerator, BigGANDeepHFGenerator
from dnnlib_compat.networks.dcgan import DCGANGenerator
from dnnlib_compat.networks.discriminator import ProGANDiscriminator, StyleGAN2Discriminator
from dnnlib_compat.networks.image_critic import ImageCritic
from dnnlib_compat.networks.nvae import NVAEGenerator
from dnnlib_compat.networks.progan import ProGANGenerator
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator

CLASSES = (
    StyleGAN2Generator,
    StyleGAN3Generator,
    ProGANGenerator,
    BigGANGenerator,
    BigGANDeepGenerator,
    BigGANDeepHFGenerator,
    NVAEGenerator,
    DCGANGenerator,
    StyleGAN2Discriminator,
    ProGANDiscriminator,
    ImageCritic,
)
ENTRY_POINTS = "latent_plugins.families"


class Families(Mapping):
    """{short name: class}; those of other packages are imported when they are asked for."""

    def __init__(self, classes):
        self._builtin = {cls.family: cls for cls in classes}

    def add(self, *classes):
        """Have this process know `classes` too, by the name in their `family`: for a program's own networks."""
        self._builtin.update({cls.family: cls for cls in classes})

    def added(self):
        """{name: entry point} of installed packages, without names that are taken."""
        found = entry_points(ENTRY_POINTS)
        return {entry.name: entry for entry in found if entry.name not in self._builtin}

    def __getitem__(self, name):
        return self._builtin[name] if name in self._builtin else self.added()[name].load()

    def __contains__(self, name):
        return name in self._builtin or name in self.added()

    def __iter__(self):
        return iter([*self._builtin, *self.added()])

    def __len__(self):
        return len(list(iter(self)))


FAMILIES = Families(CLASSES)


def converted(tensors, path):
    """(class, keyword arguments, state dict) by a family of another package whose `recognises(tensors)` is true.

    Its `convert(tensors, path)` gives (keyword arguments, state dict). tensors: {name: tensor} of a checkpoint. None
    where no family knows them; a package that fails is left out with a warning.
    """
    for name, entry in FAMILIES.added().items():
        try:
            family = entry.load()
            if hasattr(family, "recognises") and family.recognises(tensors):
                return family, *family.convert(tensors, path)
        except Exception as error:  # whatever is wrong with somebody else's package, the others work
            warnings.warn(f"the family {name!r} of {entry.value} fails and is left out ({error})", stacklevel=3)
    return None
