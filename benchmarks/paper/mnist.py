"""Samplers for the GAN of MNIST digits (Table 3 of "Latent reweighting").

    python -m benchmarks.paper.mnist --generator=runs/mnist-gan [--quick]

The folder holds `generator.npz` and `discriminator.npz` of `benchmarks.paper.mnist_gan`. Importance weights are trained
by `benchmarks.paper.mnist_weights` in --weights, by default a folder in that one, unless they are there. Every
evaluation draws --images latents by every sampler and compares the classifier's features of their images with those of
MNIST's test images: precision and recall (k = 3) and FID with all 10,000, the earth mover's distance with as many as
are drawn. Means and 97 % intervals by Student's t.

Times are milliseconds per image, latents and image together, the least of the evaluations, which other work on the
machine disturbs least; what a sampler estimates once (classifier, calibration, DRS's burn-in, DOT's constant) is left
out. DOT asks the GAN's own discriminator from the end of its training, DRS, MH and SIR a classifier that goes on from
it, calibrated on training images to log density ratios. DOT takes 10 steps of 0.1 and MH chains of 20 proposals, fewer
than by default. The published figures are not shown beside ours: we could not verify them. The last line is one JSON
object.
"""

import json
import os
import time
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.paper.baselines import BATCH, samplers, scores
from benchmarks.paper.intervals import below, interval, shown
from benchmarks.paper.mnist_weights import STEPS, digits, trained_weights, unit
from dnnlib_compat.detectors import PROBABILITIES, load_detector
from dnnlib_compat.plain_files import read_npz
from latent_plugins.metrics.earth_mover import earth_mover_distance
from latent_plugins.metrics.fid import frechet_distance
from latent_plugins.metrics.precision_recall import exact_precision_recall
from latent_plugins.pictures.contact_sheet import image_grid
from latent_plugins.pictures.files import as_bytes, save_png

PLAIN = "HGP"
HELD_OUT = 5000  # training images that calibrate what learned from the others
RATIO_STEPS = 500  # of the classifier that DRS, MH and SIR ask
CALIBRATION, LATENTS, FRESH = (1000 * (1 + k) for k in range(3))  # where the seeds of each purpose begin
COLUMNS = dict(precision=3, recall=3, emd=3, fid=3)  # digits of each
MOST_TIME = {"latentRS": 2.5, "latentRS+GA": 15.0}  # required: at most so many times the plain generator's
ROWS, ACROSS = 8, 8  # digits on either side of the figure


@torch.no_grad()
def generated(generator, z):
    """uint8 images [N, 1, 32, 32] of latents."""
    return torch.cat([as_bytes(generator(part, None)) for part in z.split(BATCH)])


@torch.no_grad()
def features(detector, images, output="features"):
    return torch.cat([detector(part, output) for part in images.split(BATCH)])


def moments(x):
    """(mean [F], covariance [F, F]) of features [N, F], with 1/N as the ecosystem has it."""
    x = x.double().numpy()
    return x.mean(axis=0), np.cov(x, rowvar=False, ddof=0)


def figures(real, found, choice):
    """{column: value} of generated features against all real ones; EMD with those of `choice`."""
    precision, recall = exact_precision_recall(real, found, k=3)
    emd = earth_mover_distance(real[choice].numpy(), found.numpy())
    return dict(precision=precision, recall=recall, emd=emd, fid=frechet_distance(*moments(real), *moments(found)))


def evaluate(generator, methods, detector, n, evaluations):
    """{method: {column: interval}} with `ms`, the least time per image, and `acceptance` where there is one."""
    real = features(detector, digits("test"))
    values, times = {method: [] for method in methods}, {method: [] for method in methods}
    for k in range(evaluations):
        choice = torch.randperm(len(real), generator=torch.Generator().manual_seed(FRESH + k))[:n]
        for method, sampler in methods.items():  # in turn, so that all of them share what disturbs the machine
            random, start = torch.Generator().manual_seed(LATENTS + k), time.perf_counter()
            images = generated(generator, sampler.sample(n, random).z)
            times[method].append(1e3 * (time.perf_counter() - start) / n)
            values[method].append(figures(real, features(detector, images), choice))
        print(f"evaluation {k + 1} of {evaluations}, load {os.getloadavg()[0]:.1f}", flush=True)
    table = {}
    for method, rows in values.items():
        table[method] = {column: interval([row[column] for row in rows]) for column in COLUMNS}
        effort = getattr(methods[method], "last_effort", None)
        table[method].update(ms=min(times[method]), acceptance=effort and effort.acceptance)
    return table


def report(table):
    """Print the table and which of the required outcomes hold."""
    print(f"{'':12}", *(f"{column:>15}" for column in COLUMNS), f"{'ms/image':>9} {'ratio':>7}")
    plain = table[PLAIN]
    for method, row in table.items():
        ratio = row["ms"] / plain["ms"]
        cells = (f"{shown(row[column], places):>15}" for column, places in COLUMNS.items())
        print(f"{method:12}", *cells, f"{row['ms']:9.3f} {ratio:7.2f}")
    best = max(table, key=lambda method: table[method]["precision"][0])
    raised = below(plain["precision"], table["latentRS"]["precision"])
    print(f"latentRS raises precision over {PLAIN} beyond the intervals: {'yes' if raised else 'no'}")
    print(f"highest precision: {best}")
    for method, most in MOST_TIME.items():
        ratio = table[method]["ms"] / plain["ms"]
        verdict = "yes" if ratio <= most else "no"
        print(f"{method} takes {ratio:.2f} times as long as {PLAIN}, at most {most:g}: {verdict}")


@torch.no_grad()
def agreement(generator, critic, weights, detector, n):
    """(z [n, z_dim], w [n]) on fresh latents, and a line on how w goes with the critic and the classifier."""
    z = generator.sample_prior(n, torch.Generator().manual_seed(CALIBRATION + 1))
    w, images = weights.weights(generator, z), generated(generator, z)
    sure = features(detector, images, PROBABILITIES).amax(dim=1)
    found = {"the GAN's critic": scores(critic, unit(images)), "the classifier's confidence": sure}
    text = ", ".join(f"{spearmanr(w, x).statistic:.2f} with {name}" for name, x in found.items())
    print(f"rank correlation of w on {n} latents: {text}; zero weights {(w == 0).float().mean():.2f}")
    return z, w


def draw_figure(generator, z, w, path):
    """Digits of the lowest weights on the left, of the highest on the right, from latents z [N, z_dim] of the prior."""
    order, count = w.argsort(), ROWS * ACROSS
    chosen = (generated(generator, z[part]) for part in (order[:count], order[-count:]))
    sides = [image_grid(images.permute(0, 2, 3, 1).numpy(), ACROSS) for images in chosen]
    gap = np.full((len(sides[0]), 16, 1), 255, np.uint8)
    save_png(np.concatenate([sides[0], gap, sides[1]], axis=1), path)


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="300 steps for the weights, three evaluations of 300 images.")
@click.option("--generator", "folder", type=click.Path(path_type=Path), required=True, help="Folder of the GAN.")
@click.option("--weights", "weights_folder", type=click.Path(path_type=Path), help="Folder of the weights.")
@click.option("--steps", type=click.IntRange(1), help=f"Steps of the weights' training.  [default: {STEPS}]")
@click.option("--images", "n", type=click.IntRange(10, 10_000), help="Images of an evaluation.  [default: 2000]")
@click.option("--evaluations", type=click.IntRange(2), help="[default: 10]")
@click.option("--figure", type=click.Path(path_type=Path), help="PNG for digits of the lowest and highest weights.")
def main(quick, folder, weights_folder, steps, n, evaluations, figure):
    n, evaluations = n or (300 if quick else 2000), evaluations or (3 if quick else 10)
    steps = steps or (300 if quick else STEPS)
    weights_folder = weights_folder or folder / f"weights-{steps}"
    weights = trained_weights(folder, weights_folder, steps)
    generator, critic = (read_npz(folder / f"{name}.npz") for name in ("generator", "discriminator"))
    print(f"E[w] {weights.mean_weight:.3f}, acceptance {weights.acceptance:.3f} with m = {weights.m:g}")
    detector = load_detector("mnist-classifier")
    z, w = agreement(generator, critic, weights, detector, 300 if quick else 10_000)
    if figure:
        draw_figure(generator, z, w, figure)
    images = unit(digits("train"))
    random = torch.Generator().manual_seed(CALIBRATION)
    options = dict(dot=dict(steps=10, rate=0.1), drs=dict(burn_in=500 if quick else 10_000), mh=dict(length=20))
    options.update(plain=PLAIN, random=random, ratio_steps=10 if quick else RATIO_STEPS)
    methods = samplers(generator, critic, images[HELD_OUT:], images[:HELD_OUT], weights, **options)
    table = evaluate(generator, methods, detector, n, evaluations)
    print(f"\n{evaluations} evaluations of {n} images, 97 % intervals, load {os.getloadavg()[0]:.1f}")
    report(table)
    print(json.dumps(dict(images=n, evaluations=evaluations, table=table)))


if __name__ == "__main__":
    main()
