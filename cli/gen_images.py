"""gen_images: images of a generator, with latents from any sampler."""

import click
import numpy as np

from cli.atlas_options import atlas_options
from cli.binding import SamplerCommand, given
from cli.labels import class_number
from cli.options import (
    IntRanges,
    Vector2,
    check_psi,
    cutoff_option,
    detector_option,
    network_options,
    open_network,
    prepare_folder,
    reports_errors,
)
from cli.paths import ExistingPath, FilePath
from cli.picture_options import captions_of, captions_option, cell_option, sheet_maker
from cli.progress import TERMINAL, progress_option, with_progress
from cli.sampling import check_sampler, recipe_options, sampler_choice_options, say_report
from dnnlib_compat.line_files import append_lines, merge_lines
from latent_plugins.atlas.settings import one_hot
from latent_plugins.pictures.files import save_png
from latent_plugins.pictures.projected import projected_styles, rendered
from latent_plugins.pictures.rendering import apply_transform, inverse_transform, render, usual_batch
from latent_plugins.pictures.strips import strip
from latent_plugins.samplers.recipe import Recipe
from latent_plugins.samplers.registry import available_samplers, filters_and_base
from latent_plugins.samplers.trails import is_trailed

LINES = "samples.jsonl"  # one for every image, written with it, so that a kill loses none


@click.command(cls=SamplerCommand)
@network_options
@click.option("--seeds", type=IntRanges(), default="0-15", show_default=True, help="Random seeds, e.g. 0,1,4-6.")
@click.option("--trunc", "psi", type=float, help="Truncation psi.  [default: 1; with --sampler=truncation 0.7]")
@cutoff_option
@click.option("--class", "class_name", help="Class of a conditional network: its number, or for ImageNet its name.")
@click.option(
    "--output",
    type=click.Choice(["mean", "sample"]),
    default="mean",
    show_default=True,
    help="NVAE: the mean of the output distribution, or a sample of it.",
)
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="Noise inputs.",
)
@click.option(
    "--translate",
    type=Vector2(),
    default="0,0",
    show_default=True,
    metavar="VEC2",
    help="Translate XY-coordinate, e.g. 0.3,1; StyleGAN3 only.",
)
@click.option(
    "--rotate", type=float, default=0, show_default=True, metavar="ANGLE", help="Rotation in degrees; StyleGAN3 only."
)
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1),
    metavar="BETA",
    help="Soften the ReLUs, from 0 (to lines) to 1 (not at all): a smooth manifold.  [default: 1]",
)
@click.option("--outdir", type=FilePath(), default="out", show_default=True, metavar="DIR", help="Where the images go.")
@sampler_choice_options()
@detector_option
@atlas_options
@click.option(
    "--projected-w",
    type=ExistingPath(),
    metavar="FILE",
    help="Images of projected styles instead: the array w [N, num_ws, w_dim] of an .npz, to projNN.png.",
)
@click.option("--grid", is_flag=True, help="Write one contact sheet, grid.png, too.")
@click.option(
    "--strips",
    is_flag=True,
    help="latentga, latentrs+ga, dot: write strips.png, too: each seed on its way, with the weight or score below.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Steps between the columns of --strips.  [default: a tenth of the steps]",
)
@cell_option
@captions_option
@click.option(
    "--batch", type=click.IntRange(min=1), metavar="N", help="Images at once.  [default: 16, fewer above 256 pixels]"
)
@progress_option
@reports_errors
def main(
    network, device, allow_code, seeds, psi, cutoff, class_name, output, noise_mode, translate, rotate, smooth, outdir,
    projected_w, grid, strips, every, cell, captions, batch, sampler_name, rho, **options,
):  # fmt: skip
    """Generate images with latents from the prior, MaGNET, Polarity or any other sampler.

    \b
    gen_images --sampler=magnet --space=style --seeds=0-63 --grid
    gen_images --network=stylegan3-t-ffhq-1024 --seeds=0-15 --trunc=0.7 --outdir=out
    gen_images --network=ffhq.pkl --sampler=polarity --rho=-0.5 --space=pixel --atlas=atlas
    """
    check_psi(psi)
    sampler_class = check_sampler(sampler_name, rhos=[] if rho is None else [rho], **options)
    if projected_w is not None:
        check_projected(sampler_name, rho, options)
    check_strips(strips, sampler_name)
    sheet = sheet_maker(grid, cell, captions, strips)
    outdir = prepare_folder(outdir)
    transform = inverse_transform(translate, rotate)
    generator, source, entry = open_network(network, device, allow_code)
    if smooth not in (None, 1):
        from latent_plugins.geometry.smoothing import smoothed  # its units are torch's when it is imported

        generator = smoothed(generator, smooth)
    if projected_w is not None:
        apply_transform(generator, transform)
        record = dict(network=source, projected_w=str(projected_w), noise_mode=noise_mode, **moved(translate, rotate))
        write_projected(generator, projected_w, outdir, record, sheet, noise_mode)
        return
    label = class_number(class_name, generator.c_dim)
    if psi is None:
        psi = getattr(sampler_class, "default_psi", 1)
    generator.check_psi(psi)
    if output == "sample" and not hasattr(generator, "sample_output"):
        raise click.ClickException(f"--output=sample needs an output distribution (NVAE); {generator.family} has none")

    shortage = f"seed {max(seeds)} is beyond the {{candidates}} candidates of an atlas of this size"
    drawing = dict(cutoff=cutoff, label=label, needed=max(seeds) + 1, shortage=shortage, watch=TERMINAL)
    about = dict(source=source, advice=entry.get("recommended"), **drawing)
    sampler, described = Recipe(generator, sampler_name, recipe_options(options), **about).make(rho, psi)
    record = dict(network=source, sampler=sampler_name, trunc=psi, noise_mode=noise_mode, **described)
    if cutoff is not None:
        record["trunc_cutoff"] = cutoff
    if smooth not in (None, 1):
        record["smooth"] = smooth
    record |= moved(translate, rotate)
    c = None if label is None else one_hot([label] * len(seeds), generator.c_dim)
    trail = sampler.trail(seeds, c, every) if strips else None
    latents = trail.latents if strips else sampler.draw(seeds, c)
    say_report(sampler, latents)
    if latents.report:
        record["draw"] = latents.report
    apply_transform(generator, transform)
    if label is not None:
        record["class"] = label
    if batch is None:
        batch = usual_batch(generator)
    synthesis = dict(psi=psi, cutoff=cutoff, noise_mode=noise_mode, batch=batch, noise_seeds=seeds)
    if output == "sample":
        synthesis["output_seeds"] = seeds
        record["output"] = output
    images = write_images(generator, latents, seeds, outdir, record, sheet, keep=strips, **synthesis)
    if strips:
        on_the_way = (render(generator, trail.stage(i), **synthesis) for i in range(len(trail.steps) - 1))
        write_strips(trail, [*map(np.concatenate, map(list, on_the_way)), images], seeds, outdir, cell)


def moved(translate, rotate):
    """What a record says of the user's transform: nothing where it is the identity."""
    found = dict(translate=list(translate)) if any(translate) else {}
    return found | (dict(rotate=rotate) if rotate else {})


def check_strips(strips, sampler_name):
    """A click error for strips of a sampler that moves no latents, and for options of no strip."""
    if not strips:
        if given("every"):
            raise click.ClickException("--every has no effect without --strips; add it, or leave --every out")
        return
    filters, sampler_class = filters_and_base(sampler_name)
    if filters or not is_trailed(sampler_class):
        known = ", ".join(name for name, cls in available_samplers().items() if is_trailed(cls))
        raise click.ClickException(
            f"--strips shows how a sampler moves latents, and --sampler={sampler_name} does not; take one of {known}"
        )


def check_projected(sampler_name, rho, options):
    """What has no meaning for given styles: a click error for a sampler, the official warning for seeds."""
    if sampler_name != "prior" or rho is not None:
        raise click.ClickException("--projected-w has styles of its own; leave out --sampler and --rho")
    if click.get_current_context().get_parameter_source("seeds") is click.core.ParameterSource.COMMANDLINE:
        click.echo("warn: --seeds is ignored when using --projected-w")


def write_projected(generator, path, outdir, record, sheet, noise_mode):
    """Write projNN.png of every style in a file, samples.jsonl and, with a `sheet` of images, grid.png."""
    styles, images = projected_styles(path, generator), []
    for i, image in enumerate(with_progress(rendered(generator, styles, noise_mode), [1] * len(styles), "images")):
        name = f"proj{i:02d}.png"
        save_png(image, outdir / name)
        append_lines(outdir / LINES, [dict(file=name, row=i, **record)])
        images.append(image)
    write_samples(outdir / LINES)
    if sheet:
        save_png(sheet(np.stack(images), [f"proj{i:02d}" for i in range(len(styles))]), outdir / "grid.png")
    click.echo(f"{outdir}: {len(styles)} images" + (", grid.png" if sheet else ""))


def write_images(generator, latents, seeds, outdir, record, sheet, *, batch, keep=False, **synthesis):
    """Write seedNNNN.png for every seed, samples.jsonl and, with a `sheet` of images, grid.png.

    The images uint8 [N, H, W, C] come back where somebody is to `keep` them.
    """
    done, everything = 0, []
    try:
        sizes = [min(batch, len(seeds) - first) for first in range(0, len(seeds), batch)]
        batches = render(generator, latents, batch=batch, **synthesis)
        for images in with_progress(batches, sizes, "images"):
            for image in images:
                name = f"seed{seeds[done]:04d}.png"
                save_png(image, outdir / name)
                line = sample_line(name, seeds[done], latents, done, dict(record, batch=len(images)))
                append_lines(outdir / LINES, [line])
                done += 1
            if sheet or keep:
                everything.append(images)
    finally:
        if done:
            write_samples(outdir / LINES)
    if sheet:
        save_png(sheet(np.concatenate(everything), captions_of(seeds)), outdir / "grid.png")
    click.echo(f"{outdir}: {done} images" + (", grid.png" if sheet else ""))
    return np.concatenate(everything) if keep else None


def write_strips(trail, columns, seeds, outdir, cell):
    """Write strips.png: a row a seed, a column a stage of its Trail, with what the sampler climbs on under each image.

    columns: the images uint8 [N, H, W, C] of each stage.
    """
    captions = [[f"{seed}\n{row[i]}" for row in trail.texts] for i, seed in enumerate(captions_of(seeds))]
    save_png(strip(columns, [f"step {step}" for step in trail.steps], captions, cell=cell), outdir / "strips.png")
    click.echo(f"{outdir / 'strips.png'}: {len(seeds)} seeds after {', '.join(map(str, trail.steps))} steps")


def sample_line(name, seed, latents, i, record):
    line = dict(file=name, seed=seed, **record)
    if latents.index is not None and latents.index[i] >= 0:
        line["candidate"] = int(latents.index[i])
    if latents.log_volume is not None and np.isfinite(latents.log_volume[i]):
        line["log_volume"] = float(latents.log_volume[i])
    if latents.jacobian_norm is not None and np.isfinite(latents.jacobian_norm[i]):
        line["jacobian_norm"] = float(latents.jacobian_norm[i])
    if latents.weight is not None and np.isfinite(latents.weight[i]):
        line["weight"] = float(latents.weight[i])
    return line


def write_samples(path, lines=()):
    """Add lines to samples.jsonl and leave out those of images that were written anew since."""
    merge_lines(path, lines, lambda line: str(line["file"]))


if __name__ == "__main__":
    main()
