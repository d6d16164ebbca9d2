"""The options of pictures that show many images."""

import click

from cli.binding import given
from latent_plugins.pictures.contact_sheet import CELL, contact_sheet

cell_option = click.option(
    "--cell",
    type=click.IntRange(1, 4096),
    default=CELL,
    show_default=True,
    metavar="PIXELS",
    help="Contact sheets: enlarge images that are smaller, by a whole factor.",
)
captions_option = click.option("--captions", is_flag=True, help="Contact sheets: write its seed under each image.")


def sheet_maker(grid, cell, captions, strips=False):
    """contact_sheet(images, texts) by these options, or None without `grid`; a click error for options of no sheet.

    strips: whether there is a picture of another kind, which has cells too.
    """
    if not grid:
        for name in filter(given, ("captions",) if strips else ("cell", "captions")):
            raise click.ClickException(f"--{name} has no effect without --grid; add it, or leave --{name} out")
        return None
    return lambda images, texts: contact_sheet(images, texts if captions else None, cell=cell)


def captions_of(seeds):
    """Captions of images of these seeds."""
    return [f"seed {seed}" for seed in seeds]
