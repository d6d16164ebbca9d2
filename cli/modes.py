"""modes: what a generator contracts most and expands most, and how close that is to its training images."""

import dataclasses
import json
import math

import click
import numpy as np
import torch

from cli.atlas_options import atlas_options
from cli.binding import MethodCommand, given
from cli.command_line import command_line
from cli.labels import class_number
from cli.options import Numbers, check_psi, network_options, open_network, prepare_folder, reports_errors
from cli.paths import DataSource, DetectorSource, ExistingPath, FilePath
from cli.picture_options import cell_option
from cli.polarity_strip import volume_options
from cli.progress import TERMINAL, count_progress, progress_option
from cli.sampling import check_sampler, recipe_options
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.detectors import FEATURES, LPIPS
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas.settings import one_hot
from latent_plugins.geometry.figures import save_histograms
from latent_plugins.metrics.inputs import open_detectors, space_detector
from latent_plugins.metrics.lines import quantiles
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.metrics.nearest import nearest_figure, nearest_of, summary
from latent_plugins.pictures import charts
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png
from latent_plugins.pictures.rendering import render, usual_batch
from latent_plugins.pictures.report import Report
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.recipe import Recipe

EXTREMES = {"modes": -np.inf, "anti-modes": np.inf}  # what the files are called, and their rho


@click.command(cls=MethodCommand)
@network_options
@click.option("--n", type=click.IntRange(min=1), default=8, show_default=True, help="Images of either kind.")
@click.option("--outdir", type=FilePath(), required=True, metavar="DIR", help="Where images and modes.jsonl go.")
@click.option(
    "--data", type=DataSource(), metavar="ZIP|DIR", help="The training images: find those nearest to each image."
)
@click.option(
    "--prior-samples",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    metavar="N",
    help="With --data: samples of the prior to compare distances with.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    type=DetectorSource(),
    metavar="NAME|FILE",
    help="Feature detector instead of the official ones; inception= or lpips= in front limits it.",
)
@click.option(
    "--lpips-heads", type=ExistingPath(), metavar="FILE", help="LPIPS heads, for a VGG16 state dict that has none."
)
@click.option(
    "--rho",
    "rhos",
    type=Numbers(),
    help="Polarities to compare, such as -5,1: with --data by the distances of samples to the 3 nearest training "
    "images, with --ppl by path lengths.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=1000,
    show_default=True,
    metavar="N",
    help="With --data: samples of each --rho.",
)
@click.option("--ppl", is_flag=True, help="Perceptual path lengths (ppl2_wend) of modes, anti-modes and the prior.")
@click.option(
    "--paths", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="Paths of each for --ppl."
)
@volume_options
@atlas_options
@cell_option
@progress_option
@reports_errors
def main(
    network, device, allow_code, n, outdir, data, prior_samples, detectors, lpips_heads, rhos, samples, ppl, paths,
    space, top_k, atlas_path, psi, cutoff, class_name, cell, **atlas_settings,
):  # fmt: skip
    """List the most contracted (modes) and the most expanded (anti-modes) candidates of an atlas.

    Writes modes.png, anti-modes.png and modes.jsonl; with --data also nearest-modes.png and nearest-anti-modes.png
    (row by row: generated, nearest training image by pixels, nearest by features; distances below) and distances.json.
    With --rho also distances.png: how far samples of these polarities, and of the prior, are from their 3 nearest
    training images. With --ppl also path-lengths.png, the distributions of path lengths, and their quantiles in
    distances.json. report.html shows all of it in one file.

    \b
    modes --space=pixel --data=mnist32-train.zip --outdir=modes
    modes --space=pixel --data=mnist32-train.zip --rho=-5,1 --outdir=modes
    modes --network=ffhq.pkl --space=pixel --atlas=atlas --outdir=modes --ppl --rho=-1,0.2
    """
    check_psi(psi)
    if ppl and (psi != 1 or cutoff is not None):
        raise click.ClickException("--ppl is defined without truncation; leave --trunc and --trunc-cutoff out")
    if rhos is not None and data is None and not ppl:
        raise click.ClickException("--rho compares with training images, or path lengths; give --data or --ppl too")
    if rhos is not None and not all(map(math.isfinite, rhos)):
        raise click.ClickException("--rho takes finite polarities: the extremes are compared without it")
    if given("samples") and (rhos is None or data is None):
        raise click.ClickException("--samples has no effect without --rho and --data; leave it out")
    options = dict(space=space, top_k=top_k, atlas_path=atlas_path, **atlas_settings)
    options["detector"] = space_detector(space, detectors)
    check_sampler("polarity", rhos=[-np.inf], **options)
    prepare_folder(outdir)
    from latent_plugins.metrics.evaluate import check, check_network, path_length  # which need torch

    generator, source, entry = open_network(network, device, allow_code)
    label = class_number(class_name, generator.c_dim)
    generator.check_psi(psi)
    metric = ppl and parse_metrics(f"ppl2_wend_{paths}")[0]
    if ppl:
        check_network(metric, generator, psi)
    trust = dict(device=next(generator.parameters()).device, allow_code=allow_code)
    opened = open_some(data, ppl, paths, detectors, lpips_heads, entry, **trust)
    dataset = data and ImageDataset(data, resolution=generator.img_resolution, channels=generator.img_channels)
    if data:
        opened["inception"].check(FEATURES, dataset.channels, dataset.resolution)
    if ppl:
        check(metric, generator, None, opened, psi)
    shortage = "{needed} extremes are more than the {candidates} candidates of an atlas of this size"
    drawing = dict(
        watch=TERMINAL, advice=entry.get("recommended"), cutoff=cutoff, label=label, needed=n, shortage=shortage
    )
    sampler, described = Recipe(generator, "polarity", recipe_options(options), **drawing).make(-np.inf, psi)

    atlas, kept = sampler.atlas, dict(top_k=described["top_k"])
    samplers = {name: create_sampler("polarity", generator, atlas=atlas, rho=r, **kept) for name, r in EXTREMES.items()}
    samplers["prior"] = create_sampler("prior", generator)
    figures = dict(network=source, space=described["space"], **kept, trunc=psi)
    c = OneLabel(label, generator.c_dim)
    drawn = {name: samplers[name].draw(range(n), c.labels(n)) for name in EXTREMES}
    pictures = Pictures(generator, psi, cutoff)
    images = {name: pictures(latents) for name, latents in drawn.items()}
    for name in EXTREMES:
        save_png(contact_sheet(images[name], cell=cell), outdir / f"{name}.png")
    if data:
        images["prior"] = pictures(samplers["prior"].draw(range(prior_samples), c.labels(prior_samples)))
        found = nearest_of(images, dataset, opened["inception"], progress=count_progress)
        for name in EXTREMES:
            save_png(nearest_figure(images[name], found[name], dataset, cell=cell), outdir / f"nearest-{name}.png")
        figures["nearest"] = {name: {by: summary(near.distances) for by, near in found[name].items()} for name in found}
        figures.update(data=dataset.name, detector=opened["inception"].name)
        report(figures["nearest"])
    chosen = {f"rho {rho:g}": create_sampler("polarity", generator, atlas=atlas, rho=rho, **kept) for rho in rhos or ()}
    if chosen and data:
        groups = chosen | {"prior": samplers["prior"]}
        many = {name: pictures(each.draw(range(samples), c.labels(samples))) for name, each in groups.items()}
        near = nearest_of(many, dataset, k=3, progress=count_progress)
        near = {name: each["pixels"].k_distances for name, each in near.items()}
        figures["three_nearest"] = {name: spread(each) for name, each in near.items()}
        if charts.available():
            lists = {name: each.flatten().tolist() for name, each in near.items()}
            label_of = "distance to the 3 nearest training images (pixels, at most 32 x 32)"
            save_histograms(outdir / "distances.png", lists, xlabel=label_of, ylabel="pairs")
    if ppl:
        figures.update(ppl2_wend={}, paths=paths, ppl2_wend_quantiles={})
        lengths = {}
        for name, each in (samplers | chosen).items():
            found_paths = path_length(metric, generator, each, c, opened, 0, count_progress)
            figures["ppl2_wend"][name] = length = found_paths[metric.name]
            figures["ppl2_wend_quantiles"][name] = found_paths.about["quantiles"]
            lengths[name] = found_paths.details["distances"]
            click.echo(f"{name}: perceptual path length {length:.2f}, {paths} paths")
        if charts.available():
            labels = dict(xlabel=f"path length ({metric.setting})", ylabel="share of the paths")
            charts.save_distributions(outdir / "path-lengths.png", lengths, figures["ppl2_wend"], **labels)
    if data or ppl:
        write_text(outdir / "distances.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    rows = list(lines(drawn, found if data else {}, figures, label))
    write_text(outdir / "modes.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
    write_page(outdir, figures, rows, data)
    click.echo(f"{outdir}: modes.png, anti-modes.png, modes.jsonl, report.html of {n} candidates each")


def open_some(data, ppl, paths, chosen, lpips_heads, entry, **options):
    """{part: Detector} of what is needed: `inception` for nearest images, `lpips` for path lengths.

    Where a network's catalogue entry names a detector and nobody chose one, squared distances of its features stand in
    for LPIPS.
    """
    names = ["fid1"] * bool(data) + [f"ppl2_wend_{paths}"] * ppl
    if not names:
        return {}
    own = ppl and "detector" in entry and not chosen and lpips_heads is None
    chosen = (*chosen, f"lpips={entry['detector']}") if own else chosen
    opened = open_detectors(parse_metrics(",".join(names)), chosen, lpips_heads, entry, **options)
    if own:
        click.echo(f"Path lengths are squared distances of features of {entry['detector']}, not LPIPS distances")
        opened["lpips"] = features_for_lpips(opened["lpips"])
    return opened


def features_for_lpips(detector):
    """A Detector whose `lpips` are the features of a grayscale one; path lengths show it grayscale repeated to RGB."""
    outputs = {LPIPS: lambda images: detector.outputs[FEATURES](images[:, : detector.channels])}
    return dataclasses.replace(detector, outputs=outputs, channels=3)


class OneLabel:
    """A class, or None, in the place of a data set that labels are drawn from."""

    def __init__(self, label, c_dim):
        self.label, self.c_dim = label, c_dim

    def labels(self, n, seed=0):
        """n labels [n, c_dim] of the class."""
        return torch.zeros(n, 0) if self.label is None else one_hot([self.label] * n, self.c_dim)


class Pictures:
    """Callable Latents → their images, uint8 [N, H, W, C]."""

    def __init__(self, generator, psi, cutoff):
        self.generator, self.truncation = generator, dict(psi=psi, cutoff=cutoff)
        self.batch = usual_batch(generator)

    def __call__(self, latents):
        return np.concatenate(list(render(self.generator, latents, batch=self.batch, **self.truncation)))


def spread(distances):
    """{figure: value} of distances [N, k]: mean, deviation and quantiles of all, mean to the nearest."""
    x = distances.double()
    means = dict(mean=x.mean().item(), std=x.std().item(), mean_nearest=x[:, 0].mean().item())
    return dict(images=len(x), **means, **quantiles(x.flatten().numpy()))


def report(nearest):
    """Print the mean distances to the nearest training image."""
    for name, figures in nearest.items():
        parts = []
        for by, found in figures.items():
            error = "" if found["standard_error"] is None else f" ± {found['standard_error']:.2g}"
            parts.append(f"by {by} {found['mean']:.5g}{error}")
        click.echo(f"{name}: nearest training image {', '.join(parts)} (mean ± standard error of {found['images']})")


def lines(drawn, found, figures, label):
    """The lines of modes.jsonl as dicts: one a candidate."""
    told = {key: figures[key] for key in ("network", "space", "top_k", "trunc")}
    told |= {} if label is None else {"class": label}
    for name, latents in drawn.items():
        for i, (candidate, log_volume) in enumerate(zip(latents.index.tolist(), latents.log_volume.tolist())):
            line = dict(kind=name, rank=i, candidate=candidate, log_volume=log_volume)
            for by, near in found.get(name, {}).items():
                line[f"nearest_by_{by}"] = dict(image=int(near.index[i]), distance=float(near.distances[i]))
            yield line | told


def write_page(outdir, figures, rows, data):
    """Write report.html: the command, the figures, and for either kind its pictures and candidates."""
    page = Report(f"Modes and anti-modes of {figures['network']}", command_line())
    page.facts(figures)
    if "three_nearest" in figures and charts.available():  # not that of an earlier run
        page.picture(outdir / "distances.png", "distances to the three nearest training images")
    if "ppl2_wend" in figures and charts.available():
        page.picture(outdir / "path-lengths.png", "distributions of perceptual path lengths; markers: their means")
    for name in EXTREMES:
        page.heading(name)
        page.picture(outdir / f"{name}.png", f"{name}, the most extreme candidate first")
        if data:
            caption = "row by row: generated, nearest training image by pixels, nearest by features; distances below"
            page.picture(outdir / f"nearest-{name}.png", caption)
        page.table(
            [{key: row[key] for key in row if key not in (*figures, "kind")} for row in rows if row["kind"] == name]
        )
    page.save(outdir / "report.html")


def write_text(path, text):
    with atomic_output(path) as tmp:
        tmp.write_text(text)


if __name__ == "__main__":
    main()
