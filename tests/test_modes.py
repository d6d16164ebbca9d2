"""Extreme candidates: infinite rho, the commands modes and polarity_strip."""

import json
import warnings

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import assert_same_images, small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip

from cli.gen_images import main as gen_images
from cli.modes import features_for_lpips
from cli.modes import main as modes
from cli.polarity_strip import main as polarity_strip
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.loader import load_network
from latent_plugins.atlas import Atlas
from latent_plugins.importance.coherent import coherent_choices
from latent_plugins.importance.resampling import extreme_order
from latent_plugins.importance.weights import degeneracy, log_weights, rho_for_json
from latent_plugins.metrics import nearest as nearest_module
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.metrics.nearest import Nearest, pixel_rows
from latent_plugins.pictures.animations import there_and_back
from latent_plugins.pictures.contact_sheet import contact_sheet, enlarged
from latent_plugins.pictures.files import to_uint8
from latent_plugins.samplers import create_sampler, recipe

LEVEL = 0.001
CANDIDATES = 60


def run(command, *args, fails=False):
    """What a command printed. It must succeed, or with `fails` say in one line why not."""
    result = CliRunner().invoke(command, [str(arg) for arg in args] + ["--allow-code"])
    assert (result.exit_code != 0) == fails, result.output
    assert not fails or isinstance(result.exception, SystemExit), result.exception
    return result.output


def refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


def strict(text):
    """The content of a JSON text that must be JSON by the standard, without Infinity and NaN."""
    return json.loads(text, parse_constant=refuse_constant)


def picture(path):
    return np.asarray(PIL.Image.open(path))


@pytest.fixture
def network(tmp_path, tiny):
    return write_network(tmp_path / "net.npz", tiny)


@pytest.fixture
def opened(network):
    return load_network(network)


@pytest.fixture
def atlas(tmp_path, opened):
    return Atlas.build(opened, tmp_path / "atlas", space="pixel", candidates=CANDIDATES)


def images_of(generator, atlas, index):
    return to_uint8(generator(atlas.latents(index), torch.zeros(len(index), 0)))


# --- infinite rho -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho, first", [(-np.inf, [1]), (np.inf, [0, 4])])
def test_all_weight_is_on_the_extreme_candidates(rho, first):
    volume = np.array([5.0, -3.0, np.nan, 2.0, 5.0])
    logw = log_weights(volume, rho)
    assert np.flatnonzero(np.isfinite(logw)).tolist() == first
    assert np.exp(logw).sum() == pytest.approx(1) and degeneracy(logw).largest == pytest.approx(1 / len(first))
    # What finite rho tend to.
    np.testing.assert_allclose(np.exp(log_weights(volume, np.sign(rho) * 1e6)), np.exp(logw), atol=1e-12)


def test_extreme_candidates_come_in_order():
    volume = np.array([5.0, -3.0, np.nan, 2.0, 5.0])
    assert extreme_order(volume, -np.inf).tolist() == [1, 3, 0, 4]
    assert extreme_order(volume, np.inf).tolist() == [0, 4, 3, 1]


def test_nan_is_no_rho(opened, atlas):
    with pytest.raises(ValueError, match="finite number, −inf or inf, not nan"):
        log_weights(np.array([1.0]), np.nan)
    with pytest.raises(ValueError, match="no candidate"):
        log_weights(np.array([np.nan]), np.inf)
    with pytest.raises(ValueError, match="rho -inf takes candidates in the order of their volumes: leave out"):
        create_sampler("polarity", opened, atlas=atlas, rho=-np.inf, true_volumes=5)


@pytest.mark.parametrize("rho", [-np.inf, np.inf])
def test_seed_s_is_the_sth_most_extreme_candidate(opened, atlas, rho):
    sampler = create_sampler("polarity", opened, atlas=atlas, rho=rho)
    ranked = np.argsort(-np.sign(rho) * atlas.log_volume())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one candidate has all the weight, and that is what was asked for
        assert sampler.draw([0, 7, 3]).index.tolist() == ranked[[0, 7, 3]].tolist()
        assert sampler.draw([7]).index.tolist() == [ranked[7]]
        assert sampler.sample(CANDIDATES, torch.Generator().manual_seed(5)).index.tolist() == ranked.tolist()
    with pytest.raises(ValueError, match="beyond the 60 usable candidates"):
        sampler.draw([CANDIDATES])
    assert (sampler.degeneracy().candidates, sampler.degeneracy().largest) == (CANDIDATES, 1)
    with pytest.raises(ValueError, match="takes candidates in an order, and not at random: use a finite rho"):
        sampler.independent()


def test_classes_have_extremes_of_their_own(tmp_path, tiny_conditional):
    atlas = Atlas.build(tiny_conditional, tmp_path / "a", candidates=30)
    drawn = create_sampler("polarity", tiny_conditional, atlas=atlas, rho=-np.inf).draw(
        [0, 0, 1], torch.eye(3)[[2, 0, 2]]
    )
    expected = [np.argsort(atlas.log_volume(label=label))[seed] for seed, label in [(0, 2), (0, 0), (1, 2)]]
    assert drawn.index.tolist() == expected


def test_rho_is_written_as_json_can_hold_it():
    assert [rho_for_json(rho) for rho in (-np.inf, np.inf, 0.5, 0, None)] == ["-inf", "inf", 0.5, 0, None]
    assert [float(text) for text in map(rho_for_json, (-np.inf, np.inf))] == [-np.inf, np.inf]


def test_images_of_extremes_come_out_of_the_command(tmp_path, network, opened, atlas):
    ranked = np.argsort(atlas.log_volume(6))
    options = [f"--network={network}", "--sampler=polarity", "--rho=-inf", f"--atlas={atlas.path}", "--top-k=6"]
    output = run(gen_images, *options, "--seeds=0-2", "--outdir", tmp_path / "out")
    assert "rho -inf, top-k 6: 60 candidates" in output and "warning" not in output
    expected = images_of(opened, atlas, ranked[:3])
    for seed in range(3):
        assert_same_images(picture(tmp_path / "out" / f"seed{seed:04d}.png"), expected[seed, :, :, 0])


# --- modes ------------------------------------------------------------------------------------------------------------


def test_distances_of_polarities_to_the_three_nearest(tmp_path, network, opened, atlas):
    """As published: L2 by pixels to three training images. A report without them shows no chart of an earlier run."""
    data = random_images(90)
    path, out = write_zip(tmp_path / "real.zip", data), tmp_path / "out"
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--atlas={atlas.path}", "--top-k=6", "--n=2", f"--data={path}"]
    options += [f"--detector={detector}", "--prior-samples=5", "--outdir", out]
    run(modes, *options, "--rho=-5,1", "--samples=20")
    found = strict((out / "distances.json").read_text())["three_nearest"]
    assert list(found) == ["rho -5", "rho 1", "prior"]
    z = torch.cat([opened.seed_latent(seed) for seed in range(20)])
    rows = [torch.from_numpy(each).flatten(1).double() for each in (to_uint8(opened(z, torch.zeros(20, 0))), data)]
    nearest = torch.cdist(*rows).sort(dim=1).values[:, :3]
    assert found["prior"]["images"] == 20 and found["prior"]["mean"] == pytest.approx(nearest.mean().item(), rel=1e-4)
    assert found["prior"]["mean_nearest"] == pytest.approx(nearest[:, 0].mean().item(), rel=1e-4)
    for each in found.values():
        assert each["q05"] < each["median"] < each["q95"] and each["mean_nearest"] < each["mean"]
    assert picture(out / "distances.png").std() > 5
    title = "three nearest training images"
    assert title in (out / "report.html").read_text()
    run(modes, *options)
    assert title not in (out / "report.html").read_text()
    assert "--rho takes finite polarities" in run(modes, *options, "--rho=-inf,1", fails=True)
    assert "--rho compares with training images" in run(modes, *options[:4], f"--outdir={out}", "--rho=1", fails=True)


def test_the_most_extreme_candidates_are_listed(tmp_path, network, opened, atlas):
    out = tmp_path / "out"
    run(modes, f"--network={network}", f"--atlas={atlas.path}", "--top-k=6", "--n=5", "--outdir", out)
    assert sorted(path.name for path in out.iterdir()) == ["anti-modes.png", "modes.jsonl", "modes.png", "report.html"]
    volume = atlas.log_volume(6)
    ranked = np.argsort(volume)
    lines = [strict(line) for line in (out / "modes.jsonl").read_text().splitlines()]
    for kind, index in [("modes", ranked[:5]), ("anti-modes", ranked[:-6:-1])]:
        own = [line for line in lines if line["kind"] == kind]
        assert [line["candidate"] for line in own] == index.tolist()
        assert [line["log_volume"] for line in own] == volume[index].tolist()
        assert [line["rank"] for line in own] == [0, 1, 2, 3, 4]
        assert_same_images(picture(out / f"{kind}.png"), contact_sheet(images_of(opened, atlas, index))[:, :, 0])
    assert {(line["space"], line["top_k"], line["trunc"]) for line in lines} == {("z:pixel", 6, 1)}


@pytest.mark.bitwise
def test_the_nearest_training_images_are_found(tmp_path, network, opened, atlas):
    """Against all distances at once; a data set that holds the first mode itself has it at distance zero."""
    ranked = np.argsort(atlas.log_volume(6))
    first = images_of(opened, atlas, ranked[:3])[:1]  # made in the batch that the command makes it in
    data = np.concatenate([random_images(150), first, random_images(10, seed=1)])
    path = write_zip(tmp_path / "real.zip", data)
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--atlas={atlas.path}", "--top-k=6", "--n=3", f"--data={path}"]
    out = tmp_path / "out"
    output = run(modes, *options, f"--detector={detector}", "--prior-samples=7", "--outdir", out)
    assert "prior: nearest training image by pixels" in output
    lines = [strict(line) for line in (out / "modes.jsonl").read_text().splitlines()]
    assert lines[0]["nearest_by_pixels"] == dict(image=150, distance=0)
    # Batches of other sizes give features that may differ in their last bits.
    assert lines[0]["nearest_by_features"] == dict(image=150, distance=pytest.approx(0, abs=1e-4))
    figures = strict((out / "distances.json").read_text())
    features = load_detector(detector, allow_code=True)
    sets = dict(zip(["modes", "anti-modes"], (images_of(opened, atlas, i) for i in (ranked[:3], ranked[:-4:-1]))))
    sets["prior"] = to_uint8(opened(torch.cat([opened.seed_latent(s) for s in range(7)]), torch.zeros(7, 0)))
    real = torch.from_numpy(data).permute(0, 3, 1, 2)
    for name, images in sets.items():
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
        for by, rows in [("pixels", lambda x: x.flatten(1).double()), ("features", lambda x: features(x).double())]:
            distances, index = torch.cdist(rows(images), rows(real)).min(dim=1)
            if name != "prior":
                own = [line[f"nearest_by_{by}"] for line in lines if line["kind"] == name]
                assert [line["image"] for line in own] == index.tolist()
                np.testing.assert_allclose([line["distance"] for line in own], distances, rtol=1e-5, atol=1e-4)
            found = figures["nearest"][name][by]
            assert found["mean"] == pytest.approx(distances.mean().item(), rel=1e-5)
            assert found["standard_error"] == pytest.approx(distances.std().item() / len(distances) ** 0.5, rel=1e-4)
    figure = picture(out / "nearest-modes.png")
    assert figure.shape[1] == 3 * 64 and 3 * 64 < figure.shape[0] < 4 * 64
    assert_same_images(figure[:64, :64], enlarged(images_of(opened, atlas, ranked[:1]))[0, :, :, 0])
    assert np.array_equal(figure[64:128, :64], figure[:64, :64])  # its copy


def test_large_images_are_compared_at_a_small_size():
    images = torch.from_numpy(random_images(2, size=64, channels=3)).permute(0, 3, 1, 2)
    rows = pixel_rows(images)
    expected = images.double().unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(rows.double(), expected, rtol=0, atol=1e-4)
    assert pixel_rows(images[:, :, :16, :16]).shape == (2, 3 * 16 * 16)


def test_the_first_of_equally_near_images_counts():
    near = Nearest(torch.zeros(1, 2))
    for first, row in [(0, [3.0, 4.0]), (1, [0.0, 5.0]), (2, [0.0, 1.0])]:
        near.add(torch.tensor([row]), first)
        assert near.index.item() == (0 if first < 2 else 2)
    assert near.distances.item() == 1


def test_path_lengths_are_those_of_the_metric(tmp_path, network, opened, atlas):
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--atlas={atlas.path}", "--top-k=6", "--n=2", f"--detector={detector}"]
    output = run(modes, *options, "--ppl", "--paths=20", "--outdir", tmp_path / "out")
    found = strict((tmp_path / "out" / "distances.json").read_text())["ppl2_wend"]
    metrics = parse_metrics("ppl2_wend_20")
    detectors = {"lpips": load_detector(detector, allow_code=True)}
    samplers = {name: create_sampler("polarity", opened, atlas=atlas, rho=rho, top_k=6)
                for name, rho in [("modes", -np.inf), ("anti-modes", np.inf)]}  # fmt: skip
    samplers["prior"] = create_sampler("prior", opened)
    for name, sampler in samplers.items():
        ((_, figures, _),) = evaluate(metrics, opened, sampler, None, detectors)
        assert found[name] == figures["ppl2_wend_20"]
    assert len(set(found.values())) == 3 and "not LPIPS" not in output
    assert "leave --trunc" in run(modes, *options, "--ppl", "--trunc=0.5", "--outdir", tmp_path / "b", fails=True)


def test_features_stand_in_for_lpips(tmp_path):
    """Path lengths give grayscale images three channels; the classifier, which takes one, sees the first."""
    classifier = load_detector("mnist-classifier")
    stand_in = features_for_lpips(classifier)
    images = torch.from_numpy(random_images(3, size=32)).permute(0, 3, 1, 2)
    torch.testing.assert_close(stand_in(images.expand(-1, 3, -1, -1), "lpips"), classifier(images))
    with pytest.raises(ValueError, match="32x32 pixels, not 16x16"):
        stand_in(images[:, :, :16, :16], "lpips")


def test_a_network_with_its_own_detector_needs_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(nearest_module, "BATCH", 20)
    data = write_zip(tmp_path / "real.zip", random_images(50, size=32))
    options = ["--space=style", "--candidates=40", "--n=2", f"--data={data}", "--prior-samples=2", "--ppl", "--paths=4"]
    output = run(modes, *options, "--outdir", tmp_path / "out")
    assert "squared distances of features of mnist-classifier, not LPIPS" in output
    figures = strict((tmp_path / "out" / "distances.json").read_text())
    assert (figures["detector"], figures["data"]) == ("mnist-classifier", "real")
    assert all(value > 0 for value in figures["ppl2_wend"].values())


def test_classes_of_conditional_networks(tmp_path, tiny_conditional):
    network = write_network(tmp_path / "net.npz", tiny_conditional)
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", "--candidates=30", "--n=2", "--ppl", "--paths=3", f"--detector={detector}"]
    run(modes, *options, "--class=1", "--outdir", tmp_path / "out")
    lines = [strict(line) for line in (tmp_path / "out" / "modes.jsonl").read_text().splitlines()]
    assert {line["class"] for line in lines} == {1}
    assert "give --class" in run(modes, *options, "--outdir", tmp_path / "out", fails=True)


def test_modes_refuses_before_it_works(tmp_path, network, atlas):
    options = [f"--network={network}", f"--atlas={atlas.path}", "--outdir", tmp_path / "out"]
    assert "seed 60 is beyond" in run(modes, *options, "--n=61", fails=True)
    other = write_zip(tmp_path / "other.zip", random_images(5, size=32))
    detector = f"--detector={write_torchscript(tmp_path / 'small.pt')}"
    assert "the network makes 16x16" in run(modes, *options, detector, f"--data={other}", fails=True)
    assert "--domain has no effect" in run(modes, *options, "--domain=sphere", fails=True)
    assert not (tmp_path / "out" / "modes.jsonl").exists()


# --- strips -----------------------------------------------------------------------------------------------------------


def test_choices_are_weighted_draws(atlas):
    """Each seed by itself, at every rho: against the weights of ten groups of candidates, by chi-square."""
    volume, rhos, n = atlas.log_volume(), [-0.3, 0.0, 0.3], 1500
    group = np.argsort(np.argsort(volume)) // 6
    for rho, chosen in zip(rhos, coherent_choices(volume, rhos, range(n), atlas)):
        expected = np.bincount(group, np.exp(log_weights(volume, rho))) * n
        assert scipy.stats.chisquare(np.bincount(group[chosen], minlength=10), expected).pvalue > LEVEL


def test_seeds_keep_their_candidates_as_rho_moves(opened, atlas):
    """With noise of its own a seed climbs: its volumes rise with rho, and it changes less often than the orders do."""
    volume, rhos = atlas.log_volume(), np.linspace(-1, 1, 21)
    chosen = coherent_choices(volume, rhos, range(40), atlas)
    assert (np.diff(volume[chosen], axis=0) >= 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        orders = [create_sampler("polarity", opened, atlas=atlas, rho=rho).draw(range(40)).index for rho in rhos]
    kept, kept_by_order = (np.mean(np.array(x)[1:] == np.array(x)[:-1]) for x in (chosen, orders))
    assert kept > 0.8 > kept_by_order
    assert np.array_equal(chosen[:, [7]], coherent_choices(volume, rhos, [7], atlas))
    extremes = coherent_choices(volume, [-np.inf, np.inf], range(3), atlas)
    assert extremes.tolist() == [[volume.argmin()] * 3, [volume.argmax()] * 3]


def test_a_strip_shows_seeds_by_rho(tmp_path, network, opened, atlas):
    out = tmp_path / "sub" / "strip.png"
    options = [f"--network={network}", f"--atlas={atlas.path}", "--top-k=6", "--seeds=3,0", "--rho=-inf,-0.5,0.5,inf"]
    assert "2 seeds at 4 rho" in run(polarity_strip, *options, f"--out={out}")
    found = strict(out.with_suffix(".json").read_text())
    assert (found["seeds"], found["rho"]) == ([3, 0], ["-inf", -0.5, 0.5, "inf"])
    volume = atlas.log_volume(6)
    chosen = coherent_choices(volume, [-np.inf, -0.5, 0.5, np.inf], [3, 0], atlas)
    assert found["candidates"] == chosen.tolist() and found["log_volumes"] == volume[chosen].tolist()
    image = picture(out)
    top = image.shape[0] - 2 * 64
    assert image.shape[1] == 4 * 64 and 8 < top < 32
    for column in range(4):
        expected = enlarged(images_of(opened, atlas, chosen[column]))[:, :, :, 0]
        for row in range(2):
            cell = image[top + row * 64 : top + (row + 1) * 64, column * 64 : (column + 1) * 64]
            assert_same_images(cell, expected[row])
        assert image[:top, column * 64 : (column + 1) * 64].min() < 128  # a caption


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_animations_go_there_and_back(tmp_path, network, atlas, suffix):
    out = tmp_path / f"strip{suffix}"
    options = [f"--network={network}", f"--atlas={atlas.path}", "--seeds=0-3", "--rho=-1,0,1", "--duration=150"]
    run(polarity_strip, *options, f"--out={out}")
    with PIL.Image.open(out) as animation:
        assert animation.n_frames == 4 and animation.info["loop"] == 0
        frames = []
        for i in range(4):
            animation.seek(i)
            animation.load()
            frames.append(np.asarray(animation.convert("L")).astype(int))
            assert animation.info["duration"] == 150
    assert frames[0].shape[1] == 128 and np.abs(frames[1] - frames[3]).max() == 0
    assert np.abs(frames[0] - frames[2]).max() > 0
    assert there_and_back([1, 2, 3]) == [1, 2, 3, 2] and there_and_back([1, 2]) == [1, 2] and there_and_back([1]) == [1]


def test_colour_strips(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2(img_channels=3))
    run(
        polarity_strip, f"--network={network}", "--candidates=20", "--seeds=0", "--rho=0", f"--out={tmp_path / 'a.png'}"
    )
    assert picture(tmp_path / "a.png").shape[1:] == (64, 3)


def test_strips_refuse_before_they_work(tmp_path, network, atlas):
    options = [f"--network={network}", f"--atlas={atlas.path}"]
    assert "suffix is one of .png, .webp, .gif" in run(polarity_strip, *options, "--out=a.jpg", fails=True)
    assert "nan is no rho" in run(polarity_strip, *options, "--rho=0,nan", f"--out={tmp_path / 'a.png'}", fails=True)
    assert "top-k 99 is outside" in run(
        polarity_strip, *options, "--top-k=99", f"--out={tmp_path / 'a.png'}", fails=True
    )
    assert not (tmp_path / "a.png").exists()


def test_more_extremes_than_candidates_are_refused_before_any_work(tmp_path, monkeypatch):
    """The command says so before it builds an atlas that cannot serve."""
    monkeypatch.setattr(recipe, "cached_atlas", lambda *args: pytest.fail("an atlas was built"))
    options = [f"--outdir={tmp_path / 'out'}", "--space=style", "--n=30", "--candidates=20", "--device=cpu"]
    result = CliRunner().invoke(modes, options)
    assert result.exit_code == 1
    assert "30 extremes are more than the 20 candidates of an atlas of this size" in result.output


def test_the_k_nearest_are_those_of_all_distances():
    random = torch.Generator().manual_seed(0)
    queries, rows = torch.randn(7, 5, generator=random), torch.randn(40, 5, generator=random)
    near = Nearest(queries, 3)
    for first in range(0, 40, 9):
        near.add(rows[first : first + 9], first)
    distances, index = torch.cdist(queries, rows).sort(dim=1)
    assert torch.allclose(near.k_distances, distances[:, :3], atol=1e-5) and torch.equal(near.k_index, index[:, :3])
    assert torch.equal(near.part(2, 4).distances, near.k_distances[2:4, 0])
