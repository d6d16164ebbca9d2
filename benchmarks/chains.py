"""MaGNET and Polarity in pixel space as they are stated, by chains, beside resampling as it is published.

    build_atlas --outdir=pixel --space=pixel --candidates=12000
    python -m benchmarks.chains --atlas=pixel --rho=1 --outdir=chains

On the embedded network. Volumes are so uneven in pixel space that resampling an atlas draws little more than its
largest ones. The chains draw from prior × volume^rho itself: a surrogate learns the log-volume from --labels candidates
of the atlas and, in --lessons, where chains on it go; then a step of a chain is 100 moves by the surrogate, every other
time 3, and one correction by the true volume, and every other step is a draw. The last lesson is what the chains see in
their warm-up; nothing is learned after that.

Prints split R-hat and effective sample size of the log-volume and of projections of z, then FID, precision, recall,
density and coverage of the chains' draws, of resampling with the same top-k, and of the prior, with as many thousands
of images each, in the features of the embedded classifier. An interrupted run goes on from --outdir. 64 draws stand in
draws.png there. The last line is one JSON object.
"""

import json
import time
from pathlib import Path

import click
import numpy as np
import torch

from dnnlib_compat.json_text import parse_json
from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue, default_name
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas import open_atlas
from latent_plugins.chains.diagnostics import Chains
from latent_plugins.chains.pcn import pcn
from latent_plugins.chains.taught import INNER, learned_surrogate, lesson
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.inputs import open_detectors, open_real
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.pictures.contact_sheet import image_grid
from latent_plugins.pictures.files import as_bytes, save_png
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.base import Latents, Sampler
from latent_plugins.spaces import get_space
from latent_plugins.volume import LogVolume

WARMUP, BLOCK = 40, 10  # steps before the first that counts; draws between two checkpoints
BETA = 0.3  # step size that the warm-up starts from
LEAST_ESS = 0.2  # draws are thinned until their effective sample size is this share of them
METRICS = "fid{n}k_full,pr{n}k3_full,dc{n}k5_full"  # of n thousand images


class Drawn(Sampler):
    """The sampler of latents [N, z_dim] that are there already."""

    name = "drawn"

    def __init__(self, z):
        self.z = torch.from_numpy(z)

    def draw(self, seeds, c=None):
        return Latents(self.z[torch.as_tensor(seeds)], torch.zeros(len(seeds), 0))

    def sample(self, n, generator, c=None):
        return self.draw(np.arange(n) % len(self.z))  # images are made in whole batches, and the last one is cut off


def cached(path, make):
    """The arrays of an .npz file, or those of make(), which then go there."""
    if not path.exists():
        arrays = make()
        with atomic_output(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


def check_folder(folder, settings):
    """Raise a click error for a folder that a run with other settings has begun to fill."""
    path = folder / "settings.json"
    if not path.exists():
        with atomic_output(path) as temporary:
            temporary.write_text(json.dumps(settings))
    found = parse_json(path.read_bytes())
    if found != settings:
        raise click.ClickException(f"{folder} holds a run with {found}, not {settings}: choose another --outdir")


def labels_of(atlas, top_k, n, log_volume, folder, *, rho, prior, lessons):
    """({z, volumes} to learn from, ends of the last lesson's chains)."""
    z = atlas.latents(np.arange(n)).numpy()
    known = dict(z=z, volumes=atlas.log_volume(top_k)[:n])
    ends = None
    for number in range(lessons):

        def teach(known=known, number=number):
            found = lesson(
                log_volume,
                learned_surrogate(log_volume.inputs, **known),
                z.shape[1],
                rho=rho,
                prior=prior,
                seed=number,
            )
            return dict(z=found.z, volumes=found.volumes, ends=found.ends, error=found.error)

        found = cached(folder / f"lesson{number}.npz", teach)
        mean = np.nanmean(found["volumes"])
        print(
            f"lesson {number + 1}: mean log-volume {mean:.2f}, error of the surrogate {found['error']:.2f}", flush=True
        )
        known = {name: np.concatenate([known[name], found[name]]) for name in known}
        ends = found["ends"]
    return known, ends


def run_chains(log_volume, surrogate_of, known, z0, folder, *, rho, prior, draws):
    """The Chains of `draws` draws, block by block."""
    options = dict(rho=rho, prior=prior, inner=INNER)

    def warm_up():
        surrogate = surrogate_of(known)
        found = pcn(log_volume, z0, steps=WARMUP, warmup=WARMUP, beta=BETA, surrogate=surrogate, **options)
        return dict(z=found.z, volumes=found.log_volume, beta=found.beta, evaluations=found.evaluations)

    warm = cached(folder / "warmup.npz", warm_up)
    # A chain that stays has one label, not one a step.
    _, new = np.unique(warm["volumes"].reshape(-1), return_index=True)
    z, volumes = warm["z"].reshape(-1, z0.shape[1])[new], warm["volumes"].reshape(-1)[new]
    surrogate = surrogate_of(
        {"z": np.concatenate([known["z"], z]), "volumes": np.concatenate([known["volumes"], volumes])}
    )
    beta = float(np.exp(np.log(warm["beta"]).mean()))
    blocks, at, start = [], warm["z"][:, -1], time.time()
    for number in range(-(-draws // BLOCK)):

        def block(at=at, number=number):
            found = pcn(
                log_volume,
                at,
                steps=BLOCK * len(INNER),
                thin=len(INNER),
                warmup=0,
                beta=beta,
                seed=number + 1,
                surrogate=surrogate,
                **options,
            )
            return dict(
                z=found.z, volumes=found.log_volume, acceptance=found.acceptance, beta=found.beta,
                corrected=found.corrected, evaluations=found.evaluations,
            )  # fmt: skip

        blocks.append(cached(folder / f"block{number:03d}.npz", block))
        at = blocks[-1]["z"][:, -1]
        print(f"{joined(blocks)}, {time.time() - start:.0f} s", flush=True)
    return joined(blocks)


def joined(blocks):
    """The Chains of consecutive blocks."""
    z, volumes = (np.concatenate([block[name] for block in blocks], axis=1) for name in ("z", "volumes"))
    acceptance = np.mean([block["acceptance"] for block in blocks], axis=0)
    evaluations = int(sum(block["evaluations"] for block in blocks))
    corrected = float(np.mean([block["corrected"] for block in blocks]))
    return Chains(z, volumes, acceptance, blocks[0]["beta"], evaluations, corrected)


def thinned(chains):
    """(Chains, every how many draws) with an effective sample size of LEAST_ESS of the draws, if they are enough."""
    for every in range(1, chains.z.shape[1] // 4):
        z, volumes = chains.z[:, every - 1 :: every], chains.log_volume[:, every - 1 :: every]
        found = Chains(z, volumes, chains.acceptance, chains.beta, chains.evaluations, chains.corrected)
        if found.ess.min() >= LEAST_ESS * found.log_volume.size:
            return found, every
    return chains, 1


@click.command(help=__doc__)
@click.option("--atlas", "atlas_folder", required=True, metavar="DIR")
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--rho", type=float, required=True)
@click.option("--top-k", type=int, default=15, show_default=True)
@click.option("--labels", type=int, default=3000, show_default=True)
@click.option("--lessons", type=click.IntRange(1), default=4, show_default=True)
@click.option("--chains", "width", type=click.IntRange(2, 64), default=16, show_default=True)
@click.option("--draws", type=click.IntRange(8), default=350, show_default=True, help="Draws a chain.")
def main(atlas_folder, outdir, rho, top_k, labels, lessons, width, draws):
    outdir.mkdir(parents=True, exist_ok=True)
    generator, entry = load_network(default_name()), catalogue()[default_name()]
    space, atlas = get_space(generator, "pixel"), open_atlas(atlas_folder)
    log_volume = LogVolume(space, top_k, method="subspace")
    check_folder(outdir, dict(atlas=atlas_folder, rho=rho, top_k=top_k, labels=labels, lessons=lessons, chains=width))
    known, ends = labels_of(atlas, top_k, labels, log_volume, outdir, rho=rho, prior=space.domain, lessons=lessons)
    chains = run_chains(
        log_volume, lambda found: learned_surrogate(log_volume.inputs, **found), known, ends[:width], outdir,
        rho=rho, prior=space.domain, draws=draws,
    )  # fmt: skip
    kept, every = thinned(chains)
    z = kept.z.reshape(-1, generator.z_dim)
    thousands = len(z) // 1000
    if not thousands:
        print(f"{len(z)} draws are too few for images in thousands: give more --draws")
        return
    z = z[np.linspace(0, len(z), 1000 * thousands, endpoint=False).astype(int)]
    pictured = torch.from_numpy(z[np.linspace(0, len(z), 64, endpoint=False).astype(int)])
    with torch.no_grad():
        images = as_bytes(generator(pictured, torch.zeros(64, 0)))
    save_png(image_grid(images.permute(0, 2, 3, 1).numpy(), 8), outdir / "draws.png")
    resampled = create_sampler("polarity", generator, atlas=atlas, rho=rho, top_k=top_k)
    told = resampled.degeneracy()
    print(f"\nevery {every} draws: {kept}; {100 * chains.corrected:.0f} % of the inner moves' ends accepted")
    print(f"resampling {len(atlas.log_volume(top_k))} candidates: {told}")
    metrics = parse_metrics(METRICS.format(n=thousands))
    detectors, real = open_detectors(metrics, (), None, entry, device="cpu"), open_real(metrics, generator, None, entry)
    rows = {"chains": Drawn(z), "resampling": resampled, "prior": create_sampler("prior", generator)}
    table = {}
    for name, sampler in rows.items():
        figures = {}
        for _, found, _ in evaluate(metrics, generator, sampler, real, detectors):
            figures.update(
                {key.partition("_")[0].strip() + "_" + key.rpartition("_")[2]: v for key, v in found.items()}
            )
        table[name] = figures
        print(f"{name:10}", *(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)
    rhat, ess = float(kept.rhat.max()), float(kept.ess.min())
    print(json.dumps(dict(rho=rho, top_k=top_k, images=len(z), rhat=rhat, ess=ess, table=table)))


if __name__ == "__main__":
    main()
