"""train_weights, from options to files."""

import json
import re

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.image_zips import random_images, write_zip
from helpers.pickles import module_record, official_content, write_official, write_pickle

from cli import gen_images, train_weights
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from latent_plugins.reweighting import load_weights
from latent_plugins.reweighting.networks import critic_of
from latent_plugins.reweighting.training import COLUMNS
from latent_plugins.samplers import create_sampler


def run(*args, fails=False):
    """Everything a command printed; it must succeed, or, with `fails`, end with code 1 and one line of error."""
    result = CliRunner().invoke(train_weights.main, [str(arg) for arg in args])
    if fails:
        assert result.exit_code != 0 and isinstance(result.exception, SystemExit), result.output
        assert result.output.splitlines()[-1].startswith("Error: ")
        return result.output
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def world(tmp_path):
    """Options for a small network and a data set of its size."""
    network = write_official(tmp_path / "net.pkl", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(40))
    return [f"--network={network}", f"--data={data}", "--batch=4"]


def test_weights_come_out_and_serve_the_sampler(tmp_path, world):
    output = run(*world, "--outdir", tmp_path / "out", "--steps=6", "--m=2.5", "--lambda1=20", "--seed=3")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["checkpoint.npz", "training.csv", "training.png", "weights.npz"]
    weights = load_weights(tmp_path / "out" / "weights.npz")
    assert (weights.m, weights.steps, weights.seed, weights.input) == (2.5, 6, 3, "w")
    assert (weights.schedule["lambda1"], weights.schedule["lambda2"], weights.schedule["batch"]) == (20, 3, 4)
    told = re.search(r"E\[w\] ([0-9.]+), accepts ([0-9.]+) % of the latents with m = 2.5", output)
    assert float(told[1]) == pytest.approx(weights.mean_weight, abs=6e-4)
    assert float(told[2]) == pytest.approx(100 * weights.acceptance, abs=0.06)
    expected = (
        f"gen_images --sampler=latentrs --weights={tmp_path / 'out' / 'weights.npz'} --network={tmp_path}/net.pkl"
    )
    assert output.splitlines()[-1] == f"use them: {expected}"
    generator = load_network(tmp_path / "net.pkl")
    assert create_sampler("latentrs", generator, weights=weights).draw([0, 1]).z.shape == (2, 8)
    assert np.asarray(PIL.Image.open(tmp_path / "out" / "training.png")).std() > 0


def test_the_commands_draw_with_weights_and_their_critic(tmp_path, world):
    """The line that train_weights prints at its end works, and so does every sampler that takes its file."""
    run(*world, "--outdir", tmp_path / "out", "--steps=3")
    weights, outdir = f"--weights={tmp_path / 'out' / 'weights.npz'}", tmp_path / "images"
    for sampler in ("latentrs", "latentga --steps=2", "latentrs+ga", "sir --steps=3", "dot --steps=2", "latentrs+jbt"):
        options = [world[0], f"--sampler={sampler.split()[0]}", *sampler.split()[1:], weights, "--device=cpu"]
        result = CliRunner().invoke(gen_images.main, [*options, "--seeds=0-1", f"--outdir={outdir}"])
        assert result.exit_code == 0, result.output
        line = json.loads((outdir / "samples.jsonl").read_text().splitlines()[0])
        assert line["sampler"] == sampler.split()[0]
    other = write_official(tmp_path / "other.pkl", small_stylegan2(w_dim=12))
    options = [f"--network={other}", "--sampler=latentrs", weights, "--seeds=0", f"--outdir={outdir}"]
    result = CliRunner().invoke(gen_images.main, options)
    assert result.exit_code == 1 and "another" in result.output.splitlines()[-1], result.output


def test_the_critic_goes_on_from_the_discriminator_of_the_network(tmp_path, world):
    network = small_stylegan2()
    size = dict(img_resolution=network.img_resolution, img_channels=network.img_channels)
    torch.manual_seed(0)
    discriminator = StyleGAN2Discriminator(c_dim=0, **size, channel_base=64, channel_max=8)
    content = official_content(network)
    content["D"] = module_record(discriminator, "Discriminator", discriminator.init_kwargs)
    options = [f"--network={write_pickle(tmp_path / 'gan.pkl', content)}", world[1], "--preset=discriminator"]
    run(*options, "--outdir", tmp_path / "out", "--steps=2", "--batch=8")
    weights = load_weights(tmp_path / "out" / "weights.npz")
    assert (
        weights.critic.settings["kind"] == "stylegan2-discriminator" and weights.schedule["critic_loss"] == "logistic"
    )
    # Two steps with a small learning rate: still all but the discriminator itself.
    images = torch.randn(
        4, network.img_channels, *[network.img_resolution] * 2, generator=torch.Generator().manual_seed(1)
    )
    expected = discriminator(images)[:, 0]
    assert torch.allclose(weights.critic(images), expected, atol=1e-3) and weights.critic(images).shape == (4,)
    assert not torch.equal(weights.critic(images), expected)
    # A network file without one, or with one of labelled images, is refused before anything is written.
    refused = run(*world, "--preset=discriminator", "--outdir", tmp_path / "none", fails=True)
    assert "--preset=discriminator needs an official file" in refused and "has no network under 'D'" in refused
    assert not list((tmp_path / "none").glob("*.npz"))
    conditional = StyleGAN2Discriminator(c_dim=3, **size, channel_base=64, channel_max=8)
    with pytest.raises(ValueError, match="labelled images"):
        critic_of(conditional)


@pytest.mark.bitwise
def test_the_same_command_goes_on_where_it_stopped(tmp_path, world, monkeypatch):
    options = [*world, "--steps=9", "--snapshot=3"]
    run(*options, "--outdir", tmp_path / "whole")
    out = tmp_path / "parts"
    original = train_weights.figures

    def interrupted(row):
        if row["step"] == 5:
            raise KeyboardInterrupt
        return original(row)

    monkeypatch.setattr(train_weights, "figures", interrupted)
    assert CliRunner().invoke(train_weights.main, [*options, f"--outdir={out}"]).exit_code == 1
    assert (out / "training.csv").read_text().count("\n") == 1 + 5 and not (out / "weights.npz").exists()
    with (out / "training.csv").open("a") as file:
        file.write("6,1.0,")  # what a crash leaves
    monkeypatch.undo()
    assert "9 steps, of which 3 are done already" in run(*options, "--outdir", out)
    for name in ("weights.npz", "training.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    before = (out / "weights.npz").read_bytes()
    assert "of which 9 are done already" in run(*options, "--outdir", out)  # nothing is left to do
    assert (out / "weights.npz").read_bytes() == before


def test_the_log_has_a_line_a_step(tmp_path, world):
    run(*world, "--outdir", tmp_path / "out", "--steps=4")
    lines = (tmp_path / "out" / "training.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS) and [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    rows = train_weights.read_log(tmp_path / "out" / "training.csv")
    assert rows[3]["step"] == 4 and all(np.isfinite(list(row.values())).all() for row in rows)


def test_progress_tells_the_figures(tmp_path, world):
    assert "of 2 steps" not in run(*world, "--outdir", tmp_path / "silent", "--steps=2")
    output = run(*world, "--outdir", tmp_path / "out", "--steps=2", "--progress")
    assert re.search(r"^2 of 2 steps, step 2, E\[w\] \d\.\d+, max \d.*, distance .*/s$", output, re.MULTILINE)


def test_without_matplotlib_there_is_no_chart(tmp_path, world, monkeypatch):
    monkeypatch.setattr(train_weights.charts, "available", lambda: False)
    run(*world, "--outdir", tmp_path / "out", "--steps=2")
    assert not (tmp_path / "out" / "training.png").exists()


def test_conditional_networks_take_the_labels_of_the_data(tmp_path):
    network = write_official(tmp_path / "net.pkl", small_stylegan2(c_dim=3))
    plain = write_zip(tmp_path / "plain.zip", random_images(9))
    labelled = write_zip(tmp_path / "labelled.zip", random_images(9), labels=[i % 3 for i in range(9)])
    options = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--steps=2", "--batch=3"]
    assert "needs labels" in run(*options, f"--data={plain}", fails=True)
    run(*options, f"--data={labelled}")
    assert load_weights(tmp_path / "out" / "weights.npz").c_dim == 3


def test_what_does_not_fit_is_one_line(tmp_path, world):
    network, _, batch = world
    out = f"--outdir={tmp_path / 'out'}"
    small = write_zip(tmp_path / "small.zip", random_images(4, size=8))
    colour = write_zip(tmp_path / "colour.zip", random_images(4, channels=3))
    cases = {
        (network, f"--data={small}", out): "images are 8x8, the network makes 16x16",
        (network, f"--data={colour}", out): "images are RGB, the network makes grayscale",
        (network, f"--data={tmp_path / 'none.zip'}", out): "no such file",
        (*world, out, "--m=1"): "not in the range x>1",
        (*world, out, "--lambda1=-2"): "--lambda1': -2.0 is not in the range x>=0",
        (*world, out, "--critic-lr=0"): "--critic-lr': 0.0 is not in the range x>0",
        (*world, out, "--preset=imagenet"): "'imagenet' is not one of",
        (*world, out, "--input=pixels"): "'pixels' is not one of",
    }
    for options, message in cases.items():
        assert message in run(*options, fails=True)
    run(*world, out, "--steps=2")
    assert "another m (3.0, wanted 4.0)" in run(*world, out, "--steps=2", "--m=4", fails=True)
    (tmp_path / "out" / "checkpoint.npz").write_bytes(b"PK")
    assert "damaged" in run(*world, out, "--steps=2", fails=True)


def test_a_collapse_is_one_line(tmp_path, world):
    output = run(*world, "--outdir", tmp_path / "out", "--steps=40", "--critic-lr=1e30", fails=True)
    assert "the training broke at step" in output
    assert (tmp_path / "out" / "training.csv").exists() and not (tmp_path / "out" / "weights.npz").exists()


@pytest.mark.parametrize("loss, warned", [("wasserstein", True), ("hinge", True), ("logistic", False)])
def test_scores_without_a_scale_are_warned_about(tmp_path, world, loss, warned):
    """SIR, DRS and MH take scores as log density ratios; DOT asks only which way they rise."""
    network, _, _ = world
    run(*world, f"--outdir={tmp_path / 'out'}", "--steps=1", f"--critic-loss={loss}")
    weights = f"--weights={tmp_path / 'out' / 'weights.npz'}"
    for sampler in ("sir", "drs", "mh", "dot"):
        outdir = f"--outdir={tmp_path / sampler}"
        result = CliRunner().invoke(gen_images.main, [network, weights, f"--sampler={sampler}", "--seeds=0", outdir])
        assert result.exit_code == 0, result.output
        assert ("takes a critic's scores as log density ratios" in result.output) == (warned and sampler != "dot")
