"""calc_metrics and what it is made of: figures, mixtures, caches, repeats, bad input, interruption."""

import json
import re

import numpy as np
import pytest
import scipy.linalg
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import SmallDetector, write_torchscript
from helpers.image_zips import random_images, write_zip
from helpers.small_networks import small_stylegan3

from cli.calc_metrics import main as calc_metrics
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.download import cache_folder
from dnnlib_compat.loader import load_network
from latent_plugins.metrics import evaluate as evaluation
from latent_plugins.metrics import generated, kid
from latent_plugins.metrics import inputs as metric_inputs
from latent_plugins.metrics import real as real_module
from latent_plugins.metrics.accumulators import Moments, Table
from latent_plugins.metrics.earth_mover import earth_mover_distance
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.lines import append_line, format_time, mean_and_interval
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.metrics.real import RealImages, Request, chosen_images
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.mixture import MixtureSampler

OFFICIAL_KEYS = ["results", "metric", "total_time", "total_time_str", "num_gpus", "snapshot_pkl", "timestamp"]


def run(*args, fails=False):
    """Everything a command printed; it must succeed, or, with `fails`, end with code 1 and one line of error."""
    result = CliRunner().invoke(calc_metrics, [str(arg) for arg in args] + ["--allow-code"])
    if fails:
        assert result.exit_code != 0 and not isinstance(result.exception, (ValueError, KeyError)), result.output
        return result.output
    assert result.exit_code == 0, result.output
    return result.output


def lines(*args):
    """The result lines of a command."""
    return [json.loads(line) for line in run(*args, "--verbose=0").splitlines() if line.startswith("{")]


@pytest.fixture
def world(tmp_path):
    """Options for a small network, a data set of its size and a small detector."""
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(60))
    detector = write_torchscript(tmp_path / "small.pt")
    return [f"--network={network}", f"--data={data}", f"--detector={detector}"]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_fid_of_the_whole_chain_against_a_plain_computation(tmp_path, world):
    """Latents, images, features, moments and distance, each by the most direct means."""
    (line,) = lines(*world, "--metrics=fid100_full", "--noise-mode=const", "--seed=3")
    generator = load_network(tmp_path / "net.npz")
    z = torch.randn(100, 8, generator=torch.Generator().manual_seed(3))
    images = (generator(z, torch.zeros(100, 0)) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    torch.manual_seed(0)
    network = SmallDetector()
    with torch.no_grad():
        fake = network(images.repeat(1, 3, 1, 1), return_features=True).double().numpy()
        pixels = torch.from_numpy(random_images(60)).permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
        real = network(pixels, return_features=True).double().numpy()
    covariances = [np.cov(x, rowvar=False, ddof=0) for x in (fake, real)]
    root = np.real(scipy.linalg.sqrtm(covariances[0] @ covariances[1]))
    expected = ((fake.mean(0) - real.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert line["results"]["fid100_full"] == pytest.approx(expected, rel=1e-5)


def test_a_line_has_the_official_keys_and_says_how_it_was_made(world):
    (line,) = lines(*world, "--metrics=fid50_full")
    assert list(line)[:7] == OFFICIAL_KEYS and list(line["results"]) == ["fid50_full"]
    assert line["metric"] == "fid50_full" and line["num_gpus"] == 1
    more = {"sampler": "prior", "space": None, "rho": None, "mix": 1.0, "seed": 0, "ess": None, "trunc": 1.0}
    assert {key: line[key] for key in more} == more
    assert line["detector"] == "small.pt" and line["data"] == "real"


def test_one_pass_serves_all_metrics_and_each_figure_is_that_of_a_run_of_its_own(world, monkeypatch):
    passes = []
    original = evaluation.generated_batches
    monkeypatch.setattr(evaluation, "generated_batches", lambda *a, **k: passes.append(1) or original(*a, **k))
    names = [
        "fid80_full",
        "fid50_full",
        "kid80_full",
        "pr1k3_full",
        "dc1k5_full",
        "pr_exact80_full",
        "is80",
        "emd50",
        "fid_unbiased80",
        "f1_80_full",
        "hausdorff50",
    ]
    together = {line["metric"]: line["results"] for line in lines(*world, f"--metrics={','.join(names)}")}
    assert len(passes) == 1 and list(together) == names
    assert set(together["pr1k3_full"]) == {"pr1k3_full_precision", "pr1k3_full_recall"}
    assert set(together["pr_exact80_full"]) == {"pr_exact80_full_precision", "pr_exact80_full_recall"}
    assert set(together["f1_80_full"]) == {"f1_80_full"} and together["hausdorff50"]["hausdorff50"] > 0
    assert set(together["dc1k5_full"]) == {"dc1k5_full_density", "dc1k5_full_coverage"}
    assert set(together["is80"]) == {"is80_mean", "is80_std"}
    for name in names:
        (alone,) = lines(*world, f"--metrics={name}")
        assert alone["results"] == pytest.approx(together[name], rel=1e-6)


def test_the_batch_size_changes_nothing_but_rounding(world):
    figures = [
        lines(*world, "--metrics=fid50_full", "--noise-mode=const", f"--batch={batch}")[0]["results"]["fid50_full"]
        for batch in (7, 50)
    ]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


@pytest.mark.bitwise
def test_seeds_decide_everything(world):
    first, again, other = (lines(*world, "--metrics=fid50_full", f"--seed={s}")[0]["results"] for s in (0, 0, 1))
    assert first == again != other


def test_flips_count_in_the_legacy_metrics_alone(world):
    plain = {line["metric"]: line["results"] for line in lines(*world, "--metrics=fid100_full,fid100")}
    mirrored = {line["metric"]: line["results"] for line in lines(*world, "--metrics=fid100_full,fid100", "--mirror=1")}
    assert plain["fid100"]["fid100"] == plain["fid100_full"]["fid100_full"]  # there are but 60 images
    assert mirrored["fid100_full"] == plain["fid100_full"] and mirrored["fid100"] != plain["fid100"]


def test_path_length_and_equivariance_run_on_their_networks(tmp_path, world):
    found = lines(*world, "--metrics=ppl2_wend_20,ppl_zfull_20")
    assert all(0 < value < 1e9 for line in found for value in line["results"].values())
    assert [line["metric"] for line in found] == ["ppl2_wend_20", "ppl_zfull_20"]
    network = write_network(tmp_path / "sg3.npz", small_stylegan3())
    found = lines(f"--network={network}", "--metrics=eqt8_int,eqt8_frac,eqr8")
    assert all(np.isfinite(list(line["results"].values())).all() for line in found) and len(found) == 3
    assert "the metric is for StyleGAN3" in run(*world, "--metrics=eqr8", fails=True)
    assert "defined without truncation" in run(*world, "--metrics=ppl2_wend_20", "--trunc=0.5", fails=True)


def test_a_conditional_network_draws_the_labels_of_the_data_set(tmp_path, world):
    network = write_network(tmp_path / "cond.npz", small_stylegan2(c_dim=3))
    labels = [0] * 15 + [2] * 45
    data = write_zip(tmp_path / "labelled.zip", random_images(60), labels)
    options = [f"--network={network}", f"--data={data}", world[2]]
    assert lines(*options, "--metrics=fid50_full")[0]["results"]["fid50_full"] > 0
    real = RealImages(data, resolution=16, channels=1, label_dim=3)
    drawn = real.labels(4000, seed=0)
    assert torch.equal(drawn[:100], real.labels(100, seed=0))  # a row depends on nothing but seed and number
    shares = drawn.mean(dim=0).numpy()
    assert shares[1] == 0 and shares[2] == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))
    found = lines(*options, "--metrics=fid50_full", "--sampler=magnet", "--candidates=200")
    assert found[0]["space"] == "z:w" and 1 <= found[0]["ess"] <= 200
    assert "a conditional network needs labels" in run(options[0], *world[1:], "--metrics=fid50_full", fails=True)
    assert "draws labels from" in run(options[0], world[2], "--metrics=is50", fails=True)


@pytest.mark.bitwise
def test_moments_and_tables_take_what_is_missing():
    x = torch.randn(3000, 5, generator=torch.Generator().manual_seed(0))
    taken = x[:2500].double().numpy()
    expected = None
    for size in (32, 700, 3000):
        moments, table = Moments(2500), Table(2500)
        for part in x.split(size):
            moments.add(part)
            table.add(part)
        assert moments.count == table.count == 2500 and torch.equal(table.features(), x[:2500])
        for ddof in (0, 1):
            mean, cov = moments.mean_cov(ddof)
            np.testing.assert_allclose(mean, taken.mean(0), atol=1e-12)
            np.testing.assert_allclose(cov, np.cov(taken, rowvar=False, ddof=ddof), atol=1e-12)
        expected = cov if expected is None else expected
        assert np.array_equal(cov, expected)  # whatever the batches were


# --- samplers and mixtures --------------------------------------------------------------------------------------------


class Marked:
    """A sampler whose latents are all the same number."""

    def __init__(self, value):
        self.value = value

    def sample(self, n, generator, c=None):
        from latent_plugins.samplers import Latents

        return Latents(torch.full((n, 2), float(self.value)), torch.zeros(n, 0))

    def draw(self, seeds, c=None):
        return self.sample(len(seeds), None)


@pytest.mark.parametrize("fraction", [0, 0.041, 0.5, 1])
def test_a_mixture_has_exactly_its_share_and_larger_ones_keep_the_places(fraction):
    def chosen(share):
        z = MixtureSampler(Marked(1), Marked(0), share).sample(1000, torch.Generator().manual_seed(5)).z
        return set(np.flatnonzero(z[:, 0].numpy()))

    assert len(chosen(fraction)) == round(1000 * fraction)
    assert chosen(fraction) <= chosen(min(1, fraction + 0.3))
    seeds = np.arange(4000)
    drawn = MixtureSampler(Marked(1), Marked(0), fraction).draw(seeds).z[:, 0].numpy()
    assert abs(drawn.mean() - fraction) <= 4 * np.sqrt(fraction * (1 - fraction) / 4000)
    again = MixtureSampler(Marked(1), Marked(0), fraction).draw(seeds[::-1]).z[:, 0].numpy()
    assert np.array_equal(again, drawn[::-1])  # a seed decides alone


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_mixtures_of_mixtures_have_the_shares_that_they_say(how):
    one, two, three = (Marked(value) for value in (1, 2, 3))
    for mixture, shares in (
        (MixtureSampler(MixtureSampler(one, two, 0.5), three, 0.5), (0.25, 0.25, 0.5)),
        (MixtureSampler(one, MixtureSampler(two, three, 0.5), 0.5), (0.5, 0.25, 0.25)),
    ):
        random = torch.Generator().manual_seed(0)
        z = (mixture.draw(np.arange(4000)) if how == "draw" else mixture.sample(4000, random)).z[:, 0].numpy()
        for value, share in zip((1, 2, 3), shares):
            assert (z == value).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))


@pytest.mark.bitwise
def test_mix_zero_is_the_prior_and_mix_one_the_sampler(world):
    common = ["--metrics=fid50_full", "--candidates=500"]
    magnet = lines(*world, *common, "--sampler=magnet", "--mix=0,0.5,1")
    assert [line["mix"] for line in magnet] == [0, 0.5, 1]
    prior = lines(*world, "--metrics=fid50_full")[0]["results"]
    alone = lines(*world, *common, "--sampler=magnet")[0]["results"]
    assert magnet[0]["results"] == prior != magnet[1]["results"]
    assert magnet[2]["results"] == alone != prior


def test_a_sweep_gives_a_line_a_setting_and_opens_everything_once(own_cache, world, monkeypatch):
    built, computed = [], []
    from latent_plugins.atlas import together as atlases

    build, dataset = atlases.build_together, real_module.RealImages.compute
    monkeypatch.setattr(atlases, "build_together", lambda *a: built.append(1) or build(*a))

    def compute(self, requests, *rest):
        computed.extend(requests)
        return dataset(self, requests, *rest)

    monkeypatch.setattr(real_module.RealImages, "compute", compute)
    found = lines(
        *world, "--metrics=fid50_full", "--sampler=polarity", "--rho=-1,0,1", "--trunc=0.5,1", "--candidates=300"
    )
    assert [(line["rho"], line["trunc"]) for line in found] == [(r, t) for r in (-1, 0, 1) for t in (0.5, 1)]
    assert len({line["results"]["fid50_full"] for line in found}) == 6
    assert len(built) == 1 and len(computed) == 1
    assert all(line["top_k"] and line["candidates"] == 300 for line in found)


def test_samplers_without_enough_candidates_are_refused_before_any_work(world):
    few = ("--metrics=fid500_full", "--sampler=magnet", "--candidates=100")
    message = run(*world, *few, "--without-replacement", fails=True)
    assert "500 samples are more than the 100 candidates" in message
    (ordered,) = lines(*world, "--metrics=fid50_full", *few[1:], "--without-replacement")
    assert ordered["effective_rho"] < 0.9 and ordered["distinct"] == 50
    (line,) = lines(*world, *few)
    assert line["effective_rho"] is None and line["ess"] < 100 and 0 < line["distinct"] <= 100
    assert line["drawn_log_volume"] == pytest.approx(line["law_log_volume"], abs=0.1)


# --- output -----------------------------------------------------------------------------------------------------------


def test_results_are_appended_to_the_official_file(world, tmp_path):
    out = tmp_path / "out"
    printed = lines(*world, "--metrics=fid50_full,is50", f"--outdir={out}")
    printed += lines(*world, "--metrics=fid50_full", f"--outdir={out}", "--seed=1")
    stored = [json.loads(line) for line in (out / "metric-fid50_full.jsonl").read_text().splitlines()]
    assert stored == [printed[0], printed[2]] and printed[0]["snapshot_pkl"] == "../net.npz"
    assert (out / "metric-is50.jsonl").exists()


def test_a_network_in_its_training_run_gets_its_results_there(world, tmp_path):
    (tmp_path / "training_options.json").write_text("{}")
    lines(*world, "--metrics=is50")
    stored = json.loads((tmp_path / "metric-is50.jsonl").read_text())
    assert stored["snapshot_pkl"] == "net.npz"


def test_repeats_give_an_interval_around_their_mean(world):
    *single, summary = lines(*world, "--metrics=fid50_full", "--repeats=4", "--seed=10")
    values = [line["results"]["fid50_full"] for line in single]
    assert [line["seed"] for line in single] == summary["seeds"] == [10, 11, 12, 13]
    assert summary["results"]["fid50_full"] == pytest.approx(np.mean(values))
    low, high = summary["interval95"]["fid50_full"]
    half = 3.182446 * np.std(values, ddof=1) / 2  # Student's t with 3 degrees of freedom
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), rel=1e-5)
    assert mean_and_interval([1, 1, 1]) == (1, [1, 1])
    *_, wider = lines(*world, "--metrics=fid50_full", "--repeats=4", "--seed=10", "--confidence=0.97")
    half = 3.896046 * np.std(values, ddof=1) / 2
    assert wider["interval97"]["fid50_full"][1] == pytest.approx(np.mean(values) + half, rel=1e-5)
    assert "interval95" not in wider
    assert "--confidence is of the intervals" in run(*world, "--metrics=fid50_full", "--confidence=0.9", fails=True)


def test_repeats_on_one_atlas_say_what_their_interval_leaves_out(world):
    atlas = ("--metrics=fid50_full", "--sampler=polarity", "--rho=0.5", "--candidates=400", "--repeats=3")
    shared, fresh = lines(*world, *atlas), lines(*world, *atlas, "--fresh-atlas")
    assert all("the repeats share one atlas" in line["interval_leaves_out"] for line in shared)
    assert not any("interval_leaves_out" in line for line in fresh)
    assert len({line["law_log_volume"] for line in shared[:3]}) == 1  # the same candidates
    assert len({line["law_log_volume"] for line in fresh[:3]}) == 3
    for found in (shared, fresh):
        for key in ("ess", "distinct", "law_log_volume", "drawn_log_volume"):
            assert found[-1][key] == pytest.approx(np.mean([line[key] for line in found[:3]]))
    for options, message in (
        (["--sampler=prior", "--repeats=2"], "--fresh-atlas is for --repeats of a sampler with an atlas"),
        (["--sampler=magnet"], "--fresh-atlas is for --repeats of a sampler with an atlas"),
        (["--sampler=magnet", "--repeats=2", "--atlas=."], "leave --atlas out"),
    ):
        assert message in run(*world, "--metrics=fid50_full", *options, "--fresh-atlas", fails=True)


def test_a_truncation_stays_with_the_part_that_asked_for_it(world, monkeypatch):
    """Half of the images are truncated, the others are the prior's own, whatever psi the sampler has."""
    seen = []
    original = generated.generated_batches

    def watched(generator, latents, shares, **options):
        seen.append((latents.psi, options["psi"]))
        return original(generator, latents, shares, **options)

    monkeypatch.setattr(evaluation, "generated_batches", watched)
    mixed, alone = (
        lines(*world, "--metrics=fid50_full", "--sampler=truncation", mix) for mix in ("--mix=0.5", "--mix=1")
    )
    (psi, others), (every, _) = seen
    assert others == 1 and np.isnan(psi).sum() == 25 and (psi[~np.isnan(psi)] == 0.7).all() and (every == 0.7).all()
    assert mixed[0]["trunc"] == alone[0]["trunc"] == 0.7 and mixed[0]["results"] != alone[0]["results"]
    message = run(*world, "--metrics=ppl_wend_4", "--sampler=truncation", fails=True)
    assert "defined without truncation" in message


def test_images_are_written_on_request(world, tmp_path):
    run(*world, "--metrics=is50", f"--outdir={tmp_path / 'o'}", "--save-images=5", "--batch=3")
    written = sorted(p.name for p in (tmp_path / "o" / "images-trunc1-mix1").iterdir())
    assert written == [f"{i:06d}.png" for i in range(5)]
    assert "needs a folder" in run(*world, "--metrics=is50", "--save-images=5", fails=True)


def test_durations_are_written_as_the_official_commands_write_them():
    written = [format_time(s) for s in (0.4, 59, 60, 3599.6, 3600, 90061)]
    assert written == ["0s", "59s", "1m 00s", "1h 00m 00s", "1h 00m 00s", "1d 01h 01m"]


def test_finished_metrics_survive_a_run_that_is_killed(world, tmp_path, monkeypatch):
    original = kid.kernel_distance
    monkeypatch.setattr(kid, "kernel_distance", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt()))
    out = tmp_path / "out"
    args = [*world, "--metrics=fid50_full,kid50_full", f"--outdir={out}"]
    assert CliRunner().invoke(calc_metrics, [*args, "--allow-code"]).exit_code == 1
    assert (out / "metric-fid50_full.jsonl").exists() and not (out / "metric-kid50_full.jsonl").exists()
    monkeypatch.setattr(kid, "kernel_distance", original)
    run(*args)
    assert len((out / "metric-fid50_full.jsonl").read_text().splitlines()) == 2


def test_a_result_is_a_line_of_its_own_even_after_half_a_line(tmp_path):
    path = tmp_path / "metric-fid.jsonl"
    for i in range(2):
        append_line(tmp_path, dict(metric="fid", results={"fid": i}))
    with open(path, "a") as file:
        file.write('{"resul')
    append_line(tmp_path, dict(metric="fid", results={"fid": 2}))
    found = path.read_text().splitlines()
    assert len(found) == 4 and [json.loads(found[i])["results"]["fid"] for i in (0, 1, 3)] == [0, 1, 2]


# --- cache ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache" / "gan-metrics").glob("*.npz"))


@pytest.mark.bitwise
def test_statistics_are_kept_by_content_not_by_path(own_cache, world, tmp_path, monkeypatch):
    first = lines(*world, "--metrics=fid50_full,pr1k3_full")
    assert len(own_cache()) == 2 and cache_folder().name == "cache"
    copy = tmp_path / "elsewhere" / "real.zip"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / "real.zip").read_bytes())
    monkeypatch.setattr(RealImages, "compute", lambda self, requests, *rest: pytest.fail("read") if requests else 0)
    again = lines(world[0], f"--data={copy}", world[2], "--metrics=fid50_full,pr1k3_full")
    assert [line["results"] for line in again] == [line["results"] for line in first]
    monkeypatch.undo()


def test_changed_content_and_other_detectors_are_computed_anew(own_cache, world, tmp_path):
    before = lines(*world, "--metrics=fid50_full")[0]["results"]
    write_zip(tmp_path / "real.zip", random_images(60, seed=1))  # under the same path
    changed = lines(*world, "--metrics=fid50_full")[0]["results"]
    write_torchscript(tmp_path / "small.pt", seed=1)
    other = lines(*world, "--metrics=fid50_full")[0]["results"]
    assert before != changed != other and len(own_cache()) == 3
    lines(*world, "--metrics=fid50_full", "--no-cache", "--mirror=1")
    assert len(own_cache()) == 3


@pytest.mark.bitwise
def test_a_damaged_file_of_the_cache_is_computed_again(own_cache, world):
    before = lines(*world, "--metrics=fid50_full")[0]["results"]
    (path,) = own_cache()
    path.write_bytes(path.read_bytes()[:200])
    result = CliRunner().invoke(calc_metrics, [*world, "--metrics=fid50_full", "--allow-code"])
    assert result.exit_code == 0 and "damaged, computed again" in result.output
    assert lines(*world, "--metrics=fid50_full")[0]["results"] == before


# --- the embedded network, without a data set -------------------------------------------------------------------------


def test_the_default_needs_no_files(monkeypatch):
    (line,) = lines("--metrics=fid200_full")
    assert line["data"] == "mnist32-test" and line["detector"] == "mnist-classifier"
    assert 5 < line["results"]["fid200_full"] < 60
    assert "give the data set, --data=FILE" in run("--metrics=is200,emd20", "--mirror=1", fails=True)
    assert "give the data set, --data=FILE" in run(
        "--metrics=fid200_full", "--detector=inception=mnist-classifier", "--mirror=1", "--metrics=fid200", fails=True
    )


def test_shipped_statistics_are_those_of_the_data_set(data_folder):
    data = f"--data={data_folder / 'datasets' / 'mnist32-test.zip'}"
    names = "--metrics=fid300_full,kid300_full,pr1k3_full,emd100"
    shipped, read = lines(names), lines(names, data)
    assert shipped[0]["results"]["fid300_full"] == pytest.approx(read[0]["results"]["fid300_full"], rel=1e-6)
    assert shipped[1]["results"]["kid300_full"] == pytest.approx(read[1]["results"]["kid300_full"], rel=1e-3)
    assert shipped[2]["results"] == read[2]["results"]  # which rounds to float16 anyway
    assert shipped[3]["results"]["emd100"] == pytest.approx(read[3]["results"]["emd100"], rel=1e-4)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_bad_input_gets_one_line(world, tmp_path):
    network, data, detector = world
    other_size = write_zip(tmp_path / "large.zip", random_images(20, size=32))
    colour = write_zip(tmp_path / "colour.zip", random_images(20, channels=3))
    few = write_zip(tmp_path / "few.zip", random_images(3))
    corrupt = tmp_path / "corrupt.zip"
    corrupt.write_bytes(bytes(b ^ (i in range(3000, 3040)) for i, b in enumerate((tmp_path / "real.zip").read_bytes())))
    text = tmp_path / "text.pt"
    text.write_text("no detector")
    cases = {
        (
            network,
            f"--data={other_size}",
            detector,
            "--metrics=fid50_full",
        ): "images are 32x32, the network makes 16x16",
        (network, f"--data={colour}", detector, "--metrics=fid50_full"): "images are RGB, the network makes grayscale",
        (network, f"--data={few}", detector, "--metrics=pr1k3_full"): "needs at least 4 real and 4 generated images",
        (network, f"--data={few}", detector, "--metrics=pr1k3_full", "--seed=1"): "real images: few",
        (network, f"--data={few}", detector, "--metrics=fid50_full"): "3 real images give 32 features a singular cov",
        (network, data, detector, "--metrics=fid20_full"): "20 generated images give 32 features a singular cov",
        (network, f"--data={few}", detector, "--metrics=emd50"): "pairs 50 images with as many real ones; there are 3",
        (network, f"--data={corrupt}", detector, "--metrics=fid50_full"): r"img\d+\.png in it is damaged",
        (network, "--data=missing.zip", detector, "--metrics=fid50_full"): "no such file or folder",
        (network, data, f"--detector={text}", "--metrics=fid50_full"): "text.pt: not a feature detector",
        (network, data, "--detector=inceptoin", "--metrics=fid50_full"): "no such file or network name",
        (network, data, "--detector=image=mnist-classifier", "--metrics=fid50_full"): "pixels have no detector",
        (network, detector, "--metrics=fid50_full"): "could not look up the data set",
        (network, data, detector, "--metrics=fid50k_ful"): "did you mean fid50k_full",
        (network, data, detector, "--metrics=fid50_full", "--mix=2", "--sampler=magnet"): "2 is no share",
        (network, data, detector, "--metrics=fid50_full", "--mix=0.5"): "--mix has no effect with --sampler=prior",
        (network, data, detector, "--metrics=fid50_full", "--rho=0.5"): "--rho has no effect with --sampler=prior",
        (network, data, detector, "--metrics=fid50_full", "--sampler=polarity"): "polarity needs --rho",
        (network, data, detector, "--metrics=fid50_full", "--rho=a,b"): "'a,b' is not a list of numbers",
        (network, data, detector, "--metrics=is5"): "has 10 splits, so it needs 10 images",
        (network, data, detector, "--metrics=is50", f"--lpips-heads={text}"): "no effect without a path length metric",
        (
            network,
            data,
            detector,
            "--metrics=fid50_full",
            "--gpus=99",
            "--device=cpu",
            "--trunc=99",
        ): "not a truncation",
    }
    for args, message in cases.items():
        output = run(*args, fails=True)
        last = output.strip().splitlines()[-1]
        assert last.startswith("Error: ") and re.search(message, last), (args, output)
        assert "Traceback" not in output


def test_singular_covariances_are_computed_when_asked_for(world):
    (line,) = lines(*world, "--metrics=fid20_full", "--allow-singular")
    assert line["results"]["fid20_full"] > 0


def test_grayscale_networks_are_shown_to_rgb_detectors_and_no_other_way(tmp_path, world):
    network = write_network(tmp_path / "rgb.npz", small_stylegan2(img_channels=3, img_resolution=32))
    data = write_zip(tmp_path / "rgb.zip", random_images(20, size=32, channels=3))
    message = run(
        f"--network={network}", f"--data={data}", "--detector=mnist-classifier", "--metrics=fid50", fails=True
    )
    assert "mnist-classifier takes grayscale images, not 3 channels" in message


def test_detectors_can_be_given_part_by_part(world, tmp_path):
    second = write_torchscript(tmp_path / "second.pt", seed=5)
    found = lines(*world, f"--detector=vgg16={second}", "--metrics=fid50_full,pr1k3_full")
    assert [line["detector"] for line in found] == ["small.pt", "second.pt"]


def test_official_detectors_are_the_default(monkeypatch, tmp_path, world):
    asked = []

    def load(source, **options):
        asked.append(source)
        return load_detector(tmp_path / "small.pt", allow_code=True)

    monkeypatch.setattr(metric_inputs, "load_detector", load)
    lines(*world[:2], "--metrics=fid50_full,pr1k3_full,ppl2_wend_8")
    assert sorted(asked) == ["inception-2015-12-05", "vgg16"]  # path lengths and precision share theirs


def test_from_python(world, tmp_path):
    generator = load_network(tmp_path / "net.npz")
    detector = load_detector(tmp_path / "small.pt", allow_code=True)
    real = RealImages(tmp_path / "real.zip", resolution=16, channels=1)
    metrics = parse_metrics("fid50_full,is50")
    found = evaluate(
        metrics, generator, create_sampler("prior", generator), real, dict(inception=detector), noise_mode="const"
    )
    figures = {metric.name: figure for metric, figure, _ in found}
    (line,) = lines(*world, "--metrics=fid50_full", "--noise-mode=const")
    assert figures["fid50_full"] == line["results"]


def test_the_earth_mover_s_distance_by_its_detectors(tmp_path, world):
    """On features of its own detector each; with one for both parts they are the same figure."""
    same = lines(*world, "--metrics=emd30,emd_vgg30")
    assert same[0]["results"]["emd30"] == same[1]["results"]["emd_vgg30"] > 0
    other = write_torchscript(tmp_path / "other.pt", seed=3)
    network, data, detector = world
    apart = lines(network, data, detector, f"--detector=vgg16={other}", "--metrics=emd30,emd_vgg30")
    assert apart[0]["results"]["emd30"] == same[0]["results"]["emd30"] != apart[1]["results"]["emd_vgg30"]
    alone = lines(network, data, f"--detector={other}", "--metrics=emd30")
    assert alone[0]["results"]["emd30"] == apart[1]["results"]["emd_vgg30"]


def test_fresh_real_images_in_each_repeat(tmp_path, world):
    """They are those that the seed chooses, whatever the metric's detector, and no official figure changes."""
    network, data, detector = world
    generator, dataset = load_network(tmp_path / "net.npz"), ImageDataset(tmp_path / "real.zip")
    plain = lines(*world, "--metrics=emd30,fid50_full", "--noise-mode=const")
    found = lines(*world, "--metrics=emd30,fid50_full", "--fresh-real", "--repeats=2", "--noise-mode=const")
    emd = [line for line in found if line["metric"] == "emd30" and "repeat" in line]
    assert [line["real_images"] for line in emd] == ["chosen by the seed"] * 2
    full = next(line for line in found if line["metric"] == "fid50_full")
    assert full["results"] == plain[1]["results"] and "real_images" not in full
    opened = load_detector(tmp_path / "small.pt", allow_code=True)
    for seed, line in enumerate(emd):
        order = chosen_images(Request("", "", "", 30, False, seed), len(dataset), 30)
        assert len(set(order)) == 30 and order.tolist() != list(range(30))
        z = generator.sample_prior(30, torch.Generator().manual_seed(seed))
        real = opened(torch.from_numpy(np.stack([dataset.image(int(i)) for i in order]))).detach().numpy()
        images = (generator(z, torch.zeros(30, 0)) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        generated = opened(images).detach().numpy()
        assert line["results"]["emd30"] == pytest.approx(earth_mover_distance(real, generated), rel=1e-4)
    assert emd[0]["results"] != plain[0]["results"] and emd[0]["results"] != emd[1]["results"]
    output = run(*world, "--metrics=fid50_full", "--fresh-real", fails=True)
    assert "--fresh-real is for metrics of as many real images as generated ones" in output
