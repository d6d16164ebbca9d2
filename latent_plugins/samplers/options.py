"""Which options a sampler of a name takes, and whether those given will do: known before anything is opened."""

from __future__ import annotations

from dnnlib_compat.companions import companion
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.registry import available_filters, filters_and_base
from latent_plugins.spaces import canonical_space
from latent_plugins.volume.methods import PREDICTED, WITH_BASIS, is_method, method_class
from latent_plugins.volume.spectrum.method import NUMBERS
from latent_plugins.watching import ArgumentError

# What a recipe takes besides the settings of samplers and filters, by what needs it.
VOLUME = ("space", "top_k", "domain", "base", "radius", "method", "projection", "oversample", "iterations")
VOLUME += ("precision", "compile", "detector", "layer", "max_memory")
ATLAS = ("atlas", "candidates", "basis", "labels", "min_spearman")
WEIGHTS = ("weights",)
CRITIC = ("critic",)


def settings_of(name):
    """{setting's name: Setting} of a sampler and the filters before it, rho aside.

    Raises ValueError for an unknown name.
    """
    filters, base = filters_and_base(name)
    found = {}
    for each in [*(available_filters()[part] for part in filters), base]:
        found |= each.Settings.described()
    found.pop("rho", None)
    return found


def needs_of(name):
    """The Needs of a sampler and the filters before it."""
    filters, base = filters_and_base(name)
    needs = base.needs
    for each in filters:
        needs |= available_filters()[each].needs
    return needs


# What the needs of samplers are met from.
OPTIONS = {
    Needs.CANDIDATES: VOLUME + ATLAS,
    Needs.VOLUME: VOLUME,
    Needs.WEIGHTS: WEIGHTS,
    Needs.CRITIC: WEIGHTS + CRITIC,
    Needs.TRUNCATION: (),
}


def options_of(name, method=None):
    """The names of the options that a sampler of this name takes, rho among them where it has one."""
    needs, own = needs_of(name), settings_of(name)
    _, base = filters_and_base(name)
    found = {*own, *(["rho"] if "rho" in base.Settings.described() else [])}
    found = found.union(*(OPTIONS[each] for each in OPTIONS if each in needs))
    if needs & (Needs.CANDIDATES | Needs.VOLUME):
        found |= {method_keyword(each, own) for each in own_settings(method)}
    return found


def own_settings(method):
    """{name: Setting} of a method beyond NUMBERS; nothing of None and of unknown names."""
    if method is None or not is_method(method):
        return {}
    known = method_class(method).Settings.described()
    return {name: each for name, each in known.items() if name not in (*NUMBERS, "min_spearman")}


def method_keyword(name, taken):
    """The keyword of a method's setting among a recipe's options. taken: keywords of the sampler's own settings."""
    return f"method_{name}" if name in taken else name


def check_options(name, options, rho=None, source=None):
    """Raise ValueError for options that a sampler of this name does not have, that it lacks, or that are out of range.

    Before any work: nothing is opened for it. source: the network's name, as of a Recipe.
    """
    allowed = options_of(name, options.get("method"))
    unknown = [each for each in options if each not in allowed and options[each] is not None]
    if unknown:
        raise ArgumentError(
            f"the sampler {name} has no option `{unknown[0]}`; its options: {', '.join(sorted(allowed))}"
        )
    if rho is not None and "rho" not in allowed:
        raise ArgumentError(f"the sampler {name} has no `rho`; leave it out")
    filters, base = filters_and_base(name)
    if options.get("space") is not None:
        canonical_space(options["space"])
    for thing in [*(available_filters()[each] for each in filters), base]:
        check_settings(name, thing, options, rho)
    weights = options.get("weights") or companion(source, "weights")
    if Needs.WEIGHTS in needs_of(name) and weights is None:
        raise ArgumentError(f"the sampler {name} needs `weights`=FILE: make them with train_weights")
    if Needs.VOLUME in base.needs and options.get("method") in (*WITH_BASIS, *PREDICTED):
        raise ArgumentError(
            f"`method`={options['method']} needs an atlas; the sampler {name} takes exact, projected or subspace"
        )


def check_settings(name, thing, options, rho):
    """Raise ValueError for settings of a sampler or filter class among options that it lacks or that do not go."""
    own, known = settings_among(thing, options), thing.Settings.described()
    missing = [each.name for each in known.values() if each.required and each.name != "rho" and each.name not in own]
    if missing:
        raise ArgumentError(f"the sampler {name} needs `{missing[0]}`")
    if "rho" in known:
        if rho is None:
            return  # the recommended one, which a network's entry has
        own["rho"] = rho
    thing.Settings(**own)


def settings_among(thing, options):
    """{keyword: value} of a sampler's or filter's settings among options, rho aside; what is None is a default."""
    names = [name for name in thing.Settings.described() if name != "rho"]
    return {name: options[name] for name in names if options.get(name) is not None}
