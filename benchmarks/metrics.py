"""Times precision and recall, and FID, against the recipes of the published programs, on the same synthetic features.

    python -m benchmarks.metrics

Every program runs in a process of its own, whose peak memory is reported. Ratios above 1: ours is faster. (a) Exact
precision and recall: ours, and float32 distances by torch.cdist in batches of 10,000 rows and columns with kthvalue.
(b) FID: streamed moments with our distance, and all features at once with np.cov and scipy's matrix root. (c) The
memory of the moments after a tenth of the features and after all of them.
"""

import multiprocessing
import resource
import sys
import time

import click
import numpy as np
import scipy.linalg
import torch

from latent_plugins.metrics.accumulators import Moments
from latent_plugins.metrics.fid import frechet_distance
from latent_plugins.metrics.precision_recall import exact_precision_recall

BATCH = 1000
REFERENCE_BATCH = 10_000
LATENTS = 64


def feature_batches(n, dimensions, spread, seed):
    """Batches of features like a classifier's: not negative, many of them zero, correlated by a few common causes."""
    mixing = torch.randn(LATENTS, dimensions, generator=torch.Generator().manual_seed(0)) / LATENTS**0.5
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, n, BATCH):
        rows = min(BATCH, n - start)
        causes = spread * torch.randn(rows, LATENTS, generator=generator)
        yield torch.relu(causes @ mixing + 0.3 * torch.randn(rows, dimensions, generator=generator))


def features(n, dimensions):
    """(real, generated) [n, dimensions] float32; the generated ones vary less."""
    both = torch.empty(2, n, dimensions)
    for out, spread, seed in zip(both, (1.0, 0.95), (1, 2)):
        for part, batch in zip(out.split(BATCH), feature_batches(n, dimensions, spread, seed)):
            part.copy_(batch)
    return both


def reference_precision_recall(real, generated, k=3):
    """Precision and recall as it is usually done: all distances of a batch of rows at once."""
    real, generated = real.half().float(), generated.half().float()

    def batches():
        for manifold, probes in ((real, generated), (generated, real)):
            radii, inside = [], []
            for rows in manifold.split(REFERENCE_BATCH):
                radii.append(distances(rows, manifold).kthvalue(k + 1).values.half())
                yield len(rows)
            for rows in probes.split(REFERENCE_BATCH):
                inside.append((distances(rows, manifold) <= torch.cat(radii)).any(dim=1))
                yield len(rows)
            found.append(torch.cat(inside).double().mean().item())

    def distances(rows, columns):
        return torch.cat([torch.cdist(rows, part) for part in columns.split(REFERENCE_BATCH)], dim=1)

    found = []
    for _ in batches():
        pass
    return tuple(found)


def peak():
    """This process's peak memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def run_precision_recall(ours, samples, dimensions):
    real, generated = features(samples, dimensions)
    start = time.perf_counter()
    if ours:
        figures = exact_precision_recall(real, generated)
    else:
        figures = reference_precision_recall(real, generated)
    return dict(figures=figures, seconds=time.perf_counter() - start, peak=peak())


def run_streamed_fid(samples, dimensions):
    """FID from streamed moments; the time of making features does not count."""
    sides, seconds, peaks = [], 0.0, []

    def stream():
        nonlocal seconds
        for spread, seed in ((1.0, 1), (0.95, 2)):
            sides.append(Moments(samples))
            for batch in feature_batches(samples, dimensions, spread, seed):
                start = time.perf_counter()
                sides[-1].add(batch)
                seconds += time.perf_counter() - start
                yield len(batch)
                peaks.append(peak())

    for _ in stream():
        pass
    start = time.perf_counter()
    moments = [side.mean_cov(ddof=1) for side in sides]
    middle = time.perf_counter()
    figure = frechet_distance(*moments[0], *moments[1])
    times = seconds + middle - start, time.perf_counter() - middle
    batches = len(peaks) // 2  # of the first set; the second one has moments of its own
    return dict(figure=figure, times=times, peak=peak(), early=peaks[batches // 10], late=peaks[batches - 1])


def run_reference_fid(samples, dimensions):
    """FID from all features at once and the root of the product of the covariances."""
    click.echo("reference: features")
    both = features(samples, dimensions).numpy()
    start = time.perf_counter()
    click.echo("reference: covariances")
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0, dtype=np.float64), np.cov(x, rowvar=False)) for x in both)
    middle = time.perf_counter()
    click.echo("reference: matrix root")
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    figure = float(np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root))
    times = middle - start, time.perf_counter() - middle
    return dict(figure=figure, times=times, peak=peak())


def alone(function, *arguments):
    """What the function returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


@click.command(help=__doc__)
@click.option("--samples", type=int, default=50_000, show_default=True)
@click.option("--dims", type=int, default=512, show_default=True, help="Dimensions for precision and recall.")
@click.option("--fid-dims", type=int, default=2048, show_default=True, help="Dimensions for FID.")
def main(samples, dims, fid_dims):
    ours, reference = (alone(run_precision_recall, mine, samples, dims) for mine in (True, False))
    threads = torch.get_num_threads()
    print(f"(a) precision and recall, {samples} x {samples} features of {dims} dimensions, {threads} threads")
    for name, result in (("ours", ours), ("torch.cdist", reference)):
        precision, recall = result["figures"]
        print(f"    {name:14} {result['seconds']:7.1f} s  peak {result['peak']:6.0f} MB  {precision:.6f} {recall:.6f}")
    off = [round(abs(a - b) * samples) for a, b in zip(ours["figures"], reference["figures"])]
    print(f"    ratio {reference['seconds'] / ours['seconds']:.2f}; figures differ by {off[0]} and {off[1]} features")

    ours, reference = alone(run_streamed_fid, samples, fid_dims), alone(run_reference_fid, samples, fid_dims)
    print(f"(b) FID, 2 x {samples} features of {fid_dims} dimensions")
    for name, result in (("ours", ours), ("np.cov, sqrtm", reference)):
        moments, distance = result["times"]
        print(
            f"    {name:14} moments {moments:6.1f} s + distance {distance:5.1f} s = {moments + distance:6.1f} s  "
            f"peak {result['peak']:6.0f} MB  {result['figure']:.9g}"
        )
    moments, distance = (b / a for a, b in zip(ours["times"], reference["times"]))
    total = sum(reference["times"]) / sum(ours["times"])
    difference = abs(ours["figure"] / reference["figure"] - 1)
    print(f"    ratios {moments:.2f}, {distance:.2f}, {total:.2f}; relative difference {difference:.1e}")
    print(
        f"(c) peak of the streamed moments: {ours['early']:.0f} MB after a tenth of the real features, "
        f"{ours['late']:.0f} MB after all of them"
    )


if __name__ == "__main__":
    main()
