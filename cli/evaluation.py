"""What calc_metrics and sweep share: a run over settings, repeats and metrics."""

import dataclasses
import functools
import itertools
import math
from pathlib import Path

import click

from cli.launch import own_device
from cli.options import check_psi, open_network
from cli.progress import TERMINAL, count_progress
from cli.sampling import check_sampler, recipe_options
from latent_plugins import distributed
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.inputs import open_detectors, open_real, recorded_data, space_detector
from latent_plugins.metrics.lines import DRAWN, result_line, summary_line
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.plotting import save_png
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.options import ATLAS, VOLUME, WEIGHTS, options_of
from latent_plugins.samplers.recipe import Recipe
from latent_plugins.samplers.registry import filters_and_base

SHARED_ATLAS = "another set of candidates: the repeats share one atlas (--fresh-atlas)"
CANDIDATES_PER_SAMPLE = 4  # of an atlas that nobody gave a size, where candidates are cheap


@dataclasses.dataclass(frozen=True)
class Setting:
    """One point of a sweep. rho is None for samplers without; mix is the share of the sampler."""

    rho: float | None
    psi: float
    mix: float

    @property
    def slug(self):
        """A name for files."""
        parts = [] if self.rho is None else [f"rho{self.rho:g}"]
        return "-".join([*parts, f"trunc{self.psi:g}", f"mix{self.mix:g}"])


def plan(names, options, rho, psis, mixes):
    """(metrics, Settings) of a command's options. Raises a click error or ValueError for what makes no sense."""
    metrics = parse_metrics(names)
    sampler_class = check_sampler(options["sampler_name"], rhos=rho or [], **sampler_part(options))
    if options["fresh_atlas"] and not (Needs.CANDIDATES in sampler_class.needs and options["repeats"] > 1):
        raise click.ClickException("--fresh-atlas is for --repeats of a sampler with an atlas; leave it out")
    if options["fresh_atlas"] and options["atlas_path"] is not None:
        raise click.ClickException("--fresh-atlas builds an atlas for each repeat; leave --atlas out")
    return metrics, points_of(options["sampler_name"], rho, psis, mixes)


def sampler_part(options):
    """Those of a command's options that a recipe takes, but for the detector, which metrics have one of, too."""
    names = options_of(options["sampler_name"], options["method"]).union(VOLUME, ATLAS, WEIGHTS) - {"detector"}
    return {key: value for key, value in options.items() if key.removesuffix("_path") in names}


def points_of(sampler_name, rhos, psis, mixes):
    """The Settings of a sweep, in the order rho, psi, mix. Raises a click error for values out of range."""
    _, sampler_class = filters_and_base(sampler_name)
    psis = psis or [getattr(sampler_class, "default_psi", 1.0)]
    for psi in psis:
        check_psi(psi)
    if mixes is not None and sampler_name == "prior":
        raise click.ClickException("--mix has no effect with --sampler=prior; leave it out")
    for mix in mixes or ():
        if not 0 <= mix <= 1:
            raise click.BadParameter(f"{mix:g} is no share; write a number from 0 to 1, such as --mix=0.041")
    return [Setting(*point) for point in itertools.product(rhos or [None], psis, mixes or [1.0])]


class Run:
    """A network, real images and detectors, opened once for any number of settings and repeats."""

    def __init__(
        self, metrics, settings, *, network, device, allow_code, data, mirror, sampler_name, detectors, lpips_heads,
        batch, workers, no_cache, seed, repeats, noise_mode, cutoff, allow_singular, save_images, outdir,
        fresh_atlas, **sampler_options,
    ):  # fmt: skip
        self.metrics, self.settings, self.sampler_name = metrics, settings, sampler_name
        self.outdir, self.save_images, self.seeds = outdir, save_images, range(seed, seed + repeats)
        self.fresh_atlas, (_, self.sampler_class) = fresh_atlas, filters_and_base(sampler_name)
        device = own_device(device)
        opened = distributed.leader_first(functools.partial(open_network, network, device, allow_code))
        self.generator, self.source, self.entry = opened
        batch = batch or max(1, min(64, 64 * 128**2 // self.generator.img_resolution**2))
        recorded = {} if data else recorded_data(self.source, self.entry)
        reading = dict(batch=batch, workers=workers, cache=not no_cache, progress=count_progress)
        self.real = open_real(metrics, self.generator, data or recorded.get("path"), self.entry, **reading)
        trust = dict(device=device, allow_code=allow_code)  # detectors last: they may have to be fetched
        self.detectors = open_detectors(metrics, detectors, lpips_heads, self.entry, **trust)
        mirror = bool(recorded.get("xflip", False)) if mirror is None else mirror
        self.rendering = dict(
            cutoff=cutoff, noise_mode=noise_mode, batch=batch, mirror=mirror, allow_singular=allow_singular
        )
        self.sampler_options = sampler_options
        sampler_options["detector"] = space_detector(sampler_options["space"], detectors)
        for setting in settings:
            self.generator.check_psi(setting.psi)
        if cutoff is not None and not self.generator.has_styles:
            raise ValueError(f"a {self.generator.family} network has no layers of styles; leave out --trunc-cutoff")
        self.recipe = Recipe(
            self.generator,
            sampler_name,
            recipe_options(sampler_options),
            source=self.source,
            advice=self.entry.get("recommended"),
            watch=TERMINAL,
            cutoff=cutoff,
            needed=self.largest_draw(),
            shortage="{needed} samples are more than the {candidates} candidates of an atlas of this size",
            per_sample=CANDIDATES_PER_SAMPLE,
        )

    def lines(self, setting):
        """Yield the result lines of a Setting: those of every repeat and, of several, the summary of each metric."""
        finished = {metric.name: [] for metric in self.metrics}
        for repeat, seed in enumerate(self.seeds):
            if repeat == 0 or self.fresh_atlas:
                sampler, described = self.sampler(setting, seed if self.fresh_atlas else 0)
            watch = self.saving(setting) if self.save_images and repeat == 0 else None
            seen = []
            for metric, figures, seconds in evaluate(
                self.metrics, self.generator, sampler, self.real, self.detectors, seed=seed,
                psi=1.0 if sampler.truncates else setting.psi, progress=count_progress, on_images=watch,
                on_latents=seen.append, **self.rendering,
            ):  # fmt: skip
                extra = dict(described, seed=seed, **{key: seen[-1].report.get(key) for key in DRAWN})
                if metric.detector:
                    extra["detector"] = self.detectors[metric.detector].name
                if metric.needs_real:
                    extra["data"] = self.real.name
                if len(self.seeds) > 1:
                    extra["repeat"] = repeat
                    if Needs.CANDIDATES in self.sampler_class.needs and not self.fresh_atlas:
                        extra["interval_leaves_out"] = SHARED_ATLAS
                line = result_line(metric.name, figures, seconds, distributed.world(), self.source, self.outdir, extra)
                finished[metric.name].append(line)
                yield line
        if len(self.seeds) > 1:
            yield from map(summary_line, finished.values())

    def sampler(self, setting, atlas_seed=0):
        """(sampler, what describes it) of a Setting. atlas_seed: of an atlas that is built for it."""
        empty = dict(space=None, rho=None, ess=None)
        sampler, described = self.recipe.make(setting.rho, setting.psi, atlas_seed)
        described = dict(sampler=self.sampler_name, **empty | described, trunc=setting.psi, mix=setting.mix)
        if self.rendering["cutoff"] is not None:
            described["trunc_cutoff"] = self.rendering["cutoff"]
        if setting.mix < 1:
            sampler = MixtureSampler(sampler, create_sampler("prior", self.generator), setting.mix)
        return sampler, described

    def largest_draw(self):
        """The most latents (of one class) that a repeat draws from the sampler at once."""
        n = max(metric.samples * (2 if metric.kind == "ppl" else 1) for metric in self.metrics)
        if self.generator.c_dim:
            n = max(int(self.real.labels(n, seed).sum(dim=0).max()) for seed in self.seeds)
        return math.ceil(n * max(setting.mix for setting in self.settings))

    def saving(self, setting):
        """on_images(first, images) that writes the first images as PNG."""
        folder = Path(self.outdir) / f"images-{setting.slug}"
        folder.mkdir(parents=True, exist_ok=True)

        def write(first, images):
            for i in range(first, min(first + len(images), self.save_images)):
                save_png(images[i - first].permute(1, 2, 0).cpu().numpy(), folder / f"{i:06d}.png")

        return write
