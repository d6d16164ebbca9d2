"""Every sampler of the embedded network runs without further files, and records say which file served it."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.critic_figures import figures
from benchmarks.train_embedded_critic import logits_of
from benchmarks.training_data import load_zip
from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from cli.remake import main as remake
from cli.train_weights import own_critic
from dnnlib_compat import companions
from dnnlib_compat.companions import companion, companion_path
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import read_about
from dnnlib_compat.pretrained import PACKAGE, catalogue
from latent_plugins.reweighting.weight_files import load_weights
from latent_plugins.samplers.options import check_options
from latent_plugins.samplers.recipe import Recipe
from latent_plugins.watching import ArgumentError

DISCRIMINATOR, WEIGHTS = "embedded:mnist32-discriminator.npz", "embedded:mnist32-weights.npz"
QUICK = {
    "drs": ["--burn-in=200"],
    "mh": ["--length=20"],
    "sir": [],
    "dot": ["--steps=3", "--pairs=10"],
}


def run(command, *args):
    result = CliRunner().invoke(command, [*args, "--device=cpu"] if command is not calc_metrics else list(args))
    assert result.exit_code == 0, result.output
    return result.output


def lines_of(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


# --- what comes with a network ----------------------------------------------------------------------------------------


def test_companions_are_those_of_the_catalogue():
    assert companion("mnist32", "discriminator") == DISCRIMINATOR and companion("mnist32", "weights") == WEIGHTS
    assert companion("stylegan3-t-ffhq-1024", "weights") is None
    assert companion("some.pkl", "weights") is companion(None, "discriminator") is None
    with pytest.raises(ValueError, match="unknown kind of companion 'critics'; known kinds: discriminator, weights"):
        companion("mnist32", "critics")


def test_every_companion_is_there_and_fits_its_network():
    named = [(name, kind) for name in catalogue() for kind in companions.KINDS if companion(name, kind)]
    assert ("mnist32", "weights") in named and ("mnist32", "discriminator") in named
    for name, kind in named:
        path = companion_path(companion(name, kind))
        if kind == "weights":
            load_weights(path).check_network(load_network(name))
        else:
            network, critic = load_network(name), load_network(path, key="D")
            scores = critic(network(torch.zeros(2, network.z_dim), torch.zeros(2, 0)))
            assert scores.numel() == 2 and scores.isfinite().all()


def test_paths_of_the_user_stay_what_they_are(tmp_path):
    assert companion_path(tmp_path / "w.npz") == tmp_path / "w.npz"
    assert companion_path(WEIGHTS) == str(PACKAGE / "embedded" / "mnist32-weights.npz")


def test_the_three_files_are_small():
    files = [PACKAGE / "embedded" / name for name in ("mnist32.npz", DISCRIMINATOR[9:], WEIGHTS[9:])]
    sizes = [file.stat().st_size for file in files]
    assert sum(sizes) <= 3_000_000 and max(sizes[1:]) <= 600_000


# --- samplers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_samplers_that_ask_a_critic_run_without_files(name, tmp_path):
    run(gen_images, f"--sampler={name}", *QUICK[name], "--seeds=0-1", f"--outdir={tmp_path}")
    lines = lines_of(tmp_path)
    assert [line["critic"] for line in lines] == [DISCRIMINATOR] * 2 and "weights" not in lines[0]
    assert "all the same" in run(remake, str(tmp_path / "samples.jsonl"), "--check")


@pytest.mark.parametrize("name", ["latentrs", "latentga", "latentrs+ga", "latentrs+truncation"])
def test_samplers_with_trained_weights_run_without_files(name, tmp_path):
    run(gen_images, f"--sampler={name}", "--seeds=0-3", f"--outdir={tmp_path}")
    assert [line["weights"] for line in lines_of(tmp_path)] == [WEIGHTS] * 4
    assert "all the same" in run(remake, str(tmp_path / "samples.jsonl"), "--check")


def test_a_filter_by_weights_before_a_critic_takes_both():
    options = dict(proposals=3)
    sampler, described = Recipe(load_network("mnist32"), "latentrs+sir", options, source="mnist32").make(None, 1.0)
    assert described["weights"] == WEIGHTS and described["critic"] == DISCRIMINATOR
    assert sampler.draw([0]).z.shape == (1, 64)


def test_files_of_the_user_come_first(tmp_path):
    own = tmp_path / "own.npz"
    own.write_bytes((PACKAGE / "embedded" / WEIGHTS[9:]).read_bytes())
    for name in ("latentrs", "sir"):
        run(gen_images, f"--sampler={name}", f"--weights={own}", "--seeds=0", f"--outdir={tmp_path / name}")
        (line,) = lines_of(tmp_path / name)
        assert line["weights"] == str(own) and line.get("critic", str(own)) == str(own)


def test_without_companions_the_file_is_asked_for_before_any_work():
    for source in (None, "stylegan2-cifar10-32"):
        with pytest.raises(ArgumentError, match="latentrs needs `weights`=FILE: make them with train_weights"):
            check_options("latentrs", {}, source=source)
    check_options("latentrs", {}, source="mnist32")


def test_metrics_take_them_too(tmp_path):
    args = ["--sampler=latentrs", "--metrics=pr300", f"--outdir={tmp_path}", "--no-cache"]
    line = json.loads(run(calc_metrics, *args).strip().splitlines()[-1])
    assert line["weights"] == WEIGHTS


# --- what they are worth ----------------------------------------------------------------------------------------------


def test_the_discriminator_is_as_well_calibrated_as_its_file_says(data_folder):
    path = companion_path(DISCRIMINATOR)
    said = read_about(path)["held_out"]
    real, _ = load_zip(data_folder / "datasets" / "mnist32-test.zip")
    found = figures(*logits_of(load_network(path, key="D"), load_network("mnist32"), real[:1000], seed=5))
    assert said["calibration_error"] <= 0.03 and found["calibration_error"] <= 0.05
    assert abs(found["accuracy"] - said["accuracy"]) <= 0.03 and abs(found["log_loss"] - said["log_loss"]) <= 0.05


def test_weights_and_discriminator_agree_about_latents():
    generator, c = load_network("mnist32"), torch.zeros(600, 0)
    z = torch.randn(600, generator.z_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        w = load_weights(companion_path(WEIGHTS)).weights(generator, z)
        logits = load_network(DISCRIMINATOR, key="D")(generator(z, c)).reshape(-1)
    assert torch.corrcoef(torch.stack([w, logits]))[0, 1] > 0.3
    assert 0.8 < w.mean() < 1.4 and w.std() > 0.1  # the mean was 1.23 at the end of the training


def test_a_training_goes_on_from_the_networks_discriminator():
    critic = own_critic("mnist32", "small-discriminator")
    assert sum(p.numel() for p in critic.parameters()) == sum(
        p.numel() for p in load_network(DISCRIMINATOR, key="D").parameters()
    )


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_a_case_worked_by_hand():
    found = figures([2.0, 2.0, -1.0, -1.0], [-1.0, -1.0, -1.0, 2.0])
    assert found["accuracy"] == 0.625  # 2 of 4 real, 3 of 4 generated
    assert found["auc"] == (2 * 3 + 2 * 0.5 + 2 * 1.5) / 16
    p = [1 / (1 + 2.718281828459045**-logit) for logit in (2, -1)]
    expected = 3 / 8 * abs(p[0] - 2 / 3) + 5 / 8 * abs(p[1] - 2 / 5)
    assert found["calibration_error"] == pytest.approx(expected)


def test_sides_weigh_alike_whatever_their_numbers():
    real, generated = [1.0, 0.2, -0.3], [-2.0, 0.4]
    many = figures(real * 7, generated)
    assert many == pytest.approx(figures(real, generated))
