"""Precision and recall of the embedded network as truncation gets stronger: of Jacobian norms (JBT), and of styles.

    python -m benchmarks.truncation_curves --out=docs/jbt.png

JBT keeps falling shares of the prior; psi pulls the styles of all latents towards their average. Features are those of
the embedded classifier, compared with the shipped statistics of MNIST's test images, as calc_metrics does. Prints a
table with the means over --repeats seeds and their 95 % intervals, and writes a chart.
"""

import functools

import click
import numpy as np
import torch

from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue, default_name
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.inputs import open_detectors, open_real
from latent_plugins.metrics.lines import mean_and_interval
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.pictures import charts
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.jbt import JBTFilter
from latent_plugins.spaces import get_space


class NormsOnce(JBTFilter):
    """A JBTFilter that remembers the norms of the latents it has seen: several shares ask about the same ones."""

    def __init__(self, space_map, known, **options):
        super().__init__(space_map, **options)
        self.known = known

    def norms(self, z, label):
        names = [row.numpy().tobytes() for row in z]
        new = [i for i, name in enumerate(names) if name not in self.known]
        self.known.update(zip([names[i] for i in new], super().norms(z[new], label).tolist()))
        return torch.tensor([self.known[name] for name in names], dtype=torch.float64)


def measure(generator, sampler, metrics, real, detectors, seeds, psi=1):
    """{figure: (mean, low, high)} over the seeds; an interval of a single seed is its figure."""
    figures = {}
    for seed in seeds:
        for metric, found, _ in evaluate(metrics, generator, sampler, real, detectors, seed=seed, psi=psi):
            for key, value in found.items():
                figures.setdefault(key.removeprefix(f"{metric.name}_"), []).append(value)
    return {key: interval(values) for key, values in figures.items()}


def interval(values):
    """(mean, low, high) of a list."""
    if len(values) == 1:
        return (values[0],) * 3
    mean, (low, high) = mean_and_interval(values)
    return mean, low, high


def numbers(ctx, parameter, text):
    """The numbers of an option such as 1,0.9,0.8."""
    return [float(part) for part in text.split(",")]


@click.command(help=__doc__)
@click.option("--keep", "shares", callback=numbers, default="1,0.9,0.8,0.7,0.5", show_default=True)
@click.option("--trunc", "psis", callback=numbers, default="0.9,0.8,0.7,0.5", show_default=True)
@click.option("--metric", default="pr5k3_full", show_default=True, help="Precision and recall of so many images.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--method", type=click.Choice(["finite", "exact"]), default="finite", show_default=True)
@click.option("--calibration", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--out", metavar="FILE", help="The chart.  [default: none]")
def main(shares, psis, metric, repeats, method, calibration, out):
    generator, entry = load_network(default_name()), catalogue()[default_name()]
    metrics = parse_metrics(metric)
    detectors = open_detectors(metrics, (), None, entry, device="cpu")
    real = open_real(metrics, generator, None, entry)
    run = functools.partial(measure, generator, metrics=metrics, real=real, detectors=detectors, seeds=range(repeats))
    known, lines = {}, {"JBT, share kept": [], "truncation psi": []}

    def report(line, name, sampler, **options):
        found = run(sampler=sampler, **options)
        lines[line].append(dict(found, name=name))
        effort = getattr(sampler, "last_effort", None)
        cost = f"  {effort.acceptance:.3f} accepted" if effort else ""
        columns = "  ".join(f"{key} {mean:.4f} [{low:.4f}, {high:.4f}]" for key, (mean, low, high) in found.items())
        click.echo(f"{line:16} {name:5} {columns}{cost}")

    for share in shares:
        norms = NormsOnce(get_space(generator, "pixel"), known, keep=share, norms=method, calibration=calibration)
        report("JBT, share kept", f"{share:g}", FilterSampler(generator, filters=[norms]))
    for psi in psis:
        report("truncation psi", f"{psi:g}", create_sampler("prior", generator), psi=psi)
    if known:
        values = np.array(list(known.values()))
        click.echo(f"{len(values)} norms: quantiles 10 %, 50 %, 90 %: {np.quantile(values, [0.1, 0.5, 0.9]).round(2)}")
    if out:
        charts.save_pareto(out, lines, title="MNIST, classifier features: truncation by Jacobian norms and of styles")
        click.echo(f"{out} written")


if __name__ == "__main__":
    main()
