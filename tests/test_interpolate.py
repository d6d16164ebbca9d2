"""The command interpolate: frames, figures, animation and strip, and what it refuses."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import assert_same_images, write_network
from helpers.family_files import write_biggan
from helpers.results import check_failure, picture

from cli.gen_images import main as gen_images
from cli.interpolate import main as interpolate
from dnnlib_compat.loader import load_network
from latent_plugins.interpolation.curves import slerp
from latent_plugins.interpolation.paths import Frames, number_of_frames, places
from latent_plugins.interpolation.strip import segment_rows
from latent_plugins.pictures.captions import caption
from latent_plugins.pictures.contact_sheet import enlarged
from latent_plugins.pictures.files import to_uint8
from latent_plugins.spaces import to_sphere
from latent_plugins.volume import LogVolume

QUICK = ["--space=style", "--halvings=1", "--rounds=2", "--device=cpu"]


def run(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


def lines_of(folder):
    return [json.loads(line) for line in (folder / "path.jsonl").read_text().splitlines()]


@pytest.fixture
def network(tmp_path, tiny):
    return write_network(tmp_path / "net.npz", tiny)


def keys_of(generator, seeds):
    return to_sphere(torch.cat([generator.seed_latent(seed) for seed in seeds]).double()).numpy()


def frames(folder, n):
    return np.stack([picture(folder / f"frame{i:04d}.png") for i in range(n)])


# --- the embedded network ---------------------------------------------------------------------------------------------


def test_dense_paths_end_to_end(tmp_path):
    output = run(interpolate, "--seeds=0,5,9", "--frames=3", "--weight=0.5", f"--outdir={tmp_path}", *QUICK)
    lines, generator = lines_of(tmp_path), load_network("mnist32")
    assert len(lines) == 7 and f"{tmp_path}: 7 frames, path.jsonl, strip.png; {tmp_path / 'path.webp'}" in output
    assert [line["file"] for line in lines] == [f"frame{i:04d}.png" for i in range(7)]
    assert [line["seeds"] for line in lines] == [[0, 5]] * 3 + [[5, 9]] * 4
    assert [line["t"] for line in lines] == pytest.approx([0, 1 / 3, 2 / 3, 0, 1 / 3, 2 / 3, 1])
    settings = dict(network="mnist32", path="density", trunc=1, loop=False, rho=-1, weight=0.5, halvings=1, rounds=2)
    settings |= {"in": "z", "directions": 8, "step": 0.5, "space": "z:w", "top_k": 15, "domain": "sphere"}
    assert all(settings.items() <= line.items() for line in lines)

    for name, told in (("log_density", "mean log-density"), ("log_volume", "mean log-volume")):
        after = np.mean([line[name] for line in lines])
        before = np.mean([line["straight"][name] for line in lines])
        assert f"{told} {before:.3f} on the straight path, {after:.3f} on this one: {after - before:+.3f}" in output
    assert np.mean([line["log_density"] - line["straight"]["log_density"] for line in lines]) > 0.1
    for figures in (*lines, *(line["straight"] for line in lines)):
        assert figures["log_density"] == pytest.approx(figures["log_prior"] - figures["log_volume"])
    # the straight path's figures, from its own formula
    keys = keys_of(generator, [0, 5, 9])
    straight = np.concatenate([slerp(*keys[:2], np.arange(3) / 3), slerp(*keys[1:], np.arange(4) / 3)])
    expected = LogVolume(generator, space="style", top_k=15)(torch.from_numpy(straight))
    assert [line["straight"]["log_volume"] for line in lines] == pytest.approx(list(expected), abs=1e-4)

    run(gen_images, "--seeds=0,5,9", f"--outdir={tmp_path / 'keys'}", "--device=cpu")
    for frame, seed in ((0, 0), (3, 5), (6, 9)):
        assert lines[frame]["log_volume"] == pytest.approx(lines[frame]["straight"]["log_volume"], abs=1e-5)
        key = picture(tmp_path / "keys" / f"seed{seed:04d}.png")
        assert_same_images(picture(tmp_path / f"frame{frame:04d}.png"), key)
    with PIL.Image.open(tmp_path / "path.webp") as video:
        assert video.n_frames == 7 + 5  # there and back
    shown = picture(tmp_path / "strip.png")
    width = shown.shape[1] // 4
    height = (shown.shape[0] - 14) // 4
    rows = shown[14:].reshape(4, height, 4, width).swapaxes(1, 2)
    for row, segment in ((1, 0), (3, 1)):
        for column in range(4):
            i = 3 * segment + column
            image = picture(tmp_path / f"frame{i:04d}.png")[None, :, :, None]
            assert np.array_equal(rows[row, column, :width], enlarged(image, width)[0, :, :, 0])
            ends = ("0 to 5", "5 to 9")[segment]
            text = caption(f"{ends}\nlog p {lines[i]['log_density']:.2f}", width, 1)
            assert np.array_equal(rows[row, column, width:], text[:, :, 0])
    straight_row = generator(torch.from_numpy(straight[:4]).float(), torch.zeros(4, 0)).detach()
    pictures = np.stack([enlarged(to_uint8(each[None]), width)[0, :, :, 0] for each in straight_row])
    assert_same_images(rows[0, :, :width], pictures)


@pytest.mark.bitwise
def test_the_same_command_writes_the_same(tmp_path):
    for name in "ab":
        run(interpolate, "--seeds=3,1", "--frames=2", "--loop", f"--outdir={tmp_path / name}", *QUICK)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["frame0000.png", "frame0001.png", "frame0002.png", "frame0003.png", "path.jsonl", "path.webp"] + [
        "strip.png"
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [line["seeds"] for line in lines_of(tmp_path / "a")] == [[3, 1]] * 2 + [[1, 3]] * 2


@pytest.mark.parametrize("rho", [-1, 1])
def test_the_sign_of_rho_says_where_paths_go(tmp_path, rho):
    options = ["--seeds=0,5", "--frames=8", f"--rho={rho}", "--weight=1", "--rounds=3", "--halvings=2"]
    run(interpolate, *QUICK, *options, f"--outdir={tmp_path}")
    gains = [line["log_volume"] - line["straight"]["log_volume"] for line in lines_of(tmp_path)]
    assert rho * np.mean(gains) > 0.3


# --- straight ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "slerp"])
def test_straight_frames_are_exactly_what_they_say(tmp_path, network, kind):
    out = tmp_path / "out"
    options = [f"--network={network}", "--seeds=2,7", "--frames=4", f"--path={kind}", "--trunc=0.6", f"--outdir={out}"]
    output = run(interpolate, *options, f"--video={tmp_path / 'v' / 'a.gif'}", "--device=cpu")
    assert "log-density" not in output and "5 frames" in output
    generator = load_network(network)
    a, b = keys_of(generator, [2, 7])
    t = np.arange(5) / 4
    z = slerp(a, b, t) if kind == "slerp" else a + t[:, None] * (b - a)
    expected = to_uint8(generator(torch.from_numpy(z).float(), torch.zeros(5, 0), truncation_psi=0.6).detach())
    assert_same_images(frames(out, 5), expected[:, :, :, 0])
    lines = lines_of(out)
    assert lines[1] == {"file": "frame0001.png", "seeds": [2, 7], "t": 0.25, "network": str(network), "path": kind,
                        "in": "z", "trunc": 0.6, "loop": False}  # fmt: skip
    with PIL.Image.open(tmp_path / "v" / "a.gif") as video:
        assert video.n_frames == 8


def test_straight_lines_in_styles(tmp_path, network):
    options = [f"--network={network}", "--in=w", "--path=linear", "--seeds=2,7", "--frames=2", "--loop"]
    options += ["--trunc=0.6", "--trunc-cutoff=2", f"--outdir={tmp_path / 'out'}", "--device=cpu"]
    run(interpolate, *options, f"--video={tmp_path / 'a.png'}")
    generator, c = load_network(network), torch.zeros(2, 0)
    w = generator.style(torch.cat([generator.seed_latent(seed) for seed in (2, 7)]), c)
    w = torch.stack([w[0], w.mean(dim=0), w[1], w.mean(dim=0)])
    expected = to_uint8(generator.synthesis(generator.broadcast(w, 0.6, 2)).detach())
    assert_same_images(frames(tmp_path / "out", 4), expected[:, :, :, 0])
    with PIL.Image.open(tmp_path / "a.png") as video:
        assert video.n_frames in (3, 4)  # round and round; frames 1 and 3 are the same, which a format may use


def test_dense_paths_in_styles(tmp_path, network):
    out = tmp_path / "out"
    options = [f"--network={network}", "--in=w", "--seeds=2,7", "--frames=2", "--top-k=4", f"--outdir={out}"]
    run(interpolate, *options, "--halvings=1", "--rounds=1", "--directions=2", "--device=cpu")
    lines, generator = lines_of(out), load_network(network)
    assert all(line["space"] == "w:pixel" and line["in"] == "w" for line in lines)
    z = torch.cat([generator.seed_latent(seed) for seed in (2, 7)])
    expected = LogVolume(generator, space="w:pixel", top_k=4)(z)
    assert [lines[i]["log_volume"] for i in (0, 2)] == pytest.approx(list(expected), abs=1e-3)


def test_classes_and_networks_without_styles(tmp_path, tiny_conditional):
    network = write_network(tmp_path / "net.npz", tiny_conditional)
    out = tmp_path / "out"
    options = [f"--network={network}", "--class=2", "--seeds=0,1", "--frames=1", f"--outdir={out}", *QUICK]
    run(interpolate, *options, "--top-k=3")
    assert all(line["class"] == 2 for line in lines_of(out))
    run(gen_images, f"--network={network}", "--class=2", "--seeds=0,1", f"--outdir={tmp_path / 'b'}", "--device=cpu")
    for seed in (0, 1):
        assert_same_images(picture(out / f"frame{seed:04d}.png"), picture(tmp_path / "b" / f"seed{seed:04d}.png"))
    result = CliRunner().invoke(interpolate, [f"--network={network}", "--seeds=0,1", f"--outdir={out}", *QUICK])
    check_failure(result, "this network is conditional: give --class")


def test_a_network_without_styles_has_none_to_run_in(tmp_path):
    options = [f"--network={write_biggan(tmp_path)}", "--in=w", "--path=linear", "--class=0", "--seeds=0,1"]
    result = CliRunner().invoke(interpolate, [*options, f"--outdir={tmp_path / 'out'}", "--device=cpu"])
    check_failure(result, "no styles (w) for a path to run in")


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seeds=3"], "1 key frame: an interpolation needs at least two seeds"),
        (["--seeds=3,3"], "1 key frame: an"),
        (["--path=linear", "--space=pixel"], "--space has no effect with --path=linear"),
        (["--path=slerp", "--rho=-1"], "--rho has no effect with --path=slerp"),
        (["--path=slerp", "--top-k=3"], "--top-k has no effect with --path=slerp"),
        (["--in=w", "--space=pixel"], "--space=z:pixel starts at z and the path runs in w: take w:pixel"),
        (["--space=w:pixel"], "--space=w:pixel starts at w and the path runs in z: take z:pixel"),
        (["--in=w", "--domain=sphere"], "--domain has no effect with --in=w"),
        (["--method=shared"], "--method=shared needs an atlas"),
        (["--method=exact", "--projection=3"], "--projection has no effect with --method=exact"),
        (["--rho=inf"], "rho must be a finite number"),
        (["--seeds=0-99", "--frames=100000"], "frames are more than 100000; take fewer --frames or --seeds"),
        (["--video=out/strip.png"], "strip.png: another picture goes there"),
        (["--video=out/frame0001.png"], "another picture goes there"),
    ],
)
def test_bad_input_is_told_before_any_work(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.interpolate.open_network", lambda *args: pytest.fail("a network was opened"))
    check_failure(CliRunner().invoke(interpolate, [*options, "--outdir=out"]), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option, message",
    [("--video=a.mp4", "suffix is one of .png, .webp, .gif"), ("--weight=0", "0"), ("--rho=nan", "not nan")],
)
def test_values_that_no_option_has(tmp_path, option, message):
    result = CliRunner().invoke(interpolate, [option, f"--outdir={tmp_path / 'out'}"])
    assert result.exit_code == 2 and message in result.output and not (tmp_path / "out").exists()


def test_frames_of_a_longer_interpolation_are_not_mixed_with_new_ones(tmp_path, network):
    out = tmp_path / "out"
    options = [f"--network={network}", "--path=slerp", "--seeds=0,1", f"--outdir={out}", "--device=cpu"]
    run(interpolate, *options, "--frames=3")
    run(interpolate, *options, "--frames=3")
    result = CliRunner().invoke(interpolate, [*options, "--frames=2"])
    check_failure(result, f"{out}: has frames of a longer interpolation; give another --outdir")
    assert len(lines_of(out)) == 4


# --- the strip --------------------------------------------------------------------------------------------------------


def test_a_strip_shows_both_ends_of_each_segment():
    for loop, ends in ((False, [10, 20]), (True, [10, 20, 0])):
        segment, t = places(3, 10, loop)
        assert len(t) == number_of_frames(3, 10, loop)
        found = Frames(np.zeros((len(t), 2)), segment, t)
        for i, end in enumerate(ends):
            rows = segment_rows(found, i)
            assert rows[0] == 10 * i and rows[-1] == end and len(rows) == 9
    segment, t = places(2, 1, False)
    assert segment_rows(Frames(np.zeros((2, 2)), segment, t), 0).tolist() == [0, 1]
