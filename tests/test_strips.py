"""Trails of samplers that move latents step by step, and the strips that gen_images makes of them."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.handmade_weights import Handmade, tilted
from helpers.results import check_failure, picture, samples

from cli.gen_images import main as gen_images
from dnnlib_compat.companions import companion_path
from latent_plugins.pictures.captions import caption
from latent_plugins.pictures.contact_sheet import enlarged
from latent_plugins.pictures.strips import strip
from latent_plugins.reweighting import load_weights
from latent_plugins.samplers import create_sampler

SEEDS = [4, 0, 17]


def critic(images):
    return images.flatten(1)[:, ::7].sum(dim=1) / 3


def trailed(name, generator, **options):
    """A sampler that has trails, and its options."""
    needed = dict(critic=critic, pairs=5) if name == "dot" else dict(weights=Handmade(tilted))
    return create_sampler(name, generator, **needed, **options)


@pytest.mark.bitwise
@pytest.mark.parametrize("name", ["latentga", "latentrs+ga", "dot"])
def test_a_trail_goes_from_the_start_to_what_is_drawn(tiny, name):
    sampler = trailed(name, tiny, steps=5)
    drawn, trail = sampler.draw(SEEDS), sampler.trail(SEEDS, every=2)
    assert trail.steps == [0, 2, 4, 5] and len(trail.z) == 4 and trail.heights.shape == (4, 3)
    assert torch.equal(trail.z[-1], drawn.z) and torch.equal(trail.latents.z, drawn.z)
    assert torch.equal(sampler.draw(SEEDS).z, drawn.z)  # nothing of the trail stays behind
    for step, z in zip(trail.steps[1:], trail.z[1:]):
        assert torch.equal(z, trailed(name, tiny, steps=step).draw(SEEDS).z)
    start = trailed("latentrs", tiny).draw(SEEDS).z if "rs" in name else create_sampler("prior", tiny).draw(SEEDS).z
    assert torch.equal(trail.z[0], start) and torch.equal(trail.stage(0).z, start)
    assert sampler.trail([9], every=1).steps == [0, 1, 2, 3, 4, 5]


def test_heights_are_weights_or_scores(tiny):
    trail = trailed("latentga", tiny, steps=3).trail(SEEDS)
    for z, heights in zip(trail.z, trail.heights):
        assert heights == pytest.approx(tilted(z, None).double().numpy())
    assert (np.diff(trail.heights, axis=0) > 0).all() and trail.heights[-1] == pytest.approx(trail.latents.weight)
    w = trail.heights[1, 2]
    assert trail.texts[1][2] == f"w {w:.3g}, P {w / 2:.2f}"  # m is 2
    bounded = trailed("latentrs+ga", tiny, m=1.25, steps=0).trail(range(30))
    w = bounded.heights[0].max()
    assert w > 1.25 and f"w {w:.3g}, P 1.00" in bounded.texts[0]
    moved = trailed("dot", tiny, steps=3).trail(SEEDS)
    for z, heights, texts in zip(moved.z, moved.heights, moved.texts):
        expected = critic(tiny(z, torch.zeros(3, 0))).detach().double().numpy()
        assert heights == pytest.approx(expected, rel=1e-4) and texts == [f"score {each:.3g}" for each in heights]


def test_by_default_ten_stages_follow_the_first(tiny):
    for steps, expected in ((0, [0]), (10, list(range(11))), (25, [0, 3, 6, 9, 12, 15, 18, 21, 24, 25])):
        assert trailed("latentga", tiny, steps=steps).trail([1]).steps == expected
    with pytest.raises(ValueError, match="every=0: give 1 or more"):
        trailed("latentga", tiny).trail([1], every=0)
    empty = trailed("latentga", tiny).trail([])
    assert empty.z[0].shape == (0, 8) and empty.heights.shape == (1, 0)


def test_labels_go_along(tiny_conditional):
    wanted = torch.tensor([1.0, -1.0, 0.0])
    weights = Handmade(lambda z, c: torch.exp((c @ wanted) * z[:, 0]))
    c = torch.eye(3)
    trail = create_sampler("latentga", tiny_conditional, weights=weights).trail([3, 3, 3], c)
    rise = (trail.z[-1] - trail.z[0])[:, 0]
    assert rise[0] > 0 > rise[1] and rise[2] == 0 and torch.equal(trail.stage(2).c, c)


def test_each_image_of_a_strip_may_have_a_caption_of_its_own():
    columns = [np.full((2, 80, 80, 1), value, dtype=np.uint8) for value in (10, 20, 30)]
    found = strip(columns, list("abc"), [["p", "q", "r"], ["s", "t", "u"]])
    row = (found.shape[0] - strip(columns, list("abc")).shape[0]) // 2
    top = found.shape[0] - 2 * (80 + row)
    for i, text in enumerate("pqrstu"):
        cell = found[top + (i // 3) * (80 + row) :, (i % 3) * 80 :][: 80 + row, :80]
        assert (cell[:80] == 10 * (i % 3 + 1)).all() and np.array_equal(cell[80:], caption(text, 80, 1))
    assert np.array_equal(strip(columns, list("abc"), ["p", "q"]), strip(columns, list("abc"), [["p"] * 3, ["q"] * 3]))


# --- the command ------------------------------------------------------------------------------------------------------


def run(*args):
    result = CliRunner().invoke(gen_images, [*map(str, args), "--device=cpu"])
    assert result.exit_code == 0, result.output
    return result.output


def cells(path, rows, columns, size):
    """([rows, columns] of the images in a strips.png, enlarged, of size × size pixels; of what is under each)."""
    found = picture(path)
    width = found.shape[1] // columns
    assert found.shape[1] == columns * width and width % size == 0
    height = next(h for h in range(width + 20, found.shape[0]) if (found.shape[0] - 14) == rows * h)
    parts = found[14:].reshape(rows, height, columns, width).swapaxes(1, 2)
    return parts[:, :, :width], parts[:, :, width:]


@pytest.mark.bitwise
@pytest.mark.parametrize("sampler, steps, every", [("latentga", 12, 5), ("dot", 4, 2), ("latentrs+ga", 3, 1)])
def test_the_last_column_is_what_gen_images_writes(tmp_path, sampler, steps, every):
    """Byte for byte, in the run that makes the strips and in one that makes none."""
    options = [f"--sampler={sampler}", f"--steps={steps}", "--seeds=0-2,7", "--trunc=0.9"]
    options += ["--pairs=5"] if sampler == "dot" else []
    output = run(*options, "--strips", f"--every={every}", f"--outdir={tmp_path / 'a'}")
    kept = sorted({*range(0, steps + 1, every), steps})
    assert f"strips.png: 4 seeds after {', '.join(map(str, kept))} steps" in output
    run(*options, f"--outdir={tmp_path / 'b'}")
    assert not (tmp_path / "b" / "strips.png").exists()
    shown, texts = cells(tmp_path / "a" / "strips.png", 4, len(kept), 32)
    lines = samples(tmp_path / "a")
    for row, seed in enumerate([0, 1, 2, 7]):
        name = f"seed{seed:04d}.png"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        image = picture(tmp_path / "b" / name)
        width = shown.shape[-1]
        assert np.array_equal(shown[row, -1], enlarged(image[None, :, :, None], width)[0, :, :, 0])
        if sampler == "latentga":
            w, m = lines[name]["weight"], load_weights(companion_path("embedded:mnist32-weights.npz")).m
            expected = caption(f"seed {seed}\nw {w:.3g}, P {min(w, m) / m:.2f}", width, 1)
            assert np.array_equal(texts[row, -1], expected[:, :, 0])
    assert lines == samples(tmp_path / "b")


def test_the_first_column_is_where_the_seeds_start(tmp_path):
    run("--sampler=latentga", "--strips", "--seeds=2,3", f"--outdir={tmp_path / 'a'}")
    run("--seeds=2,3", f"--outdir={tmp_path / 'b'}")
    shown, _ = cells(tmp_path / "a" / "strips.png", 2, 11, 32)
    for row, seed in enumerate((2, 3)):
        start = picture(tmp_path / "b" / f"seed{seed:04d}.png")
        assert np.array_equal(shown[row, 0], enlarged(start[None, :, :, None], shown.shape[-1])[0, :, :, 0])
        assert not np.array_equal(shown[row, 0], shown[row, -1])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--strips"], "--sampler=prior does not; take one of latentga, latentrs+ga, dot"),
        (["--strips", "--sampler=latentrs"], "--sampler=latentrs does not"),
        (["--strips", "--sampler=simplicial+latentga", "--corners=4", "--tau=0.1"], "simplicial+latentga does not"),
        (["--every=2", "--sampler=latentga"], "--every has no effect without --strips"),
        (["--strips", "--sampler=latentga", "--captions"], "--captions has no effect without --grid"),
        (["--strips", "--projected-w=w.npz"], "--sampler=prior does not"),
    ],
)
def test_strips_are_refused_before_any_work(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.npz").touch()
    check_failure(CliRunner().invoke(gen_images, [*options, "--outdir=out"]), message)
    assert not (tmp_path / "out").exists()
