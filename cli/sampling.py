"""The sampler that a command's options describe: which atlas, which rho, which top-k."""

import warnings
from pathlib import Path

import click

from cli.atlases import cached_atlas
from cli.options import apply_options
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas_build import MIN_SPEARMAN
from latent_plugins.atlas_settings import PREDICTED, AtlasError, make_settings
from latent_plugins.defaults import paper_top_k
from latent_plugins.samplers import available_samplers, create_sampler
from latent_plugins.spaces import canonical_space, check_space, default_space, is_feature_space

IDLE_DEFAULTS = dict(
    projection=256,
    oversample=8,
    iterations=1,
    precision="float32",
    compile=False,
    min_spearman=MIN_SPEARMAN,
    replacement=False,
)  # of options that always have a value


def sampler_choice_options(rho=click.FLOAT):
    """The options that choose a sampler. rho: the type of --rho."""
    return apply_options(
        [
            click.option(
                "--sampler",
                "sampler_name",
                default="prior",
                show_default=True,
                help="prior, truncation, magnet, polarity, or one that an installed package adds.",
            ),
            click.option(
                "--space",
                help="Whose volume counts: style, pixel, vgg, inception, features; from w on, w:pixel and so on.  "
                "[default: recommended, or style]",
            ),
            click.option("--rho", type=rho, help="Polarity: below 0 to modes, above 0 to anti-modes."),
            click.option(
                "--top-k",
                type=click.IntRange(min=1),
                metavar="K",
                help="Singular values that make the volume.  [default: recommended]",
            ),
            click.option(
                "--atlas",
                "atlas_path",
                type=Path,
                metavar="PATH",
                help="Atlas folder, or .npz of the papers' authors.  [default: a cached one]",
            ),
            click.option(
                "--replacement", is_flag=True, help="Draw candidates with replacement, each seed independently."
            ),
            click.option(
                "--true-volumes",
                type=click.IntRange(min=1),
                metavar="N",
                help="Of predicted volumes: compute the true ones of N drawn candidates, and draw from these.",
            ),
        ]
    )


def check_sampler(name, **options):
    """The class of the sampler `name`, before any work is done.

    Raises ValueError for an unknown name or space, and a click error for options that the sampler would ignore.
    """
    samplers = available_samplers()
    if name not in samplers:
        raise ValueError(f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}")
    if options["space"] is not None:
        canonical_space(options["space"])
    given = {option for option, value in options.items() if value not in (None, IDLE_DEFAULTS.get(option))}
    idle = set() if samplers[name].needs_atlas else set(given)
    if name == "magnet":
        idle.add("rho")  # it is 1
    for option in sorted(idle & given):
        spelled = option.removesuffix("_path").replace("_", "-")
        raise click.ClickException(f"--{spelled} has no effect with --sampler={name}; leave it out")
    for option in sorted(
        {"candidates", "domain", "detector", "layer"} & given if options["atlas_path"] is not None else ()
    ):
        raise click.ClickException(f"--{option} has no effect with --atlas, which has its own; leave it out")
    return samplers[name]


def open_sampler(
    generator, name, advice, *, seeds, label, psi, cutoff, space, rho, top_k, atlas_path, replacement, true_volumes,
    min_spearman, **atlas_settings,
):  # fmt: skip
    """(sampler, what describes it) for a Generator and one latent a seed; builds the atlas that it needs on first use.

    advice: recommended settings of the network's catalogue entry. Whatever can be refused is refused before an atlas
    is built.
    """
    if not available_samplers()[name].needs_atlas:
        return create_sampler(name, generator), {}
    advice = usable_advice(generator, advice)
    atlas, space = given_atlas(atlas_path, advice, space, psi, cutoff)
    if name == "polarity":
        rho = choose_rho(rho, advice_for(advice, space))
    if atlas is None:
        classes = None if label is None else (label,)
        made = dict(space=space, psi=psi, cutoff=cutoff, classes=classes, **atlas_settings)
        settings = settings_for(generator, top_k, advice, **made)
        if not replacement and max(seeds) >= settings.candidates:
            raise ValueError(
                f"seed {max(seeds)} is beyond the {settings.candidates} candidates of an atlas of this size: give "
                "more --candidates, or draw with --replacement"
            )
        atlas = cached_atlas(generator, settings, min_spearman)
    top_k = choose_top_k(top_k, advice, atlas, space, generator.family)
    drawn = dict(space=space, rho=rho, top_k=top_k, replacement=replacement, true_volumes=true_volumes)
    return sampler_on(generator, name, atlas, label=label, **drawn)


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


def sampler_on(generator, name, atlas, *, space, rho, top_k, replacement, true_volumes=None, label=None):
    """(sampler, what describes it) on an atlas; says how degenerate its weights are."""
    options = dict(top_k=top_k, replacement=replacement, true_volumes=true_volumes)
    if name == "polarity":
        options["rho"] = rho
    sampler = create_sampler(name, generator, atlas=atlas, **options)
    described = dict(space=space, rho=sampler.rho, top_k=sampler.top_k, replacement=replacement)
    if true_volumes is not None:
        described["true_volumes"] = true_volumes
        click.echo(f"Computing the true volumes of {true_volumes} candidates...")
    click.echo(f"{name}, rho {sampler.rho:g}, top-k {sampler.top_k}: {smallest_sample_size(sampler, label)}")
    return sampler, described


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


def choose_rho(rho, advice):
    """The rho given, or the recommended one; a click error without either."""
    if rho is None and advice.get("sampler") == "polarity":
        rho = advice.get("rho")
    if rho is None:
        raise click.ClickException(
            "--sampler=polarity needs --rho: below 0 to modes, above 0 to anti-modes, e.g. --rho=0.1"
        )
    return rho
