"""Training of a critic against a generator that stays as it is, for the samplers that ask one about images.

"Latent reweighting" (Issenhuth et al. 2022, appendix "Implementation of baselines") fine-tunes the discriminator from
the end of the adversarial training: with binary cross-entropy and a gradient penalty (or spectral norm) for SIR, whose
performance drops fast without, and with WGAN-GP for DOT. It chooses among the models by EMD (`selection`).
"""

from __future__ import annotations

import copy
from pathlib import Path

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import read_about, write_npz
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.reweighting.critic_schedules import CRITIC, NUMBERS
from latent_plugins.reweighting.networks import check_critic, default_input
from latent_plugins.reweighting.training import Trainer, started, training_rows
from latent_plugins.reweighting.training_data import check_data
from latent_plugins.reweighting.weight_files import WeightsError


def train_critic(
    generator, data, schedule, *, outdir, seed=0, critic=None, snapshot=200, workers=3, selection=None
):  # fmt: skip
    """Train a critic of a generator's images; iterate over the result to make the training happen.

    Yields a row an update, as `train` does, in which the weights are all 1. At the end `critic.npz` is in the folder
    `outdir`, which must exist. Every `snapshot` updates a checkpoint is written there; the same call goes on from it
    and ends in the same bytes. schedule: of `critic_schedule`; the other arguments are as for `train`. With the loss
    `logistic` scores are estimates of log p_data(x) − log p_generator(x), for SIR, DRS and MH.

    Raises ValueError for conditional generators, whose samplers ask no critic, where data do not fit, or for images
    below 4 pixels, WeightsError and WeightsCollapsed as `train`.
    """
    if generator.c_dim:
        raise ValueError("the network has classes, and the samplers that ask a critic are for networks without any")
    check_data(generator, data)
    if snapshot < 1:
        raise ValueError(f"a snapshot every {snapshot} updates: give 1 or more")
    if generator.img_resolution < 4:
        raise ValueError(f"images of {generator.img_resolution} pixels: a critic's file holds critics from 4 pixels on")
    critic = None if critic is None else check_critic(critic)
    trainer = Trainer(generator, data, schedule, seed, default_input(generator), critic)
    return _rows(started(trainer, outdir, selection), Path(outdir), snapshot, workers, selection)


def _rows(trainer, outdir, snapshot, workers, selection):
    def look():
        selection.look(outdir, trainer.step, lambda path: _write(trainer, path))

    # Its steps are the warm-up of weights.
    yield from training_rows(trainer, 0, outdir, snapshot, workers, selection and look)
    if selection is None:
        _write(trainer, outdir / CRITIC)
    else:
        selection.keep(outdir, outdir / CRITIC)


def _write(trainer, path):
    schedule = trainer.schedule.record()
    about = dict(of=fingerprint(trainer.generator), steps=schedule["warmup"] + trainer.step, seed=trainer.seed)
    about |= {name: schedule[name] for name in NUMBERS}
    write_npz(copy.deepcopy(trainer.critic).eval().requires_grad_(False).cpu(), path, about=about)


def is_critic_file(path):
    """Whether an `.npz` holds a network, such as a critic, rather than trained weights."""
    with open_arrays(path, error=WeightsError) as file:
        return "config" in file.shapes


def open_critic(path, generator):
    """(critic on the generator's device, the loss that it was trained with or None) of a file of `train_critic`.

    Raises WeightsError for a critic of another network's images.
    """
    about = read_about(path)
    if about.get("of", fingerprint(generator)) != fingerprint(generator):
        raise WeightsError(f"{path}: a critic of another network's images, train one for this network")
    critic = load_network(path, key="D", device=next(generator.parameters()).device)
    return critic, about.get("critic_loss")
