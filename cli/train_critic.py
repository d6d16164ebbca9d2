"""train_critic: train a critic of a generator's images, for the samplers sir, drs, mh and dot."""

import click

from cli.options import network_options, open_network, prepare_folder, reports_errors
from cli.paths import DataSource, FilePath
from cli.progress import progress_option, with_progress
from cli.selection_options import check_selection, open_selection, selection_options
from cli.train_weights import figures, open_data, own_critic, schedule_options, told
from dnnlib_compat.locks import folder_locked
from latent_plugins import reweighting
from latent_plugins.reweighting.critic_schedules import CRITIC, NUMBERS, STEPS, critic_schedule


@click.command()
@network_options
@click.option("--data", type=DataSource(), required=True, metavar="ZIP|DIR", help="Real images of the network's size.")
@click.option("--outdir", type=FilePath(), required=True, metavar="DIR", help="Where critic and checkpoint go.")
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True, metavar="N", help="Updates.")
@schedule_options({name: getattr(critic_schedule(), name) for name in NUMBERS})
@selection_options(("sir", "dot", "drs", "mh"))
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything.")
@click.option(
    "--snapshot", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="Steps per checkpoint."
)
@progress_option
@reports_errors
def main(
    network, device, allow_code, data, outdir, steps, seed, snapshot,
    select, select_images, select_sampler, detector, **numbers,
):  # fmt: skip
    """Train a critic of a generator's images against real ones, from the network's own discriminator on if it has one.

    With the loss logistic, binary cross-entropy, its scores are log density ratios, which sir, drs and mh ask for; dot
    takes the loss wasserstein. DIR gets critic.npz: the last snapshot, or with --select the one whose samples are
    nearest to held-out images. An interrupted training goes on when the same command is given again.

    \b
    train_critic --data=mnist32-train.zip --outdir=critic
    train_critic --data=churches.zip --network=church.pkl --critic-loss=wasserstein --outdir=critic
    gen_images --sampler=sir --weights=critic/critic.npz --seeds=0-15
    """
    schedule = critic_schedule(steps, **numbers)
    check_selection(select)
    outdir = prepare_folder(outdir)
    reweighting.check_checkpoint(outdir)
    generator, source, _ = open_network(network, device, allow_code)
    images = open_data(data, generator)
    selection = select and open_selection(
        generator, source, open_data(select, generator), detector, allow_code, images=select_images, seed=seed,
        sampler=select_sampler, read=lambda path: dict(critic=reweighting.open_critic(path, generator)[0]),
    )  # fmt: skip
    waiting = f"Another process trains in {outdir}; this one goes on when that has ended..."
    with folder_locked(outdir, waiting=lambda: click.echo(waiting)):
        options = dict(outdir=outdir, seed=seed, snapshot=snapshot, critic=own_critic(source, None))
        options["selection"] = selection
        rows = reweighting.train_critic(generator, images, schedule, **options)
        left = reweighting.steps_done(outdir)
        left = steps if left is None else -left
        click.echo(f"{len(images)} images, {steps} steps" + (f", of which {left} are left" if left < steps else ""))
        for _ in with_progress(rows, [1] * left, "steps", lambda row: f"step {row['step'] + steps}, {figures(row)}"):
            pass
    if selection is not None:
        told(selection, outdir)
    click.echo(f"{outdir / CRITIC}: use it with gen_images --sampler=sir --weights={outdir / CRITIC}")


if __name__ == "__main__":
    main()
