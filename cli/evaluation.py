"""What calc_metrics and sweep share: their options as a run over points, repeats and metrics."""

import functools
import itertools

import click

from cli.launch import own_device
from cli.options import check_psi, open_network
from cli.progress import TERMINAL
from cli.sampling import check_sampler, recipe_options
from latent_plugins import distributed
from latent_plugins.metrics.lines import LEVEL
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.metrics.points import Point
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.options import ATLAS, VOLUME, WEIGHTS, options_of
from latent_plugins.samplers.registry import filters_and_base


def open_run(metrics, points, *, network, device, allow_code, sampler_name, no_cache, outdir, **options):
    """The Run of a command's options."""
    from latent_plugins.metrics.run import Run  # which needs torch

    load = functools.partial(open_network, network, own_device(device), allow_code)
    generator, source, entry = distributed.leader_first(load)
    names = RUN.intersection(options)
    rest = {name: value for name, value in options.items() if name not in names}
    return Run(
        metrics, points, generator, sampler_name, recipe_options(rest), source=source, entry=entry, outdir=outdir,
        cache=not no_cache, allow_code=allow_code, watch=TERMINAL, **{name: options[name] for name in names},
    )  # fmt: skip


# Options that are a run's own; the others are those of the sampler.
RUN = {"data", "mirror", "detectors", "lpips_heads", "batch", "workers", "seed", "repeats", "noise_mode", "cutoff"}
RUN |= {"allow_singular", "save_images", "fresh_atlas", "fresh_real", "confidence"}


def plan(names, options, rho, psis, mixes, axes=None):
    """(metrics, Points) of a command's options. axes: {option: values} of the sampler to go through.

    Raises a click error or ValueError for what makes no sense.
    """
    metrics = parse_metrics(names)
    sampler_class = check_sampler(options["sampler_name"], rhos=rho or [], **sampler_part(options))
    if options["fresh_atlas"] and not (Needs.CANDIDATES in sampler_class.needs and options["repeats"] > 1):
        raise click.ClickException("--fresh-atlas is for --repeats of a sampler with an atlas; leave it out")
    if options["fresh_real"] and not any(metric.needs_real and not metric.full for metric in metrics):
        raise click.ClickException("--fresh-real is for metrics of as many real images as generated ones, like emd1024")
    if options["confidence"] != LEVEL and options["repeats"] == 1:
        raise click.ClickException("--confidence is of the intervals of --repeats; leave it out")
    if options["fresh_atlas"] and options["atlas_path"] is not None:
        raise click.ClickException("--fresh-atlas builds an atlas for each repeat; leave --atlas out")
    points = points_of(options["sampler_name"], rho, psis, mixes, axes or {})
    for metric, point in itertools.product(metrics, points):
        metric.check_truncation(point.psi, sampler_class.truncates)
    return metrics, points


def sampler_part(options):
    """Those of a command's options that a recipe takes, but for the detector, which metrics have one of, too."""
    names = options_of(options["sampler_name"], options["method"]).union(VOLUME, ATLAS, WEIGHTS) - {"detector"}
    return {key: value for key, value in options.items() if key.removesuffix("_path") in names}


def points_of(sampler_name, rhos, psis, mixes, axes):
    """The Points of a sweep, in the order rho, psi, mix, axes. Raises a click error for values out of range."""
    _, sampler_class = filters_and_base(sampler_name)
    psis = psis or [getattr(sampler_class, "default_psi", 1.0)]
    for psi in psis:
        check_psi(psi)
    if mixes is not None and sampler_name == "prior":
        raise click.ClickException("--mix has no effect with --sampler=prior; leave it out")
    for mix in mixes or ():
        if not 0 <= mix <= 1:
            raise click.BadParameter(f"{mix:g} is no share; write a number from 0 to 1, such as --mix=0.041")
    varied = [tuple(zip(axes, values)) for values in itertools.product(*axes.values())]
    return [Point(*point) for point in itertools.product(rhos or [None], psis, mixes or [1.0], varied)]
