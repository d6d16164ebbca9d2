"""Precision and recall of distributions: the formula by brute force, k-means, the metric, its details and charts."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from hypothesis import given
from hypothesis import strategies as st

from cli import sweep_charts
from cli.calc_metrics import main as calc_metrics
from cli.sweep import main as sweep
from latent_plugins.files.arrays import write_arrays
from latent_plugins.metrics import clusters
from latent_plugins.metrics.accumulators import Table
from latent_plugins.metrics.clusters import cluster_shares
from latent_plugins.metrics.details import DetailsError, details_name, metric_of, read_details, write_details
from latent_plugins.metrics.kind import Figures
from latent_plugins.metrics.lines import summary_line
from latent_plugins.metrics.names import parse_metric
from latent_plugins.metrics.prd import ANGLES, Curve, PrecisionRecallCurve, curve_of_shares, precision_recall_curve

# --- the formula ------------------------------------------------------------------------------------------------------


def brute_force(real, generated, slope):
    """(precision, recall) at one slope, thing by thing."""
    return tuple(sum(min(scale * p, scale / slope * q) for p, q in zip(real, generated)) for scale in (slope, 1.0))


def f_beta(pairs, beta):
    return max((1 + beta**2) * p * r / (beta**2 * p + r) for p, r in [*pairs, (1e-9, 1e-9)] if p + r)


weights = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)


@given(weights, st.sampled_from([3, 11, 101]))
def test_the_curve_is_that_of_brute_force(pairs, angles):
    p, q = (np.array(each, dtype=float) for each in zip(*pairs))
    if not p.any() or not q.any():
        return
    p, q = p / p.sum(), q / q.sum()
    found = curve_of_shares(p, q, angles)
    inner = np.linspace(0, np.pi / 2, angles)[1:-1]
    expected = [brute_force(p, q, np.tan(angle)) for angle in inner]
    np.testing.assert_allclose(np.stack([found.precision, found.recall], axis=1)[1:-1], expected, atol=1e-8)
    # At the ends of the slopes: the mass of either within the support of the other.
    assert (found.precision[0], found.recall[0]) == pytest.approx((0, p[q > 0].sum()), abs=1e-8)
    assert (found.precision[-1], found.recall[-1]) == pytest.approx((q[p > 0].sum(), 0), abs=1e-8)
    for beta in (8, 1 / 8):
        ends = [(found.precision[i], found.recall[i]) for i in (0, -1)]
        assert found.f_beta(beta) == pytest.approx(f_beta([*expected, *ends], beta), abs=1e-6)


def test_worked_curves():
    """The same law: 1 in everything; laws that are apart: 0; half of the modes: full precision, half of the recall."""
    same, apart = curve_of_shares([0.2, 0.8], [0.2, 0.8]), curve_of_shares([1, 0], [0, 1])
    assert same.f_beta(8) == same.f_beta(1 / 8) == pytest.approx(1) == (same.precision * same.recall).max()
    assert apart.f_beta(8) == apart.f_beta(1 / 8) == 0 and not apart.precision.any() and not apart.recall.any()
    half = curve_of_shares([0.25] * 4, [0.5, 0.5, 0, 0])
    assert half.precision.max() == pytest.approx(1) and half.recall.max() == pytest.approx(0.5)
    # At the slope 2 precision is 1 and recall a half, and no pair is better in either.
    assert half.f_beta(8) == pytest.approx(65 * 0.5 / (64 + 0.5), rel=1e-3)
    assert half.f_beta(1 / 8) == pytest.approx((1 + 1 / 64) * 0.5 / (1 / 64 + 0.5), rel=1e-3)
    assert half.f_beta(1 / 8) > 0.98 and half.f_beta(8) < 0.51  # the one is for precision, the other for recall
    swapped = curve_of_shares([0.5, 0.5, 0, 0], [0.25] * 4)
    np.testing.assert_allclose(swapped.precision, half.recall[::-1], atol=1e-8)


def test_the_mean_of_curves_is_taken_angle_by_angle():
    p, q = np.array([[0.5, 0.5], [1, 0]]), np.array([[0.5, 0.5], [0, 1]])
    both, first = curve_of_shares(p, q), curve_of_shares(p[0], q[0])
    np.testing.assert_allclose(both.precision, first.precision / 2)
    assert len(both.precision) == ANGLES


@pytest.mark.parametrize("p, q", [([0.5, 0.5], [1.0]), ([0.5, 0.6], [0.5, 0.5]), ([1.5, -0.5], [0.5, 0.5])])
def test_shares_that_are_no_distributions_are_refused(p, q):
    with pytest.raises(ValueError, match="two distributions over the same things"):
        curve_of_shares(p, q)


# --- clusters ---------------------------------------------------------------------------------------------------------


def modes(counts, seed, width=8, offset=0.0):
    """Points around the first unit vectors, times 20, so many around each."""
    random = np.random.RandomState(seed)
    centres = 20 * np.eye(len(counts), width) + offset
    return np.concatenate([centres[i] + random.randn(n, width) for i, n in enumerate(counts)])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_modes_far_apart_are_the_clusters(offset):
    """Whatever the number of points in either set, also in float32 far from the origin."""
    real, generated = modes([300, 300, 300, 100], 0, offset=offset), modes([50, 100, 0, 0], 1, offset=offset)
    found = cluster_shares("k-means", real.astype(np.float32), generated.astype(np.float32), clusters=4, runs=3)
    for p, q in zip(*found):
        order = np.lexsort((p, q))
        assert p[order] == pytest.approx([0.1, 0.3, 0.3, 0.3]) and q[order] == pytest.approx([0, 0, 1 / 3, 2 / 3])


def test_runs_depend_on_their_seed_and_number_alone():
    real, generated = np.random.RandomState(0).randn(400, 3), np.random.RandomState(1).randn(300, 3) + 0.5
    three = cluster_shares("k", real, generated, clusters=5, runs=3, seed=7)
    one = cluster_shares("k", torch.from_numpy(real), generated, clusters=5, runs=1, seed=7)
    assert np.array_equal(three[0][:1], one[0]) and np.array_equal(three[1][:1], one[1])
    assert len({row.tobytes() for row in np.sort(three[0], axis=1)}) == 3
    other = cluster_shares("k", real, generated, clusters=5, runs=1, seed=8)
    assert not np.array_equal(np.sort(other[0]), np.sort(one[0]))


def test_a_larger_set_does_not_draw_the_clusters_to_itself():
    """Ten real modes of 100 points and a generated one of 50 elsewhere: that has half of the weight, and splits."""
    real, generated = modes([100] * 10, 0, width=12), modes([0] * 11 + [50], 1, width=12)
    found = cluster_shares("k-means", real, generated, clusters=12, runs=4)
    assert ((found[1] > 0).sum(axis=1) >= 2).all() and ((found[0] > 0).sum(axis=1) == 10).sum() >= 2


def test_lloyd_finds_no_better_clusters():
    """scikit-learn's full k-means, the best of ten, leaves hardly less of the spread unexplained."""
    cluster = pytest.importorskip("sklearn.cluster")
    random = np.random.RandomState(3)
    points = random.randn(12, 6)[random.randint(12, size=2000)] * 4 + random.randn(2000, 6)
    union = clusters._Union([torch.from_numpy(points[:1000]), torch.from_numpy(points[1000:])])
    best = cluster.KMeans(12, n_init=10, random_state=0).fit(points).inertia_ / len(points)
    errors, chosen = [], []
    original = union.shares

    def seen(centres):
        chosen.append(centres)
        return original(centres)

    union.shares = seen
    for run in range(3):
        clusters._run(union, 12, lambda shape, use, run=run: clusters._numbers(shape, use, 0, run))
        moved = torch.from_numpy(points) - union._centre
        errors.append(clusters._squared(moved, chosen[-1]).min(dim=1).values.mean().item())
    assert best * 0.999 < min(errors) < 1.05 * best and max(errors) < 1.25 * best


def test_features_without_any_spread():
    found = precision_recall_curve(np.zeros((30, 4)), np.zeros((25, 4), dtype=np.float16), runs=1)
    assert found.f_beta(8) == pytest.approx(1)


def test_features_that_do_not_fit_are_refused():
    good = np.random.RandomState(0).randn(30, 4)
    for real, generated, message in [
        (good, good[:19], "the generated set has 19"),
        (good, good[:, :3], "dimensions"),
        (good, good * np.inf, "not all finite"),
    ]:
        with pytest.raises(ValueError, match=f"curves of precision and recall.*{message}"):
            precision_recall_curve(real, generated)


# --- the curve of features --------------------------------------------------------------------------------------------


def test_curves_of_known_laws():
    """Samples of one law come close to 1; of half of the modes to the worked curve; of laws apart to nothing."""
    real = modes([150] * 8, 0)
    same = precision_recall_curve(real, modes([150] * 8, 1), runs=3)
    assert 0.98 < same.f_beta(8) <= 1 and 0.98 < same.f_beta(1 / 8) <= 1
    half = precision_recall_curve(real, modes([300] * 4, 1), runs=3)
    assert half.f_beta(1 / 8) > 0.95 and half.f_beta(8) == pytest.approx(0.504, abs=0.02)
    apart = precision_recall_curve(real, real + 1000, runs=2)
    assert apart.f_beta(8) == apart.f_beta(1 / 8) == 0


def table(x):
    found = Table(len(x))
    found.add(torch.from_numpy(x.astype(np.float32)))
    return found


def test_the_metric_is_the_curve_of_its_features():
    real, generated = table(modes([60] * 8, 0)), table(modes([90] * 4, 1))
    metric = parse_metric("prd360_full")
    found = PrecisionRecallCurve.figures(metric, real, generated, seed=3, progress=lambda x, *rest: x)
    curve = precision_recall_curve(real.features(), generated.features(), seed=3)
    assert dict(found) == {"prd360_full_f8": curve.f_beta(8), "prd360_full_f1_8": curve.f_beta(1 / 8)}
    assert found.details["precision"] is not None and np.array_equal(found.details["recall"], curve.recall)


# --- details ----------------------------------------------------------------------------------------------------------


def test_details_go_there_and_back(tmp_path):
    arrays = dict(precision=np.linspace(0, 1, 5), recall=np.linspace(1, 0, 5))
    name = details_name("prd5k_full", arrays)
    write_details(tmp_path, "prd5k_full", arrays)
    assert [path.name for path in tmp_path.iterdir()] == [name] and metric_of(name) == "prd5k_full"
    found = read_details(tmp_path, name)
    assert list(found) == list(arrays) and all(np.array_equal(found[each], arrays[each]) for each in arrays)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DetailsError, match=f"{name}.*calculate the metric again"):
        read_details(tmp_path, name)
    write_details(tmp_path, "prd5k_full", arrays)
    wrong = f"metric-prd5k_full-{'0' * 16}.npz"
    (tmp_path / name).rename(tmp_path / wrong)
    with pytest.raises(DetailsError, match="the content of another file"):
        read_details(tmp_path, wrong)
    for bad in ("../metric-x-0123456789abcdef.npz", "metric-x-012.npz", "metric-a/b-0123456789abcdef.npz", ""):
        assert metric_of(bad) is None


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "STEPS", 5)  # which takes a while
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(60))
    detector = write_torchscript(tmp_path / "small.pt")
    return [f"--network={network}", f"--data={data}", f"--detector={detector}", f"--outdir={tmp_path / 'out'}"]


def run(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args] + ["--allow-code"])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_keeps_the_curve_beside_its_line(tmp_path, world):
    run(calc_metrics, *world, "--metrics=prd50_full,fid50_full", "--repeats=2")
    lines = [json.loads(line) for line in (tmp_path / "out" / "metric-prd50_full.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and lines[2]["details"] == [line["details"] for line in lines[:2]]
    for line in lines[:2]:
        curve = Curve(**read_details(tmp_path / "out", line["details"]))
        assert line["results"] == {"prd50_full_f8": curve.f_beta(8), "prd50_full_f1_8": curve.f_beta(1 / 8)}
        assert len(curve.recall) == ANGLES
    assert lines[0]["details"] != lines[1]["details"] and set(lines[2]["interval95"]) == set(lines[0]["results"])
    assert "details" not in (tmp_path / "out" / "metric-fid50_full.jsonl").read_text()
    # Without a folder there is the line alone.
    said = run(calc_metrics, *world[:3], "--metrics=prd50_full", "--verbose=0").splitlines()
    (line,) = [json.loads(each) for each in said if each.startswith("{")]
    assert line["results"] == lines[0]["results"] and "details" not in line
    result = CliRunner().invoke(calc_metrics, [*world, "--metrics=prd19", "--allow-code"])
    assert (
        result.exit_code == 1 and "needs 20 real and 20 generated images or more; there are 19 and 19" in result.output
    )


def test_a_sweep_draws_the_curves(tmp_path, world):
    options = ["--metrics=prd50_full,pr1k3_full", "--trunc=0.5,1", "--repeats=2"]
    said = run(sweep, *world, *options)
    assert "prd.png" in said and "pareto.png" in said  # which prd has no part in
    assert np.asarray(PIL.Image.open(tmp_path / "out" / "prd.png").convert("L")).std() > 5
    rows = [json.loads(line) for line in (tmp_path / "out" / "sweep.jsonl").read_text().splitlines()]
    found = sweep_charts.details_of(rows, tmp_path / "out")
    assert list(found) == ["prd50_full"] and list(found["prd50_full"]) == ["prior ψ 0.5", "prior ψ 1"]
    assert all(len(each) == 2 for each in found["prd50_full"].values())
    # Damaged or missing files are told, and the others drawn.
    names = rows[0]["details"].split()
    (tmp_path / "out" / names[0]).unlink()
    (tmp_path / "out" / names[1]).write_bytes(b"no archive")
    with pytest.warns(UserWarning, match="left out of the charts") as told:
        found = sweep_charts.details_of(rows, tmp_path / "out")
    assert len(told) == 2 and list(found["prd50_full"]) == ["prior ψ 1"]


@pytest.mark.parametrize(
    "arrays",
    [
        dict(precision=np.zeros(5)),
        dict(precision=np.zeros(5), recall=np.zeros(4)),
        dict(precision=np.zeros((2, 2)), recall=np.zeros((2, 2))),
        dict(precision=np.array([1.0, np.nan]), recall=np.zeros(2)),
        dict(precision=np.zeros(2, dtype=int), recall=np.zeros(2, dtype=int)),
        dict(precision=np.zeros(0), recall=np.zeros(0)),
    ],
)
def test_details_that_charts_cannot_show_are_left_out(tmp_path, arrays):
    write_details(tmp_path, "prd5", arrays)
    row = dict(
        sampler="prior", trunc=1, mix=1, details=f"{details_name('prd5', arrays)} ../x.npz metric-fid-{'0' * 16}.npz"
    )
    with pytest.warns(UserWarning, match="no recall and precision as the metric has them"):
        assert sweep_charts.details_of([row], tmp_path) == {}


def test_a_file_of_another_make_is_no_file_of_details(tmp_path):
    name = details_name("prd5", dict(precision=np.zeros(3)))
    write_arrays(tmp_path / name, dict(format="something else"), dict(details=dict(precision=torch.zeros(3))))
    with pytest.raises(DetailsError, match="a file of the format 'something else'"):
        read_details(tmp_path, name)
    np.savez(tmp_path / name, header=np.array(json.dumps(dict(format="latent-plugins metric details 1"))),
             **{"details/a": np.array(["text"])})  # fmt: skip
    with pytest.raises(DetailsError, match="damaged"):
        read_details(tmp_path, name)


def test_figures_are_a_dict_that_travels():
    import pickle

    found = pickle.loads(pickle.dumps(Figures(dict(a=1.0), details=dict(x=np.ones(2)), about=dict(n=3))))
    assert found == dict(a=1.0) and found.about == dict(n=3) and found.details["x"].tolist() == [1, 1]


def test_a_summary_has_the_mean_quantiles_and_all_files():
    line = dict(results=dict(a=1.0), metric="a", total_time=1.0, ess=None)
    lines = [line | dict(seed=i, repeat=i, quantiles=dict(median=float(i)), details=f"file{i}") for i in range(3)]
    found = summary_line(lines)
    assert found["quantiles"] == dict(median=1.0) and found["details"] == ["file0", "file1", "file2"]
