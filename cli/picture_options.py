"""The options of pictures that show many images."""

import click

from latent_plugins.pictures.contact_sheet import CELL

cell_option = click.option(
    "--cell",
    type=click.IntRange(1, 4096),
    default=CELL,
    show_default=True,
    metavar="PIXELS",
    help="Contact sheets: enlarge images that are smaller, by a whole factor.",
)
captions_option = click.option("--captions", is_flag=True, help="Contact sheets: write its seed under each image.")


def captions_of(seeds, wanted):
    """Captions of images of these seeds, or None where nobody wants them."""
    return [f"seed {seed}" for seed in seeds] if wanted else None
