"""Finding samplers by name: those of this package, and those that installed packages add."""

import importlib.metadata
import warnings

from latent_plugins.samplers.chain import PCNSampler
from latent_plugins.samplers.dot import DOTSampler
from latent_plugins.samplers.drs import DRSSampler
from latent_plugins.samplers.jbt import JBTSampler
from latent_plugins.samplers.mh import MHSampler
from latent_plugins.samplers.polarity import MagnetSampler, PolaritySampler
from latent_plugins.samplers.population import OnlineSampler, RejectionSampler, SMCSampler
from latent_plugins.samplers.prior import PriorSampler, TruncationSampler
from latent_plugins.samplers.reweighted import LatentGASampler, LatentRSGASampler, LatentRSSampler
from latent_plugins.samplers.simplicial import SimplicialSampler
from latent_plugins.samplers.sir import SIRSampler
from latent_plugins.samplers.truncated import TruncatedNormalSampler

ENTRY_POINTS = "latent_plugins.samplers"
BUILTIN = (
    PriorSampler,
    TruncationSampler,
    TruncatedNormalSampler,
    SimplicialSampler,
    JBTSampler,
    MagnetSampler,
    PolaritySampler,
    PCNSampler,
    SMCSampler,
    RejectionSampler,
    OnlineSampler,
    LatentRSSampler,
    LatentGASampler,
    LatentRSGASampler,
    DRSSampler,
    MHSampler,
    SIRSampler,
    DOTSampler,
)


def available_samplers():
    """{name: class} of the built-in samplers and of those that installed packages add.

    A third party adds one by an entry point in the group `latent_plugins.samplers` that loads to a Sampler class.
    """
    builtin, found = {cls.name: cls for cls in BUILTIN}, {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in builtin:
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever is wrong with somebody else's package, the others work
            text = f"the sampler {entry.name!r} of {entry.value} fails to import and is left out ({error})"
            warnings.warn(text, stacklevel=2)
    return {**found, **builtin}


def create_sampler(name, generator, **options):
    """The sampler called `name` for a Generator. Options go to its constructor.

    Raises ValueError for an unknown name or options that the sampler refuses.
    """
    samplers = available_samplers()
    if name not in samplers:
        raise ValueError(f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}")
    return samplers[name](generator, **options)
