"""build_atlas: compute the volumes of many latents once, to sample from them ever after."""

from pathlib import Path

import click
import numpy as np

from cli.atlases import build_with_progress
from cli.options import (
    IntRanges,
    atlas_options,
    check_psi,
    cutoff_option,
    network_options,
    open_network,
    reports_errors,
)
from latent_plugins.atlas import make_settings


@click.command()
@network_options
@click.option("--outdir", type=Path, required=True, metavar="DIR", help="Folder of the atlas.")
@click.option("--space", help="style, pixel or w:pixel.  [default: style, of networks without styles pixel]")
@atlas_options
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Singular values to store.  [default: all, 128 at most]"
)
@click.option(
    "--base",
    type=click.Choice(["prior", "uniform"]),
    default="prior",
    show_default=True,
    help="Where candidates come from.",
)
@click.option("--radius", type=float, default=1.0, show_default=True, help="Half side of the uniform base's cube.")
@click.option("--class", "classes", type=IntRanges(), help="Classes of a conditional network; all by default.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the candidates.")
@click.option("--trunc", "psi", type=float, default=1, show_default=True, help="Truncation psi of the volumes.")
@cutoff_option
@reports_errors
def main(network, device, allow_code, outdir, psi, cutoff, **settings):
    """Compute the singular values of a generator's Jacobian at many latents and store them.

    An interrupted build goes on where it stopped when the same command is given again.

    \b
    build_atlas --outdir=atlas --space=style --candidates=250000
    build_atlas --outdir=atlas --space=pixel --network=ffhq.pkl --method=projected
    """
    check_psi(psi)
    generator, _, _ = open_network(network, device, allow_code)
    settings = make_settings(generator, psi=psi, cutoff=cutoff, **settings)
    atlas = build_with_progress(generator, outdir, settings)
    volume = atlas.log_volume(label=None if atlas.classes is None else atlas.classes[0])
    click.echo(
        f"{outdir}: {settings.candidates} candidates, {settings.top_k} singular values each, log-volume "
        f"{np.nanmean(volume):.2f} ± {np.nanstd(volume):.2f} nats"
    )


if __name__ == "__main__":
    main()
