"""Options of volumes: those of an atlas, wherever one is built, and those of volumes that are computed as they go."""

import click

from cli.options import MemorySize, MethodName, apply_options
from latent_plugins.atlas.build import MIN_SPEARMAN
from latent_plugins.priors import WITH_RADIUS
from latent_plugins.volume.spectrum.precision import PRECISIONS
from latent_plugins.volume.spectrum.subspace import Subspace

# What decides the numbers of an atlas.
OPTIONS = dict(
    candidates=click.option(
        "--candidates",
        type=click.IntRange(min=1),
        metavar="N",
        help="Latents whose volume is computed, per class.  [default: 20000 in style, 2000 in pixel spaces]",
    ),
    domain=click.option(
        "--domain",
        type=click.Choice(["sphere", "gaussian"]),
        help="Where latents live.  [default: sphere for networks that normalise z]",
    ),
    base=click.option(
        "--base",
        type=click.Choice(["prior", *WITH_RADIUS]),
        default="prior",
        show_default=True,
        help="The law of latents that volumes reweight; MaGNET's text has it uniform.",
    ),
    radius=click.option(
        "--radius",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="Half side of the cube uniform, radius of the ball, standard deviation of normal.",
    ),
    layer=click.option(
        "--layer", metavar="NAME", help="Detector's layer of a feature space.  [default: the metrics' features]"
    ),
    method=click.option(
        "--method",
        type=MethodName(),
        metavar="NAME",
        help="Singular values of the whole Jacobian (exact), of a random projection of it (projected), by subspace "
        "iteration (subspace), along shared directions (shared); or volumes predicted from few products (hybrid) "
        "or none (amortized).  [default: by cost and accuracy, exact, subspace or shared]",
    ),
    projection=click.option(
        "--projection",
        type=click.IntRange(min=1),
        metavar="P",
        help="Output dimensions that --method=projected keeps.  [default: 256; of NVAE 128]",
    ),
    oversample=click.option(
        "--oversample",
        type=click.IntRange(min=0),
        default=Subspace.Settings.oversample,
        show_default=True,
        metavar="N",
        help="Spare directions of --method=subspace.",
    ),
    iterations=click.option(
        "--iterations",
        type=click.IntRange(min=0),
        default=Subspace.Settings.iterations,
        show_default=True,
        metavar="N",
        help="Power iterations of --method=subspace.",
    ),
    basis=click.option(
        "--basis",
        type=click.IntRange(min=1),
        metavar="Q",
        help="Directions of --method=shared and hybrid.  [default: 6 more than --top-k; hybrid 8]",
    ),
    labels=click.option(
        "--labels",
        type=click.IntRange(min=1),
        metavar="N",
        help="Latents that --method=shared learns its basis from, hybrid and amortized their predictor; pcn: a "
        "surrogate for its moves.  [default: 256; 5000; none]",
    ),
    min_spearman=click.option(
        "--min-spearman",
        type=click.FloatRange(-1, 1),
        default=MIN_SPEARMAN,
        show_default=True,
        metavar="R",
        help="Refuse predicted volumes whose rank correlation with held-out true ones is below.",
    ),
    precision=click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="float32",
        show_default=True,
        help="Arithmetic of the products; tf32 and bf16 are for GPUs.",
    ),
    compile=click.option(
        "--compile", is_flag=True, help="Put the products through torch.compile: a minute that large atlases repay."
    ),
    max_memory=click.option(
        "--max-memory",
        type=MemorySize(),
        metavar="SIZE",
        help="Bound for the Jacobians, e.g. 2GB.  [default: automatic]",
    ),
)
ONLINE = ("domain", "layer", "projection", "oversample", "iterations", "precision", "compile", "max_memory")

atlas_options = apply_options(OPTIONS.values())
# What decides a volume that is computed when it is asked for.
online_options = apply_options(
    [
        click.option(
            "--method",
            type=MethodName(),
            metavar="NAME",
            help="Singular values of the whole Jacobian (exact), of a random projection of it (projected), or by "
            "subspace iteration (subspace).  [default: the cheaper one of exact and subspace]",
        ),
        *(OPTIONS[name] for name in ONLINE),
    ]
)
