"""Metrics of one network over settings of a sampler and repeats, as result lines."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING

from dnnlib_compat.pretrained import catalogue
from latent_plugins import distributed
from latent_plugins.metrics.details import details_name, write_details
from latent_plugins.metrics.evaluate import check_all, check_network
from latent_plugins.metrics.evaluate import evaluate as figures_of
from latent_plugins.metrics.inputs import open_detectors, open_real, recorded_data, space_detector
from latent_plugins.metrics.kind import Figures
from latent_plugins.metrics.lines import DRAWN, LEVEL, result_line, summary_line
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.pictures.files import save_png
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.base import Needs
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.recipe import Recipe
from latent_plugins.samplers.registry import filters_and_base
from latent_plugins.watching import SILENT

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.samplers.base import Sampler
    from latent_plugins.watching import Watch

SHARED_ATLAS = "another set of candidates: the repeats share one atlas (--fresh-atlas)"
CANDIDATES_PER_SAMPLE = 4  # of an atlas that nobody gave a size, where candidates are cheap


def evaluate(
    metrics: str,
    generator: Generator,
    sampler: Sampler | str = "prior",
    *,
    data: str | os.PathLike | None = None,
    detectors: Sequence[str] = (),
    lpips_heads: str | None = None,
    seed: int = 0,
    psi: float = 1.0,
    cutoff: int | None = None,
    noise_mode: str = "random",
    batch: int | None = None,
    workers: int = 3,
    mirror: bool = False,
    allow_singular: bool = False,
    cache: bool = True,
    watch: Watch = SILENT,
) -> dict[str, float]:
    """{official key: figure} of metrics of a generator whose latents a sampler draws.

    metrics: names separated by commas, such as `fid50k_full,pr50k3_full`. sampler: a Sampler, or the name of one that
    needs nothing else. data: the data set to compare with (a zip or folder); None: that of the network's catalogue
    entry, where it has statistics of its own. detectors: names or files in the place of the official ones, `part=file`
    for one part; lpips_heads: for a VGG16 without. psi, cutoff: truncation; mirror: x-flips of the data, in the legacy
    metrics. The rest is as for `latent_plugins.metrics.evaluate.evaluate`. Figures are those of `calc_metrics`.

    Raises ValueError for an unknown metric, or what cannot be computed, before any work.

    >>> import latent_plugins as lp
    >>> figures = lp.evaluate("pr500_full", lp.load("mnist32"))
    >>> sorted(figures)
    ['pr500_full_precision', 'pr500_full_recall']
    """
    if isinstance(sampler, str):
        sampler = create_sampler(sampler, generator)
    source = getattr(generator, "source", None)
    entry = catalogue().get(source, {})
    metrics, batch = parse_metrics(metrics), batch or default_batch(generator)
    psi = 1.0 if sampler.truncates else psi
    for metric in metrics:
        check_network(metric, generator, psi, sampler.truncates)
    reading = dict(batch=batch, workers=workers, cache=cache, progress=watch.counts)
    real = open_real(metrics, generator, data, entry, **reading)
    trust = dict(device=next(generator.parameters()).device, allow_code=False)
    opened = open_detectors(metrics, detectors, lpips_heads, entry, **trust)
    found = {}
    for _, figures, _ in figures_of(
        metrics, generator, sampler, real, opened, seed=seed, psi=psi, cutoff=cutoff, noise_mode=noise_mode,
        batch=batch, mirror=mirror, allow_singular=allow_singular, progress=watch.counts,
    ):  # fmt: skip
        found |= figures
    return found


def largest_values(points):
    """{option: its largest value} of the options that Points vary."""
    found = {}
    for point in points:
        for name, value in point.varied:
            found[name] = max(value, found.get(name, value))
    return found


def default_batch(generator):
    """Images at once where nobody says: 64, fewer above 128 pixels."""
    return max(1, min(64, 64 * 128**2 // generator.img_resolution**2))


class Run:
    """A network with real images and detectors, opened once for any number of Points and repeats.

    metrics: Metrics; points: all Points that will be asked for; source, entry: the network's file and catalogue entry;
    options: of the Recipe of the sampler. seed, repeats: of the latents, SEED, SEED + 1, …; fresh_atlas: whether each
    repeat has an atlas of its own; fresh_real: whether the metrics of as many real images as generated ones choose them
    at random, by the seed; confidence: the level of their intervals. save_images: how many of the first images are
    written to `outdir`.
    """

    def __init__(
        self, metrics, points, generator, sampler_name, options, *, source, entry, data=None, mirror=None,
        detectors=(), lpips_heads=None, allow_code=False, batch=None, workers=3, cache=True, seed=0, repeats=1,
        noise_mode="random", cutoff=None, allow_singular=False, save_images=None, outdir=None, fresh_atlas=False,
        fresh_real=False, confidence=LEVEL, watch=SILENT,
    ):  # fmt: skip
        self.metrics, self.points, self.sampler_name, self.watch = metrics, points, sampler_name, watch
        self.confidence = confidence
        self.outdir, self.save_images, self.seeds = outdir, save_images, range(seed, seed + repeats)
        self.fresh_atlas, (_, self.sampler_class) = fresh_atlas, filters_and_base(sampler_name)
        self.generator, self.source, self.entry = generator, source, entry
        truncates = self.sampler_class.truncates
        psis = list(dict.fromkeys(1.0 if truncates else point.psi for point in points))
        for metric, psi in itertools.product(metrics, psis):
            check_network(metric, generator, psi, truncates)
        batch = batch or default_batch(generator)
        recorded = {} if data else recorded_data(source, entry)
        reading = dict(batch=batch, workers=workers, cache=cache, progress=watch.counts)
        self.real = open_real(metrics, generator, data or recorded.get("path"), entry, **reading)
        # Detectors last: they may have to be fetched.
        trust = dict(device=next(generator.parameters()).device, allow_code=allow_code)
        self.detectors = open_detectors(metrics, detectors, lpips_heads, entry, **trust)
        mirror = bool(recorded.get("xflip", False)) if mirror is None else mirror
        self.rendering = dict(
            cutoff=cutoff,
            noise_mode=noise_mode,
            batch=batch,
            mirror=mirror,
            allow_singular=allow_singular,
            fresh_real=fresh_real,
        )
        self.options = options = dict(options, detector=space_detector(options.get("space"), detectors))
        for point in points:
            generator.check_psi(point.psi)
        rules = dict(mirror=mirror, allow_singular=allow_singular)
        for psi in psis:
            check_all(metrics, generator, self.real, self.detectors, psi=psi, truncates=truncates, **rules)
        if cutoff is not None and not generator.has_styles:
            raise ValueError(f"a {generator.family} network has no layers of styles; leave out --trunc-cutoff")
        self.recipe = Recipe(
            generator,
            sampler_name,
            options,
            source=source,
            advice=entry.get("recommended"),
            watch=watch,
            cutoff=cutoff,
            needed=self.largest_draw(),
            shortage="{needed} samples are more than the {candidates} candidates of an atlas of this size",
            per_sample=CANDIDATES_PER_SAMPLE,
            largest=largest_values(points),
        )

    def lines(self, point):
        """Yield the result lines of a Point: those of every repeat and, of several, the summary of each metric."""
        finished = {metric.name: [] for metric in self.metrics}
        for repeat, seed in enumerate(self.seeds):
            if repeat == 0 or self.fresh_atlas:
                sampler, described = self.sampler(point, seed if self.fresh_atlas else 0)
            saving = self.saving(point) if self.save_images and repeat == 0 else None
            seen = []
            for metric, figures, seconds in figures_of(
                self.metrics, self.generator, sampler, self.real, self.detectors, seed=seed,
                psi=1.0 if sampler.truncates else point.psi, progress=self.watch.counts, on_images=saving,
                on_latents=seen.append, **self.rendering,
            ):  # fmt: skip
                extra = dict(described, seed=seed, **{key: seen[-1].report.get(key) for key in DRAWN})
                if metric.detector:
                    extra["detector"] = self.detectors[metric.detector].name
                if metric.needs_real:
                    extra["data"] = self.real.name
                    if self.rendering["fresh_real"] and not metric.full:
                        extra["real_images"] = "chosen by the seed"
                if len(self.seeds) > 1:
                    extra["repeat"] = repeat
                    if Needs.CANDIDATES in self.sampler_class.needs and not self.fresh_atlas:
                        extra["interval_leaves_out"] = SHARED_ATLAS
                extra |= self.beside(metric, figures)
                line = result_line(metric.name, figures, seconds, distributed.world(), self.source, self.outdir, extra)
                finished[metric.name].append(line)
                yield line
        if len(self.seeds) > 1:
            yield from (summary_line(lines, self.confidence) for lines in finished.values())

    def beside(self, metric, figures):
        """What a line has beside its results; details are written to the folder, if there is one, before the line."""
        if not isinstance(figures, Figures):
            return {}
        found = dict(figures.about)
        if figures.details and self.outdir is not None:
            found["details"] = details_name(metric.name, figures.details)
            if distributed.rank() == 0:
                write_details(self.outdir, metric.name, figures.details)
        return found

    def sampler(self, point, atlas_seed=0):
        """(sampler, what describes it) of a Point. atlas_seed: of an atlas that is built for it."""
        empty = dict(space=None, rho=None, ess=None)
        sampler, described = self.recipe.varied(dict(point.varied)).make(point.rho, point.psi, atlas_seed)
        described = dict(sampler=self.sampler_name, **empty | described, trunc=point.psi, mix=point.mix)
        if self.rendering["cutoff"] is not None:
            described["trunc_cutoff"] = self.rendering["cutoff"]
        if point.mix < 1:
            sampler = MixtureSampler(sampler, create_sampler("prior", self.generator), point.mix)
        return sampler, described

    def largest_draw(self):
        """The most latents (of one class) that a repeat draws from the sampler at once."""
        n = max(metric.samples * (2 if metric.kind == "ppl" else 1) for metric in self.metrics)
        if self.generator.c_dim:
            n = max(int(self.real.labels(n, seed).sum(dim=0).max()) for seed in self.seeds)
        return math.ceil(n * max(point.mix for point in self.points))

    def saving(self, point):
        """on_images(first, images) that writes the first images as PNG."""
        folder = Path(self.outdir) / f"images-{point.slug}"
        folder.mkdir(parents=True, exist_ok=True)

        def write(first, images):
            for i in range(first, min(first + len(images), self.save_images)):
                save_png(images[i - first].permute(1, 2, 0).cpu().numpy(), folder / f"{i:06d}.png")

        return write
