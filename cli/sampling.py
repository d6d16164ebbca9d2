"""The sampler that a command's options describe: which atlas, weights or volume, which rho, which top-k."""

import inspect
import warnings

import click
import numpy as np
import torch

from cli.atlases import cached_atlas
from cli.options import apply_options
from cli.paths import FilePath
from cli.progress import Counted
from dnnlib_compat.loader import load_network
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas_build import MIN_SPEARMAN
from latent_plugins.atlas_settings import PREDICTED, WITH_BASIS, AtlasError, make_settings, shard_map
from latent_plugins.defaults import default_candidates, paper_top_k
from latent_plugins.importance.weights import rho_for_json
from latent_plugins.reweighting.weight_files import load_weights
from latent_plugins.samplers import available_samplers, create_sampler
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.jbt import JBTFilter
from latent_plugins.samplers.simplicial_filter import SimplicialFilter
from latent_plugins.samplers.weight_filter import WeightFilter
from latent_plugins.spaces import (
    canonical_space,
    check_space,
    default_domain,
    default_space,
    get_space,
    is_feature_space,
)
from latent_plugins.volume import LogVolume

IDLE_DEFAULTS = dict(
    projection=256,
    oversample=8,
    iterations=1,
    precision="float32",
    compile=False,
    min_spearman=MIN_SPEARMAN,
    without_replacement=False,
    pareto=False,
)  # of options that always have a value

# Options by what they are for; a sampler takes those of what it needs, and its own `settings`.
VOLUME = ("space", "top_k", "domain", "method", "projection", "oversample", "iterations", "precision", "compile")
VOLUME += ("detector", "layer", "max_memory")
ATLAS = ("atlas_path", "without_replacement", "true_volumes", "candidates", "basis", "labels", "min_spearman")
WEIGHTS = ("weights_path",)
OWN = ("alpha", "pareto", "steps", "particles", "threshold", "corners", "tau", "keep")
FILTERS = {"jbt": ("keep",), "simplicial": ("corners", "tau"), "latentrs": WEIGHTS}  # and the options that they take
NEEDED_BY_FILTERS = {"jbt": (), "simplicial": ("corners", "tau"), "latentrs": WEIGHTS}
NEEDS = {"needs_atlas": VOLUME + ATLAS, "needs_volume": VOLUME, "needs_weights": WEIGHTS, "needs_critic": WEIGHTS}


def sampler_choice_options(rho=click.FLOAT):
    """The options that choose a sampler. rho: the type of --rho."""
    return apply_options(
        [
            click.option(
                "--sampler",
                "sampler_name",
                default="prior",
                show_default=True,
                help="prior, truncation, magnet, polarity; truncated-normal, simplicial, jbt; pcn, smc, rejection, "
                "online; latentrs, latentga, latentrs+ga, drs, mh, sir, dot; or one that a package adds. jbt+, "
                "simplicial+ and latentrs+ filter another one.",
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
                "--without-replacement",
                is_flag=True,
                help="magnet, polarity: the published code's rule, whose law is flatter than rho says.",
            ),
            click.option(
                "--true-volumes",
                type=click.IntRange(min=1),
                metavar="N",
                help="Of predicted volumes: compute the true ones of N drawn candidates, and draw from these.",
            ),
            click.option(
                "--alpha",
                type=click.FloatRange(0, 1),
                help="magnet, polarity on the Gaussian domain: 1 takes the prior's density out of the weights.  "
                "[default: 0, as published]",
            ),
            click.option("--pareto", is_flag=True, help="magnet, polarity: smooth the largest weights (PSIS)."),
            click.option(
                "--weights",
                "weights_path",
                type=FilePath(),
                metavar="FILE",
                help="latentrs, latentga: trained weights; drs, mh, sir, dot: their critic.  [default: the network "
                "file's discriminator]",
            ),
            click.option(
                "--steps",
                type=click.IntRange(min=1),
                metavar="N",
                help="pcn: steps of a chain; mh: its length; sir: proposals; dot, latentga: gradient steps.",
            ),
            click.option(
                "--particles",
                type=click.IntRange(min=2),
                metavar="N",
                help="smc, rejection: latents that are drawn together.  [default: 1000]",
            ),
            click.option("--threshold", type=float, metavar="T", help="truncated-normal: bound of the coordinates."),
            click.option(
                "--corners", type=click.IntRange(min=2), metavar="M", help="simplicial: the simplex's corners."
            ),
            click.option("--tau", type=float, help="simplicial: the least projection on a corner."),
            click.option(
                "--keep", type=click.FloatRange(0, 1, min_open=True), help="jbt: share of the prior that is kept."
            ),
        ]
    )


def check_sampler(name, **options):
    """The class of the sampler `name`, before any work is done.

    Raises ValueError for an unknown name or space, and a click error for options that the sampler would ignore, or
    that it lacks.
    """
    filters, base = filters_and_base(name)
    if options["space"] is not None:
        canonical_space(options["space"])
    given = {option for option, value in options.items() if value not in (None, IDLE_DEFAULTS.get(option))}
    allowed = allowed_options(base).union(*(FILTERS[each] for each in filters))
    for option in sorted(given - allowed):
        raise click.ClickException(f"--{spelled(option)} has no effect with --sampler={name}; leave it out")
    made = {"candidates", "domain", "detector", "layer"} if options.get("atlas_path") is not None else set()
    for option in sorted(made & given):
        raise click.ClickException(f"--{option} has no effect with --atlas, which has its own; leave it out")
    for option in sorted(needed_options(base).union(*(NEEDED_BY_FILTERS[each] for each in filters)) - given):
        hint = "=FILE: make them with train_weights" if option == "weights_path" else ""
        raise click.ClickException(f"--sampler={name} needs --{spelled(option)}{hint}")
    return base


def filters_and_base(name):
    """([names of filters], class of the sampler that they filter) of a sampler's name: jbt+polarity, and so on.

    Raises ValueError for an unknown name.
    """
    samplers = available_samplers()
    if name in samplers:
        return [], samplers[name]
    parts = name.split("+")
    places = [i for i in range(1, len(parts)) if "+".join(parts[i:]) in samplers]  # names may have a + of their own
    filters, base = (parts[: places[0]], "+".join(parts[places[0] :])) if places else ([], None)
    if len(set(filters) | {base}) <= len(filters):
        raise ValueError(f"{name}: a filter stands there twice, which changes nothing; name it once")
    if base is None or not set(filters) <= set(FILTERS):
        raise ValueError(
            f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}; {', '.join(FILTERS)} may stand "
            "before another one, as in jbt+polarity"
        )
    return filters, samplers[base]


def needed_options(sampler_class):
    """The names of the options that a sampler cannot do without (rho aside, which may be recommended)."""
    parameters = inspect.signature(sampler_class).parameters
    empty = {keyword for keyword, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    needed = {option for option, keyword in sampler_class.settings.items() if keyword in empty and option != "rho"}
    return needed | ({"weights_path"} if sampler_class.needs_weights else set())


def complete(**given):
    """The options of SamplerMaker, those that a command does not have at their defaults."""
    return {option: IDLE_DEFAULTS.get(option) for option in VOLUME + ATLAS + WEIGHTS + OWN} | given


def allowed_options(sampler_class):
    """The names of the options that a sampler's class takes."""
    needed = [names for need, names in NEEDS.items() if getattr(sampler_class, need)]
    return set(sampler_class.settings).union(*needed)


def spelled(option):
    """An option as it is typed."""
    return option.removesuffix("_path").replace("_", "-")


class SamplerMaker:
    """Makes the samplers of a command for its network; atlases are found or built once.

    options: all of VOLUME, ATLAS, WEIGHTS and OWN. entry: the network's catalogue entry. label: the only class wanted;
    needed: how many latents are drawn from an atlas; shortage: text for too few candidates without replacement, with
    {needed} and {candidates}; per_sample: candidates for each of them where nobody gave a number and they are cheap.
    """

    def __init__(
        self, generator, source, entry, name, options, *, cutoff, needed, shortage, label=None, per_sample=0,
    ):  # fmt: skip
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
            taken = {option for each in self.filters for option in FILTERS[each]}
            described |= {option: self.options[option] for option in taken - set(WEIGHTS)}
        for each in getattr(sampler, "filters", ()):
            if isinstance(each, JBTFilter):
                described |= dict(keep=each.keep, filter_space=each.space_map.name)
        return sampler, {key: value for key, value in described.items() if value is not None}

    def _filter(self, name, psi):
        """The filter that stands before the base sampler."""
        if name == "jbt":
            label = torch.zeros(self.generator.c_dim)  # it puts in each latent's own
            space_map = get_space(self.generator, "pixel", c=label, psi=psi, cutoff=self.cutoff)
            return JBTFilter(space_map) if self.options["keep"] is None else JBTFilter(space_map, self.options["keep"])
        if name == "simplicial":
            shape = self.generator.z_dim, default_domain(self.generator)
            return SimplicialFilter(self.options["corners"], self.options["tau"], 0, *shape)
        return WeightFilter(load_weights(self.options["weights_path"]), generator=self.generator)

    def _base(self, rho, psi, atlas_seed):
        own = {
            keyword: self.options[option]
            for option, keyword in self.sampler_class.settings.items()
            if option != "rho" and self.options[option] is not None
        }
        if self.sampler_class.truncates:
            own["psi"] = psi
        elif "psi" in inspect.signature(self.sampler_class).parameters:  # those whose images' truncation counts
            own |= dict(psi=psi, cutoff=self.cutoff)
        if self.sampler_class.needs_atlas:
            return self._on_atlas(rho, psi, own, atlas_seed)
        described = {option: self.options[option] for option in self.sampler_class.settings if option != "rho"}
        if self.sampler_class.needs_volume:
            space = canonical_space(self.options["space"] or self.advice["space"])
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space))
            volumes, top_k = self._volumes(space, psi)
            described |= dict(space=space, rho=own["rho"], top_k=top_k)
            own["volumes"] = volumes
            if self.options["domain"] is not None:
                own["domain"] = described["domain"] = self.options["domain"]
        if self.sampler_class.needs_weights:
            own["weights"] = load_weights(self.options["weights_path"])
            described["weights"] = str(self.options["weights_path"])
        if self.sampler_class.needs_critic:
            own["critic"], described["critic"] = self._critic()
        return create_sampler(self.sampler_class.name, self.generator, **own), described

    def _on_atlas(self, rho, psi, own, atlas_seed):
        chosen = None
        if "rho" in self.sampler_class.settings:
            space = canonical_space(self.options["space"] or self.advice["space"])
            if self.options["atlas_path"] is None or rho is not None:
                chosen = choose_rho(self.name, rho, advice_for(self.advice, space))
        extra = [name for name in ("alpha", "pareto", "true_volumes") if self.options[name]]
        if chosen is not None and np.isinf(chosen) and extra:
            raise click.ClickException(
                f"--rho={chosen:g} takes candidates in the order of their volumes; leave out --{spelled(extra[0])}"
            )
        extremes = chosen is not None and bool(np.isinf(chosen))
        key = psi, atlas_seed, extremes
        if key not in self._found:
            self._found[key] = self._find_atlas(psi, atlas_seed, extremes)
        atlas, space = self._found[key]
        if "rho" in self.sampler_class.settings:
            own["rho"] = choose_rho(self.name, rho, advice_for(self.advice, space)) if chosen is None else chosen
        top_k = choose_top_k(self.options["top_k"], self.advice, atlas, space, self.generator.family)
        drawn = dict(without_replacement=self.options["without_replacement"], true_volumes=self.options["true_volumes"])
        return sampler_on(
            self.generator, self.sampler_class.name, atlas, space=space, label=self.label, top_k=top_k, **drawn, **own
        )

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
            if (extremes or options["without_replacement"]) and settings.candidates < self.needed:
                text = self.shortage.format(needed=self.needed, candidates=settings.candidates)
                raise ValueError(f"{text}: give more --candidates")
            if settings not in self._built:  # in style space, truncation changes nothing
                self._built[settings] = cached_atlas(self.generator, settings, options["min_spearman"])
            atlas = self._built[settings]
        return atlas, space

    def _settings(self, space, psi):
        """Keyword arguments of make_settings."""
        names = set(VOLUME + ATLAS) - {"space", "top_k", "atlas_path", "true_volumes", "min_spearman"}
        names -= {"without_replacement"}
        classes = None if self.label is None else (self.label,)
        made = {name: self.options[name] for name in names}
        return made | dict(space=space, psi=psi, cutoff=self.cutoff, classes=classes)

    def _volumes(self, space, psi):
        """(function label → LogVolume, top_k) for samplers that compute volumes as they go."""
        made = self._settings(space, psi) | dict(candidates=1, basis=None, labels=None)
        if made["method"] in (*WITH_BASIS, *PREDICTED):
            raise click.ClickException(
                f"--method={made['method']} needs an atlas; --sampler={self.name} takes exact, projected or subspace"
            )
        settings = make_settings(self.generator, top_k=self.options["top_k"], **made)
        usual = advice_for(self.advice, space).get("top_k", paper_top_k(space, self.generator.family))
        top_k = self.options["top_k"] or min(usual, settings.top_k)
        extra = {key: getattr(settings, key) for key in ("projection", "oversample", "iterations", "precision")}
        extra = {key: value for key, value in extra.items() if value is not None}

        def volumes(label):
            space_map = shard_map(self.generator, settings, label)
            options = dict(method=settings.method, max_memory=settings.max_memory, **extra)
            return Counted(LogVolume(space_map, top_k, **options), "volumes")

        return volumes, top_k

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


def sampler_on(generator, name, atlas, *, space, label, true_volumes, **options):
    """(sampler, what describes it) on an atlas; says how degenerate its weights are."""
    sampler = create_sampler(name, generator, atlas=atlas, true_volumes=true_volumes, **options)
    described = dict(options, space=space, rho=rho_for_json(sampler.rho), top_k=sampler.top_k)
    if true_volumes is not None:
        if not atlas.predicted:
            raise click.ClickException("--true-volumes is for an atlas of predicted volumes; this one's are computed")
        described["true_volumes"] = true_volumes
        click.echo(f"Computing the true volumes of {true_volumes} candidates...")
    found = smallest_sample_size(sampler, label)
    click.echo(f"{name}, rho {sampler.rho:g}, top-k {sampler.top_k}: {found}")
    return sampler, dict(described, candidates=found.candidates, ess=found.effective_sample_size)


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
