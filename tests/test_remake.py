"""From a line of samples.jsonl alone the image is made again, byte for byte, whatever sampler drew it."""

import hashlib
import json
import os

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.image_zips import random_images, write_zip
from helpers.pickles import content_with, write_official, write_pickle

import latent_plugins.atlas.together as together
from cli.gen_images import main as gen_images
from cli.remake import main as remake_command
from cli.train_weights import main as train_weights
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from latent_plugins.atlas import Atlas
from latent_plugins.files.sample_records import read_lines
from latent_plugins.remaking import remake
from latent_plugins.samplers.registry import available_filters, available_samplers

ATLAS = "--candidates=60 --space=style --top-k=3"
# Options of every sampler, and of every filter before another one: short runs.
RUNS = {
    "prior": "",
    "truncation": "--trunc=0.5",
    "truncated-normal": "--threshold=1",
    "baseline": "--law=ball --scale=2",
    "simplicial": "--corners=4 --tau=0.3 --rotation=2",
    "jbt": "--keep=0.5 --calibration=30 --norm-draws=3",
    "magnet": "--candidates=60 --space=style --true-volumes=20 --method=amortized --labels=100 --min-spearman=-1",
    "polarity": "--rho=-0.5 --candidates=40 --space=pixel --top-k=2 --trunc=0.7",
    "pcn": "--rho=1 --space=pixel --top-k=2 --steps=8 --domain=gaussian",
    "smc": "--rho=-1 --space=pixel --top-k=3 --particles=12 --method=subspace",
    "rejection": "--rho=0.5 --space=w:pixel --top-k=2 --particles=8",
    "online": "--rho=0.5 --space=style --top-k=2 --particles=8 --scalars=4",
    "latentrs": "WEIGHTS",
    "latentga": "WEIGHTS --steps=3",
    "latentrs+ga": "WEIGHTS --rate=0.1",
    "drs": "--burn-in=30",
    "mh": "--length=5",
    "sir": "--proposals=3",
    "dot": "--steps=2 --pairs=5",
    "jbt+polarity": f"--rho=0.5 {ATLAS} --keep=0.6 --calibration=30 --norm-draws=2",
    "simplicial+magnet": f"--corners=3 --tau=0.5 {ATLAS} --without-replacement",
    "jbt+rejection": "--rho=0.5 --space=style --top-k=2 --domain=gaussian --base=uniform --radius=2 --particles=20 "
    "--keep=0.9 --calibration=30 --norm-draws=2",
    "jbt+magnet": "--candidates=50 --space=style --domain=gaussian --base=normal --radius=1.4",
    "simplicial+prior": "--corners=4 --tau=0.3 --rule=softmax --corner-radius=1.5",
    "latentrs+prior": "WEIGHTS",
    "latentrs+dot": "WEIGHTS --steps=2 --pairs=5",
    "jbt+sir": "--proposals=3 --keep=0.5 --calibration=30 --norm-draws=2",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(a network file with its discriminator, trained weights)."""
    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    discriminator = StyleGAN2Discriminator(0, 16, 1, channel_base=64, channel_max=8)
    network = write_pickle(folder / "both.pkl", content_with(discriminator))
    data = write_zip(folder / "real.zip", random_images(20))
    run(train_weights, f"--network={network}", f"--data={data}", "--batch=4", "--steps=3", f"--outdir={folder / 'w'}")
    return network, folder / "w" / "weights.npz"


def run(command, *options, fails=False):
    result = CliRunner().invoke(command, [*map(str, options), "--device=cpu"])
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def pictures(folder):
    found = {}
    for path in sorted(folder.glob("*.png")):
        with PIL.Image.open(path) as file:
            found[path.name] = np.atleast_3d(np.asarray(file))
    return found


def test_every_sampler_and_filter_has_a_run():
    assert {name for name in RUNS if "+" not in name or name in available_samplers()} == set(available_samplers())
    assert {name.partition("+")[0] for name in RUNS if "+" in name} >= set(available_filters())


@pytest.mark.bitwise
@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_a_line_is_all_that_an_image_needs(name, tmp_path, world, monkeypatch):
    network, weights = world
    monkeypatch.setattr(together, "cache_folder", lambda part: tmp_path / "first" / part)
    options = RUNS[name].replace("WEIGHTS", f"--weights={weights}").split()
    run(gen_images, f"--network={network}", f"--sampler={name}", *options, "--seeds=0-6", "--batch=4",
        f"--outdir={tmp_path / 'out'}")  # fmt: skip
    first = pictures(tmp_path / "out")
    assert len(first) == 7
    # Each line by itself, as it stands in the file, and with an empty cache.
    monkeypatch.setattr(together, "cache_folder", lambda part: tmp_path / "second" / part)
    lines = read_lines(tmp_path / "out" / "samples.jsonl")
    for line in (lines[1], lines[5]):  # of a full batch, and of the smaller last one
        ((again, image),) = remake([json.loads(json.dumps(line))])
        assert again == line and np.array_equal(image, first[line["file"]])
    assert lines[1]["batch"] == 4 and lines[5]["batch"] == 3
    assert "7 images, all the same to the byte" in run(remake_command, tmp_path / "out" / "samples.jsonl", "--check")


@pytest.mark.bitwise
def test_weights_and_critic_that_come_with_a_network_are_found_again(tmp_path):
    options = ["--sampler=latentrs+dot", "--steps=1", "--pairs=5", "--seeds=0-1", f"--outdir={tmp_path}"]
    run(gen_images, *options)
    (line, _) = read_lines(tmp_path / "samples.jsonl")
    assert line["weights"] != line["critic"]
    assert "2 images, all the same to the byte" in run(remake_command, tmp_path / "samples.jsonl", "--check")


@pytest.mark.bitwise
@pytest.mark.parametrize(
    "options",
    [
        "--noise-mode=random",
        "--noise-mode=none --trunc=0.6 --trunc-cutoff=1",
        "--smooth=0.7",
        "--sampler=magnet --atlas=ATLAS",
    ],
)
def test_what_else_decides_an_image_is_in_its_line(options, tmp_path):
    generator = small_stylegan2()
    for layer in generator.synthesis.modules():
        if getattr(layer, "noise_strength", None) is not None:
            layer.noise_strength.data.fill_(0.5)
    network = write_official(tmp_path / "net.pkl", generator)
    Atlas.build(load_network(network), tmp_path / "atlas", space="style", candidates=50, seed=5)
    options = options.replace("ATLAS", str(tmp_path / "atlas")).split()
    run(gen_images, f"--network={network}", *options, "--seeds=3,1,7", f"--outdir={tmp_path / 'out'}")
    first = pictures(tmp_path / "out")
    plain = run(gen_images, f"--network={network}", "--seeds=3,1,7", f"--outdir={tmp_path / 'plain'}")
    assert "3 images" in plain
    assert not np.array_equal(first["seed0001.png"], pictures(tmp_path / "plain")["seed0001.png"])
    run(remake_command, tmp_path / "out" / "samples.jsonl", "--seeds=7,1", f"--outdir={tmp_path / 'again'}")
    again = pictures(tmp_path / "again")
    assert sorted(again) == ["seed0001.png", "seed0007.png"]
    assert all(np.array_equal(image, first[name]) for name, image in again.items())


@pytest.mark.bitwise
def test_projected_styles_are_remade(tmp_path):
    generator = small_stylegan2()
    network = write_official(tmp_path / "net.pkl", generator)
    styles = np.random.default_rng(0).standard_normal((3, generator.num_ws, 8)).astype(np.float32)
    np.savez(tmp_path / "w.npz", w=styles)
    run(gen_images, f"--network={network}", f"--projected-w={tmp_path / 'w.npz'}", f"--outdir={tmp_path / 'out'}")
    lines = read_lines(tmp_path / "out" / "samples.jsonl")
    ((_, image),) = remake([lines[2]])
    assert np.array_equal(image, pictures(tmp_path / "out")["proj02.png"])


def test_images_that_differ_are_told(tmp_path):
    run(gen_images, "--seeds=0-1", f"--outdir={tmp_path}")
    image = PIL.Image.open(tmp_path / "seed0001.png")
    pixels = np.array(image)
    pixels[0, 0] ^= 1
    PIL.Image.fromarray(pixels).save(tmp_path / "seed0001.png")
    output = run(remake_command, tmp_path / "samples.jsonl", "--check", fails=True)
    assert "1 of 2 images differ, first seed0001.png" in output.splitlines()[-1]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda line: line.pop("trunc"),
            "line 1 is damaged (it does not say its trunc; it may be of an earlier version)",
        ),
        (lambda line: line.update(sampler="nosuch"), "unknown sampler 'nosuch'"),
        (lambda line: line.pop("network"), "line 1 is damaged (it does not say its network"),
        (lambda line: line.update(file="../evil.png"), "line 1 is damaged (its file is '../evil.png')"),
        (lambda line: line.update(file="samples.jsonl"), "line 1 is damaged (its file is 'samples.jsonl')"),
        (lambda line: line.update(file=".bashrc"), "line 1 is damaged (its file is '.bashrc')"),
        (lambda line: line.update(network=None), "line 1 is damaged (it does not say its network"),
        (lambda line: line.update(sampler=None), "line 1 is damaged (it does not say its sampler"),
        (lambda line: line.update(trunc=None), "line 1 is damaged (it does not say its trunc"),
        (lambda line: line.update(batch=None), "line 1 is damaged (it does not say its batch"),
        (lambda line: line.update(sampler="n" * 5000), "line 1 is damaged (its sampler is 'nnnn"),
        (lambda line: line.update(sampler="polarity"), "the record of 'seed0000.png': damaged (KeyError: 'rho')"),
        (lambda line: line.update(network="http://127.0.0.1:9/a.pkl"), "not on this machine and is not followed"),
        (
            lambda line: line.update(sampler="magnet", space="features", detector="http://127.0.0.1:9/a.pkl", rho=1),
            "its detector is 'http://127.0.0.1:9/a.pkl', which is not on this machine and is not followed",
        ),
        (lambda line: line.update(projected_w="nowhere.npz", row=0), "'seed0000.png': nowhere.npz: No such file"),
        (lambda line: line.update(batch=10**9), "line 1 is damaged (its batch is 1000000000)"),
        (lambda line: line.update(seed="x"), "line 1 is damaged (its seed is 'x')"),
        (lambda line: line.update(network="nowhere.pkl"), "nowhere.pkl"),
    ],
)
def test_records_that_say_too_little_or_too_much(change, message, tmp_path):
    run(gen_images, "--seeds=0", f"--outdir={tmp_path / 'out'}")
    path = tmp_path / "out" / "samples.jsonl"
    line = json.loads(path.read_text())
    change(line)
    path.write_text(json.dumps(line) + "\n")
    output = run(remake_command, path, f"--outdir={tmp_path / 'again'}", fails=True).splitlines()[-1]
    assert output.startswith(f"Error: {path}: ") and message in output and "unexpected" not in output, output
    assert len(output) < 2500
    assert not list(tmp_path.glob("*.png")) and not os.path.exists(tmp_path / "again" / "seed0000.png")


def test_a_record_without_its_optional_fields_is_the_plain_one(tmp_path):
    run(gen_images, "--seeds=0", f"--outdir={tmp_path}")
    path = tmp_path / "samples.jsonl"
    line = json.loads(path.read_text()) | dict.fromkeys(("class", "smooth", "translate", "rotate", "method_settings"))
    path.write_text(json.dumps(line) + "\n")
    assert "all the same" in run(remake_command, path, "--check")


def test_an_address_that_was_fetched_before_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    network = write_official(tmp_path / "net.pkl", small_stylegan2())
    url = "http://127.0.0.1:9/net.pkl"
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{hashlib.md5(url.encode()).hexdigest()}_net.pkl").write_bytes(network.read_bytes())
    run(gen_images, f"--network={url}", "--seeds=0", f"--outdir={tmp_path / 'out'}")
    assert "all the same" in run(remake_command, tmp_path / "out" / "samples.jsonl", "--check")


def test_rows_beyond_a_file_of_styles_are_told(tmp_path):
    generator = small_stylegan2()
    network = write_official(tmp_path / "net.pkl", generator)
    np.savez(tmp_path / "w.npz", w=np.zeros((1, generator.num_ws, 8), np.float32))
    line = dict(file="proj01.png", network=str(network), projected_w=str(tmp_path / "w.npz"), row=1, noise_mode="const")
    with pytest.raises(ValueError, match="the record of 'proj01.png': its row is 1, but .* has 1 styles"):
        list(remake([line]))


@pytest.mark.parametrize("kind", ["pipe", "text", "cut"])
def test_what_stands_in_the_place_of_an_image_is_told(kind, tmp_path):
    run(gen_images, "--seeds=0", f"--outdir={tmp_path}")
    path = tmp_path / "seed0000.png"
    data = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"no image" if kind == "text" else data[: len(data) // 2])
    output = run(remake_command, tmp_path / "samples.jsonl", "--check", fails=True).splitlines()[-1]
    assert str(path) in output and "unexpected" not in output


def test_usage(tmp_path):
    run(gen_images, "--seeds=0", f"--outdir={tmp_path}")
    path = tmp_path / "samples.jsonl"
    assert "give either --outdir" in run(remake_command, path, fails=True)
    assert "give either --outdir" in run(remake_command, path, "--check", f"--outdir={tmp_path}", fails=True)
    assert "has no record of these seeds" in run(remake_command, path, "--check", "--seeds=5", fails=True)
    path.write_text("{broken\n")
    assert "line 1 is damaged" in run(remake_command, path, "--check", fails=True)
