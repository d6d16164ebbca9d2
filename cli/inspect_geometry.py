"""inspect_geometry: a report on a generator's geometry, as numbers and figures."""

import dataclasses
import json
import time
import warnings

import click

from cli.command_line import RememberingCommand, command_line
from cli.labels import class_number
from cli.options import MemorySize, chosen_device, network_options, open_network, prepare_folder, reports_errors
from cli.paths import DataSource, FilePath
from cli.progress import TERMINAL, count_progress, progress_option
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas.build import MIN_SPEARMAN
from latent_plugins.atlas.settings import one_hot
from latent_plugins.atlas.together import cached_atlas
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.geometry import report as reports
from latent_plugins.geometry.report import NEED_REAL, NEED_SAMPLER, SECTIONS, choose, section
from latent_plugins.pictures import charts
from latent_plugins.pictures.report import Report
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.recipe import choose_top_k, settings_for, usable_advice
from latent_plugins.spaces import canonical_space, check_space, default_space, get_space
from latent_plugins.volume.defaults import paper_top_k

CLASS_OPTIONS = "--classes-latents, --held-out and --confidence"
LONGEST_FACT = 400  # characters of a fact on the page


@click.command(cls=RememberingCommand)
@network_options
@click.option("--outdir", type=FilePath(), required=True, metavar="DIR", help="Where the report and its figures go.")
@click.option(
    "--space", default="pixel", show_default=True, help="The map that is inspected: pixel, style (cheap) or w:pixel."
)
@click.option("--sections", metavar="A,B,C", help=f"{', '.join(SECTIONS)}.  [default: all]")
@click.option("--quick", is_flag=True, help="Few samples: less than a minute for the embedded network.")
@click.option("--class", "class_name", help="Class of a conditional network: its number, or for ImageNet its name.")
@click.option(
    "--sampler-space",
    help="Whose volumes the MaGNET samples follow.  [default: style, of networks without styles pixel]",
)
@click.option("--data", type=DataSource(), metavar="ZIP|DIR", help="Real images to compare with.  [default: look up]")
@click.option(
    "--disentanglement-latents",
    type=click.IntRange(min=1),
    metavar="N",
    help="disentanglement: how many; 10000 as published.  [default: 200, --quick 16]",
)
@click.option(
    "--classes-latents",
    type=click.IntRange(min=20),
    metavar="N",
    help="latent_classes: how many; 110000 as published.  [default: 5000, --quick 1000]",
)
@click.option(
    "--held-out",
    type=click.IntRange(min=1),
    metavar="N",
    help="latent_classes: those that the linear classifier is asked about; 10000 as published.  [default: a quarter]",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, max_open=True),
    default=0,
    show_default=True,
    metavar="P",
    help="latent_classes: how sure of an image the classifier must be; 0.7 as published for colour images.",
)
@click.option("--exact-partition", is_flag=True, help="Refuse a network whose partition can only be sampled.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of all samples.")
@click.option("--max-memory", type=MemorySize(), metavar="SIZE", help="Bound for the Jacobians.  [default: automatic]")
@progress_option
@reports_errors
def main(
    network, device, allow_code, outdir, space, sections, quick, class_name, sampler_space, data,
    disentanglement_latents, classes_latents, held_out, confidence, exact_partition, seed, max_memory,
):  # fmt: skip
    """Report on the geometry of a generator: partition, dimension, entropy, angles, inversion, classes and more.

    Writes report.json and figures, and report.html, which shows them all in one file.

    \b
    inspect_geometry --outdir=geometry --quick
    inspect_geometry --network=ffhq.pkl --space=style --sections=dimension,entropy --outdir=geometry
    inspect_geometry --network=mlp.pt --exact-partition --outdir=geometry

    NETWORK may be a file of torch.save with a torch.nn.Sequential in it, too: where its layers are affine and its
    activations piecewise affine, its partition is exact.
    """
    sections = choose(sections)
    for name in filter(None, (space, sampler_space)):
        canonical_space(name)
    if data is not None and not set(sections) & set(NEED_REAL):
        raise click.ClickException(
            f"--data has no effect without one of the sections {', '.join(NEED_REAL)}; leave it out"
        )
    chosen = dict(classes_latents=classes_latents, classes_held_out=held_out, classes_confidence=confidence or None)
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if chosen and "latent_classes" not in sections:
        raise click.ClickException(f"{CLASS_OPTIONS} have no effect without the section latent_classes; leave them out")
    if disentanglement_latents is not None:
        if "disentanglement" not in sections:
            raise click.ClickException(
                "--disentanglement-latents has no effect without the section disentanglement; leave it out"
            )
        chosen["disentanglement_latents"] = disentanglement_latents
    sizes = dataclasses.replace(reports.QUICK if quick else reports.DECENT, **chosen)
    if held_out is not None and held_out >= sizes.classes_latents:
        raise click.ClickException(
            f"--held-out={held_out} leaves nothing to learn from: there are --classes-latents={sizes.classes_latents}"
        )
    outdir = prepare_folder(outdir)
    generator, source, entry, sequential = opened(network, device, allow_code)
    if exact_partition and not has_exact_partition(sequential):
        raise click.ClickException(
            f"a {generator.family} network is not a Sequential of piecewise affine layers, so its regions are not "
            "known exactly: leave out --exact-partition for a sampled partition"
        )
    label = class_number(class_name, generator.c_dim)
    c = None if label is None else one_hot([label], generator.c_dim)
    space_map = get_space(generator, space, c=c)
    sampler_space = check_space(generator, sampler_space or default_space(generator))
    advice = usable_advice(generator, entry.get("recommended", {}))
    top_k = min(paper_top_k(space_map.name, generator.family), space_map.max_rank)
    about = dict(seed=seed, sequential=sequential, max_memory=max_memory, progress=count_progress)
    subject = reports.Subject(generator, space_map, sizes, top_k, **about)
    if set(sections) & set(NEED_REAL):
        if "detector" in entry:
            subject.detector = load_detector(entry["detector"], device=next(generator.parameters()).device)
        from latent_plugins.geometry.report.real import real_features

        look_up = (generator, subject.detector, data, entry, sizes.real_images)
        subject.real, subject.real_name = real_features(*look_up, progress=count_progress)
    if set(sections) & set(NEED_SAMPLER):
        add_sampler(subject, sampler_space, advice, label)
    settings = dict(
        space=space_map.name, domain=space_map.domain, class_number=label, truncation_psi=1, top_k=top_k, seed=seed,
        quick=quick, sampler_space=sampler_space, real_images=subject.real_name, sections=sections,
        sample_counts=vars(sizes),
    )  # fmt: skip
    about = dict(source=str(source), family=generator.family, fingerprint=fingerprint(generator))
    write_report(outdir, subject, sections, dict(network=about, settings=settings))


def has_exact_partition(sequential):
    """Whether a network, or None, is a Sequential of affine layers and piecewise affine units."""
    from latent_plugins.geometry.piecewise import is_piecewise_affine

    return sequential is not None and is_piecewise_affine(sequential)


def opened(network, device, allow_code):
    """(generator, source, catalogue entry or {}, the Sequential that it consists of or None)."""
    from latent_plugins.geometry.report.sequential import is_sequential_file, read_sequential

    if network is not None and is_sequential_file(network):
        generator = read_sequential(network, chosen_device(device))
        return generator, network, {}, generator.network
    return *open_network(network, device, allow_code), None


def add_sampler(subject, space, advice, label):
    """Give the subject a MaGNET sampler on an atlas from the cache, and say how degenerate its weights are."""
    generator = subject.generator
    made = dict(candidates=subject.sizes.sampler_candidates[space], classes=None if label is None else (label,))
    settings = settings_for(generator, None, advice, space=space, method=None, **made)
    atlas = cached_atlas(generator, settings, MIN_SPEARMAN, TERMINAL)
    top_k = choose_top_k(None, advice, atlas, space, generator.family)
    subject.sampler = create_sampler("magnet", generator, atlas=atlas, top_k=top_k)
    found = subject.sampler.degeneracy(label)
    click.echo(f"MaGNET in {space}, top-k {top_k}: {found}")
    subject.sampler_facts = dict(
        space=space, top_k=top_k, candidates=found.candidates, effective_sample_size=found.effective_sample_size,
        largest_weight=found.largest,
    )  # fmt: skip


def write_report(outdir, subject, sections, report):
    """Compute the sections one after the other, and write figures and report.json after each."""
    from latent_plugins.geometry.report.subject import plain

    drawing = charts.available()
    if not drawing:
        text = "matplotlib is not installed, its figures are left out: pip install 'latent-plugins[geometry]'"
        warnings.warn(text, stacklevel=2)
    report.update(complete=False, sections={})
    for name in sections:
        start = time.monotonic()
        try:
            found = section(name)(subject)
        except ValueError as error:
            found = None
            report["sections"][name] = dict(skipped=True, note=str(error))
        if found is not None:
            figures = [figure for figure in found.figures if drawing or not figure.matplotlib]
            for figure in figures:
                figure.write(outdir / figure.name)
            report["sections"][name] = dict(found.facts, figures=[figure.name for figure in figures])
        report["sections"][name]["seconds"] = time.monotonic() - start
        report["complete"] = name == sections[-1]
        with atomic_output(outdir / "report.json") as tmp:
            tmp.write_text(json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_page(outdir, plain(report))
        click.echo(f"{name}: {headline(report['sections'][name])}")
    click.echo(f"{outdir}: report.json, report.html")


def write_page(outdir, report):
    """Write report.html: the command, what was looked at, and every section with its figures."""
    page = Report(f"Geometry of {report['network']['source']}", command_line())
    page.facts(report["network"] | report["settings"])
    for name, found in report["sections"].items():
        page.heading(name)
        if found.get("skipped"):
            page.paragraph(f"Skipped: {found['note']}.")
            continue
        page.facts({key: value for key, value in found.items() if key != "figures" and is_short(value)})
        for figure in found["figures"]:
            page.picture(outdir / figure)
    page.save(outdir / "report.html")


def is_short(value):
    """Whether a fact has room in a table; report.json has all of them."""
    return len(json.dumps(value)) <= LONGEST_FACT


def headline(section):
    """What a section's line on the terminal says."""
    if section.get("skipped"):
        return f"skipped, {section['note']}"
    return ", ".join([f"{section['seconds']:.0f} s", *section["figures"]])


if __name__ == "__main__":
    main()
