"""Trainings that end with the snapshot whose samples are nearest to held-out images."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip

from cli.train_critic import main as train_critic_command
from cli.train_weights import main as train_weights_command
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.plain_files import read_about
from latent_plugins.metrics.earth_mover import earth_mover_distance
from latent_plugins.pictures.rendering import render
from latent_plugins.reweighting import PRESETS, WeightsError, load_weights, train
from latent_plugins.reweighting.selection import Selection
from latent_plugins.samplers import create_sampler

SMALL = PRESETS["mnist"].replace(batch=4, channel_base=64, channel_max=8, steps=6, weights_lr=3e-2, hidden="8")


@pytest.fixture
def world(tmp_path):
    """(generator, training images, held-out ImageDataset, Detector)."""
    generator = small_stylegan2()
    held_out = ImageDataset(write_zip(tmp_path / "held-out.zip", random_images(30, seed=1, size=16)))
    detector = load_detector(write_torchscript(tmp_path / "small.pt"), allow_code=True)
    return generator, torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1, held_out, detector


def selection_of(world, images=24, **options):
    generator, _, held_out, detector = world

    def sampler_of(path):
        return create_sampler("latentrs", generator, weights=load_weights(path))

    return Selection(generator, held_out, detector, sampler_of, named="latentrs", images=images, **options)


def trained(world, folder, stop=None, **options):
    folder.mkdir(exist_ok=True)
    rows = train(*world[:2], SMALL, outdir=folder, snapshot=2, selection=selection_of(world, **options))
    for row in rows:
        if row["step"] == stop:
            break
    return folder


@pytest.mark.bitwise
def test_the_best_snapshot_is_kept(tmp_path, world):
    generator, _, held_out, detector = world
    folder = trained(world, tmp_path / "a")
    rows = json.loads((folder / "selection.json").read_text())["snapshots"]
    assert [row["step"] for row in rows] == [2, 4, 6] and len({row["emd"] for row in rows}) > 1
    best = min(rows, key=lambda row: row["emd"])
    found = load_weights(folder / "weights.npz")
    assert found.steps == best["step"]
    assert (folder / "weights.npz").read_bytes() == (folder / "best.npz").read_bytes()
    assert not (folder / "candidate.npz").exists()

    # The distance is that of the metric: all held-out images, and what the sampler draws.
    again = selection_of(world, images=30)
    sampler = create_sampler("latentrs", generator, weights=found)
    drawn = []
    sampler.sample, plain = lambda *args: drawn.append(plain(*args)) or drawn[-1], sampler.sample
    distance = again.distance(sampler)
    pictures = np.concatenate(list(render(generator, drawn[0], batch=64)))
    real = np.stack([held_out.image(i) for i in range(30)])
    features = [detector(torch.from_numpy(x)) for x in (pictures.transpose(0, 3, 1, 2), real)]
    assert distance == pytest.approx(earth_mover_distance(*(x.detach().numpy() for x in features)), rel=1e-5)


@pytest.mark.bitwise
@pytest.mark.parametrize("stop", [3, 5])
def test_an_interrupted_training_chooses_the_same(tmp_path, world, stop):
    whole, parts = trained(world, tmp_path / "whole"), trained(world, tmp_path / "parts", stop=stop)
    trained(world, parts)
    for name in ("weights.npz", "selection.json", "best.npz"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_a_snapshot_that_was_judged_before_its_checkpoint_is_judged_again(tmp_path, world):
    """As after a kill between the two: later snapshots in the file are forgotten."""
    whole, parts = trained(world, tmp_path / "whole"), trained(world, tmp_path / "parts", stop=5)
    text = json.loads((parts / "selection.json").read_text())
    text["snapshots"].append(dict(step=6, emd=0.0))
    (parts / "selection.json").write_text(json.dumps(text))
    trained(world, parts)
    assert (whole / "selection.json").read_bytes() == (parts / "selection.json").read_bytes()


def test_other_selections_and_damage_are_told(tmp_path, world):
    folder = trained(world, tmp_path / "a", stop=3)
    with pytest.raises(WeightsError, match=r"selection.json: a selection with another images .'24', wanted '10'"):
        trained(world, folder, images=10)
    (folder / "selection.json").write_text('{"snapshots": [{"step": "x"}], "of": {}}')
    with pytest.raises(WeightsError, match=r"selection.json: damaged, its distances are no numbers; remove it"):
        trained(world, folder)
    (folder / "selection.json").unlink()
    with pytest.raises(ValueError, match="31 images for the selection, of 30 held-out ones"):
        selection_of(world, images=31)


def test_a_finished_training_without_a_selection_is_not_judged_afterwards(tmp_path, world):
    (tmp_path / "a").mkdir()
    for _ in train(*world[:2], SMALL, outdir=tmp_path / "a", snapshot=2):
        pass
    with pytest.raises(WeightsError, match="whose snapshots nobody judged: choose another folder"):
        trained(world, tmp_path / "a")


def run(command, *args, fails=False):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails and (fails or not result.exception), result.output
    return result.output


def test_the_commands(tmp_path, world):
    network = write_network(tmp_path / "net.npz", world[0])
    data = write_zip(tmp_path / "real.zip", random_images(20, size=16))
    held_out = tmp_path / "held-out.zip"
    common = [
        f"--network={network}",
        f"--data={data}",
        "--batch=4",
        "--channel-base=64",
        "--device=cpu",
        "--snapshot=2",
    ]
    select = [f"--select={held_out}", "--select-images=20", f"--detector={tmp_path / 'small.pt'}", "--allow-code"]
    said = run(train_weights_command, *common, *select, "--steps=4", "--hidden=8", f"--outdir={tmp_path / 'w'}")
    rows = json.loads((tmp_path / "w" / "selection.json").read_text())["snapshots"]
    best = min(rows, key=lambda row: row["emd"])
    assert f"the snapshot of step {best['step']} of 2, earth mover's distance {best['emd']:.4g}" in said
    said = run(
        train_critic_command, *common, *select, "--steps=4", f"--outdir={tmp_path / 'c'}", "--select-sampler=drs"
    )
    chosen = json.loads((tmp_path / "c" / "selection.json").read_text())
    best = min(chosen["snapshots"], key=lambda row: row["emd"])
    assert chosen["of"]["sampler"] == "drs" and [row["step"] for row in chosen["snapshots"]] == [-2, 0]
    assert read_about(tmp_path / "c" / "critic.npz")["steps"] == 4 + best["step"]
    for command in (train_weights_command, train_critic_command):
        out = f"--outdir={tmp_path / 'x'}"
        assert "has no effect without --select" in run(command, *common, out, "--select-images=5", fails=True)
        copied = shutil.copy(data, tmp_path / "under-another-name.zip")
        for same in (data, copied):
            given = [*select[1:], f"--select={same}", "--steps=2"]
            assert "give held-out ones" in run(command, *common, out, *given, fails=True)
        assert not (tmp_path / "x" / "checkpoint.npz").exists()
