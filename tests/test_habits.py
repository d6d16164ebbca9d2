"""What users type and where output goes: home folders, closed and narrow streams, pipes, given styles, double seeds."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT, assert_same_images, small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.family_files import write_biggan
from helpers.image_zips import random_images, write_zip
from helpers.results import picture, samples
from helpers.small_networks import small_stylegan3

from cli.build_atlas import main as build_atlas
from cli.calc_metrics import main as calc_metrics
from cli.convert import main as convert
from cli.describe import main as describe
from cli.gen_images import main as gen_images
from cli.inspect_geometry import main as inspect_geometry
from cli.interpolate import main as interpolate
from cli.modes import main as modes
from cli.paths import Source
from cli.polarity_strip import main as polarity_strip
from cli.sweep import main as sweep
from cli.train_weights import main as train_weights
from dnnlib_compat.loader import load_network
from latent_plugins.metrics import run as metric_run
from latent_plugins.pictures.files import to_uint8
from latent_plugins.samplers import recipe

COMMANDS = [
    build_atlas, calc_metrics, convert, describe, gen_images, inspect_geometry, interpolate, modes, polarity_strip,
    sweep, train_weights,
]  # fmt: skip
PATHS = {"network", "data", "outdir", "out", "detector", "detectors", "lpips_heads", "atlas_path", "weights_path"}
PATHS |= {"projected_w", "video"}


def run(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "net.npz", small_stylegan2())


def process(*command, **options):
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT)) | options.pop("env", {})
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment, **options)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.callback.__module__)
def test_every_path_option_knows_home_and_no_empty_path(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.npz").touch()
    options = [param for param in command.params if param.name in PATHS]
    assert options
    for param in options:
        assert str(param.type.convert("~/x.npz", param, None)) == str(tmp_path / "x.npz")
        with pytest.raises(Exception, match="it is empty"):
            param.type.convert("", param, None)
    assert not [param.name for param in command.params if param.metavar in ("DIR", "FILE") and param.name not in PATHS]


def test_home_is_known_behind_the_part_that_a_detector_is_for(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Source().convert("inception=~/d.pt", None, None) == "inception=/home/somebody/d.pt"
    assert Source().convert("https://a.b/c?x=~y", None, None) == "https://a.b/c?x=~y"
    assert Source().convert("a~b", None, None) == "a~b"


def test_files_at_home_are_found_and_written(tmp_path, network, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run(gen_images, "--network=~/net.npz", "--outdir=~/out", "--seeds=0")
    assert (tmp_path / "out" / "seed0000.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="closed streams are a POSIX habit")
def test_a_closed_output_is_no_obstacle(tmp_path, network):
    code = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    options = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--seeds=0-1", "--device=cpu"]
    assert process("-c", code, "-m", "cli.gen_images", *options).wait(120) == 0
    assert len(samples(tmp_path / "out")) == 2


def test_an_output_without_the_characters_gets_others(tmp_path, network):
    options = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=20", "--device=cpu"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    started = process("-m", "cli.build_atlas", *options, env=dict(PYTHONIOENCODING="iso8859-5"), **pipes)
    out, error = started.communicate(timeout=120)
    assert started.returncode == 0 and b"Traceback" not in error
    assert b"log-volume" in out and b"\\xb1" in out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end in another way there")
def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path, network):
    command = ["-m", "cli.describe", network, "--json"]
    started = process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    started.stdout.close()  # before anything was printed
    error = started.stderr.read()
    assert started.wait(120) == 128 + 13
    assert error == b""


def test_help_needs_no_wide_encoding():
    for command in COMMANDS:
        assert run(command, "--help").isascii()


@pytest.mark.parametrize("folder", ["dnnlib_compat", "latent_plugins", "benchmarks", "examples"])
def test_nothing_but_commands_imports_commands(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        found = re.search(r"^\s*(from cli\b|import cli\b)", path.read_text(), re.MULTILINE)
        assert found is None, (path, found)


def test_a_missing_data_set_is_told_before_a_detector_is_fetched(tmp_path, network, monkeypatch):
    def fetched(*args, **options):
        raise AssertionError("a detector was opened")

    monkeypatch.setattr(metric_run, "open_detectors", fetched)
    result = CliRunner().invoke(calc_metrics, [f"--network={network}", "--metrics=fid50k_full"])
    assert result.exit_code == 1 and "give it with --data=FILE" in result.output


def test_a_singular_covariance_is_told_before_an_atlas_is_built(tmp_path, network, monkeypatch):
    def built(*args, **options):
        raise AssertionError("an atlas was built")

    monkeypatch.setattr(recipe, "cached_atlas", built)
    data = write_zip(tmp_path / "a.zip", random_images(20))
    options = [f"--network={network}", f"--data={data}", f"--detector={write_torchscript(tmp_path / 'd.pt')}"]
    options += ["--allow-code", "--sampler=magnet", "--space=style", "--metrics=kid20_full,fid2_full"]
    result = CliRunner().invoke(calc_metrics, options)
    assert result.exit_code == 1 and "fid2_full: 20 real images give" in result.output


def test_an_unbiased_distance_of_one_image_is_refused_before_work(tmp_path, network):
    detector = write_torchscript(tmp_path / "d.pt")
    for images, metric in ((1, "fid_unbiased20_full"), (20, "fid_unbiased1_full")):
        data = write_zip(tmp_path / f"{images}.zip", random_images(images))
        options = [f"--network={network}", f"--data={data}", f"--detector={detector}", "--allow-code"]
        result = CliRunner().invoke(calc_metrics, [*options, f"--metrics={metric}", "--allow-singular"])
        assert result.exit_code == 1 and f"{metric} needs at least 2 real and 2 generated images" in result.output


def test_a_class_of_an_unconditional_network_is_ignored_as_by_the_official_command(tmp_path, network):
    output = run(gen_images, f"--network={network}", f"--outdir={tmp_path / 'a'}", "--seeds=3", "--class=7")
    assert "warn: --class=lbl ignored when running on an unconditional network" in output
    run(gen_images, f"--network={network}", f"--outdir={tmp_path / 'b'}", "--seeds=3")
    assert_same_images(picture(tmp_path / "a" / "seed0003.png"), picture(tmp_path / "b" / "seed0003.png"))
    assert "class" not in samples(tmp_path / "a")["seed0003.png"]


def test_a_seed_that_is_given_twice_is_drawn_once(tmp_path, network):
    output = run(gen_images, f"--network={network}", f"--outdir={tmp_path / 'out'}", "--seeds=3,1,2-3,1")
    assert f"{tmp_path / 'out'}: 3 images" in output
    assert [line["seed"] for line in samples(tmp_path / "out").values()] == [3, 1, 2]


# --- given styles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [small_stylegan2, small_stylegan3])
def test_projected_styles_are_those_of_the_network(tmp_path, make):
    path = write_network(tmp_path / "net.npz", make())
    generator = load_network(path)
    z = torch.from_numpy(np.random.RandomState(5).randn(3, generator.z_dim)).float()
    ws = generator.mapping(z, torch.zeros(3, generator.c_dim), truncation_psi=0.7)
    np.savez(tmp_path / "projected_w.npz", w=ws.numpy())
    options = [f"--network={path}", f"--projected-w={tmp_path / 'projected_w.npz'}", f"--outdir={tmp_path / 'out'}"]
    output = run(gen_images, *options, "--grid")
    assert "--seeds is ignored" not in output and "3 images, grid.png" in output
    expected = to_uint8(generator.synthesis(ws, noise_mode="const"))
    for i in range(3):
        found = picture(tmp_path / "out" / f"proj{i:02d}.png")
        assert_same_images(found, expected[i] if found.ndim == 3 else expected[i, :, :, 0])
    assert set(samples(tmp_path / "out")) == {"proj00.png", "proj01.png", "proj02.png"}
    assert "warn: --seeds is ignored when using --projected-w" in run(gen_images, *options, "--seeds=1")


def test_projected_styles_that_do_not_fit_are_told(tmp_path, network):
    generator = load_network(network)
    good, path = np.zeros((1, generator.num_ws, generator.w_dim), np.float32), tmp_path / "w.npz"
    cases = [
        (dict(v=good), "has no array 'w'"),
        (dict(w=good[0]), "its w is"),
        (dict(w=good[:, :1]), "the network takes [N, "),
        (dict(w=good * np.nan), "NaN"),
        (dict(w=good.astype(int)), "no floating-point numbers"),
        (dict(w=np.array([None])), "w.npz: "),
    ]
    for arrays, message in cases:
        np.savez(path, **arrays)
        options = [f"--network={network}", f"--projected-w={path}", f"--outdir={tmp_path / 'out'}"]
        result = CliRunner().invoke(gen_images, options)
        assert result.exit_code == 1 and message in result.output and str(path) in result.output
        assert "unexpected error" not in result.output
    np.savez(path, w=good)
    other = write_biggan(tmp_path)
    result = CliRunner().invoke(
        gen_images, [f"--network={other}", f"--projected-w={path}", f"--outdir={tmp_path / 'o'}"]
    )
    assert result.exit_code == 1 and "has no styles; leave out --projected-w" in result.output
