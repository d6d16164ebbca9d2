"""train_weights: train importance weights of a generator's latents, to sample with latentrs ever after."""

import csv
import dataclasses

import click
import numpy as np

from cli.binding import setting_option
from cli.options import network_options, open_network, prepare_folder, reports_errors
from cli.paths import DataSource, FilePath
from cli.progress import progress_option, with_progress
from cli.selection_options import check_selection, open_selection, selection_options
from dnnlib_compat.companions import companion
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.errors import check_regular
from dnnlib_compat.loader import load_network
from dnnlib_compat.locks import folder_locked
from dnnlib_compat.util import atomic_output
from latent_plugins import reweighting
from latent_plugins.pictures import charts
from latent_plugins.reweighting.presets import INPUTS, NEEDS_CRITIC, PRESETS, TAKES_CRITIC, Schedule

LOG, CHART = "training.csv", "training.png"
PANELS = {"E[w]": "mean_weight", "largest w": "max_weight", "critic's distance": "wasserstein"}
POINTS = 40  # of a panel: each summarizes its share of the steps


def schedule_options(defaults):
    """Decorator with options for numbers of a Schedule. defaults: {name: default, None for the preset's}."""

    def decorate(function):
        described = Schedule.described()
        for name, default in reversed(defaults.items()):
            text = dict(default_text="the preset's") if default is None else {}
            function.__click_params__.append(
                setting_option(dataclasses.replace(described[name], default=default, **text))
            )
        return function

    return decorate


@click.command()
@network_options
@click.option("--data", type=DataSource(), required=True, metavar="ZIP|DIR", help="Real images of the network's size.")
@click.option("--outdir", type=FilePath(), required=True, metavar="DIR", help="Where weights, log and checkpoint go.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="mnist",
    show_default=True,
    help=f"Where all numbers start; {' and '.join(NEEDS_CRITIC)} go on from the network's own discriminator, mnist "
    "does so where there is one.",
)
@click.option(
    "--input",
    type=click.Choice(INPUTS),
    help="What the weights see: z, or styles.  [default: w where there are styles]",
)
@schedule_options(dict.fromkeys(Schedule.described()))
@selection_options(("latentrs", "latentga", "latentrs+ga"))
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything.")
@click.option(
    "--snapshot", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="Steps per checkpoint."
)
@progress_option
@reports_errors
def main(
    network, device, allow_code, data, outdir, preset, input, seed, snapshot,
    select, select_images, select_sampler, detector, **numbers,
):  # fmt: skip
    """Train importance weights of a generator's latents against a critic of its images.

    DIR gets weights.npz, training.csv and, where matplotlib is installed, training.png. An interrupted training goes on
    where it stopped when the same command is given again, with more --steps too. With --select the snapshot is kept
    whose samples are nearest to held-out images; selection.json has the distances.

    \b
    train_weights --data=mnist32-train.zip --outdir=weights
    train_weights --data=churches.zip --network=church.pkl --preset=discriminator --outdir=weights
    """
    given = {name: value for name, value in numbers.items() if value is not None}
    schedule = PRESETS[preset].replace(**given)
    check_selection(select)
    outdir = prepare_folder(outdir)
    reweighting.check_checkpoint(outdir)
    generator, source, _ = open_network(network, device, allow_code)
    images = open_data(data, generator)
    selection = select and open_selection(
        generator, source, open_data(select, generator), detector, allow_code, images=select_images, seed=seed,
        sampler=select_sampler, read=lambda path: dict(weights=reweighting.load_weights(path)),
    )  # fmt: skip
    critic = own_critic(source, preset) if preset in TAKES_CRITIC else None
    waiting = f"Another process trains in {outdir}; this one goes on when that has ended..."
    with folder_locked(outdir, waiting=lambda: click.echo(waiting)):
        rows = reweighting.train(
            generator,
            images,
            schedule,
            outdir=outdir,
            seed=seed,
            input=input,
            snapshot=snapshot,
            critic=critic,
            selection=selection,
        )
        first = reweighting.steps_done(outdir)
        click.echo(f"{len(images)} images, {length(schedule, first)}")
        first = -schedule.warmup if first is None else first
        try:
            for _ in shown(logged(rows, outdir / LOG, first), first, schedule.steps):
                pass
        finally:
            draw_chart(outdir)
    if selection is not None:
        told(selection, outdir)
    summarize(outdir / reweighting.RESULT, network)


def told(selection, outdir):
    """Print which snapshot was kept."""
    best, judged = selection.best(outdir), len(selection.rows(outdir))
    click.echo(f"the snapshot of step {best['step']} of {judged}, earth mover's distance {best['emd']:.4g}")


def length(schedule, done):
    """How long a training is, and what is done of it already, in words. done: `steps_done`."""
    text = f"{schedule.steps} steps" + (f" after {schedule.warmup} of the critic alone" if schedule.warmup else "")
    if done is None:
        return text
    return f"{text}, of which {done} are done already" if done >= 0 else f"{text}, of which {-done} are left"


def own_critic(source, preset):
    """The discriminator that comes with the network as a critic.

    Where there is none of use: a click error, or None and a line that says so if the preset can do without.
    """
    try:
        return reweighting.critic_of(load_network(companion(source, "discriminator") or source, key="D"))
    except ValueError as error:
        if preset not in NEEDS_CRITIC:
            click.echo(f"No discriminator goes with the network, the critic is a new one ({error})")
            return None
        raise click.ClickException(
            f"--preset={preset} needs an official file with the network's own discriminator: give another preset, "
            f"which starts with a new critic ({error})"
        ) from None


def open_data(path, generator):
    """The ImageDataset of a generator's size and labels. Raises DatasetError for one that does not fit."""
    labels = dict(use_labels=True, label_dim=generator.c_dim) if generator.c_dim else {}
    return ImageDataset(path, resolution=generator.img_resolution, channels=generator.img_channels, **labels)


def logged(rows, path, first):
    """Iterate over log rows while they are written to the CSV file `path`, behind those of its `first` steps."""
    kept = [row for row in read_log(path) if row["step"] <= first]
    with atomic_output(path) as tmp, open(tmp, "w", newline="") as file:
        writer = csv.DictWriter(file, reweighting.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, reweighting.COLUMNS, lineterminator="\n")
        for row in rows:
            writer.writerow(row)
            file.flush()
            yield row


def read_log(path):
    """The rows of a log as numbers, without what a crash left half-written at its end; [] without a log."""
    if not path.exists():
        return []
    check_regular(path, ValueError)
    rows = []
    with open(path, newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            try:
                rows.append({name: (int if name == "step" else float)(row[name]) for name in reweighting.COLUMNS})
            except (KeyError, TypeError, ValueError, OverflowError):
                break
    return rows


def shown(rows, first, steps):
    """Iterate over log rows, those after the first ones, and show the progress with the last row's figures."""
    return with_progress(rows, [1] * (steps - first), "steps", lambda row: f"step {row['step']}, {figures(row)}")


def figures(row):
    """The figures of a row that a line has room for."""
    return f"E[w] {row['mean_weight']:.3f}, max {row['max_weight']:.2f}, distance {row['wasserstein']:.3f}"


def draw_chart(outdir):
    """training.png of training.csv: mean, least and greatest value of every share of the steps."""
    rows = read_log(outdir / LOG)
    if not rows or not charts.available():
        return
    lines = {}
    for legend, name in PANELS.items():
        lines[legend] = points = []
        for share in np.array_split(np.array([[row["step"], row[name]] for row in rows]), min(POINTS, len(rows))):
            step, values = share[:, 0].mean(), share[:, 1]
            if np.isfinite(values).all():
                points.append(dict(step=step, value=(values.mean(), values.min(), values.max())))
    lines = {legend: points for legend, points in lines.items() if points}
    if lines:
        charts.save_lines(outdir / CHART, lines, x="step", y="value", xlabel="step", ylabel="", panels=True)


def summarize(path, network):
    found = reweighting.load_weights(path)
    accepted = f"accepts {100 * found.acceptance:.1f} % of the latents with m = {found.m:g}"
    click.echo(f"{path}: E[w] {found.mean_weight:.3f}, {accepted}")
    named = "" if network is None else f" --network={network}"
    click.echo(f"use them: gen_images --sampler=latentrs --weights={path}{named}")


if __name__ == "__main__":
    main()
