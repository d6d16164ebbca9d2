"""Predicted log-volumes: what they are learned from, how good they say they are, and atlases made of them."""

import json

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.pickles import write_official
from helpers.splines import SplineGenerator

from cli.build_atlas import main as build_atlas
from cli.gen_images import main as gen_images
from latent_plugins.atlas import Atlas, open_atlas
from latent_plugins.atlas.settings import AtlasError, candidates, make_settings
from latent_plugins.atlas.true_volumes import true_volumes
from latent_plugins.importance.report import mean_log_volume
from latent_plugins.importance.weights import degeneracy, log_volume, log_weights
from latent_plugins.samplers import create_sampler
from latent_plugins.spaces import get_space
from latent_plugins.volume.predictor import PredictorError, agreement, fit, load_predictor, predictor_inputs
from latent_plugins.volume.predictor.fit import MOST_INPUTS, standardisation
from latent_plugins.volume.predictor.inputs import channel_energies
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.shared import shared_basis

SETTINGS = dict(space="pixel", top_k=4, candidates=300, labels=400)


@pytest.fixture(scope="module")
def network():
    return small_stylegan2(z_dim=12, w_dim=12)


@pytest.fixture(scope="module")
def truth(network):
    """The exact volumes of the candidates of SETTINGS."""
    space_map = get_space(network, "pixel")
    settings = make_settings(network, space="pixel", top_k=4, candidates=300)
    x = space_map.enter(candidates(settings, np.arange(300), None))
    return log_volume(spectrum(space_map, x, top_k=4))


def noisy(n, noise, seed=0):
    """Inputs [n, 5] and a smooth function of them with noise of a known size; the last input is constant."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=random)
    x[:, 4] = 3
    y = 10 * x[:, 0] + 4 * x[:, 1].square() + noise * torch.randn(n, generator=random)
    return x, y.numpy()


@pytest.mark.bitwise
@pytest.mark.long
def test_a_known_function_is_learned_and_the_noise_is_told():
    x, y = noisy(3000, noise=2.0)
    predictor, found = fit(x, y, steps=800)
    assert found.rows == 300 and found.r2 > 0.95 and found.spearman > 0.97
    # The error is the noise; 300 rows put the share within 50 % and 90 % into ± 3.3 standard errors at level 1e-3.
    assert 1.7 < found.error < 2.6
    assert abs(found.within50 - 0.5) < 3.3 * 0.029 + 0.03 and abs(found.within90 - 0.9) < 3.3 * 0.0173 + 0.03
    fresh, level = noisy(500, noise=0.0, seed=1)
    mean, deviation = predictor(fresh)
    assert mean.dtype == torch.float64 and (deviation > 0).all()
    assert np.corrcoef(mean, level)[0, 1] > 0.99
    again, same = fit(x, y, steps=800)
    assert same == found and torch.equal(again(fresh)[0], mean)


def test_rows_that_are_not_finite_are_left_out_and_few_are_refused():
    x, y = noisy(100, noise=1.0)
    y[:60] = np.nan
    with pytest.raises(ValueError, match="40 usable labels are too few"):
        fit(x, y)
    x, y = noisy(400, noise=1.0)
    y[::4], x[1, 2] = np.nan, np.inf
    predictor, found = fit(x, y)
    assert found.rows == 30 and found.r2 > 0.5
    assert predictor(x[:2])[0].isnan().tolist() == [False, True]


@pytest.mark.bitwise
def test_a_file_gives_the_same_predictions(tmp_path):
    x, y = noisy(400, noise=1.0)
    predictor, found = fit(x, y)
    predictor.save(tmp_path / "p.npz", found)
    again, told = load_predictor(tmp_path / "p.npz")
    assert told == found
    assert all(torch.equal(a, b) for a, b in zip(predictor(x), again(x)))
    whole = (tmp_path / "p.npz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nothing", b""):
        (tmp_path / "p.npz").write_bytes(damaged)
        with pytest.raises(PredictorError, match="p.npz"):
            load_predictor(tmp_path / "p.npz")
    np.savez(tmp_path / "p.npz", header=np.array(json.dumps(dict(format="else"))))
    with pytest.raises(PredictorError, match="a file of the format 'else'"):
        load_predictor(tmp_path / "p.npz")


def test_many_inputs_become_principal_components():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(700, 20, generator=random).double() @ torch.randn(20, MOST_INPUTS + 60, generator=random).double()
    center, matrix = standardisation(x)
    assert matrix.shape == (MOST_INPUTS + 60, 20)  # the rank
    taken = (x - center) @ matrix
    torch.testing.assert_close(taken.T @ taken / 700, torch.eye(20).double(), atol=1e-6, rtol=0)


def test_agreement_of_hand_made_predictions():
    truth = np.arange(10.0)
    perfect = agreement(truth, np.ones(10), truth)
    assert (perfect.r2, perfect.spearman, perfect.error, perfect.within50) == (1, pytest.approx(1), 0, 1)
    # Deviations of 1 and errors of 1: beyond the central 50 % (0.674), within 90 % (1.645).
    off = agreement(truth + 1, np.ones(10), truth)
    assert (off.error, off.within50, off.within90) == (1, 0, 1) and off.r2 == pytest.approx(1 - 1 / truth.var())
    assert agreement(np.zeros(10), np.ones(10), truth).spearman == 0


def test_energies_are_those_of_every_feature_map_once(network):
    space_map = get_space(network, "pixel")
    x = space_map.enter(torch.randn(5, 12, generator=torch.Generator().manual_seed(0)))
    seen = []
    hooks = [m.register_forward_hook(lambda m, i, o: seen.append(o)) for m in network.synthesis.modules()]
    space_map(x)
    for hook in hooks:
        hook.remove()
    channels = sum({id(o): o.shape[1] for o in seen if isinstance(o, torch.Tensor) and o.ndim == 4}.values())
    energies = channel_energies(space_map, x)
    assert energies.shape == (5, channels) and energies.isfinite().all()
    assert not any(module._forward_hooks for module in network.modules())
    image = space_map(x).reshape(5, -1, network.img_resolution**2).square().mean(dim=2).log()
    assert any(torch.allclose(energies[:, i : i + image.shape[1]], image, atol=1e-4) for i in range(channels))
    torch.testing.assert_close(channel_energies(space_map, x, max_memory=300_000), energies, rtol=1e-4, atol=1e-4)
    assert channel_energies(get_space(network, "style"), x).shape == (5, 0)


@pytest.mark.bitwise
def test_inputs_of_every_kind_of_map(network):
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    pixel, style = get_space(network, "pixel"), get_space(network, "w:pixel")
    basis = shared_basis(pixel, pixel.enter(x), 3, max_memory=None)
    amortized = predictor_inputs(pixel, pixel.enter(x))
    hybrid = predictor_inputs(pixel, pixel.enter(x), basis=basis, directions=3)
    assert hybrid.shape[1] == amortized.shape[1] + 2 * 3 and torch.equal(hybrid[:, :-6], amortized)
    eigenvalues, diagonal = hybrid[:, -6:-3].exp(), hybrid[:, -3:].exp()
    torch.testing.assert_close(eigenvalues.sum(dim=1), diagonal.sum(dim=1))  # the trace
    assert predictor_inputs(style, style.enter(x)).shape[1] == amortized.shape[1] - 12  # no style besides itself
    spline = SplineGenerator()
    assert predictor_inputs(get_space(spline, "w:pixel"), torch.ones(2, 3)).shape == (2, 3)


@pytest.mark.bitwise
@pytest.mark.long
@pytest.mark.parametrize("method, least", [("amortized", 0.6), ("hybrid", 0.9)])
def test_an_atlas_of_predicted_volumes(tmp_path, network, truth, method, least):
    atlas = Atlas.build(network, tmp_path / "a", method=method, basis=3, min_spearman=0, **SETTINGS)
    volume = atlas.log_volume()
    assert scipy.stats.spearmanr(volume, truth).statistic > least
    deviation = atlas.uncertainty()
    assert (deviation > 0).all() and 0.5 < np.std((volume - truth) / deviation) < 2
    found = load_predictor(tmp_path / "a" / "predictor.npz")[1]
    assert found.rows == 40 and abs(found.spearman - scipy.stats.spearmanr(volume, truth).statistic) < 0.3
    with pytest.raises(ValueError, match="it holds no singular values"):
        atlas.spectra()
    with pytest.raises(ValueError, match="top-k 3: the predicted volumes of the atlas are those of top-k 4"):
        atlas.log_volume(3)
    sampler = create_sampler("polarity", network, atlas=atlas, rho=0.5)
    assert sampler.draw(range(5)).log_volume.shape == (5,)
    # In parts: the same bytes.
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    for name in ("shard00000.npy", "predictor.npz", "labels-shard00003.npy"):
        (tmp_path / "a" / name).unlink()
    Atlas.build(network, tmp_path / "a", method=method, basis=3, min_spearman=0, **SETTINGS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


@pytest.mark.bitwise
@pytest.mark.long
def test_a_poor_predictor_is_refused_and_goes_on_with_more_labels(tmp_path, network):
    options = dict(SETTINGS, method="amortized", candidates=50)
    with pytest.raises(AtlasError, match=r"with 12 held-out volumes is -?0\.\d+, below --min-spearman=1: give more"):
        Atlas.build(network, tmp_path / "a", min_spearman=1, **options | dict(labels=120))
    with pytest.raises(AtlasError, match="unfinished"):
        open_atlas(tmp_path / "a")
    kept = (tmp_path / "a" / "labels-shard00000.npy").stat().st_mtime_ns
    Atlas.build(network, tmp_path / "a", min_spearman=-1, **options | dict(labels=160))
    assert (tmp_path / "a" / "labels-shard00000.npy").stat().st_mtime_ns == kept
    assert len(np.load(tmp_path / "a" / "labels-shard00003.npy")) == 10
    fresh = Atlas.build(network, tmp_path / "b", min_spearman=-1, **options | dict(labels=160))
    assert np.array_equal(open_atlas(tmp_path / "a").log_volume(), fresh.log_volume())
    with pytest.raises(AtlasError, match="with another labels"):  # its volumes are there
        Atlas.build(network, tmp_path / "a", min_spearman=-1, **options | dict(labels=200))
    with pytest.raises(ValueError, match="labels must be at least 100, not 20"):
        make_settings(network, method="hybrid", labels=20)
    with pytest.raises(ValueError, match="a basis of 13 directions is outside 1 to 12"):
        make_settings(network, space="pixel", method="hybrid", basis=13)


def test_classes_have_their_part_of_the_labels(tmp_path):
    network = small_stylegan2(c_dim=2)
    options = dict(space="pixel", top_k=3, candidates=20, labels=101, method="amortized")
    atlas = Atlas.build(network, tmp_path / "a", min_spearman=-1, **options)
    assert atlas.classes == (0, 1) and len(atlas.log_volume(label=1)) == 20
    assert len(list((tmp_path / "a").glob("labels-class0001-*.npy"))) == 2  # 51 labels in shards of 50


def test_true_volumes_correct_the_prediction(tmp_path, network, truth):
    atlas = Atlas.build(network, tmp_path / "a", method="amortized", min_spearman=0, **SETTINGS)
    np.testing.assert_allclose(true_volumes(network, atlas, [7, 3, 7]), truth[[7, 3, 7]], rtol=1e-4, atol=1e-4)
    assert np.load(tmp_path / "a" / "true-volumes.npz")["index"].tolist() == [3, 7]
    # With all of them true, the law is that of the true volumes, and so is the mean of what is drawn.
    law = log_weights(truth, 1.0)
    sampler = create_sampler("polarity", network, atlas=atlas, rho=1.0, true_volumes=300)
    drawn = sampler.draw(range(20))
    np.testing.assert_allclose(drawn.log_volume, truth[drawn.index], rtol=1e-4, atol=1e-4)
    assert sampler.degeneracy().effective_sample_size == pytest.approx(degeneracy(law).effective_sample_size, rel=1e-2)
    assert drawn.report["law_log_volume"] == pytest.approx(mean_log_volume(truth, law), rel=1e-3)
    # A pool comes nearer to it than the predictions do, and knows true volumes alone.
    few = create_sampler("magnet", network, atlas=atlas, true_volumes=100).draw(range(20))
    np.testing.assert_allclose(few.log_volume, truth[few.index], rtol=1e-4, atol=1e-4)
    predicted = mean_log_volume(truth, log_weights(atlas.log_volume(), 1.0))
    exact = mean_log_volume(truth, law)
    assert abs(few.report["law_log_volume"] - exact) < abs(predicted - exact)
    with pytest.raises(ValueError, match="301 true volumes are more than the 300 usable candidates"):
        create_sampler("magnet", network, atlas=atlas, true_volumes=301).draw([0])
    computed = Atlas.build(network, tmp_path / "b", space="style", candidates=10)
    with pytest.raises(ValueError, match="computed, not predicted: leave out --true-volumes"):
        create_sampler("magnet", network, atlas=computed, true_volumes=3).draw([0])
    (tmp_path / "a" / "true-volumes.npz").write_bytes(b"damaged")
    np.testing.assert_allclose(true_volumes(network, atlas, [3]), truth[[3]], rtol=1e-4, atol=1e-4)


def test_the_commands(tmp_path, network):
    path = write_official(tmp_path / "net.pkl", network)
    common = [f"--network={path}", "--device=cpu", "--space=pixel", "--candidates=60", "--labels=120", "--top-k=4"]
    options = [*common, "--method=hybrid", "--basis=3", f"--outdir={tmp_path / 'a'}"]
    result = CliRunner().invoke(build_atlas, [*options, "--min-spearman=0.9999"])
    assert result.exit_code == 1 and result.output.splitlines()[-1].startswith("Error: ")
    assert "below --min-spearman=0.9999: give more --labels (those there are kept), more --basis" in result.output
    result = CliRunner().invoke(build_atlas, [*options, "--min-spearman=0"])
    assert result.exit_code == 0, result.output
    assert "predictor: R² " in result.output and "60 candidates, volumes of top-k 4" in result.output
    images = ["--sampler=polarity", "--rho=0.5", f"--atlas={tmp_path / 'a'}", "--true-volumes=20", "--seeds=0-2"]
    result = CliRunner().invoke(gen_images, [f"--network={path}", *images, f"--outdir={tmp_path / 'out'}"])
    assert result.exit_code == 0, result.output
    assert "Computing the true volumes of 20 candidates" in result.output
    assert json.loads((tmp_path / "out" / "samples.jsonl").read_text().splitlines()[0])["true_volumes"] == 20
    result = CliRunner().invoke(build_atlas, [*common, "--method=amortized", "--outdir=none", "--plan"])
    assert result.exit_code == 0, result.output
    assert "120 labels by exact in space z:pixel by exact" in result.output and "by amortized" in result.output
