"""build_atlas: compute the volumes of many latents once, to sample from them ever after."""

import functools

import click
import numpy as np

from cli.atlas_options import atlas_options
from cli.binding import MethodCommand, check_method_options
from cli.launch import joined, own_device, relaunch
from cli.options import (
    IntRanges,
    check_psi,
    cutoff_option,
    detector_option,
    gpus_option,
    network_options,
    open_network,
    prepare_folder,
    reports_errors,
)
from cli.paths import FilePath
from cli.progress import TERMINAL, progress_option
from cli.sampling import check_base
from latent_plugins import distributed
from latent_plugins.atlas.plan import plan_lines
from latent_plugins.atlas.settings import make_settings
from latent_plugins.atlas.together import build_together
from latent_plugins.spaces import canonical_space


@click.command(cls=MethodCommand)
@network_options
@click.option("--outdir", type=FilePath(), required=True, metavar="DIR", help="Folder of the atlas.")
@click.option(
    "--space",
    help="style, pixel, vgg, inception, features, or w:pixel and so on.  [default: style, else pixel]",
)
@detector_option
@atlas_options
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Singular values to store.  [default: all, 128 at most]"
)
@click.option("--class", "classes", type=IntRanges(), help="Classes of a conditional network; all by default.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the candidates.")
@click.option("--trunc", "psi", type=float, default=1, show_default=True, help="Truncation psi of the volumes.")
@cutoff_option
@click.option("--plan", is_flag=True, help="Only say what it would take, for 1, 8 and 64 devices like this one.")
@gpus_option
@progress_option
@reports_errors
def main(network, device, allow_code, outdir, psi, cutoff, plan, gpus, min_spearman, **settings):
    """Compute the singular values of a generator's Jacobian at many latents and store them.

    An interrupted build goes on where it stopped when the same command is given again, with any number of processes.

    \b
    build_atlas --outdir=atlas --space=style --candidates=250000
    build_atlas --outdir=atlas --space=pixel --network=ffhq.pkl --method=hybrid --labels=5000
    torchrun --nproc_per_node=8 --no-python build_atlas --outdir=atlas --space=pixel --network=ffhq.pkl
    """
    check_psi(psi)
    if not plan:
        prepare_folder(outdir)
    check_method_options(settings["method"])
    check_base(settings["base"])
    if settings["space"] is not None:
        canonical_space(settings["space"])
    if not plan and relaunch("cli.build_atlas", gpus, device):
        return
    with joined(verbose=True):
        device = own_device(device)
        load = functools.partial(open_network, network, device, allow_code)
        generator, _, _ = distributed.leader_first(load)
        settings = make_settings(generator, psi=psi, cutoff=cutoff, **settings)
        if plan:
            click.echo("\n".join(plan_lines(generator, settings)))
            return
        summarize(build_together(generator, outdir, settings, min_spearman, TERMINAL), outdir, settings)


def summarize(atlas, outdir, settings):
    volume = atlas.log_volume(label=None if atlas.classes is None else atlas.classes[0])
    stored = f"volumes of top-k {settings.top_k}" if atlas.predicted else f"{settings.top_k} singular values each"
    click.echo(
        f"{outdir}: {settings.candidates} candidates, {stored}, log-volume "
        f"{np.nanmean(volume):.2f} ± {np.nanstd(volume):.2f} nats"
    )


if __name__ == "__main__":
    main()
