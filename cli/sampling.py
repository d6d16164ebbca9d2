"""The sampler that a command's options describe: which atlas, weights or volume, which rho, which top-k."""

import click
import numpy as np

from cli.binding import check_method_options, given
from cli.options import apply_options
from cli.paths import ExistingPath
from dnnlib_compat.pretrained import default_name
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.options import check_options, needs_of, options_of
from latent_plugins.samplers.registry import filters_and_base


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
                type=ExistingPath(),
                metavar="PATH",
                help="Atlas folder, or .npz of the papers' authors.  [default: a cached one]",
            ),
            click.option(
                "--weights",
                "weights_path",
                type=ExistingPath(),
                metavar="FILE",
                help="latentrs, latentga: trained weights; drs, mh, sir, dot: a critic.  [default: what comes with "
                "the network: its weights, its discriminator]",
            ),
        ]
    )


def check_sampler(name, *, rhos=(), **options):
    """The class of the sampler `name`, before any work is done.

    rhos: the polarities given; options: the command's, by its own names. Raises ValueError for an unknown name or
    space, and a click error for options that the sampler would ignore, or that it lacks.
    """
    _, base = filters_and_base(name)
    allowed, asked = options_of(name, options.get("method")), recipe_options(options)
    for option in sorted(each for each in [*options, "rho"] if given(each) and plain(each) not in allowed):
        raise click.ClickException(f"--{spelled(option)} has no effect with --sampler={name}; leave it out")
    if "base" in options:
        check_base(options["base"])
    if options.get("atlas_path") is not None:
        for option in ("candidates", "detector", "domain", "base", "radius", "layer"):
            if given(option):
                raise click.ClickException(f"--{option} has no effect with --atlas, which has its own; leave it out")
    if needs_of(name) & (Needs.CANDIDATES | Needs.VOLUME):
        check_method_options(options.get("method"))
    asked = {key: value for key, value in asked.items() if key in allowed}
    for rho in rhos or [None]:
        extra = [each for each in ("alpha", "pareto", "true_volumes") if asked.get(each)]
        if rho is not None and np.isinf(rho) and extra:
            text = f"--rho={rho:g} takes candidates in the order of their volumes; leave out --{spelled(extra[0])}"
            raise click.ClickException(text)
        check_options(name, asked, rho, source=click.get_current_context().params.get("network") or default_name())
    return base


def check_base(base):
    """A click error for a --radius of the prior, which has none."""
    if base == "prior" and given("radius"):
        raise click.ClickException("--radius has no effect with --base=prior; add --base=uniform, ball or normal")


def recipe_options(options):
    """A command's options by the names that a recipe has for them."""
    return {plain(name): value for name, value in options.items()}


def plain(option):
    """The name of a parameter as a recipe has it."""
    return option.removesuffix("_path")


def spelled(option):
    """An option as it is typed."""
    return plain(option).replace("_", "-")


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
