"""The commands, from options to files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import GOLDENS, ROOT, assert_same_images, golden_network, load_golden, small_stylegan2
from helpers.pickles import write_official
from helpers.results import picture, samples
from helpers.small_networks import small_stylegan3

from cli.build_atlas import main as build_atlas
from cli.gen_images import main as gen_images
from dnnlib_compat.checksums import write_npy
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import write_npz
from latent_plugins.atlas import Atlas, open_atlas
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import to_uint8


def run(command, *args):
    """The output of a command that must succeed."""
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def network(tmp_path, tiny):
    return write_official(tmp_path / "net.pkl", tiny)


@pytest.mark.parametrize(
    "name, options",
    [("stylegan3-t-structure", []), ("stylegan2-ada-cond-structure", ["--class=3"])],
)
def test_prior_images_are_the_official_ones(data_folder, tmp_path, name, options):
    """8-bit values within ±1 of what the official command wrote for the same seeds."""
    expected = np.load(GOLDENS / f"official-images-{name}.npz")
    assert len(expected.files) >= 2
    for setting in expected.files:
        extra = {
            "trunc1": [],
            "trunc0.5": ["--trunc=0.5"],
            "translate0.2,-0.1_rotate30": ["--translate=0.2,-0.1", "--rotate=30"],
        }[setting]
        outdir = tmp_path / setting
        run(
            gen_images,
            f"--network={data_folder}/goldens/{name}.pkl",
            "--seeds=0-3",
            "--outdir",
            outdir,
            *options,
            *extra,
        )
        for seed, image in enumerate(expected[setting]):
            ours = picture(outdir / f"seed{seed:04d}.png").astype(int)
            assert np.abs(ours - image).max() <= 1, (setting, seed)


def images_of_golden_latents(network, arrays, tmp_path, *options):
    """{row of the golden: 8-bit picture} that gen_images writes for the golden's own z and c, given as an atlas."""
    labels = {} if arrays["c"].shape[1] == 0 else dict(labels=arrays["c"])
    np.savez(tmp_path / "atlas.npz", latents=arrays["z"], svds=np.ones((len(arrays["z"]), 2)), **labels)
    classes = arrays["c"].argmax(axis=1) if labels else np.zeros(len(arrays["z"]), int)
    found = {}
    for k in np.unique(classes):
        rows = np.flatnonzero(classes == k)
        out = tmp_path / f"class{k}"
        chosen = [f"--class={k}"] if labels else []
        base = [
            "--sampler=polarity",
            "--rho=0",
            f"--atlas={tmp_path / 'atlas.npz'}",
            f"--seeds=0-{len(rows) - 1}",
            "--without-replacement",
        ]
        run(gen_images, f"--network={network}", *base, *chosen, *options, "--outdir", out)
        for name, line in samples(out).items():
            found[rows[line["candidate"]]] = picture(out / name)
    return found


def check_golden_pictures(found, expected):
    pictures = to_uint8(torch.from_numpy(expected)).astype(int)
    assert sorted(found) == list(range(len(expected)))
    for row, image in found.items():
        assert np.abs(image.reshape(pictures[row].shape) - pictures[row]).max() <= 1


@pytest.mark.parametrize(
    "name", ["stylegan3-t", "stylegan2-ada-skip", "stylegan2-sg3repo-skip", "stylegan2-sg3repo-resnet-cond"]
)
def test_golden_images_come_out_of_the_command(tmp_path, name):
    network, arrays = golden_network(name)
    write_npz(network, tmp_path / "net.npz")
    for key, options in [("img", []), ("img_trunc0.7", ["--trunc=0.7"]), ("img_noise_none", ["--noise-mode=none"])]:
        (tmp_path / key).mkdir()
        check_golden_pictures(
            images_of_golden_latents(tmp_path / "net.npz", arrays, tmp_path / key, *options), arrays[key]
        )


@pytest.mark.parametrize("name", ["stylegan3-t-structure", "stylegan2-ada-cond-structure"])
def test_official_structures_come_out_of_the_command(data_folder, tmp_path, name):
    arrays, _ = load_golden(name)
    found = images_of_golden_latents(data_folder / "goldens" / f"{name}.pkl", arrays, tmp_path)
    check_golden_pictures(found, arrays["img"])


def test_every_image_has_its_line_and_the_grid_shows_all(tmp_path, network, tiny):
    out = tmp_path / "out"
    output = run(gen_images, f"--network={network}", "--seeds=3,1,10-11", "--outdir", out, "--grid", "--batch=3")
    assert "4 images, grid.png" in output
    names = ["seed0003.png", "seed0001.png", "seed0010.png", "seed0011.png"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*names, "grid.png", "samples.jsonl"])
    assert list(samples(out)) == names
    z = torch.from_numpy(np.random.RandomState(10).randn(1, 8)).float()
    expected = to_uint8(tiny(z, torch.zeros(1, 0)))[0]
    assert picture(out / "seed0010.png").shape == (16, 16)  # grayscale stays grayscale
    assert_same_images(picture(out / "seed0010.png"), expected[:, :, 0])
    tiles = contact_sheet(np.stack([picture(out / name)[:, :, None] for name in names]))
    assert np.array_equal(picture(out / "grid.png"), tiles[:, :, 0])


def test_colour_images_are_rgb(tmp_path):
    path = write_official(tmp_path / "net.pkl", small_stylegan3())
    run(gen_images, f"--network={path}", "--seeds=0", "--outdir", tmp_path / "out", "--trunc=0.7")
    assert picture(tmp_path / "out" / "seed0000.png").shape == (16, 16, 3)


def test_a_second_run_keeps_what_it_does_not_write_anew(tmp_path, network):
    out = tmp_path / "out"
    run(gen_images, f"--network={network}", "--seeds=0-2", "--outdir", out)
    with (out / "samples.jsonl").open("a") as file:
        file.write("a note of the user's\n")
    run(gen_images, f"--network={network}", "--seeds=2-3", "--outdir", out, "--trunc=0.5")
    lines = (out / "samples.jsonl").read_text().splitlines()
    assert lines.pop(2) == "a note of the user's"
    found = {line["file"]: line["trunc"] for line in map(json.loads, lines)}
    assert found == {"seed0000.png": 1, "seed0001.png": 1, "seed0002.png": 0.5, "seed0003.png": 0.5}


@pytest.mark.bitwise
def test_magnet_draws_from_an_atlas_that_is_cached(tmp_path, network, tiny):
    out = tmp_path / "out"
    options = [f"--network={network}", "--sampler=magnet", "--candidates=300", "--top-k=5", "--seeds=0-3"]
    first = run(gen_images, *options, "--outdir", out)
    assert "Atlas of 300 candidates in space z:w (sphere domain)" in first
    assert "magnet, rho 1, top-k 5: 300 candidates, effective sample size" in first
    folder = first.split("domain): ")[1].splitlines()[0]
    atlas = open_atlas(folder)
    for line in samples(out).values():
        z = atlas.latents([line["candidate"]])
        assert_same_images(picture(out / line["file"]), to_uint8(tiny(z, torch.zeros(1, 0)))[0, :, :, 0])
        assert line["log_volume"] == atlas.log_volume(5)[line["candidate"]]
        assert (line["sampler"], line["space"], line["rho"]) == ("magnet", "z:w", 1.0)
    before = {p.name: p.read_bytes() for p in out.glob("*.png")}
    again = run(gen_images, *options, "--outdir", out)
    assert "Atlas of" not in again
    assert {p.name: p.read_bytes() for p in out.glob("*.png")} == before
    other = run(gen_images, *options, "--outdir", out, "--space=pixel")
    assert "in space z:pixel" in other


def test_a_built_atlas_serves_the_images(tmp_path, network, tiny):
    atlas = tmp_path / "atlas"
    output = run(
        build_atlas, f"--network={network}", "--outdir", atlas, "--space=w:pixel", "--candidates=40", "--seed=2"
    )
    assert "40 candidates, 8 singular values each, log-volume" in output
    options = ["--sampler=polarity", "--rho=-0.5", f"--atlas={atlas}", "--seeds=0-3"]
    run(gen_images, f"--network={network}", *options, "--outdir", tmp_path / "out")
    drawn = {line["candidate"] for line in samples(tmp_path / "out").values()}
    assert len(drawn) == 4 and drawn <= set(range(40))
    assert {line["space"] for line in samples(tmp_path / "out").values()} == {"w:pixel"}


def test_the_summary_leaves_dropped_candidates_out(tmp_path, network):
    options = [f"--network={network}", "--outdir", tmp_path / "a", "--candidates=5"]
    run(build_atlas, *options)
    sigma = np.load(tmp_path / "a" / "shard00000.npy")
    sigma[2] = 0
    with open(tmp_path / "a" / "shard00000.npy", "wb") as file:
        write_npy(file, sigma)
    output = run(build_atlas, *options)
    assert "warning: 1 of 5 candidates have a zero or non-finite spectrum" in output
    kept = np.log(sigma[[0, 1, 3, 4]].astype(np.float64)).sum(axis=1)
    assert f"log-volume {kept.mean():.2f} ± {kept.std():.2f} nats" in output


def test_projected_and_uniform_atlases(tmp_path, network):
    options = ["--method=projected", "--projection=32", "--domain=gaussian", "--base=uniform", "--radius=2"]
    run(build_atlas, f"--network={network}", "--outdir", tmp_path / "a", "--space=pixel", "--candidates=20", *options)
    atlas = open_atlas(tmp_path / "a")
    assert atlas.spectra().shape == (20, 8)
    assert 1 < atlas.latents(range(20)).abs().max() <= 2


def test_conditional_networks(tmp_path, tiny_conditional):
    network = write_official(tmp_path / "net.pkl", tiny_conditional)
    run(gen_images, f"--network={network}", "--class=2", "--seeds=0", "--outdir", tmp_path / "a")
    z = torch.from_numpy(np.random.RandomState(0).randn(1, 8)).float()
    expected = to_uint8(tiny_conditional(z, torch.eye(3)[[2]]))[0, :, :, 0]
    assert_same_images(picture(tmp_path / "a" / "seed0000.png"), expected)
    options = ["--class=1", "--sampler=magnet", "--candidates=50", "--seeds=0-1"]
    run(gen_images, f"--network={network}", *options, "--outdir", tmp_path / "b")
    assert {line["class"] for line in samples(tmp_path / "b").values()} == {1}
    run(build_atlas, f"--network={network}", "--outdir", tmp_path / "atlas", "--candidates=5", "--class=0,2")
    assert open_atlas(tmp_path / "atlas").classes == (0, 2)


@pytest.mark.bitwise
def test_truncation_is_the_prior_with_truncated_styles(tmp_path, network, tiny):
    run(gen_images, f"--network={network}", "--sampler=truncation", "--seeds=0", "--outdir", tmp_path / "a")
    run(gen_images, f"--network={network}", "--trunc=0.7", "--seeds=0", "--outdir", tmp_path / "b")
    one, other = (picture(tmp_path / name / "seed0000.png") for name in "ab")
    assert np.array_equal(one, other)
    run(gen_images, f"--network={network}", "--trunc=0.7", "--trunc-cutoff=1", "--seeds=0", "--outdir", tmp_path / "b")
    assert not np.array_equal(one, picture(tmp_path / "b" / "seed0000.png"))


def test_published_atlases_serve_the_images(tmp_path, network, tiny):
    rng = np.random.RandomState(0)
    latents = rng.randn(30, 8).astype(np.float32)
    np.savez(tmp_path / "a.npz", latents=latents, svds=np.sort(rng.rand(30, 6))[:, ::-1])
    options = ["--sampler=magnet", f"--atlas={tmp_path / 'a.npz'}", "--seeds=0", "--space=pixel"]
    run(gen_images, f"--network={network}", *options, "--outdir", tmp_path / "out")
    line = samples(tmp_path / "out")["seed0000.png"]
    expected = to_uint8(tiny(torch.from_numpy(latents[[line["candidate"]]]), torch.zeros(1, 0)))[0, :, :, 0]
    assert_same_images(picture(tmp_path / "out" / "seed0000.png"), expected)


def test_a_transform_that_cannot_act_is_said(tmp_path, network):
    output = run(gen_images, f"--network={network}", "--seeds=0", "--outdir", tmp_path / "out", "--rotate=20")
    assert "warning: this network has no input transform" in output


def test_other_truncation_than_the_atlas_is_said(tmp_path, network):
    options = [f"--network={network}", "--outdir", tmp_path / "atlas", "--space=pixel", "--candidates=10"]
    run(build_atlas, *options, "--trunc=0.5")
    options = [f"--network={network}", "--sampler=magnet", f"--atlas={tmp_path / 'atlas'}", "--seeds=0"]
    assert "warning: the volumes" in run(gen_images, *options, "--outdir", tmp_path / "out")
    assert "the volumes" not in run(gen_images, *options, "--outdir", tmp_path / "out", "--trunc=0.5")


def test_degenerate_weights_are_said(tmp_path, network):
    options = ["--sampler=polarity", "--rho=100", "--candidates=100", "--seeds=0-9", f"--outdir={tmp_path / 'out'}"]
    output = run(gen_images, f"--network={network}", *options)
    assert "warning: degenerate weights" in output


def test_the_default_network_needs_no_options(tmp_path):
    """The main job as a newcomer types it, in a process of its own, with the embedded network."""
    env = dict(os.environ, OMP_NUM_THREADS="2")
    options = ["--sampler", "magnet", "--space", "style", "--candidates", "500", "--seeds", "0-3", "--outdir", "out"]
    command = [sys.executable, "-m", "cli.gen_images", *options]
    subprocess.run(command, cwd=tmp_path, env=dict(env, PYTHONPATH=str(ROOT)), check=True, capture_output=True)
    images = np.stack([picture(tmp_path / "out" / f"seed{seed:04d}.png") for seed in range(4)])
    assert images.shape == (4, 32, 32) and images.max() > 200 and np.median(images) < 20
    assert {line["network"] for line in samples(tmp_path / "out").values()} == {"mnist32"}


def test_the_atlas_of_a_network_depends_on_its_weights(tmp_path, tiny):
    other = small_stylegan2(seed=4)
    for name, net in [("a", tiny), ("b", other)]:
        run(build_atlas, f"--network={write_official(tmp_path / (name + '.pkl'), net)}", "--outdir", tmp_path / name,
            "--candidates=10")  # fmt: skip
    assert isinstance(open_atlas(tmp_path / "a"), Atlas)
    assert not np.array_equal(open_atlas(tmp_path / "a").spectra(), open_atlas(tmp_path / "b").spectra())
    open_atlas(tmp_path / "a").check_network(load_network(tmp_path / "a.pkl"))
