"""Earth mover's distances of samplers in the plane, Swiss roll and 25 Gaussians (Table 1 of "Latent reweighting").

    python -m benchmarks.paper.table1 [--quick]

A small WGAN-GP is trained on each distribution, importance weights for it (which start from its critic), and each
sampler draws `--points` points ten times, each time against as many fresh real points. Shown are the mean distance of
the best pairing and its 97 % interval by Student's t. `real` is the distance of two sets of real points, the floor. The
last line is one JSON object.

The experiment is about a GAN with visible samples off the data. Trained to the end it has none here, so its training is
cut short by a rule that looks at the plain generator alone: learning rate 5e-4, and the longest of 1,000, 2,000 and
4,000 steps after which the plain distance is still 1.5 times the floor; that is 1,000 for the Swiss roll and 4,000 for
the Gaussians. The weights' critic has the logistic loss: to a critic of the distance, what lies between the Gaussians
is near to them, and weights learn little. DRS, SIR and MH ask a classifier that goes on from the WGAN's critic, DOT the
critic itself; it moves latents of two dimensions without projection, the sphere being a circle there. The published
figures are not shown beside ours: we could not verify them.
"""

import json
import tempfile
import time
from pathlib import Path

import click
import torch

from benchmarks.paper.baselines import samplers
from benchmarks.paper.data2d import points
from benchmarks.paper.gan2d import train_gan2d
from benchmarks.paper.intervals import below, interval, shown
from latent_plugins.metrics.earth_mover import earth_mover_distance
from latent_plugins.reweighting import Schedule, load_weights, train
from latent_plugins.reweighting.training import RESULT

GAN_LR = 5e-4
GAN_STEPS = {"swissroll": 1000, "25gaussians": 4000}
SCHEDULE = Schedule(
    hidden=(128, 128, 128),
    critic_lr=5e-4,
    weights_lr=1e-3,
    beta1=0.5,
    beta2=0.9,
    critic_steps=5,
    weights_steps=10,
    critic_loss="logistic",
    penalty=0.1,
    batch=256,
    ema=0.995,
    steps=2000,
)
TRAINING_POINTS = 50_000
RATIO_STEPS = 2000  # of the classifier that DRS, MH and SIR ask
SHOWN = ("DRS", "MH", "SIR", "DOT", "latentRS")
REAL, FRESH, CALIBRATION, LATENTS = (1000 * (1 + k) for k in range(4))  # where the seeds of each purpose begin


def trained_weights(name, generator, critic, steps):
    """(TrainedWeights for a generator of a distribution, the mean of the last 100 rows of their training)."""
    data = points(name, TRAINING_POINTS, REAL)[:, :, None, None]
    with tempfile.TemporaryDirectory() as folder:
        rows = list(train(generator, data, SCHEDULE, outdir=folder, steps=steps, critic=critic, snapshot=steps))[-100:]
        found = load_weights(Path(folder) / RESULT)
    return found, {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def distances(name, make, n, evaluations):
    """The distance of n points of make(seed) from n real ones, for each of the evaluations."""
    return [earth_mover_distance(points(name, n, FRESH + k), make(k)) for k in range(evaluations)]


def evaluate(name, generator, critic, weights, n, evaluations, ratio_steps):
    """{method: interval} of the floor, the plain generator and every sampler."""
    held_out = points(name, 10_000, CALIBRATION)[:, :, None, None]
    random = torch.Generator().manual_seed(CALIBRATION)
    data = points(name, TRAINING_POINTS, REAL)[:, :, None, None]
    options = dict(ratio_steps=ratio_steps, dot=dict(step_projection="none"), drs={}, mh=dict(length=100))
    found = samplers(generator, critic, data, held_out, weights, plain="WGAN", random=random, **options)
    result = {"real": interval(distances(name, lambda k: points(name, n, LATENTS + k), n, evaluations))}
    for method in ("WGAN", *SHOWN):
        sampler = found[method]

        def make(k, sampler=sampler):
            with torch.no_grad():
                return generator.points(sampler.sample(n, torch.Generator().manual_seed(LATENTS + k)).z)

        result[method] = interval(distances(name, make, n, evaluations))
    return result


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Short trainings, three evaluations of 300 points.")
@click.option("--points", "n", type=click.IntRange(2), help="Points of an evaluation.  [default: 2000]")
@click.option("--evaluations", type=click.IntRange(2), help="[default: 10]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the GANs.")
def main(quick, n, evaluations, seed):
    n, evaluations = n or (300 if quick else 2000), evaluations or (3 if quick else 10)
    table = {}
    for name, gan_steps in GAN_STEPS.items():
        start = time.time()
        generator, critic = train_gan2d(name, seed, 300 if quick else gan_steps, lr=GAN_LR)
        trained = time.time()
        weights, last = trained_weights(name, generator, critic, 200 if quick else SCHEDULE.steps)
        weighted = time.time()
        table[name] = evaluate(name, generator, critic, weights, n, evaluations, 200 if quick else RATIO_STEPS)
        took = f"GAN {trained - start:.0f} s, weights {weighted - trained:.0f} s, rest {time.time() - weighted:.0f} s"
        print(f"{name}: {took}; E[w] {weights.mean_weight:.3f}, acceptance {weights.acceptance:.3f}, ", end="")
        print(f"zero weights {last['zero_share']:.2f}, critic's distance {last['wasserstein']:.3f}", flush=True)
    print(f"\nEMD, {evaluations} evaluations of {n} points, 97 % intervals")
    print(f"{'':10}", *(f"{name:>18}" for name in table))
    for method in next(iter(table.values())):
        print(f"{method:10}", *(f"{shown(found[method], 4):>18}" for found in table.values()))
    for name, found in table.items():
        verdict = "lies" if below(found["latentRS"], found["WGAN"]) else "does not lie"
        print(f"{name}: the interval of latentRS {verdict} below that of the WGAN")
    print(json.dumps(dict(points=n, evaluations=evaluations, emd=table)))


if __name__ == "__main__":
    main()
