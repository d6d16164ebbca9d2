"""Bad input gets one clear line, an exit code, no traceback; earlier outputs stay as they were."""

import errno
import os
import pickle
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT, small_stylegan2
from helpers.pickles import Call, Named, module_record, official_content, write_official, write_pickle
from helpers.results import check_failure

from cli.build_atlas import main as build_atlas
from cli.gen_images import main as gen_images
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import write_npz
from latent_plugins.atlas import Atlas


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    tiny, conditional, nan = small_stylegan2(), small_stylegan2(c_dim=3), small_stylegan2()
    nan.synthesis.b8.conv1.bias[0] = torch.nan
    good = write_official(folder / "good.pkl", tiny)
    write_official(folder / "conditional.pkl", conditional)
    write_official(folder / "nan.pkl", nan)
    write_official(folder / "fork.pkl", tiny, glow=3)
    (folder / "truncated.pkl").write_bytes(good.read_bytes()[:5000])
    (folder / "empty.pkl").write_bytes(b"")
    (folder / "page.pkl").write_text("<!DOCTYPE html><html>Access denied</html>")
    (folder / "lfs.pkl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\n")
    (folder / "text.pkl").write_text("just some notes\n")
    (folder / "list.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    write_pickle(folder / "code.pkl", dict(G_ema=Call(Named("os", "system"), "true")))
    write_pickle(folder / "tensorflow.pkl", Call(Named("dnnlib.tflib.network", "Network")))
    write_pickle(folder / "progan.pkl", Call(Named("tfutil", "Network")))
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    write_pickle(folder / "detector.pkl", dict(G_ema=module_record(other, "Inception", {})))
    content = official_content(tiny)
    del content["G_ema"]
    write_pickle(folder / "no_ema.pkl", content)
    torch.save(dict(weight=torch.zeros(2)), folder / "checkpoint.pth")
    torch.save(dict(weight=torch.zeros(2)), folder / "old.pth", _use_new_zipfile_serialization=False)
    write_npz(tiny, folder / "good.npz")
    (folder / "half.npz").write_bytes((folder / "good.npz").read_bytes()[:3000])
    Atlas.build(load_network(good), folder / "atlas", candidates=20)
    Atlas.build(small_stylegan2(seed=1), folder / "other_atlas", candidates=20)
    loaded = load_network(folder / "conditional.pkl")
    Atlas.build(loaded, folder / "conditional_atlas", candidates=5, classes=[0])
    (folder / "folder").mkdir()
    (folder / "folder" / "note.txt").write_text("keep me")
    (folder / "broken_atlas").mkdir()
    (folder / "broken_atlas" / "atlas.json").write_text("{")
    np.savez(folder / "zeros.npz", latents=np.zeros((3, 8)), svds=np.zeros((3, 4)))
    return folder


MAGNET = "--sampler=magnet --candidates=30"
GEN_CASES = [
    # network files
    ("--network=nothing.pkl", "no such file or network name"),
    ("--network=stylegan3-t-ffhq", "did you mean stylegan3-t-ffhq"),
    ("--network=folder", "folder"),
    ("--network=ftp://example.org/net.pkl", "ftp"),
    ("--network=truncated.pkl", "truncated or damaged"),
    ("--network=empty.pkl", "the file is empty"),
    ("--network=page.pkl", "a web page, not a network"),
    ("--network=lfs.pkl", "Git LFS pointer"),
    ("--network=text.pkl", "not a network pickle"),
    ("--network=list.pkl", "holds a list"),
    ("--network=code.pkl", "refused, nothing from it has run: it asks for os.system"),
    ("--network=tensorflow.pkl", "list of variables is damaged"),
    ("--network=progan.pkl", "list of variables is damaged"),
    ("--network=detector.pkl", "its classes are Inception, Linear"),
    ("--network=fork.pkl", "unknown synthesis argument glow"),
    ("--network=no_ema.pkl", "has no network under 'G_ema'"),
    ("--network=nan.pkl", "synthesis.b8.conv1.bias holds NaN or infinity"),
    ("--network=checkpoint.pth", "not a BigGAN, BigGAN-deep, NVAE or DCGAN generator (its tensors are weight"),
    ("--network=old.pth", "not a BigGAN, BigGAN-deep, NVAE or DCGAN generator (its tensors are weight"),
    ("--network=half.npz", "truncated or damaged"),
    ("--network=net.py", "net.py: of a Python file name the function that makes the network, as net.py:function"),
    ("--network=net.py:make", "net.py: no such file; check the path"),
    ("--network=https://127.0.0.1/net.py:make", "code is not run from addresses; download the file"),
    # classes
    ("--network=conditional.pkl", "give --class, a number from 0 to 2"),
    ("--network=conditional.pkl --class=3", "class 3 is out of range"),
    ("--network=conditional.pkl --class=-1", "class -1 is out of range"),
    ("--network=", "Invalid value for '--network': it is empty"),
    ("--rotate=nan", "rotate must be a finite number, not nan"),
    ("--seeds=0-8000000,0-8000000,0-8000000", "more than ten million numbers"),
    ("--projected-w=good.pkl --sampler=magnet", "--projected-w has styles of its own; leave out --sampler"),
    ("--network=conditional.pkl --class=x", "'x' is no number, and this network's 3 classes have no names"),
    # numbers
    ("--seeds=5-1", "the range 5-1 runs backwards; write 1-5"),
    ("--seeds=a", "'a' is neither a number nor a range"),
    ("--seeds=1,,2", "'' is neither a number nor a range"),
    ("--seeds=", "it holds no number; write for example 0,2,5-7"),
    ("--seeds=-3", "'-3' is neither"),
    ("--seeds=4294967296", "is too large"),
    ("--seeds=0-99999999", "more than ten million"),
    ("--trunc=nan", "not a truncation psi"),
    ("--trunc=much", "'much' is not a valid float"),
    ("--translate=1", "'1' is not a pair of numbers"),
    ("--translate=nan,0", "must be finite numbers"),
    ("--noise-mode=loud", "'loud' is not one of"),
    ("--batch=0", "0 is not in the range"),
    ("--device=tpu9", "tpu9"),
    ("--device=cuda:99", "not available here"),
    # samplers, spaces, atlases
    (
        "--sampler=metropolis",
        "known samplers: baseline, dot, drs, jbt, latentga, latentrs, latentrs+ga, magnet, mh, online, pcn",
    ),
    ("--sampler=magnet --space=fourier", "unknown space 'fourier'"),
    ("--network=good.pkl --sampler=polarity", "needs --rho"),
    (f"--network=good.pkl {MAGNET} --top-k=40", "top-k 40 is outside 1 to 7"),
    ("--network=good.pkl --sampler=polarity --rho=nan --candidates=30", "rho must be a finite number"),
    (f"--network=good.pkl {MAGNET} --seeds=30 --without-replacement", "seed 30 is beyond the 30 candidates"),
    (f"--network=good.pkl {MAGNET} --max-memory=lots", "'lots' is not a size"),
    (f"--network=good.pkl {MAGNET} --space=pixel --max-memory=1kb", "raise --max-memory"),
    ("--network=good.pkl --sampler=magnet --candidates=0", "0 is not in the range"),
    ("--network=good.pkl --sampler=magnet --domain=torus", "'torus' is not one of"),
    ("--rho=0.5", "--rho has no effect with --sampler=prior"),
    ("--space=pixel", "--space has no effect with --sampler=prior"),
    ("--sampler=truncation --candidates=7", "--candidates has no effect with --sampler=truncation"),
    ("--sampler=magnet --rho=0.5", "--rho has no effect with --sampler=magnet"),
    ("--sampler=magnet --atlas=atlas --candidates=7", "--candidates has no effect with --atlas"),
    ("--network=good.pkl --sampler=magnet --atlas=atlas --space=pixel", "an atlas of the space z:w, not z:pixel"),
    ("--network=good.pkl --sampler=magnet --atlas=nowhere", "nowhere: no such file or folder"),
    ("--network=good.pkl --sampler=magnet --atlas=other_atlas", "an atlas of another network"),
    ("--network=good.pkl --sampler=magnet --atlas=conditional_atlas", "an atlas of another network"),
    ("--network=conditional.pkl --class=1 --sampler=magnet --atlas=conditional_atlas", "no class 1; its classes: 0"),
    ("--network=good.pkl --sampler=magnet --atlas=broken_atlas", "damaged"),
    ("--network=good.pkl --sampler=magnet --atlas=zeros.npz", "every row of its svds is zero"),
    ("--network=good.pkl --sampler=magnet --atlas=text.pkl", "not an atlas"),
]

BUILD_CASES = [
    ("--network=nothing.pkl --outdir=new", "no such file or network name"),
    ("--network=good.pkl", "--outdir"),
    ("--network=good.pkl --outdir=folder --candidates=5", "a folder with other files in it"),
    ("--network=good.pkl --outdir=text.pkl --candidates=5", "text.pkl"),
    ("--network=good.pkl --outdir=other_atlas --candidates=20", "another network"),
    ("--network=good.pkl --outdir=atlas --candidates=21", "another candidates"),
    ("--network=good.pkl --outdir=new --space=fourier", "unknown space 'fourier'"),
    ("--network=good.pkl --outdir=new --radius=2", "--radius has no effect with --base=prior"),
    ("--network=good.pkl --outdir=new --base=uniform", "use --base=prior, or --domain=gaussian"),
    ("--network=good.pkl --outdir=new --top-k=99", "top-k 99 is outside"),
    ("--network=good.pkl --outdir=new --class=0", "the network is unconditional"),
    ("--network=conditional.pkl --outdir=new --class=7", "class 7 is out of range"),
    ("--network=good.pkl --outdir=new --candidates=10 --max-memory=10", "raise --max-memory"),
    ("--network=good.pkl --outdir=new --base=uniform --domain=gaussian --radius=-1", "is not in the range x>0"),
]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options, message", GEN_CASES)
def test_gen_images_refuses(files, monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(files)
    out = tmp_path / "out"
    out.mkdir()
    (out / "seed0000.png").write_bytes(b"an earlier picture")
    before = contents(files)
    check_failure(CliRunner().invoke(gen_images, [*options.split(" "), f"--outdir={out}"]), message)
    assert contents(out) == {(out / "seed0000.png").relative_to(out): b"an earlier picture"}
    assert contents(files) == before


@pytest.mark.parametrize("options, message", BUILD_CASES)
def test_build_atlas_refuses(files, monkeypatch, options, message):
    monkeypatch.chdir(files)
    before = contents(files)
    check_failure(CliRunner().invoke(build_atlas, options.split(" ")), message)
    after = contents(files)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("outdir", ["text.pkl", "text.pkl/below", "/proc/nowhere", "/dev/full"])
def test_an_output_folder_that_cannot_be_written(files, monkeypatch, outdir):
    monkeypatch.chdir(files)
    result = CliRunner().invoke(gen_images, ["--network=good.pkl", f"--outdir={outdir}"])
    check_failure(result, outdir)
    assert "Loading networks" not in result.output  # noticed before any work


def test_a_full_disk_leaves_earlier_outputs_and_no_debris(files, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    options = ["--network=good.pkl", "--seeds=0-2", f"--outdir={tmp_path}"]
    assert CliRunner().invoke(gen_images, options).exit_code == 0
    before = contents(tmp_path)
    save = PIL.Image.Image.save

    def save_until_full(image, file, **kwargs):
        if save_until_full.left == 0:
            file.write_bytes(b"half a pic")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        save_until_full.left -= 1
        save(image, file, **kwargs)

    save_until_full.left = 1
    monkeypatch.setattr(PIL.Image.Image, "save", save_until_full)
    result = CliRunner().invoke(gen_images, [*options, "--trunc=0.5"])
    check_failure(result, "No space left on device")
    after = contents(tmp_path)
    assert set(after) == set(before)
    changed = {path.name for path in before if after[path] != before[path]}
    assert changed == {"seed0000.png", "samples.jsonl"}


def test_nan_from_the_network_is_no_image(files, monkeypatch, tmp_path):
    """Finite weights can still overflow: nothing is written."""
    network = small_stylegan2(conv_clamp=None)
    network.synthesis.b16.torgb.weight.fill_(3e38)
    write_official(tmp_path / "net.pkl", network)
    result = CliRunner().invoke(gen_images, [f"--network={tmp_path / 'net.pkl'}", f"--outdir={tmp_path / 'out'}"])
    check_failure(result, "the network's images hold NaN or infinity")
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_real_process_shows_one_line(files):
    command = [sys.executable, "-m", "cli.gen_images", "--network=page.pkl", "--outdir=unused"]
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    result = subprocess.run(command, cwd=files, env=env, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "Error: page.pkl: a web page, not a network; the server refused the download, get the file anew"
    ]
