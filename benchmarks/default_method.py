"""What an atlas of each method costs, and how its volumes agree with the exact ones: what the default is chosen by.

    python -m benchmarks.default_method
    python -m benchmarks.default_method --network=dcgan-faces-64.pth --top-k=30

Seconds are of CPU time, for so many candidates as an atlas has by default, with all that the method learns before; they
are extrapolated from --latents. Products are those with the Jacobian (or evaluations, which cost about the same). The
error is the standard deviation of the difference to the exact log-volume in nats, without the mean difference, which no
weight sees; both are to be compared with the spread of the exact log-volumes. `hybrid` and `amortized` learn from
--labels spectra. The last line is one JSON object.
"""

import json
import time

import click
import torch
from scipy.stats import spearmanr

from dnnlib_compat.loader import load_network
from latent_plugins.spaces import get_space
from latent_plugins.volume.defaults import SHARED_LABELS, SHARED_SPARE, default_candidates
from latent_plugins.volume.predictor import fit, predictor_inputs
from latent_plugins.volume.predictor.methods import HYBRID_DIRECTIONS
from latent_plugins.volume.spectrum import METHODS, spectrum
from latent_plugins.volume.spectrum.shared import BASIS_LABELS, SPARE_DIRECTIONS, shared_basis


class Clock:
    """CPU seconds of this process while it is open."""

    def __enter__(self):
        self.start = time.process_time()
        return self

    def __exit__(self, *_):
        self.seconds = time.process_time() - self.start


def latents(space_map, n, seed):
    """The map's inputs [n, in] at latents of the prior."""
    with torch.no_grad():
        z = space_map.generator.sample_prior(n, torch.Generator().manual_seed(seed))
        return space_map.enter(z)


def log_volume(sigma):
    return sigma.double().log().sum(dim=1)


def spectral(name, space_map, x, top_k, **settings):
    """(log-volumes [N], products a latent, CPU seconds a latent) of a method without learning."""
    with Clock() as clock:
        found = log_volume(spectrum(space_map, x, top_k=top_k, method=name, generator=seeded(0), **settings))
    return found, METHODS[name](**settings).cost(space_map, top_k), clock.seconds / len(x)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def along_basis(space_map, x, top_k, spare, labels):
    """(log-volumes, products a latent, seconds a latent, seconds of learning) of `shared`."""
    q = min(top_k + spare, space_map.in_dim)
    known = latents(space_map, labels, 1)
    with Clock() as learning:
        basis = shared_basis(space_map, known, q, max_memory=None)
    with Clock() as clock:
        sigma = spectrum(space_map, x, top_k=top_k, method="shared", basis=basis, directions=q)
    return log_volume(sigma), q, clock.seconds / len(x), learning.seconds


def predicted(space_map, x, top_k, known, volumes, q):
    """(log-volumes, products a latent, seconds a latent, seconds of learning without the labels) of a predictor."""
    options = {}
    with Clock() as learning:
        if q:
            options = dict(basis=shared_basis(space_map, known[:BASIS_LABELS], q, max_memory=None), directions=q)
        predictor, _ = fit(predictor_inputs(space_map, known, **options), volumes.numpy())
    with Clock() as clock:
        found = predictor(predictor_inputs(space_map, x, **options))[0]
    return found, q + 1, clock.seconds / len(x), learning.seconds


@click.command(help=__doc__)
@click.option("--network", default="mnist32", show_default=True)
@click.option("--latents", "n", type=click.IntRange(10), default=400, show_default=True, help="To compare at.")
@click.option("--labels", type=click.IntRange(50), default=400, show_default=True, help="Of the predictors; 0: none.")
@click.option("--top-k", type=click.IntRange(1), default=15, show_default=True)
def main(network, n, labels, top_k):
    space_map = get_space(load_network(network), "pixel")
    candidates, x = default_candidates("z:pixel"), latents(space_map, n, 0)
    for name in ("exact", "subspace"):
        spectral(name, space_map, x[:2], top_k)  # what torch loads for a first derivative is nobody's cost
    exact, products, each = spectral("exact", space_map, x, top_k)
    rows = {"exact": (exact, products, each, 0.0, 0)}
    whole = products
    for name in ("projected", "subspace"):
        rows[name] = *spectral(name, space_map, x, top_k), 0.0, 0
    for spare, count in ((SPARE_DIRECTIONS, BASIS_LABELS), (SHARED_SPARE, SHARED_LABELS)):
        name = f"shared, {min(top_k + spare, space_map.in_dim)} directions, {count} labels"
        rows[name] = *along_basis(space_map, x, top_k, spare, count), count * whole
    known = latents(space_map, labels, 2)
    volumes, _, label = spectral("exact", space_map, known, top_k)
    for name, q in (("hybrid", min(HYBRID_DIRECTIONS, space_map.in_dim)), ("amortized", 0)):
        found, products, each, learning = predicted(space_map, x, top_k, known, volumes, q)
        count = labels + (min(labels, BASIS_LABELS) if q else 0)
        rows[f"{name}, {labels} labels"] = found, products, each, learning + label * labels, count * whole
    print(f"{network}, pixel, k = {top_k}, {n} latents, {candidates} candidates; "
          f"exact log-volumes spread over {exact.std():.2f} nats")  # fmt: skip
    print("| method | products | CPU seconds | rank correlation | error, nats | mean difference, nats |")
    print("|---|---|---|---|---|---|")
    report = {}
    for name, (found, products, each, learning, before) in rows.items():
        gap = (found - exact).double()
        figures = dict(products=products * candidates + before, seconds=each * candidates + learning)
        figures["spearman"] = float(spearmanr(found, exact).statistic)
        figures |= dict(error=gap.std().item(), mean=gap.mean().item())
        report[name] = figures
        print(f"| {name} | {figures['products']:,} | {figures['seconds']:.0f} | {figures['spearman']:.4f} | "
              f"{figures['error']:.2f} | {figures['mean']:.2f} |")  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
