"""Finding samplers by name: those of this package, and those that installed packages add."""

import warnings

from dnnlib_compat.installed import entry_points
from latent_plugins.samplers.baseline import BaselineSampler
from latent_plugins.samplers.chain import PCNSampler
from latent_plugins.samplers.dot import DOTSampler
from latent_plugins.samplers.drs import DRSSampler
from latent_plugins.samplers.jbt import JBTFilter, JBTSampler
from latent_plugins.samplers.mh import MHSampler
from latent_plugins.samplers.polarity import MagnetSampler, PolaritySampler
from latent_plugins.samplers.population import OnlineSampler, RejectionSampler, SMCSampler
from latent_plugins.samplers.prior import PriorSampler, TruncationSampler
from latent_plugins.samplers.reweighted import LatentGASampler, LatentRSGASampler, LatentRSSampler
from latent_plugins.samplers.simplicial import SimplicialSampler
from latent_plugins.samplers.simplicial_filter import SimplicialFilter
from latent_plugins.samplers.sir import SIRSampler
from latent_plugins.samplers.truncated import TruncatedNormalSampler
from latent_plugins.samplers.weight_filter import WeightFilter

ENTRY_POINTS = "latent_plugins.samplers"
FILTER_ENTRY_POINTS = "latent_plugins.filters"
BUILTIN = (
    PriorSampler,
    TruncationSampler,
    TruncatedNormalSampler,
    BaselineSampler,
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

FILTERS = (JBTFilter, SimplicialFilter, WeightFilter)


def available_samplers():
    """{name: class} of the built-in samplers and of those that installed packages add.

    A third party adds one by an entry point in the group `latent_plugins.samplers` that loads to a Sampler class.
    """
    return available(BUILTIN, ENTRY_POINTS)


def available_filters():
    """{name: class} of the built-in filters and of those that installed packages add.

    A third party adds one by an entry point in the group `latent_plugins.filters` that loads to a Filter class.
    """
    return available(FILTERS, FILTER_ENTRY_POINTS)


def available(builtin, group):
    """{name: class} of built-in classes and of an entry point group, of which a built-in name stays what it is."""
    builtin, found = {cls.name: cls for cls in builtin}, {}
    for entry in entry_points(group):
        if entry.name in builtin:
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever is wrong with somebody else's package, the others work
            kind = group.rpartition(".")[2].removesuffix("s")
            text = f"the {kind} {entry.name!r} of {entry.value} fails to import and is left out ({error})"
            warnings.warn(text, stacklevel=3)
    return {**builtin, **found}


def filters_and_base(name):
    """([names of filters], class of the sampler that they filter) of a sampler's name: jbt+polarity, and so on.

    A filter that is no sampler by itself filters the prior. Raises ValueError for an unknown name.
    """
    samplers, known = available_samplers(), available_filters()
    if name in samplers:
        return [], samplers[name]
    parts = name.split("+")
    places = [i for i in range(1, len(parts)) if "+".join(parts[i:]) in samplers]  # names may have a + of their own
    filters, base = (parts[: places[0]], "+".join(parts[places[0] :])) if places else (parts, "prior")
    if len(set(filters)) < len(filters) or base in filters:
        raise ValueError(f"{name}: a filter stands there twice, which changes nothing; name it once")
    if not set(filters) <= set(known):
        raise ValueError(
            f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}; {', '.join(known)} may stand "
            "before another one, as in jbt+polarity"
        )
    return filters, samplers[base]


def create_sampler(name, generator, **options):
    """The sampler called `name` for a Generator. Options go to its constructor.

    Raises ValueError for an unknown name or options that the sampler refuses.
    """
    samplers = available_samplers()
    if name not in samplers:
        raise ValueError(f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}")
    return samplers[name](generator, **options)
