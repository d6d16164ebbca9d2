"""From a sampler's name and settings to the sampler, with the atlas, volumes, weights or critic that it needs."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import numpy as np

from dnnlib_compat.companions import companion, companion_path
from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas.build import MIN_SPEARMAN
from latent_plugins.atlas.settings import PREDICTED, WITH_BASIS, AtlasError, make_settings
from latent_plugins.atlas.together import cached_atlas
from latent_plugins.importance.weights import rho_for_json
from latent_plugins.priors import WITH_RADIUS, base_measure
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.options import (
    ATLAS,
    VOLUME,
    check_options,
    method_keyword,
    needs_of,
    own_settings,
    settings_among,
    settings_of,
)
from latent_plugins.samplers.registry import available_filters, create_sampler, filters_and_base
from latent_plugins.samplers.volumes import Volumes
from latent_plugins.spaces import canonical_space, check_space, default_space, is_feature_space
from latent_plugins.volume.defaults import default_candidates, paper_top_k
from latent_plugins.watching import SILENT, ArgumentError

if TYPE_CHECKING:
    from typing import Any

    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.samplers.base import Sampler
    from latent_plugins.watching import Watch

DEFAULTS = dict(precision="float32", compile=False, min_spearman=MIN_SPEARMAN)
SHORTAGE = "{needed} latents are more than the {candidates} candidates of an atlas of this size"


def sampler(
    name: str,
    generator: Generator,
    *,
    rho: float | None = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    label: int | None = None,
    atlas_seed: int = 0,
    advice: dict[str, Any] | None = None,
    watch: Watch = SILENT,
    **options: Any,
) -> Sampler:
    """The sampler called `name` for a Generator, with what it needs: a Sampler.

    name: one of `samplers()`, or filters and a name, as in `jbt+polarity`. rho: polarity, of the samplers that have
    one. psi, cutoff: truncation of the images, which volumes and filters of images depend on. label: the only class
    wanted of a conditional generator (None: all). atlas_seed: of the candidates, where an atlas is built; advice:
    settings that are followed where nothing else is said, by default those that the catalogue recommends; watch: a
    Watch that hears of progress.

    options: settings of the sampler and its filters (`settings_of`); of samplers that choose candidates `atlas` (an
    Atlas or the path of one; None: one is built and cached) with `candidates`, `basis`, `labels`, `min_spearman`;
    of all that weigh volumes `space`, `top_k`, `domain`, `base` (`prior`, or with a `radius` `uniform`, `ball`,
    `normal`: the law that volumes reweight), `method` with its settings, `precision`, `compile`, `detector`, `layer`,
    `max_memory`; `weights` (TrainedWeights or a path) of latent reweighting; `critic` (a callable
    images → scores) of the samplers that ask one. None is a default.

    Raises ValueError for an unknown name, options that the sampler does not have, values out of range, or what is
    missing; AtlasError for an atlas that does not fit.

    >>> import latent_plugins as lp
    >>> lp.sampler("truncated-normal", lp.load("mnist32"), threshold=1.0).draw([0]).z.shape
    torch.Size([1, 64])
    """
    check_options(name, options, rho)
    if advice is None:
        advice = catalogue().get(getattr(generator, "source", None), {}).get("recommended")
    recipe = Recipe(generator, name, options, cutoff=cutoff, label=label, advice=advice, watch=watch)
    return recipe.make(rho, psi, atlas_seed)[0]


RATIO_LOSS = "logistic"  # the loss of critics whose scores are log density ratios


class Recipe:
    """Makes the samplers of one name for a generator; atlases are found or built once.

    options: as for `sampler`. advice: the recommended settings of the network's catalogue entry. source: the network's
    name or file; what the catalogue says to come with it, or a discriminator in the file, serves samplers that need
    weights or a critic and are given none. label: the only class wanted;
    needed: how many latents are drawn from an atlas; shortage: text for too few candidates without replacement, with
    {needed} and {candidates}; per_sample: candidates for each of them where nobody gave a number and they are cheap;
    largest: the largest `candidates` and `top_k` that `varied` will be asked for, so that one atlas serves all.
    """

    def __init__(
        self, generator, name, options, *, cutoff=None, label=None, advice=None, source=None, needed=1,
        shortage=SHORTAGE, per_sample=0, largest=None, watch=SILENT,
    ):  # fmt: skip
        self.generator, self.name, self.watch, self.largest = generator, name, watch, largest or {}
        self.source = getattr(generator, "source", None) if source is None else source
        self.options = DEFAULTS | {key: value for key, value in options.items() if value is not None}
        self.filters, self.sampler_class = filters_and_base(name)
        self.advice = usable_advice(generator, advice or {})
        self.cutoff, self.needed, self.shortage = cutoff, needed, shortage
        self.label, self.per_sample = label, per_sample
        self._found, self._built = {}, {}

    def varied(self, options):
        """The Recipe of the same sampler with some options changed; they share their atlases."""
        if not options:
            return self
        twin = copy.copy(self)
        twin.options = self.options | options
        return twin

    def make(self, rho, psi, atlas_seed=0):
        """(sampler, {name: value} that describes it) for a polarity (None: the recommended one) and truncation psi.

        atlas_seed: of the candidates, where an atlas is built. Whatever can be refused is refused before that.
        """
        sampler, described = self._base(rho, psi, atlas_seed)
        if self.filters:
            sampler = FilterSampler(self.generator, sampler, [self._filter(each, psi) for each in self.filters])
        described = sampler.record() | described
        described.pop("sampler")
        return sampler, {key: value for key, value in described.items() if value is not None}

    def _filter(self, name, psi):
        """The filter that stands before the base sampler."""
        cls = available_filters()[name]
        made = settings_among(cls, self.options)
        if Needs.TRUNCATION in cls.needs:
            made |= dict(psi=psi, cutoff=self.cutoff)
        if Needs.WEIGHTS in cls.needs:
            made["weights"] = opened_weights(self._weights())
        return cls.make(self.generator, **made)

    def _base(self, rho, psi, atlas_seed):
        needs, own, described = self.sampler_class.needs, settings_among(self.sampler_class, self.options), {}
        if self.sampler_class.truncates:
            own["psi"] = psi
        if Needs.TRUNCATION in needs:
            own |= dict(psi=psi, cutoff=self.cutoff)
        if self._weights() is not None:
            described["weights"] = named(self._weights())
        if Needs.CANDIDATES in needs:
            sampler, more = self._on_atlas(rho, psi, own, atlas_seed)
            return sampler, described | more
        if Needs.VOLUME in needs:
            space = canonical_space(self.options.get("space") or self.advice["space"])
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space))
            own["volumes"] = self._volumes(space, psi)
            own["domain"] = self._law()
        if Needs.WEIGHTS in needs:
            own["weights"] = opened_weights(self._weights())
        if Needs.CRITIC in needs:
            own["critic"], described["critic"] = self._critic()
        return create_sampler(self.sampler_class.name, self.generator, **own), described

    def _on_atlas(self, rho, psi, own, atlas_seed):
        has_rho, chosen = "rho" in self.sampler_class.Settings.described(), None
        if has_rho and (self.options.get("atlas") is None or rho is not None):
            space = canonical_space(self.options.get("space") or self.advice["space"])
            chosen = choose_rho(self.name, rho, advice_for(self.advice, space))
        extremes = chosen is not None and bool(np.isinf(chosen))
        key = psi, atlas_seed, extremes, self.options.get("candidates"), self.options.get("top_k")
        if key not in self._found:
            self._found[key] = self._find_atlas(psi, atlas_seed, extremes)
        atlas, space = self._found[key]
        if has_rho:
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space)) if chosen is None else chosen
        top_k = choose_top_k(self.options.get("top_k"), self.advice, atlas, space, self.generator.family)
        if own.get("true_volumes") is not None:
            if not atlas.predicted:
                text = "`true_volumes` is for an atlas of predicted volumes; this one's are computed"
                raise ArgumentError(text)
            self.watch.say(f"Computing the true volumes of {own['true_volumes']} candidates...")
        sampler = create_sampler(self.sampler_class.name, self.generator, atlas=atlas, top_k=top_k, **own)
        found = smallest_sample_size(sampler, self.label)
        self.watch.say(f"{sampler.name}, rho {sampler.rho:g}, top-k {sampler.top_k}: {found}")
        figures = dict(rho=rho_for_json(sampler.rho), ess=found.effective_sample_size)
        if atlas.settings is None:
            figures["candidates"] = found.candidates
        elif found.candidates != atlas.settings.candidates:
            figures["usable_candidates"] = found.candidates
        given = self.options.get("atlas")
        return sampler, dict(figures, space=space, atlas=None if given is None else named(given))

    def _find_atlas(self, psi, seed, extremes):
        """(atlas, space) for a truncation psi: the one given, or a cached one, built on first use.

        extremes: whether its candidates are taken in the order of their volumes. Where none is drawn twice there must
        be as many as latents.
        """
        options = self.options
        atlas, space = given_atlas(options.get("atlas"), self.advice, options.get("space"), psi, self.cutoff)
        if atlas is None:
            made = self._settings(space, psi)
            if made["candidates"] is None and space == "z:w" and self.per_sample:
                each = 1 if extremes else self.per_sample
                made["candidates"] = max(default_candidates(space), each * self.needed)
            wanted = made["candidates"]
            if wanted is not None:
                made["candidates"] = max(wanted, self.largest.get("candidates", wanted))
            top_k = options.get("top_k")
            top_k = top_k and max(top_k, self.largest.get("top_k", top_k))
            settings = settings_for(self.generator, top_k, self.advice, seed=seed, **made)
            wanted = settings.candidates if wanted is None else wanted
            if (extremes or options.get("without_replacement")) and wanted < self.needed:
                text = self.shortage.format(needed=self.needed, candidates=wanted)
                raise ArgumentError(f"{text}: give more `candidates`")
            if settings not in self._built:  # in style space, truncation changes nothing
                self._built[settings] = cached_atlas(self.generator, settings, options["min_spearman"], self.watch)
            atlas = self._built[settings].first(wanted)
        return atlas, space

    def _settings(self, space, psi):
        """Keyword arguments of make_settings."""
        names = set(VOLUME + ATLAS) - {"space", "top_k", "atlas", "min_spearman"}
        classes = None if self.label is None else (self.label,)
        taken = settings_of(self.name)
        made = {name: None if name in taken else self.options.get(name) for name in names}
        own = {each: self.options.get(method_keyword(each, taken)) for each in own_settings(made["method"])}
        return made | own | dict(space=space, psi=psi, cutoff=self.cutoff, classes=classes)

    def _volumes(self, space, psi):
        """The Volumes of samplers that compute them as they go."""
        top_k = self.options.get("top_k")
        made = self._settings(space, psi) | dict(candidates=1, basis=None, labels=None)
        settings = make_settings(self.generator, top_k=top_k, **made)
        usual = advice_for(self.advice, space).get("top_k", paper_top_k(space, self.generator.family))
        counted = lambda volume: self.watch.counted(volume, "volumes")  # noqa: E731
        return Volumes(self.generator, settings, top_k or min(usual, settings.top_k), counted=counted)

    def _law(self):
        """The Prior that volumes reweight, or a domain's name; None for what suits the network."""
        base, radius = self.options.get("base"), self.options.get("radius")
        if base not in WITH_RADIUS:
            return self.options.get("domain")
        return base_measure(base, self.generator.z_dim, 1.0 if radius is None else radius)

    def _weights(self):
        """The trained weights given, else those that come with the network, where any are needed; or None."""
        given = self.options.get("weights")
        wanted = given is None and Needs.WEIGHTS in needs_of(self.name)
        return companion(self.source, "weights") if wanted else given

    def _critic(self):
        """(critic, its name): the one given, that of the weights, or the discriminator that comes with the network.

        The latter is one of its own in the catalogue, or in the network's own file.
        """
        if self.options.get("critic") is not None:
            return self.options["critic"], named(self.options["critic"])
        given = self.options.get("weights")
        if given is not None:
            from latent_plugins.reweighting.critic_training import is_critic_file, open_critic

            if is_path(given) and is_critic_file(path := companion_path(given)):
                critic, loss = open_critic(path, self.generator)
                self._check_scores(given, loss)
                return critic, named(given)
            weights = opened_weights(given)
            weights.check_network(self.generator)
            self._check_scores(weights.path, weights.schedule.get("critic_loss", "wasserstein"))
            return weights.critic, named(given)
        try:
            if self.source is None:
                raise ValueError("its file is not known")
            file = companion(self.source, "discriminator") or self.source
            critic = load_network(file, key="D", device=next(self.generator.parameters()).device)
        except ValueError as error:
            raise ArgumentError(
                f"the sampler {self.name} needs a critic: give `weights`=FILE (made by train_weights), or a network "
                f"file with its discriminator ({error})"
            ) from None
        self._check_scores(file, getattr(critic, "released_loss", None), own=True)
        return critic, file

    def _check_scores(self, path, loss, own=False):
        """Warn where scores are taken as log density ratios and the critic's loss gave them no such scale.

        own: whether the critic came with the network."""
        if self.sampler_class.takes_ratios and loss not in (RATIO_LOSS, None):
            text = f"{self.name} takes a critic's scores as log density ratios, but those of {path} come from "
            text += f"the loss {loss}, which gives them no scale: the draws are not what {self.name} stands for. Train "
            text += "one with train_critic"
            text += "" if own else ", or leave --weights out where a discriminator comes with the network"
            warnings.warn(text, stacklevel=2)


def is_path(thing):
    """Whether something stands for a file."""
    return isinstance(thing, str) or hasattr(thing, "__fspath__")


def opened_weights(weights):
    """TrainedWeights of a path or `embedded:FILE`, or what is no path as it is."""
    if not is_path(weights):
        return weights
    from latent_plugins.reweighting.weight_files import load_weights  # its networks' classes are torch's

    return load_weights(companion_path(weights))


def named(thing):
    """What stands for an object in records: its path where it has one."""
    path = thing if is_path(thing) else getattr(thing, "path", None)
    return str(path) if path is not None else type(thing).__qualname__


def given_atlas(atlas, advice, space, psi, cutoff):
    """(Atlas or None, canonical space): the space asked for, else the atlas's, else the advised. atlas: or its path."""
    if atlas is not None:
        atlas = checked_atlas(atlas, space, psi, cutoff)
        space = space or (atlas.settings and atlas.settings.space)
    return atlas, canonical_space(space or advice["space"])


def checked_atlas(atlas, space, psi, cutoff):
    """An Atlas, or the one at a path. Raises AtlasError when it is of another space than the one asked for."""
    if is_path(atlas):
        atlas = open_atlas(atlas)
    made = atlas.settings
    if made is None:
        return atlas
    if space is not None and canonical_space(space) != made.space:
        raise AtlasError(f"{atlas.path}: an atlas of the space {made.space}, not {canonical_space(space)}")
    if made.space != "z:w" and (made.psi, made.cutoff) != (psi, cutoff):
        built = f"psi {made.psi:g}, cutoff {made.cutoff}"
        text = f"the volumes of {atlas.path} were computed with truncation {built}; the images have other"
        warnings.warn(text, stacklevel=2)
    return atlas


def choose_top_k(top_k, advice, atlas, space, family):
    """The top-k asked for, else the one that an atlas predicts, else the recommended one, else the papers'."""
    if atlas.predicted:
        return top_k or atlas.top_k
    return top_k or min(advice_for(advice, space).get("top_k", paper_top_k(space, family)), atlas.top_k)


def choose_rho(name, rho, advice):
    """The rho given, or the recommended one; ValueError without either."""
    if rho is None and advice.get("sampler") == "polarity":
        rho = advice.get("rho")
    if rho is None:
        raise ArgumentError(f"the sampler {name} needs `rho`: below 0 to modes, above 0 to anti-modes, e.g. `rho`=0.1")
    return rho


def smallest_sample_size(sampler, label=None):
    """The Degeneracy of a sampler's weights; of several classes, that with the smallest effective sample size."""
    labels = [label] if label is not None else sampler.atlas.classes or [None]
    return min(map(sampler.degeneracy, labels), key=lambda found: found.effective_sample_size)


def advice_for(advice, space):
    """The part of `usable_advice` that is for a canonical space; {} when there is none."""
    return advice if advice["space"] == space else advice.get("other_spaces", {}).get(space, {})


def usable_advice(generator, advice):
    """The recommended settings of a catalogue entry, with a canonical `space`, as far as they can be followed.

    Those for a feature space, too costly to be taken unasked, or for one that the network does not have, are left out.
    """
    try:
        advised = check_space(generator, advice["space"])
    except (ValueError, KeyError):
        advised = None
    if advised is None or is_feature_space(advised):
        return dict(space=default_space(generator))
    others = {canonical_space(name): part for name, part in advice.get("other_spaces", {}).items()}
    return dict(advice, space=advised, other_spaces=others)


def settings_for(generator, top_k, advice, **settings):
    """AtlasSettings that store at least `top_k` singular values. Raises ValueError beyond the rank."""
    advised = advice_for(advice, settings["space"]).get("top_k")
    if settings["method"] in PREDICTED:  # volumes of one top-k: the one that will be asked for
        top_k = top_k or advised
    usual = make_settings(generator, **settings)
    if usual.method in WITH_BASIS and not usual.predicted:  # each value that is stored costs a product a candidate
        top_k = top_k or min(advised or paper_top_k(usual.space, generator.family), usual.top_k)
        return make_settings(generator, top_k=top_k, **settings)
    return usual if top_k is None or top_k <= usual.top_k else make_settings(generator, top_k=top_k, **settings)
