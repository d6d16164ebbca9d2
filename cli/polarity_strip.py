"""polarity_strip: the same seeds from modes to anti-modes, as a picture or an animation."""

import json

import click
import numpy as np
import PIL.features
import torch

from cli.atlas_options import atlas_options
from cli.binding import MethodCommand
from cli.labels import class_number
from cli.options import (
    IntRanges,
    Numbers,
    apply_options,
    check_psi,
    cutoff_option,
    detector_option,
    network_options,
    open_network,
    prepare_folder,
    reports_errors,
)
from cli.paths import ExistingPath, FilePath
from cli.picture_options import captions_of, captions_option, cell_option
from cli.progress import TERMINAL, progress_option, with_progress
from cli.sampling import check_sampler, recipe_options
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas.settings import one_hot
from latent_plugins.importance.coherent import coherent_choices
from latent_plugins.importance.weights import rho_for_json
from latent_plugins.pictures.animations import FORMATS, save_animation
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png
from latent_plugins.pictures.rendering import render, usual_batch
from latent_plugins.pictures.strips import captioned, strip
from latent_plugins.samplers import Latents
from latent_plugins.samplers.recipe import Recipe

# Which volumes a command ranks candidates by, where it chooses the sampler itself.
volume_options = apply_options(
    [
        click.option("--space", help="Whose volume counts: style, pixel or w:pixel.  [default: recommended, or style]"),
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
            "--trunc", "psi", type=float, default=1, show_default=True, help="Truncation psi of images and volumes."
        ),
        cutoff_option,
        click.option("--class", "class_name", help="Class of a conditional network: its number, or its ImageNet name."),
    ]
)


@click.command(cls=MethodCommand)
@network_options
@click.option("--seeds", type=IntRanges(), default="0-3", show_default=True, help="Random seeds, e.g. 0,1,4-6.")
@click.option("--rho", "rhos", type=Numbers(), default="-1,-0.5,0,0.5,1", show_default=True, help="Polarities.")
@click.option(
    "--out",
    type=FilePath(),
    default="strip.png",
    show_default=True,
    metavar="FILE",
    help="A .png, or .webp or .gif to move.",
)
@click.option(
    "--duration",
    type=click.IntRange(20, 10_000),
    default=400,
    show_default=True,
    metavar="MS",
    help="Milliseconds that an animation shows each rho.",
)
@volume_options
@detector_option
@atlas_options
@cell_option
@captions_option
@progress_option
@reports_errors
def main(
    network, device, allow_code, seeds, rhos, out, duration, space, top_k, atlas_path, psi, cutoff, class_name,
    cell, captions, **atlas_settings,
):  # fmt: skip
    """Show what the polarity rho does to the same seeds: a row a seed, a column a rho.

    With --out=FILE.webp or .gif it is an animation, to the last rho and back. Beside it FILE.json says which candidates
    are shown. A seed has the same random numbers for all rho and keeps its image for as long as they allow; images
    are drawn with replacement, and are not those of gen_images for this seed.

    \b
    polarity_strip --space=pixel --seeds=0-7
    polarity_strip --network=ffhq.pkl --atlas=atlas --rho=-inf,-1,-0.1,0,0.1,1,inf --out=strip.webp
    """
    check_out(out)
    check_psi(psi)
    if any(np.isnan(rhos)):
        raise click.BadParameter("nan is no rho; write numbers, -inf or inf")
    options = dict(space=space, top_k=top_k, atlas_path=atlas_path, **atlas_settings)
    check_sampler("polarity", rhos=rhos, **options)
    prepare_folder(out.parent)
    generator, source, entry = open_network(network, device, allow_code)
    label = class_number(class_name, generator.c_dim)
    generator.check_psi(psi)
    drawing = dict(
        watch=TERMINAL,
        advice=entry.get("recommended"),
        cutoff=cutoff,
        label=label,
        needed=1,
        shortage="{candidates} candidates are too few",
    )
    sampler, described = Recipe(generator, "polarity", recipe_options(options), **drawing).make(rhos[0], psi)
    volume = sampler.atlas.log_volume(described["top_k"], label)
    drawn = coherent_choices(volume, rhos, seeds, sampler.atlas, label)
    c = torch.zeros(len(seeds), 0) if label is None else one_hot([label] * len(seeds), generator.c_dim)
    batch = usual_batch(generator)
    columns = []
    for index in with_progress(list(drawn), [len(seeds)] * len(rhos), "images"):
        latents = Latents(sampler.atlas.latents(index, label), c)
        pictures = render(generator, latents, psi=psi, cutoff=cutoff, batch=batch)
        columns.append(np.concatenate(list(pictures)))
    texts, under = [f"rho {rho:g}" for rho in rhos], captions_of(seeds) if captions else None
    if out.suffix.lower() == ".png":
        save_png(strip(columns, texts, under, cell=cell), out)
    else:
        sheets = [contact_sheet(column, under, cell=cell) for column in columns]
        save_animation([captioned(sheet, [text]) for sheet, text in zip(sheets, texts)], out, duration)
    record = dict(network=source, space=described["space"], top_k=described["top_k"], trunc=psi)
    record |= {} if cutoff is None else dict(trunc_cutoff=cutoff)
    record |= {} if label is None else {"class": label}
    record |= dict(seeds=seeds, rho=[rho_for_json(rho) for rho in rhos])
    record.update(candidates=drawn.tolist(), log_volumes=volume[drawn].tolist())
    with atomic_output(out.with_suffix(".json")) as tmp:
        tmp.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    click.echo(f"{out}: {len(seeds)} seeds at {len(rhos)} rho; {out.with_suffix('.json').name}")


def check_out(out):
    """A click error for a file that cannot be written: another suffix, or a format that Pillow lacks."""
    if out.suffix.lower() not in FORMATS:
        raise click.BadParameter(f"{out}: the picture's suffix is one of {', '.join(FORMATS)}")
    if out.suffix.lower() == ".webp" and not PIL.features.check("webp"):
        raise click.ClickException(f"{out}: this build of Pillow writes no WebP; write a .gif")


if __name__ == "__main__":
    main()
