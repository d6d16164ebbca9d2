"""The sampler that a command's options describe: which atlas, weights or volume, which rho, which top-k."""

import warnings

import click
import numpy as np

from cli.atlases import cached_atlas
from cli.binding import (
    ATLAS,
    OPTIONS,
    VOLUME,
    WEIGHTS,
    check_method_options,
    given,
    method_keyword,
    needs_of,
    own_settings,
    settings_of,
)
from cli.options import apply_options
from cli.paths import FilePath
from cli.progress import Counted
from dnnlib_compat.loader import load_network
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas_settings import PREDICTED, WITH_BASIS, AtlasError, make_settings
from latent_plugins.defaults import default_candidates, paper_top_k
from latent_plugins.importance.weights import rho_for_json
from latent_plugins.reweighting.weight_files import load_weights
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.registry import available_filters, filters_and_base
from latent_plugins.samplers.volumes import Volumes
from latent_plugins.spaces import canonical_space, check_space, default_space, is_feature_space


def sampler_choice_options(rho=click.FLOAT):
    """The options that choose a sampler. rho: the type of --rho."""
    return apply_options(
        [
            click.option(
                "--sampler",
                "sampler_name",
                default="prior",
                show_default=True,
                metavar="NAME",
                help="Where latents come from: one of those that plain --help lists; filters may stand before it, as "
                "in jbt+polarity.",
            ),
            click.option(
                "--space",
                help="Whose volume counts: style, pixel, vgg, inception, features; from w on, w:pixel and so on.  "
                "[default: recommended, or style]",
            ),
            click.option(
                "--rho",
                type=rho,
                help="Polarity: below 0 to modes, above 0 to anti-modes; -inf and inf: the extremes in order.",
            ),
            click.option(
                "--top-k",
                type=click.IntRange(min=1),
                metavar="K",
                help="Singular values that make the volume.  [default: recommended]",
            ),
            click.option(
                "--atlas",
                "atlas_path",
                type=FilePath(),
                metavar="PATH",
                help="Atlas folder, or .npz of the papers' authors.  [default: a cached one]",
            ),
            click.option(
                "--weights",
                "weights_path",
                type=FilePath(),
                metavar="FILE",
                help="latentrs, latentga: trained weights; drs, mh, sir, dot: their critic.  [default: the network "
                "file's discriminator]",
            ),
        ]
    )


def check_sampler(name, **options):
    """The class of the sampler `name`, before any work is done.

    options: those of VOLUME, ATLAS, WEIGHTS and the sampler's settings, and rho. Raises ValueError for an unknown name
    or space, and a click error for options that the sampler would ignore, or that it lacks.
    """
    _, base = filters_and_base(name)
    if options["space"] is not None:
        canonical_space(options["space"])
    own, needs = settings_of(name), needs_of(name)
    allowed = set(own).union(["rho"] if "rho" in base.Settings.described() else [])
    allowed = allowed.union(*(OPTIONS[each] for each in OPTIONS if each in needs))
    if needs & (Needs.CANDIDATES | Needs.VOLUME):
        allowed |= {method_keyword(each, own) for each in own_settings(options.get("method"))}
    for option in sorted(each for each in options if given(each) and each not in allowed):
        raise click.ClickException(f"--{spelled(option)} has no effect with --sampler={name}; leave it out")
    made = {"candidates", "domain", "detector", "layer"} if options.get("atlas_path") is not None else set()
    for option in sorted(each for each in made if given(each)):
        raise click.ClickException(f"--{option} has no effect with --atlas, which has its own; leave it out")
    check_method_options(options.get("method"))
    missing = [each for each, setting in own.items() if setting.required and options.get(each) is None]
    if Needs.WEIGHTS in needs and options["weights_path"] is None:
        missing.append("weights_path")
    for option in sorted(missing):
        hint = "=FILE: make them with train_weights" if option == "weights_path" else ""
        raise click.ClickException(f"--sampler={name} needs --{spelled(option)}{hint}")
    return base


def complete(**given):
    """The options of SamplerMaker, those that a command does not have at None."""
    return dict.fromkeys(VOLUME + ATLAS + WEIGHTS) | given


def spelled(option):
    """An option as it is typed."""
    return option.removesuffix("_path").replace("_", "-")


class SamplerMaker:
    """Makes the samplers of a command for its network; atlases are found or built once.

    options: all of VOLUME, ATLAS and WEIGHTS, and the sampler's and filters' own settings. entry: the network's
    catalogue entry. label: the only class wanted;
    needed: how many latents are drawn from an atlas; shortage: text for too few candidates without replacement, with
    {needed} and {candidates}; per_sample: candidates for each of them where nobody gave a number and they are cheap.
    """

    def __init__(self, generator, source, entry, name, options, *, cutoff, needed, shortage, label=None, per_sample=0):
        self.generator, self.source, self.name, self.options = generator, source, name, options
        self.filters, self.sampler_class = filters_and_base(name)
        self.advice = usable_advice(generator, entry.get("recommended", {}))
        self.cutoff, self.needed, self.shortage = cutoff, needed, shortage
        self.label, self.per_sample = label, per_sample
        self._found, self._built = {}, {}

    def make(self, rho, psi, atlas_seed=0):
        """(sampler, what describes it) for a polarity (None: the recommended one) and truncation psi.

        atlas_seed: of the candidates, where an atlas is built. Whatever can be refused is refused before that.
        """
        sampler, described = self._base(rho, psi, atlas_seed)
        if self.filters:
            sampler = FilterSampler(self.generator, sampler, [self._filter(each, psi) for each in self.filters])
        described = sampler.record() | described
        described.pop("sampler")
        return sampler, {key: value for key, value in described.items() if value is not None}

    def _settings_of(self, thing):
        """{keyword: value} of a sampler's or filter's settings among the options, rho aside."""
        names = [name for name in thing.Settings.described() if name != "rho"]
        return {name: self.options[name] for name in names if name in self.options}

    def _filter(self, name, psi):
        """The filter that stands before the base sampler."""
        cls = available_filters()[name]
        made = self._settings_of(cls)
        if Needs.TRUNCATION in cls.needs:
            made |= dict(psi=psi, cutoff=self.cutoff)
        if Needs.WEIGHTS in cls.needs:
            made["weights"] = load_weights(self.options["weights_path"])
        return cls.make(self.generator, **made)

    def _base(self, rho, psi, atlas_seed):
        needs, own = self.sampler_class.needs, self._settings_of(self.sampler_class)
        if self.sampler_class.truncates:
            own["psi"] = psi
        if Needs.TRUNCATION in needs:
            own |= dict(psi=psi, cutoff=self.cutoff)
        if Needs.CANDIDATES in needs:
            return self._on_atlas(rho, psi, own, atlas_seed)
        described = {}
        if Needs.VOLUME in needs:
            space = canonical_space(self.options["space"] or self.advice["space"])
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space))
            own["volumes"] = self._volumes(space, psi)
            if self.options["domain"] is not None:
                own["domain"] = self.options["domain"]
        if self.options["weights_path"] is not None:
            described["weights"] = str(self.options["weights_path"])
        if Needs.WEIGHTS in needs:
            own["weights"] = load_weights(self.options["weights_path"])
        if Needs.CRITIC in needs:
            own["critic"], described["critic"] = self._critic()
        return create_sampler(self.sampler_class.name, self.generator, **own), described

    def _on_atlas(self, rho, psi, own, atlas_seed):
        chosen = None
        if "rho" in self.sampler_class.Settings.described():
            space = canonical_space(self.options["space"] or self.advice["space"])
            if self.options["atlas_path"] is None or rho is not None:
                chosen = choose_rho(self.name, rho, advice_for(self.advice, space))
        extra = [name for name in ("alpha", "pareto", "true_volumes") if self.options.get(name)]
        if chosen is not None and np.isinf(chosen) and extra:
            raise click.ClickException(
                f"--rho={chosen:g} takes candidates in the order of their volumes; leave out --{spelled(extra[0])}"
            )
        extremes = chosen is not None and bool(np.isinf(chosen))
        key = psi, atlas_seed, extremes
        if key not in self._found:
            self._found[key] = self._find_atlas(psi, atlas_seed, extremes)
        atlas, space = self._found[key]
        if "rho" in self.sampler_class.Settings.described():
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space)) if chosen is None else chosen
        top_k = choose_top_k(self.options["top_k"], self.advice, atlas, space, self.generator.family)
        sampler, described = sampler_on(
            self.generator, self.sampler_class.name, atlas, label=self.label, top_k=top_k, **own
        )
        path = self.options["atlas_path"]
        return sampler, dict(described, space=space, atlas=None if path is None else str(path))

    def _find_atlas(self, psi, seed, extremes):
        """(atlas, space) for a truncation psi: the one given, or a cached one, built on first use.

        extremes: whether its candidates are taken in the order of their volumes. Where none is drawn twice there must
        be as many as latents.
        """
        options = self.options
        atlas, space = given_atlas(options["atlas_path"], self.advice, options["space"], psi, self.cutoff)
        if atlas is None:
            made = self._settings(space, psi)
            if made["candidates"] is None and space == "z:w" and self.per_sample:
                each = 1 if extremes else self.per_sample
                made["candidates"] = max(default_candidates(space), each * self.needed)
            settings = settings_for(self.generator, options["top_k"], self.advice, seed=seed, **made)
            if (extremes or options.get("without_replacement")) and settings.candidates < self.needed:
                text = self.shortage.format(needed=self.needed, candidates=settings.candidates)
                raise ValueError(f"{text}: give more --candidates")
            if settings not in self._built:  # in style space, truncation changes nothing
                self._built[settings] = cached_atlas(self.generator, settings, options["min_spearman"])
            atlas = self._built[settings]
        return atlas, space

    def _settings(self, space, psi):
        """Keyword arguments of make_settings."""
        names = set(VOLUME + ATLAS) - {"space", "top_k", "atlas_path", "min_spearman"}
        classes = None if self.label is None else (self.label,)
        taken = settings_of(self.name)
        made = {name: None if name in taken else self.options.get(name) for name in names}
        made |= {each: self.options[method_keyword(each, taken)] for each in own_settings(self.options["method"])}
        return made | dict(space=space, psi=psi, cutoff=self.cutoff, classes=classes)

    def _volumes(self, space, psi):
        """The Volumes of samplers that compute them as they go."""
        made = self._settings(space, psi) | dict(candidates=1, basis=None, labels=None)
        if made["method"] in (*WITH_BASIS, *PREDICTED):
            raise click.ClickException(
                f"--method={made['method']} needs an atlas; --sampler={self.name} takes exact, projected or subspace"
            )
        settings = make_settings(self.generator, top_k=self.options["top_k"], **made)
        usual = advice_for(self.advice, space).get("top_k", paper_top_k(space, self.generator.family))
        top_k = self.options["top_k"] or min(usual, settings.top_k)
        return Volumes(self.generator, settings, top_k, counted=lambda volume: Counted(volume, "volumes"))

    def _critic(self):
        """(critic, its name): that of the weights file, else the discriminator in the network's own file."""
        path = self.options["weights_path"]
        if path is not None:
            weights = load_weights(path)
            weights.check_network(self.generator)
            return weights.critic, str(path)
        try:
            return load_network(self.source, key="D", device=next(self.generator.parameters()).device), self.source
        except ValueError as error:
            raise click.ClickException(
                f"--sampler={self.name} needs a critic: give --weights=FILE (made by train_weights), or a network file "
                f"with its discriminator ({error})"
            ) from None


def given_atlas(atlas_path, advice, space, psi, cutoff):
    """(atlas at `atlas_path` or None, canonical space): the space asked for, else the atlas's, else the advised."""
    atlas = None
    if atlas_path is not None:
        atlas = open_given_atlas(atlas_path, space, psi, cutoff)
        space = space or (atlas.settings and atlas.settings.space)
    return atlas, canonical_space(space or advice["space"])


def choose_top_k(top_k, advice, atlas, space, family):
    """The top-k asked for, else the one that an atlas predicts, else the recommended one, else the papers'."""
    if atlas.predicted:
        return top_k or atlas.top_k
    return top_k or min(advice_for(advice, space).get("top_k", paper_top_k(space, family)), atlas.top_k)


def sampler_on(generator, name, atlas, *, label, **options):
    """(sampler, what describes it) on an atlas; says how degenerate its weights are."""
    true_volumes = options.get("true_volumes")
    if true_volumes is not None and not atlas.predicted:
        raise click.ClickException("--true-volumes is for an atlas of predicted volumes; this one's are computed")
    sampler = create_sampler(name, generator, atlas=atlas, **options)
    if true_volumes is not None:
        click.echo(f"Computing the true volumes of {true_volumes} candidates...")
    found = smallest_sample_size(sampler, label)
    click.echo(f"{name}, rho {sampler.rho:g}, top-k {sampler.top_k}: {found}")
    return sampler, dict(rho=rho_for_json(sampler.rho), candidates=found.candidates, ess=found.effective_sample_size)


def smallest_sample_size(sampler, label=None):
    """The Degeneracy of a sampler's weights; of several classes, that with the smallest effective sample size."""
    labels = [label] if label is not None else sampler.atlas.classes or [None]
    return min(map(sampler.degeneracy, labels), key=lambda found: found.effective_sample_size)


def advice_for(advice, space):
    """The part of `usable_advice` that is for a canonical space; {} when it is for another one."""
    return advice if advice["space"] == space else {}


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
    return dict(advice, space=advised)


def settings_for(generator, top_k, advice, **settings):
    """AtlasSettings that store at least `top_k` singular values. Raises ValueError beyond the rank."""
    if settings["method"] in PREDICTED:  # volumes of one top-k: the one that will be asked for
        top_k = top_k or advice_for(advice, settings["space"]).get("top_k")
    usual = make_settings(generator, **settings)
    return usual if top_k is None or top_k <= usual.top_k else make_settings(generator, top_k=top_k, **settings)


def open_given_atlas(path, space, psi, cutoff):
    """The atlas at `path`. Raises AtlasError when it is of another space than the one asked for."""
    atlas = open_atlas(path)
    if atlas.settings is None:
        return atlas
    if space is not None and canonical_space(space) != atlas.settings.space:
        raise AtlasError(f"{path}: an atlas of the space {atlas.settings.space}, not {canonical_space(space)}")
    if atlas.settings.space != "z:w" and (atlas.settings.psi, atlas.settings.cutoff) != (psi, cutoff):
        built = f"psi {atlas.settings.psi:g}, cutoff {atlas.settings.cutoff}"
        warnings.warn(
            f"the volumes of {path} were computed with truncation {built}; the images have other", stacklevel=2
        )
    return atlas


def choose_rho(name, rho, advice):
    """The rho given, or the recommended one; a click error without either."""
    if rho is None and advice.get("sampler") == "polarity":
        rho = advice.get("rho")
    if rho is None:
        raise click.ClickException(
            f"--sampler={name} needs --rho: below 0 to modes, above 0 to anti-modes, e.g. --rho=0.1"
        )
    return rho


def say_report(sampler, latents):
    """Print what a sampler has to tell of its last draw: acceptance, diagnostics of chains, what came of weights."""
    text, effort = getattr(sampler, "report", None), getattr(sampler, "last_effort", None)
    if effort is not None:
        text = f"acceptance {effort.acceptance:.3g}, {1000 * effort.seconds_per_sample:.3g} ms a latent"
    if text:
        click.echo(text)
    if "distinct" in latents.report:
        click.echo(weighted_text(latents.report))


def weighted_text(report):
    """A weighted draw in words."""
    text = f"{report['distinct']} different candidates in {report['drawn']} rows"
    text += f", mean log-volume {report['drawn_log_volume']:.3f}"
    if "law_log_volume" in report:
        text += f" where the weights ask for {report['law_log_volume']:.3f}"
    if "effective_rho" in report:
        text += f", that of rho {report['effective_rho']:.3g}"
    return text
