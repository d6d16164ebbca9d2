"""Options of trainings that end with the snapshot that is nearest to held-out images."""

import click

from cli.binding import given
from cli.options import apply_options
from cli.paths import DataSource, DetectorSource
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.pretrained import catalogue
from latent_plugins.metrics.names import OFFICIAL_DETECTORS
from latent_plugins.samplers import create_sampler


def selection_options(samplers):
    """The options of a selection. samplers: whose images may be judged, by default the first."""
    return apply_options(
        [
            click.option(
                "--select",
                type=DataSource(),
                metavar="ZIP|DIR",
                help="Held-out images: end with the snapshot whose samples are nearest to them by the earth mover's "
                "distance, not with the last.",
            ),
            click.option(
                "--select-images",
                type=click.IntRange(min=2),
                default=1024,
                show_default=True,
                metavar="N",
                help="With --select: images of either kind.",
            ),
            click.option(
                "--select-sampler",
                type=click.Choice(samplers),
                default=samplers[0],
                show_default=True,
                help="With --select: whose images are judged.",
            ),
            click.option(
                "--detector",
                type=DetectorSource(),
                metavar="NAME|FILE",
                help="With --select: features of the distance.  [default: the network's own classifier, else VGG16]",
            ),
        ]
    )


def check_selection(select):
    """Raise a click error for options that need --select."""
    for name in ("select_images", "select_sampler", "detector"):
        if select is None and given(name):
            raise click.ClickException(f"--{name.replace('_', '-')} has no effect without --select; leave it out")


def open_selection(generator, source, held_out, detector, allow_code, *, sampler, read, **options):
    """The Selection of the options.

    held_out: an ImageDataset; sampler: the name of the one that is judged; read: what it takes of a snapshot's file, by
    keyword; options: of the class.
    """
    from latent_plugins.reweighting.selection import Selection

    def sampler_of(path):
        return create_sampler(sampler, generator, **read(path))

    entry = catalogue().get(source, {})
    detector = detector or entry.get("detector") or OFFICIAL_DETECTORS["vgg16"]
    opened = load_detector(detector, device=next(generator.parameters()).device, allow_code=allow_code)
    return Selection(generator, held_out, opened, sampler_of, named=sampler, **options)
