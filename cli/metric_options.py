"""The options that calc_metrics and sweep share."""

import click

from cli.options import Numbers, apply_options, cutoff_option, gpus_option
from cli.paths import DataSource, DetectorSource, ExistingPath
from latent_plugins.metrics.lines import LEVEL

evaluation_options = apply_options(
    [
        click.option(
            "--data", type=DataSource(), metavar="ZIP|DIR", help="Data set to compare with.  [default: look up]"
        ),
        click.option(
            "--mirror",
            type=bool,
            metavar="BOOL",
            help="Count x-flips of the data set, in the legacy metrics.  [default: look up]",
        ),
        click.option(
            "--trunc",
            "psis",
            type=Numbers(),
            help="Truncation psi, or several.  [default: 1; with --sampler=truncation 0.7]",
        ),
        cutoff_option,
        click.option(
            "--noise-mode",
            type=click.Choice(["random", "const", "none"]),
            default="random",
            show_default=True,
            help="Noise inputs; the official metrics have them random.",
        ),
        click.option(
            "--mix",
            "mixes",
            type=Numbers(),
            help="Share of latents from the sampler, the rest from the prior; or several.  [default: 1]",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**31),
            default=0,
            show_default=True,
            help="Seed of latents, labels and subsets.",
        ),
        click.option(
            "--repeats",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="N",
            help="Repeat with seeds SEED, SEED+1, ... and give an interval.",
        ),
        click.option(
            "--confidence",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=LEVEL,
            show_default=True,
            metavar="P",
            help="Level of the intervals of --repeats.",
        ),
        click.option(
            "--fresh-atlas",
            is_flag=True,
            help="Of --repeats: an atlas for each, seeded by its seed, so that the interval leaves nothing out.",
        ),
        click.option(
            "--fresh-real",
            is_flag=True,
            help="Metrics of as many real images as generated ones choose them at random, others for each seed; "
            "without it they are the first ones.",
        ),
        click.option(
            "--detector",
            "detectors",
            multiple=True,
            type=DetectorSource(),
            metavar="NAME|FILE",
            help="Feature detector instead of the official ones; inception=, vgg16=, lpips= or space= (that "
            "of --space) in front limits it.",
        ),
        click.option(
            "--lpips-heads",
            type=ExistingPath(),
            metavar="FILE",
            help="LPIPS heads, for a VGG16 state dict that has none.",
        ),
        click.option(
            "--allow-singular", is_flag=True, help="FID from fewer images than features, as the official code gives it."
        ),
        click.option(
            "--save-images",
            type=click.IntRange(min=1),
            metavar="N",
            help="Write the first N generated images to the output folder.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            metavar="N",
            help="Images at once.  [default: 64, fewer above 128 pixels]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0, 64),
            default=3,
            show_default=True,
            metavar="N",
            help="Threads that read the data set.",
        ),
        click.option("--no-cache", is_flag=True, help="Neither use nor keep the statistics of the data set."),
        gpus_option,
        click.option(
            "--verbose",
            type=bool,
            default=True,
            show_default=True,
            metavar="BOOL",
            help="Print more than the results.",
        ),
    ]
)
