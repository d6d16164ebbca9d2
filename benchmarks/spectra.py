"""Times the methods for singular values of a generator's Jacobian against each other and against the papers' recipe.

    python -m benchmarks.spectra --quick

The embedded network, or with --resolution an untrained StyleGAN2. `hybrid` and `amortized` predict the volume after
learning from --labels other latents, whose exact spectra are computed first; they are measured on latents that they
have not seen. `bf16` and `tf32` (GPUs) are `subspace` with rougher products, `compiled` with those of torch.compile
(--compile). `paper` projects the output to 256 random orthonormal
dimensions, takes the gradient of one after the other, and decomposes the result; it runs on --paper-latents latents and
its correlation is over these. `forwards` is the time in units of one evaluation of the same latents; the error is the
mean difference of the log-volumes from the exact ones as a part of their mean size (a shift that all latents share
counts here and not in the rank correlation). `MB` is how far the process grew during the method. The last line is one
JSON object.
"""

import json
import resource
import sys
import time
from pathlib import Path

import click
import torch
from scipy.stats import spearmanr

from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from latent_plugins.atlas.settings import BASIS_LABELS, HYBRID_DIRECTIONS
from latent_plugins.spaces import get_space
from latent_plugins.volume.predictor import fit, predictor_inputs
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.compiled import CompiledMap
from latent_plugins.volume.spectrum.projected import orthonormal_projection
from latent_plugins.volume.spectrum.shared import shared_basis

PROJECTION = 256
SPARE = 6  # directions of the shared basis beyond top_k


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def paper(space_map, x, top_k, basis):
    """The recipe of the papers: reverse mode, one projected output dimension of one latent at a time."""
    directions = orthonormal_projection(space_map.out_dim, PROJECTION, seeded(0))
    result = []
    for row in x.split(1):
        row = row.clone().requires_grad_()
        with torch.enable_grad():
            outputs = (space_map(row) @ directions.T)[0]
        gradients = [torch.autograd.grad(output, row, retain_graph=True)[0][0] for output in outputs]
        result.append(torch.linalg.svdvals(torch.stack(gradients))[:top_k])
    return torch.stack(result)


def projected(space_map, x, top_k, basis):
    return spectrum(space_map, x, top_k=top_k, method="projected", projection=PROJECTION, generator=seeded(0))


def exact(space_map, x, top_k, basis):
    return spectrum(space_map, x, top_k=top_k)


def subspace(space_map, x, top_k, basis):
    return spectrum(space_map, x, top_k=top_k, method="subspace", generator=seeded(0))


def rough(precision):
    def method(space_map, x, top_k, basis):
        options = dict(method="subspace", generator=seeded(0), precision=precision)
        return spectrum(space_map, x, top_k=top_k, **options)

    return method


def shared(space_map, x, top_k, basis):
    return spectrum(space_map, x, top_k=top_k, method="shared", basis=basis, directions=directions(space_map, top_k))


def directions(space_map, top_k):
    return min(top_k + SPARE, space_map.in_dim)


# name: function (space map, latents [N, in], top_k, learned basis) → singular values [N, top_k]
METHODS = {"paper": paper, "projected": projected, "exact": exact, "subspace": subspace, "shared": shared}
METHODS["bf16"] = rough("bf16")
if torch.cuda.is_available():
    METHODS["tf32"] = rough("tf32")


class Predicted:
    """A predictor that has learned from exact spectra: predicted volumes [N] of latents [N, in]."""

    def __init__(self, space_map, x, volumes, q):
        self.options = {}
        if q:
            basis = shared_basis(space_map, x[:BASIS_LABELS], q, max_memory=None)
            self.options = dict(basis=basis, directions=q)
        self.space_map = space_map
        self.predictor, _ = fit(predictor_inputs(space_map, x, **self.options), volumes)

    def __call__(self, x):
        return self.predictor(predictor_inputs(self.space_map, x, **self.options))[0]


def untrained(resolution, z_dim, channels):
    """A StyleGAN2 with random weights and at most `channels` channels a layer."""
    torch.manual_seed(0)
    network = StyleGAN2Generator(z_dim, 0, z_dim, resolution, 3, channel_max=channels)
    return network.eval().requires_grad_(False)


def latents(space_map, n, seed):
    with torch.no_grad():
        return space_map.enter(torch.randn(n, space_map.generator.z_dim, generator=seeded(seed)))


def learn(space_map, x, top_k):
    return shared_basis(space_map, x, directions(space_map, top_k), max_memory=None)


def warm_up():
    """Let torch load what the first derivative of each mode needs, on a network that costs nothing."""
    space_map = get_space(untrained(8, 32, 4), "pixel")
    x = latents(space_map, 1, 0)
    basis = learn(space_map, x, 4)
    for method in METHODS.values():
        method(space_map, x, 4, basis)


def start_of_peak():
    """Resident kilobytes now, from where `growth` counts; Linux lets a process forget its earlier peak."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # without that the growth is that beyond all earlier methods
    return peak()


def peak():
    """The largest number of resident kilobytes of this process so far."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        scale = 1024 if sys.platform == "darwin" else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale


def measured(function, *args):
    """(result, seconds, megabytes of growth) of one call."""
    before, start = start_of_peak(), time.perf_counter()
    result = function(*args)
    seconds = time.perf_counter() - start
    return result, seconds, max(peak() - before, 0) / 1024


def log_volume(values):
    """Of singular values [N, k], or predicted volumes [N] themselves."""
    return values if values.ndim == 1 else values.double().log().sum(dim=1)


def agreement(values, reference):
    """(relative error, rank correlation or None) of the log-volumes of values against the first N exact ones."""
    ours, theirs = log_volume(values), log_volume(reference[: len(values)])
    error = ((ours - theirs).abs().mean() / theirs.abs().mean()).item()
    return error, float(spearmanr(ours, theirs).statistic) if len(ours) > 2 else None


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Few latents, few labels and short training, unless given.")
@click.option("--latents", "n", type=click.IntRange(1), help="Latents to take spectra at.  [default: 60]")
@click.option("--paper-latents", type=click.IntRange(1), help="How many of them for `paper`.  [default: 20]")
@click.option("--learn-latents", type=click.IntRange(1), help="Other latents to learn the basis from.  [default: 40]")
@click.option("--labels", type=click.IntRange(100), help="Latents to train predictors on.  [default: 1500]")
@click.option("--fresh", type=click.IntRange(10), help="Latents to measure predictors on.  [default: 200]")
@click.option("--compile", "compiled", is_flag=True, help="Time `subspace` compiled, too.")
@click.option("--network", default="mnist32", show_default=True)
@click.option("--resolution", type=int, help="Take an untrained StyleGAN2 of this size instead of a network.")
@click.option("--z-dim", type=int, default=512, show_default=True, help="Its latents' dimensions.")
@click.option("--channels", type=int, default=32, show_default=True, help="Its largest number of channels.")
@click.option("--space", default="pixel", show_default=True)
@click.option("--top-k", type=click.IntRange(1), default=15, show_default=True)
def main(
    quick, n, paper_latents, learn_latents, labels, fresh, compiled, network, resolution, z_dim, channels, space, top_k
):
    n = n or (24 if quick else 60)
    paper_latents = min(n, paper_latents or (8 if quick else 20))
    learn_latents = learn_latents or (16 if quick else 40)
    generator = untrained(resolution, z_dim, channels) if resolution else load_network(network)
    space_map = get_space(generator, space)
    x = latents(space_map, n, 0)
    warm_up()
    with torch.no_grad():
        passes = [measured(lambda: [space_map(rows) for rows in x.split(4)])[1] for _ in range(3)]
    forward = min(passes) / n
    print(f"{space_map.name} on the {space_map.domain}: {space_map.in_dim} → {space_map.out_dim}, {n} latents")
    print(f"one forward pass: {1e3 * forward:.2f} ms a latent")
    basis, seconds, _ = measured(learn, space_map, latents(space_map, learn_latents, 1), top_k)
    print(f"learning the shared basis from {learn_latents} other latents: {seconds:.2f} s")

    runs = {}
    for name, method in METHODS.items():
        rows = x[:paper_latents] if name == "paper" else x
        values, seconds, megabytes = measured(method, space_map, rows, top_k, basis)
        runs[name] = values, seconds / len(rows), megabytes, runs["exact"][0] if "exact" in runs else None
    if compiled:
        faster = CompiledMap(space_map)
        _, seconds, _ = measured(subspace, faster, x, top_k, basis)
        print(f"compiling: {seconds:.0f} s")
        values, seconds, megabytes = measured(subspace, faster, x, top_k, basis)
        runs["compiled"] = values, seconds / len(x), megabytes, runs["exact"][0]
    labels, fresh = labels or (150 if quick else 1500), fresh or (50 if quick else 200)
    known, unseen = latents(space_map, labels, 2), latents(space_map, fresh, 3)
    volumes, seconds, _ = measured(lambda: log_volume(exact(space_map, known, top_k, None)))
    truth = log_volume(exact(space_map, unseen, top_k, None))
    print(f"labels for the predictors: {labels} exact spectra, {seconds:.1f} s")
    for name, q in (("hybrid", min(HYBRID_DIRECTIONS, space_map.in_dim)), ("amortized", 0)):
        predicted, seconds, _ = measured(Predicted, space_map, known, volumes.numpy(), q)
        print(f"training {name}: {seconds:.1f} s")
        values, seconds, megabytes = measured(predicted, unseen)
        runs[name] = values, seconds / len(unseen), megabytes, truth
    report = {}
    columns = f"{'s/latent':>9} {'ratio':>8} {'forwards':>9} {'rel. error':>11} {'Spearman':>9} {'MB':>6}"
    print(f"{'method':10} {'latents':>7} {columns}")
    for name, (values, seconds, megabytes, reference) in runs.items():
        error, rank = agreement(values, runs["exact"][0] if reference is None else reference)
        ratio = seconds / runs["paper"][1]
        shown = "-" if rank is None else f"{rank:.5f}"
        cost = f"{seconds:9.4f} {ratio:8.4f} {seconds / forward:9.1f}"
        print(f"{name:10} {len(values):7} {cost} {error:11.2e} {shown:>9} {megabytes:6.0f}")
        report[name] = dict(seconds_per_latent=seconds, ratio_to_paper=ratio, spearman=rank, rel_error=error)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
