"""Path lengths as distributions and under truncation: names, figures, files, charts, and what is refused when."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.small_networks import small_progan

import latent_plugins as lp
from cli import modes as modes_module
from cli import sweep_charts
from cli.calc_metrics import main as calc_metrics
from cli.modes import main as modes
from cli.sweep import main as sweep
from dnnlib_compat.detectors import load_detector
from latent_plugins.metrics import inputs, run
from latent_plugins.metrics.details import read_details
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.lines import quantiles
from latent_plugins.metrics.names import parse_metric, parse_metrics
from latent_plugins.metrics.path_length import path_distances, trimmed_mean
from latent_plugins.pictures.charts import distributions_chart
from latent_plugins.samplers import create_sampler


def flat(images):
    return images.flatten(1)


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("cutoff", [None, 2])
def test_truncated_paths_are_those_between_truncated_styles(tiny, space, cutoff):
    """Every image of the path has the truncation that the network itself gives it."""
    random = torch.Generator().manual_seed(0)
    z0, z1 = torch.randn(2, 6, 8, generator=random)
    t, c, step = torch.linspace(0, 0.9, 6), torch.zeros(6, 0), 1e-2
    about = dict(space=space, crop=False, epsilon=step)
    found = path_distances(tiny, flat, z0, z1, t, c, psi=0.6, cutoff=cutoff, **about)
    images = []
    for place in (t, t + step):
        if space == "w":
            ends = [tiny.mapping(z, c, truncation_psi=0.6, truncation_cutoff=cutoff) for z in (z0, z1)]
            ws = ends[0] + place[:, None, None] * (ends[1] - ends[0])
        else:
            a, b = (z / z.norm(dim=1, keepdim=True) for z in (z0, z1))
            angle = (a * b).sum(dim=1, keepdim=True).acos()
            z = (((1 - place[:, None]) * angle).sin() * a + (place[:, None] * angle).sin() * b) / angle.sin()
            ws = tiny.mapping(z, c, truncation_psi=0.6, truncation_cutoff=cutoff)
        images.append((tiny.synthesis(ws, noise_mode="const").expand(-1, 3, -1, -1) + 1) * 127.5)
    expected = (images[1] - images[0]).square().sum(dim=(1, 2, 3)) / step**2
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.02)
    plain = path_distances(tiny, flat, z0, z1, t, c, **about)
    assert not np.allclose(found, plain, rtol=0.1)
    same = path_distances(tiny, flat, z0, z1, t, c, psi=1, cutoff=cutoff, **about)
    assert torch.equal(plain, same)


def test_a_truncation_to_the_mean_leaves_no_path(tiny):
    z, t, c = torch.randn(2, 4, 8), torch.zeros(4), torch.zeros(4, 0)
    found = path_distances(tiny, flat, *z, t, c, space="w", crop=False, psi=0)
    assert found.tolist() == [0] * 4


@pytest.mark.parametrize(
    "name, truncated, other", [("ppl_zend", False, "ppl_zend_trunc"), ("ppl2_wend_5k", False, "ppl2_wend_trunc_5k"),
                               ("ppl_wend_trunc", True, None), ("ppl_zfull_trunc_200", True, None)]
)  # fmt: skip
def test_official_names_stay_official_and_truncated_ones_say_so(name, truncated, other):
    metric = parse_metric(name)
    assert (metric.name, metric.kind, metric.truncated) == (name, "ppl", truncated)
    metric.check_truncation(1)
    if truncated:
        metric.check_truncation(0.5)
        with pytest.raises(ValueError, match="this sampler its latents by itself: take the sampler prior"):
            metric.check_truncation(1, truncates=True)
        return
    for arguments in ((0.5,), (1, True)):
        with pytest.raises(ValueError, match=f"{name} is defined without truncation.* or {other}, which"):
            metric.check_truncation(*arguments)


def test_metrics_of_features_take_any_truncation_and_equivariance_none():
    parse_metric("fid50k").check_truncation(0.5, True)
    with pytest.raises(ValueError, match="with truncation psi 1$"):
        parse_metric("eqr50k").check_truncation(0.5)


@pytest.fixture
def world(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    detector = write_torchscript(tmp_path / "small.pt")
    return [f"--network={network}", f"--detector={detector}", f"--outdir={tmp_path / 'out'}", "--allow-code"]


def said(command, *args, fails=False):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def lines(folder, name):
    return [json.loads(line) for line in (folder / "out" / f"metric-{name}.jsonl").read_text().splitlines()]


def test_a_line_has_quantiles_and_its_file_all_paths(tmp_path, world):
    said(calc_metrics, *world, "--metrics=ppl_wend_40,ppl_wend_trunc_40,ppl_zend_40")
    said(calc_metrics, *world, "--metrics=ppl_wend_trunc_40", "--trunc=0.5")
    plain, (same, half), z = (lines(tmp_path, f"ppl_{name}_40") for name in ("wend", "wend_trunc", "zend"))
    assert plain[0]["results"]["ppl_wend_40"] == same["results"]["ppl_wend_trunc_40"]
    assert list(plain[0]["results"]) == ["ppl_wend_40"]  # as the official line has it
    assert (plain[0]["trunc"], half["trunc"]) == (1, 0.5)
    for line in (plain[0], half, z[0]):
        distances = read_details(tmp_path / "out", line["details"])["distances"]
        assert distances.shape == (40,) and list(line["results"].values()) == [trimmed_mean(distances)]
        assert line["quantiles"] == quantiles(distances)
        assert line["quantiles"]["median"] == pytest.approx(np.median(distances))
    assert half["quantiles"]["q95"] < plain[0]["quantiles"]["q95"]


def test_figures_of_truncated_paths_from_python(tmp_path, world, tiny):
    """Through the whole chain: the figure at ψ is that of a network whose styles are truncated from the start."""
    detectors = dict(lpips=load_detector(tmp_path / "small.pt", allow_code=True))
    sampler = create_sampler("prior", tiny)

    def figure(generator, name, **options):
        ((_, figures, _),) = evaluate(parse_metrics(name), generator, sampler, None, detectors, **options)
        return figures[name]

    original = tiny.mapping.forward
    truncated = figure(tiny, "ppl_wend_trunc_16", psi=0.5)
    tiny.mapping.forward = lambda z, c, **rest: original(z, c, truncation_psi=0.5)
    assert figure(tiny, "ppl_wend_16") == truncated


# --- what is refused, and when ----------------------------------------------------------------------------------------


def test_truncation_is_refused_before_anything_is_opened(tmp_path, monkeypatch):
    """No network, no detector: the command knows from its options alone."""
    for module in (inputs, run):
        monkeypatch.setattr(module, "open_detectors", lambda *a, **k: pytest.fail("a detector was opened"))
    options = ["--network=http://nowhere.invalid/net.pkl", f"--outdir={tmp_path / 'out'}"]
    for command in (calc_metrics, sweep):
        text = said(command, *options, "--metrics=ppl_wend", "--trunc=0.7,1", fails=True)
        assert "or ppl_wend_trunc, which is that of truncated paths" in text.splitlines()[-1] and "nowhere" not in text
        text = said(command, *options, "--metrics=ppl_wend_trunc", "--sampler=truncation", fails=True)
        assert "take the sampler prior, and its psi as the truncation" in text.splitlines()[-1]


def test_from_python_no_detector_is_opened_either(tiny, monkeypatch):
    monkeypatch.setattr(run, "open_detectors", lambda *a, **k: pytest.fail("a detector was opened"))
    with pytest.raises(ValueError, match="defined without truncation"):
        lp.evaluate("ppl_wend_20", tiny, psi=0.5)
    with pytest.raises(ValueError, match="this sampler its latents by itself"):
        lp.evaluate("ppl_wend_trunc_20", tiny, create_sampler("truncation", tiny, psi=0.5))
    layers = [torch.nn.Linear(4, 64), torch.nn.Unflatten(1, (1, 8, 8)), torch.nn.Tanh()]
    plain = lp.wrap(torch.nn.Sequential(*layers), z_dim=4)
    with pytest.raises(ValueError, match="path lengths are defined for networks with styles"):
        lp.evaluate("ppl_wend_20", plain)


def test_modes_opens_no_detector_for_a_network_without_styles(tmp_path, monkeypatch):
    monkeypatch.setattr(modes_module, "open_detectors", lambda *a, **k: pytest.fail("a detector was opened"))
    network = write_network(tmp_path / "progan.npz", small_progan())
    text = said(modes, f"--network={network}", f"--outdir={tmp_path / 'out'}", "--ppl", "--space=pixel", fails=True)
    assert "path lengths are defined for networks with styles, not progan" in text.splitlines()[-1]


# --- charts -----------------------------------------------------------------------------------------------------------


def test_a_sweep_draws_distributions_over_rho_and_over_psi(tmp_path, world):
    text = said(sweep, *world, "--metrics=ppl_wend_trunc_24,ppl_zend_trunc_24", "--trunc=0.5,1", "--repeats=2")
    assert "ppl_wend_trunc_24.png, ppl_zend_trunc_24.png" in text
    for name in ("ppl_wend_trunc_24", "ppl_zend_trunc_24"):
        assert np.asarray(PIL.Image.open(tmp_path / "out" / f"{name}.png").convert("L")).std() > 5
    rows = [json.loads(line) for line in (tmp_path / "out" / "sweep.jsonl").read_text().splitlines()]
    found = sweep_charts.details_of(rows, tmp_path / "out")["ppl_wend_trunc_24"]
    assert list(found) == ["prior ψ 0.5", "prior ψ 1"] and all(np.shape(each) == (2, 1, 24) for each in found.values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "ppl_wend_trunc_24.png" in page


def test_bars_are_shares_and_markers_means():
    """Of eight numbers, two beyond the axis' ends and zero in its first bin."""
    groups = {"a": np.array([0.0, 1, 1, 10, 10, 10, 100, 100]), "b": np.full(4, 10.0)}
    figure = distributions_chart(groups, dict(a=29.0, b=1000.0), xlabel="length", ylabel="share")
    (axes,) = figure.axes
    first, second = (patch.get_data() for patch in axes.patches)
    assert first.values.sum() == pytest.approx(1) and second.values.max() == 1
    assert first.values[0] == pytest.approx(3 / 8) and first.values[-1] == pytest.approx(2 / 8)
    assert axes.get_xscale() == "log" and first.edges[0] == pytest.approx(1)
    marks = [line.get_xdata()[0] for line in axes.lines]
    assert marks[0] == 29 and marks[1] == pytest.approx(first.edges[-1])  # which is beyond the axis
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a, mean 29", "b, mean 1000"]


def test_paths_without_length_are_drawn():
    figure = distributions_chart({"ψ 0": np.zeros(5)}, {"ψ 0": 0.0}, xlabel="length", ylabel="share")
    assert figure.axes[0].patches[0].get_data().values[0] == 1


def test_modes_has_distributions_of_chosen_polarities(tmp_path, world):
    options = [*world, "--candidates=80", "--n=2", "--ppl", "--paths=12", "--space=style"]
    said(modes, *options, "--rho=-0.5,0.5")
    found = json.loads((tmp_path / "out" / "distances.json").read_text())
    assert list(found["ppl2_wend"]) == ["modes", "anti-modes", "prior", "rho -0.5", "rho 0.5"]
    for each in found["ppl2_wend_quantiles"].values():
        assert list(each) == ["q05", "q25", "median", "q75", "q95"] and sorted(each.values()) == list(each.values())
    assert "three_nearest" not in found
    assert "distributions of perceptual path lengths" in (tmp_path / "out" / "report.html").read_text()
    assert np.asarray(PIL.Image.open(tmp_path / "out" / "path-lengths.png").convert("L")).std() > 5
    assert "give --data or --ppl too" in said(modes, *world, "--rho=1", fails=True)
    assert "--samples has no effect without --rho and --data" in said(
        modes, *options, "--rho=1", "--samples=9", fails=True
    )
