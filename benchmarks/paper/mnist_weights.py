"""Train the importance weights of the MNIST experiment.

    python -m benchmarks.paper.mnist_weights --generator=runs/mnist-gan --outdir=runs/mnist-weights

On the 50,000 training images, for the generator of `benchmarks.paper.mnist_gan`. Layers, λ1, λ2 and m are the paper's.
For a training that half an hour of a processor suffices for, the critic goes on from the generator's own discriminator,
slowly and with its hinge loss: one that learns against a generator that stays loses within a thousand steps what told
single images apart.
"""

import time
from pathlib import Path

import click
import torch

from benchmarks.paper import mnist_networks  # noqa: F401 (registers the families of the files)
from benchmarks.paper.mnist_gan import data_folder
from benchmarks.training_data import load_zip
from dnnlib_compat.plain_files import read_npz
from latent_plugins.reweighting import PRESETS, load_weights, train
from latent_plugins.reweighting.training import RESULT

SCHEDULE = PRESETS["discriminator"].replace(critic_loss="hinge")
STEPS = SCHEDULE.steps
SHOWN = 25  # steps that a line of the log is the mean of
COLUMNS = ("mean_weight", "max_weight", "acceptance", "zero_share", "wasserstein", "penalty")


def digits(name):
    """MNIST's `train` or `test` images, uint8 [N, 1, 32, 32], from the data folder."""
    return torch.from_numpy(load_zip(data_folder() / "datasets" / f"mnist32-{name}.zip")[0])


def unit(images):
    """uint8 images as float32 in [−1, 1]."""
    return images.float() / 127.5 - 1


def trained_weights(folder, outdir, steps=STEPS):
    """TrainedWeights of the generator in `folder` after `steps` steps, trained in `outdir` where they are not yet."""
    outdir.mkdir(parents=True, exist_ok=True)
    generator, critic = (read_npz(folder / f"{name}.npz") for name in ("generator", "discriminator"))
    rows, start = [], time.time()
    print(" " * 8, *(f"{name:>12}" for name in COLUMNS), f"{'seconds':>8}", flush=True)
    for row in train(generator, unit(digits("train")), SCHEDULE, outdir=outdir, steps=steps, critic=critic):
        rows.append(row)
        if row["step"] % SHOWN == 0:
            means = (sum(row[name] for row in rows) / len(rows) for name in COLUMNS)
            print(f"{row['step']:8}", *(f"{mean:12.3f}" for mean in means), f"{time.time() - start:8.0f}", flush=True)
            rows.clear()
    return load_weights(outdir / RESULT)


@click.command(help=__doc__)
@click.option("--generator", "folder", type=click.Path(path_type=Path), required=True, help="folder of the GAN")
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--steps", type=click.IntRange(1), default=STEPS, show_default=True)
def main(folder, outdir, steps):
    found = trained_weights(folder, outdir, steps)
    print(f"{found.path}: E[w] {found.mean_weight:.3f}, accepts {100 * found.acceptance:.1f} % with m = {found.m:g}")


if __name__ == "__main__":
    main()
