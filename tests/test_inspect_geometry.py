"""The report on a generator's geometry, from the command to its numbers; smoothed images."""

import dataclasses
import json
import math
import os
import sys

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.image_zips import random_images, write_zip
from helpers.maps import FunctionMap
from helpers.pickles import write_official
from helpers.pwa_networks import corner_network
from torch import nn

from cli.gen_images import main as gen_images
from cli.inspect_geometry import main as inspect_geometry
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from latent_plugins.geometry import report as reports
from latent_plugins.geometry.density import entropy_of
from latent_plugins.geometry.precision_bounds import balanced_modes, equal_modes
from latent_plugins.geometry.report import QUICK, SECTIONS, Subject, choose
from latent_plugins.geometry.report.concentration import principal_axes
from latent_plugins.geometry.report.entropy import entropy
from latent_plugins.geometry.report.latent_classes import BY_CONFIDENCE, BY_REAL, latent_classes
from latent_plugins.geometry.report.sequential import SequentialGenerator, is_sequential_file, read_sequential
from latent_plugins.geometry.report.subject import Figure, Section, plain, small_pixels, summary
from latent_plugins.geometry.smoothing import smoothed
from latent_plugins.pictures.files import to_uint8
from latent_plugins.priors import NormalPrior, SpherePrior, TruncatedNormalPrior
from latent_plugins.spaces import get_space, to_sphere

# Less than --quick takes.
SMALL = dataclasses.replace(
    QUICK,
    partition_resolution=8,
    classes_latents=300,
    classes_points=100,
    norms_latents=150,
    concentration_samples=320,
    sampler_candidates=dict.fromkeys(QUICK.sampler_candidates, 300),
)
SHEETS = {"columns.png", "inversion.png", "norms-order.png"}  # drawn without matplotlib
LEVEL = 1e-3  # of every statistical test here


def invoke(command, *args):
    return CliRunner().invoke(command, [str(arg) for arg in args])


def inspected(outdir, *args):
    """(report, output) of the command with --quick."""
    result = invoke(inspect_geometry, "--quick", "--outdir", outdir, *args)
    assert result.exit_code == 0, result.output
    # Python's reader takes NaN, JSON does not.
    text = (outdir / "report.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the report")), result.output


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with networks and a data set, and a cache of its own for all tests of this file."""
    folder = tmp_path_factory.mktemp("geometry")
    write_official(folder / "tiny.pkl", small_stylegan2())
    torch.save(corner_network(), folder / "corner.pt")
    torch.save(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 16)), folder / "tanh.pt")
    torch.save(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4)), folder / "line.pt")
    torch.save(nn.Sequential(nn.Linear(3, 8), nn.GRU(8, 2)), folder / "gru.pt")
    write_zip(folder / "digits.zip", random_images(40, size=32))
    write_zip(folder / "small.zip", random_images(40, size=16))
    return folder


def prepare(patch, files):
    patch.setenv("DNNLIB_CACHE_DIR", str(files / "cache"))
    patch.setattr("latent_plugins.geometry.report.QUICK", SMALL)


@pytest.fixture(autouse=True)
def one_cache_and_few_samples(files, monkeypatch):
    prepare(monkeypatch, files)


@pytest.fixture(scope="module")
def whole(files):
    """(report, output, outdir) of all sections of a small network, with real images."""
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, files)
        outdir = files / "whole"
        return *inspected(outdir, f"--network={files / 'tiny.pkl'}", f"--data={files / 'small.zip'}"), outdir


# ---------------------------------------------------------------------------------------------------------------------
# The command


def test_the_classes_are_those_of_as_many_sure_latents_as_are_asked_for(tmp_path):
    options = ["--sections=latent_classes", "--classes-latents=200", "--held-out=40", "--confidence=0.9"]
    report, _ = inspected(tmp_path / "a", *options)
    found = report["sections"]["latent_classes"]
    assert found["latents"] + found["latents_of_rare_classes_left_out"] == 200 and found["least_confidence"] == 0.9
    assert abs(found["linear_separability"]["latents_held_out"] - 40) <= 5  # of each class its share, rounded
    assert 0.5 < found["share_of_latents_this_sure"] < 1
    # Where everything counts, the share is one.
    report, _ = inspected(tmp_path / "b", "--sections=latent_classes", "--classes-latents=150")
    assert report["sections"]["latent_classes"]["share_of_latents_this_sure"] == 1
    never, _ = inspected(
        tmp_path / "c", "--sections=latent_classes", "--classes-latents=20", "--confidence=0.9999999999"
    )
    assert "ask for less confidence" in never["sections"]["latent_classes"]["note"]


@pytest.mark.parametrize("options, message", [
    (["--sections=entropy", "--confidence=0.7"], "have no effect without the section latent_classes; leave them out"),
    (["--classes-latents=100", "--held-out=100"], "leaves nothing to learn from: there are --classes-latents=100"),
])  # fmt: skip
def test_options_of_classes_that_make_no_sense(tmp_path, options, message):
    result = invoke(inspect_geometry, "--quick", f"--outdir={tmp_path / 'x'}", *options)
    assert result.exit_code == 1 and message in result.output.splitlines()[-1]


def test_a_report_has_all_sections_and_its_figures(whole):
    report, output, outdir = whole
    assert list(report["sections"]) == list(SECTIONS) and report["complete"]
    names = [name for section in report["sections"].values() for name in section.get("figures", [])]
    assert sorted(os.listdir(outdir)) == sorted([*names, "report.html", "report.json"])
    for name in names:
        PIL.Image.open(outdir / name).verify()
    for name, section in report["sections"].items():
        assert f"{name}: " in output and section["note"]
        assert section.get("exact") is False or section["skipped"]
    skipped = [name for name, section in report["sections"].items() if section.get("skipped")]
    assert skipped == ["latent_classes", "precision_bounds"]
    assert "no classifier in the catalogue" in report["sections"]["latent_classes"]["note"]


def test_a_report_says_how_to_make_it_again(whole, files):
    settings, network = whole[0]["settings"], whole[0]["network"]
    assert network["source"] == str(files / "tiny.pkl") and network["family"] == "stylegan2"
    assert (settings["space"], settings["domain"], settings["sampler_space"]) == ("z:pixel", "sphere", "z:w")
    assert settings["quick"] is True and settings["seed"] == 0 and settings["real_images"] == "small"
    assert settings["sample_counts"]["latents"] == SMALL.latents == whole[0]["sections"]["dimension"]["latents"]
    sampler = whole[0]["sections"]["lipschitz"]["magnet_sampler"]
    assert sampler["space"] == "z:w" and 1 <= sampler["effective_sample_size"] <= sampler["candidates"] == 300


@pytest.mark.bitwise
def test_sections_do_not_depend_on_each_other(whole, files, tmp_path):
    network = f"--network={files / 'tiny.pkl'}"
    found, _ = inspected(tmp_path / "a", network, "--sections=entropy,angularity")
    assert list(found["sections"]) == ["entropy", "angularity"]
    for name, section in found["sections"].items():
        assert section | dict(seconds=0) == whole[0]["sections"][name] | dict(seconds=0)
    other, _ = inspected(tmp_path / "b", network, "--sections=entropy", "--seed=1")
    assert other["sections"]["entropy"]["value"] != found["sections"]["entropy"]["value"]


def test_numbers_of_the_whole_report_fit_together(whole):
    sections = whole[0]["sections"]
    dimension = sections["dimension"]
    assert sum(dimension["latents_by_dimension"].values()) == dimension["latents"]
    assert dimension["intrinsic_dimension"]["largest"] <= dimension["largest_possible"] == 7
    entropy = sections["entropy"]
    assert entropy["is_differential_entropy"] and entropy["full_rank"] == 7
    assert entropy["value"] == pytest.approx(entropy["prior_entropy"] + entropy["log_volume"]["mean"])
    lipschitz = sections["lipschitz"]
    for name in ("prior", "magnet"):
        maxima = lipschitz[name]["largest_norm_of_each_repeat"]
        assert len(maxima) == lipschitz["repeats"] and max(maxima) == lipschitz[name]["lipschitz_estimate"]
    ratio = lipschitz["variance_of_prior_over_magnet"]
    assert ratio["low"] < ratio["ratio"] < ratio["high"]
    angularity = sections["angularity"]
    assert angularity["adjacent_pairs"] == SMALL.angularity_paths * SMALL.angularity_crossings
    assert 0 < angularity["angle"]["least"] <= angularity["angle"]["largest"] <= angularity["right_angle"]
    assert math.sin(angularity["angle"]["largest"]) == pytest.approx(angularity["sine"]["largest"])
    assert angularity["dimension"]["largest"] == 7 and angularity["hamming_distance_of_codes"]["least"] >= 1
    regions = sections["inversion"]["methods"]["regions"]["near_start"]
    assert regions["success_share"] == 1 and regions["error_over_variance"]["largest"] <= 1e-3
    assert sections["concentration"]["ball_share"]["real_images"] == 40
    counts = sections["concentration"]["neighbours_of_real_images"]["counts"]
    assert len(counts) == 2 * 3 * 3
    for first, second in zip(counts, counts[1:]):  # wider balls hold more
        assert second["radius"] < first["radius"] or first["mean"] <= second["mean"] <= second["samples"]
    assert all(each["variance"] >= 0 and 0 <= each["without_any"] <= 1 for each in counts)
    for name in ("prior", "magnet"):
        shares = sections["concentration"]["ball_share"][name]["share_within_a_ball"]
        assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1


def test_without_matplotlib_numbers_and_plain_sheets_are_written(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    sections = "--sections=dimension,disentanglement"
    found, output = inspected(tmp_path, f"--network={files / 'tiny.pkl'}", sections)
    warning = [line for line in output.splitlines() if "warning" in line]
    assert len(warning) == 1 and "matplotlib is not installed" in warning[0] and "[geometry]" in warning[0]
    assert set(os.listdir(tmp_path)) == {"columns.png", "report.html", "report.json"}
    assert found["sections"]["dimension"]["figures"] == []


def test_an_interrupted_report_keeps_what_is_finished(files, tmp_path, monkeypatch):
    def interrupted(subject):
        raise KeyboardInterrupt

    def half_a_figure(subject):
        def write(path):
            raise KeyboardInterrupt

        return Section(dict(note=""), (Figure("half.png", write),))

    for broken in (interrupted, half_a_figure):
        monkeypatch.setattr("latent_plugins.geometry.report.disentanglement.disentanglement", broken)
        result = invoke(
            inspect_geometry, "--quick", "--outdir", tmp_path, f"--network={files / 'tiny.pkl'}",
            "--sections=entropy,disentanglement",
        )  # fmt: skip
        assert result.exit_code == 1
        assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]
        found = json.loads((tmp_path / "report.json").read_text())
        assert list(found["sections"]) == ["entropy"] and found["complete"] is False


def test_what_cannot_be_computed_is_said_and_the_rest_goes_on(files, tmp_path):
    found, output = inspected(
        tmp_path, f"--network={files / 'tiny.pkl'}", "--space=w:pixel", "--sections=entropy,disentanglement"
    )
    assert found["sections"]["entropy"]["skipped"] and "styles have no known density" in output
    assert found["sections"]["disentanglement"]["column_cosine"]["mean"] > 0
    found, _ = inspected(tmp_path / "line", f"--network={files / 'line.pt'}", "--sections=partition,dimension")
    assert "at least two inputs" in found["sections"]["partition"]["note"]
    assert found["sections"]["dimension"]["largest_possible"] == 1


def test_style_space_needs_no_images(files, tmp_path):
    sections = "--sections=partition,disentanglement,inversion"
    found, _ = inspected(tmp_path, f"--network={files / 'tiny.pkl'}", "--space=style", sections)
    assert found["settings"]["space"] == "z:w" and not SHEETS & set(os.listdir(tmp_path))
    assert found["sections"]["inversion"]["methods"]["regions"]["near_start"]["success_share"] == 1


def test_as_many_regions_as_are_asked_for(files, tmp_path):
    options = [f"--network={files / 'tiny.pkl'}", "--sections=disentanglement", "--disentanglement-latents=37"]
    found, _ = inspected(tmp_path, *options)
    assert found["sections"]["disentanglement"]["latents"] == 37
    assert found["settings"]["sample_counts"]["disentanglement_latents"] == 37


def test_conditional_networks_take_a_class(tmp_path):
    network = f"--network={write_official(tmp_path / 'net.pkl', small_stylegan2(c_dim=3))}"
    found, _ = inspected(tmp_path / "out", network, "--class=2", "--sections=lipschitz,disentanglement")
    assert found["settings"]["class_number"] == 2 and found["sections"]["lipschitz"]["prior"]


def test_the_embedded_network_is_compared_with_its_shipped_statistics(tmp_path):
    found, _ = inspected(tmp_path, "--sections=latent_classes")
    classes = found["sections"]["latent_classes"]
    linear = classes["linear_separability"]
    assert found["settings"]["real_images"] and len(classes["classes"]) == 10
    assert classes["convexity_with_precision"]["precision_means"].startswith(BY_REAL)
    # Guessing gets a held-out latent right with the share of the largest class.
    n, guess = linear["latents_held_out"], linear["accuracy_of_guessing"]
    assert linear["accuracy"] > guess + scipy.stats.norm.isf(LEVEL) * math.sqrt(guess * (1 - guess) / n)
    assert all(0 <= each["precision"] <= 1 and 0 <= each["convexity"] <= 1 for each in classes["classes"])


@pytest.fixture(scope="module")
def norms_and_bounds(files):
    """The sections of norms and bounds of the embedded network."""
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, files)
        report, _ = inspected(files / "norms", "--sections=jacobian_norms,precision_bounds")
        return report["sections"]


def test_precision_falls_along_the_jacobians_norms(norms_and_bounds):
    norms = norms_and_bounds["jacobian_norms"]
    assert set(norms["figures"]) == {"norms-order.png", "norms.png", "marginal-precision.png"}
    # Ones are the plainest of the digits.
    means = {each["name"]: each["frobenius_norm"]["mean"] for each in norms["classes"]}
    assert sorted(means) == list(range(10)) and min(means, key=means.get) == 1
    marginal = norms["marginal_precision"]
    assert marginal["images"] == [15] * 10 and marginal["kept"][-1] == 1
    right = [[round(15 * p) for p in part] for part in (marginal["marginal"][:5], marginal["marginal"][-5:])]
    table = [[sum(part), 75 - sum(part)] for part in right]
    assert scipy.stats.fisher_exact(table, alternative="greater").pvalue < 0.01


def test_bounds_stand_beside_the_precision_measured(norms_and_bounds):
    bounds = norms_and_bounds["precision_bounds"]
    assert bounds["figures"] == ["precision-bounds.png"] and 0.5 < bounds["precision"] < 1
    epsilon = bounds["distance_of_nearest_images"] / (2 * bounds["lipschitz_constant"])
    assert bounds["epsilon"] == pytest.approx(epsilon) and 4 <= bounds["modes"] <= 10
    assert bounds["distance_of_nearest_images"] < bounds["distance_of_nearest_means"]
    assert bounds["bounds"]["theorem_3_2_3"] == equal_modes(epsilon, bounds["modes"])
    assert bounds["bounds"]["corollary_3_3_1"] == balanced_modes(bounds["epsilon_min"], bounds["modes"])
    assert sum(bounds["class_shares"]["shares"]) == pytest.approx(100)
    assert 0 <= bounds["assumption_4"]["pairs_with_no_mode_between"] <= 1


def test_real_images_take_the_place_of_shipped_ones(files, tmp_path):
    found, _ = inspected(tmp_path, f"--data={files / 'digits.zip'}", "--sections=latent_classes")
    classes = found["sections"]["latent_classes"]
    assert classes["convexity_with_precision"]["precision_means"].endswith("40 of digits")
    # Random blocks are no digits.
    assert max(each["precision"] for each in classes["classes"]) < 0.5


def test_confidence_stands_in_without_real_images():
    generator = load_network("mnist32")
    about = dict(detector=load_detector("mnist-classifier"))
    subject = Subject(generator, get_space(generator, "style"), SMALL, 15, **about)
    facts = latent_classes(subject).facts
    assert facts["convexity_with_precision"]["precision_means"] == BY_CONFIDENCE
    # The surest of ten classes has more than a tenth.
    assert all(0.1 < each["precision"] <= 1 for each in facts["classes"])


BAD = [
    ("--sections=partition,curvature", "unknown section 'curvature'; known sections: partition, dimension"),
    ("--sections=", "unknown section ''"),
    ("--space=fourier", "unknown space 'fourier'"),
    ("--sampler-space=fourier", "unknown space 'fourier'"),
    ("--outdir=tiny.pkl", "tiny.pkl"),
    ("--network=nothing.pkl", "no such file or network name"),
    ("--network=tiny.pkl --exact-partition", "leave out --exact-partition for a sampled partition"),
    ("--network=tanh.pt --exact-partition", "leave out --exact-partition for a sampled partition"),
    ("--network=corner.pt --space=style", "no styles (w)"),
    ("--network=corner.pt --sampler-space=style", "no styles (w)"),
    ("--network=gru.pt", "not a Sequential of known layers"),
    (
        "--network=tiny.pkl --sections=entropy --disentanglement-latents=9",
        "no effect without the section disentanglement",
    ),
    ("--network=tiny.pkl --disentanglement-latents=0", "0 is not in the range"),
    ("--network=tiny.pkl --sections=entropy --data=small.zip", "--data has no effect without one of the sections"),
    ("--network=tiny.pkl --sections=concentration --data=digits.zip", "images are 32x32, the network makes 16x16"),
    ("--seed=-1", "-1 is not in the range"),
    ("--max-memory=lots", "'lots' is not a size"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_bad_input_gets_one_line(files, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(files)
    outdir = [] if "--outdir" in options else [f"--outdir={tmp_path / 'out'}"]
    result = invoke(inspect_geometry, *outdir, "--quick", *options.split())
    assert result.exit_code in (1, 2) and message in result.output
    assert len([line for line in result.output.splitlines() if "Error" in line]) == 1
    assert not (tmp_path / "out" / "report.json").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Plain networks


def test_the_partition_of_a_plain_network_is_exact(files, tmp_path):
    """Lines z₀ = 0, z₁ = 0 and z₀ + z₁ = 1 cut the plane into seven regions; slopes are those of CORNER_REGIONS."""
    options = [f"--network={files / 'corner.pt'}", "--sections=partition,dimension,entropy", "--exact-partition"]
    found, _ = inspected(tmp_path, *options)
    partition = found["sections"]["partition"]
    assert partition["exact"] is True and partition["regions"] == 7
    assert partition["area"]["mean"] * 7 == pytest.approx(36) and partition["slice"]["area"] == 36
    assert partition["regions_inside_the_slice"] == 1 and partition["regions_without_full_rank"] == 0
    assert partition["log_volume"]["least"] == pytest.approx(0, abs=1e-6)
    dimension = found["sections"]["dimension"]
    assert dimension["region_bound"]["bound"]["mean"] == 2
    assert dimension["rank_bound_of_the_layers"] == 2 and dimension["latents_by_dimension"] == {"2": SMALL.latents}
    entropy = found["sections"]["entropy"]
    assert entropy["is_differential_entropy"] and entropy["prior"].startswith("N(0, I) in 2")
    assert entropy["prior_entropy"] == pytest.approx(NormalPrior(2).entropy)


def test_angles_between_adjacent_regions(files, tmp_path):
    """Across z₀ + z₁ = 1 the planes leave x₂ = 0, whose cosines with them are 2/7, 1/√19 and 6/√153 (slopes (2 or 1,
    0, 3) and (0, 1 or 3, 3)): the largest angle of the square of half side 3, whose other pairs are nearer."""
    options = [f"--network={files / 'corner.pt'}", "--sections=partition,angularity"]
    found, _ = inspected(tmp_path, *options)
    angularity, partition = found["sections"]["angularity"], found["sections"]["partition"]
    assert angularity["exact"] is True and angularity["adjacent_pairs"] == partition["neighbours_mean"] * 7 / 2
    assert angularity["angle"]["largest"] == pytest.approx(math.acos(1 / math.sqrt(19)), abs=1e-12)
    assert partition["hamming_distance_of_neighbours"] == angularity["hamming_distance_of_codes"]
    assert angularity["hamming_distance_of_codes"]["largest"] == 2
    # More inputs: straight paths.
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 4)), tmp_path / "three.pt")
    found, _ = inspected(tmp_path / "b", f"--network={tmp_path / 'three.pt'}", "--sections=angularity")
    angularity = found["sections"]["angularity"]
    assert angularity["exact"] is True and angularity["hamming_distance_of_codes"]["mean"] == 1
    found, _ = inspected(tmp_path / "c", f"--network={files / 'tanh.pt'}", "--sections=angularity")
    assert "its image has no kinks" in found["sections"]["angularity"]["note"]


def test_inversion_over_all_regions(files, tmp_path):
    found, _ = inspected(tmp_path / "a", f"--network={files / 'corner.pt'}", "--sections=inversion")
    everywhere = found["sections"]["inversion"]["all_regions"]
    assert "exact partition" in everywhere["note"] and everywhere["certified_share"] == 1
    assert everywhere["distance"]["largest"] == everywhere["proven_lower_bound"]["largest"] < 1e-5
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 4)), tmp_path / "three.pt")
    found, _ = inspected(tmp_path / "b", f"--network={tmp_path / 'three.pt'}", "--sections=inversion")
    everywhere = found["sections"]["inversion"]["all_regions"]
    assert "integer program" in everywhere["note"] and everywhere["certified_share"] == 1
    assert everywhere["distance"]["largest"] < 1e-5
    found, _ = inspected(tmp_path / "c", f"--network={files / 'tanh.pt'}", "--sections=inversion")
    assert "all_regions" not in found["sections"]["inversion"]


def test_dimensions_under_noise(files, tmp_path):
    """Five hidden units and three outputs: dropout often leaves fewer than two of them."""
    found, _ = inspected(tmp_path, f"--network={files / 'corner.pt'}", "--sections=dropout")
    dropout, n = found["sections"]["dropout"], SMALL.dropout_draws
    narrow = dropout["random_networks"]["dropout"]["0.3"]["6"]
    assert sum(narrow["regions_by_dimension"].values()) == n and narrow["mean_without_noise"] == 6
    assert narrow["dimension"]["mean"] < dropout["random_networks"]["dropconnect"]["0.3"]["6"]["dimension"]["mean"]
    own = dropout["this_network"]["dropout"]["0.3"]
    assert own["mean_without_noise"] == 2 > own["dimension"]["mean"] and own["dimension"]["largest"] <= 2
    found, _ = inspected(tmp_path / "tanh", f"--network={files / 'tanh.pt'}", "--sections=dropout")
    assert "not Tanh" in found["sections"]["dropout"]["this_network"]["note"]


def test_other_plain_networks_are_sampled(files, tmp_path):
    found, _ = inspected(tmp_path, f"--network={files / 'tanh.pt'}", "--sections=partition")
    assert found["sections"]["partition"]["exact"] is False
    assert found["sections"]["partition"]["cells"] == SMALL.partition_resolution**2
    assert "codes_found" not in found["sections"]["partition"]


@pytest.mark.bitwise
@pytest.mark.parametrize("layers, shape", [
    ([nn.Linear(3, 9)], (1, 3, 3)),
    ([nn.Linear(3, 6)], (6, 1, 1)),
    ([nn.Unflatten(1, (3, 1, 1)), nn.ConvTranspose2d(3, 2, 4)], (2, 4, 4)),
])  # fmt: skip
def test_outputs_of_plain_networks_become_images(layers, shape):
    network = nn.Sequential(*layers)
    generator, z = SequentialGenerator(network), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    images = generator(z, torch.zeros(5, 0), truncation_psi=0.5)
    assert images.shape == (5, *shape)
    assert torch.equal(images.flatten(1), network(0.5 * z).flatten(1))


def test_files_of_plain_networks_are_told_and_read(files):
    assert is_sequential_file(files / "corner.pt") and is_sequential_file(str(files / "gru.pt"))
    for name in ("tiny.pkl", "small.zip", "nothing.pt", "mnist32"):
        assert not is_sequential_file(files / name)
    z = torch.randn(4, 2)
    expected = corner_network().float()(z)
    torch.testing.assert_close(read_sequential(files / "corner.pt").network(z), expected)


def test_nothing_in_such_a_file_runs(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    network = nn.Sequential(nn.Linear(2, 2))
    network.note = Evil()
    torch.save(network, tmp_path / "evil.pt")
    assert is_sequential_file(tmp_path / "evil.pt")
    with pytest.raises(NetworkFileError, match="not a Sequential of known layers"):
        read_sequential(tmp_path / "evil.pt")
    assert not marker.exists()


def test_layers_that_were_altered_are_refused(tmp_path):
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].register_forward_hook(nn.Identity())
    torch.save(network, tmp_path / "hook.pt")
    with pytest.raises(NetworkFileError, match="Linear is not a plain layer"):
        read_sequential(tmp_path / "hook.pt")
    for layers, reason in (([nn.ReLU()], "no Linear, Unflatten"), ([nn.Linear(2, 3), nn.Linear(2, 2)], "do not fit")):
        torch.save(nn.Sequential(*layers), tmp_path / "odd.pt")
        with pytest.raises(NetworkFileError, match=reason):
            read_sequential(tmp_path / "odd.pt")


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def test_sections_keep_their_order():
    assert choose(None) == list(SECTIONS)
    assert choose("inversion, entropy,latent-classes") == ["entropy", "inversion", "latent_classes"]
    assert set(reports.NEED_SAMPLER) | set(reports.NEED_REAL) <= set(SECTIONS)


def test_facts_become_json():
    facts = dict(a=torch.tensor([1.0, math.nan]), b=np.float32(0.5), c=(np.int64(3), math.inf), d=summary([1.0, 3.0]))
    assert plain(facts) == dict(
        a=[1.0, None], b=0.5, c=[3, None],
        d=dict(count=2, not_finite=0, mean=2.0, least=1.0, largest=3.0, standard_deviation=math.sqrt(2)),
    )  # fmt: skip
    assert plain(summary([math.nan])) == dict(count=0, not_finite=1)
    json.dumps(plain(facts), allow_nan=False)


@pytest.mark.parametrize("d, volume", [(2, 2 * math.pi * 2**0.5), (3, 4 * math.pi * 3), (4, 2 * math.pi**2 * 8)])
def test_entropies_of_spheres(d, volume):
    assert SpherePrior(d).entropy == pytest.approx(math.log(volume))
    z = SpherePrior(d).sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.norm(dim=1), torch.full((50,), math.sqrt(d), dtype=torch.float64))


def test_the_entropy_of_a_cut_normal():
    x = np.linspace(-2, 2, 20001)
    density = np.exp(-(x**2) / 2)
    density /= np.trapezoid(density, x)
    assert TruncatedNormalPrior(5).entropy == pytest.approx(-5 * np.trapezoid(density * np.log(density), x), rel=1e-6)
    for prior, d in ((TruncatedNormalPrior, 0), (SpherePrior, 1)):
        with pytest.raises(ValueError, match="dimension"):
            prior(d)


def on_the_sphere(matrix, top_k):
    """The Subject of z ↦ matrix · z/|z| √d, with the prior of a normalising generator."""
    space_map = FunctionMap(lambda z: to_sphere(z) @ matrix.T, matrix.shape[1], matrix.shape[0], "z:pixel")
    space_map.domain, space_map.enter = "sphere", to_sphere
    return Subject(small_stylegan2(z_dim=matrix.shape[1]), space_map, SMALL, top_k)


def test_the_entropy_of_a_scaled_sphere():
    """x = 3 z stretches the tangent space by 3 in each of its d − 1 directions: the entropy is exact."""
    facts = entropy(on_the_sphere(3 * torch.eye(5), 2)).facts
    assert facts["is_differential_entropy"] and facts["full_rank"] == 4
    assert facts["value"] == pytest.approx(SpherePrior(5).entropy + 4 * math.log(3), abs=1e-5)
    assert facts["standard_error"] == pytest.approx(0, abs=1e-6)


def test_maps_that_lose_dimensions_have_a_top_k_volume():
    flat = 3 * torch.eye(5)
    flat[3:] = 0
    facts = entropy(on_the_sphere(flat, 2)).facts
    assert facts["is_differential_entropy"] is False and facts["top_k"] == 2
    assert "lack the full rank of 4" in facts["note"]
    # Of the three directions that are left, only the one towards z is shorter on the sphere.
    assert facts["value"] == pytest.approx(SpherePrior(5).entropy + 2 * math.log(3), abs=1e-5)


def test_bad_volumes():
    for volumes, message in ((torch.zeros(1), "at least 2 draws"), (torch.tensor([0.0, torch.nan]), "1 of 2 draws")):
        with pytest.raises(ValueError, match=message):
            entropy_of(volumes.double(), NormalPrior(2))


def test_principal_axes_are_those_of_the_largest_spread():
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 3]) + 5
    axes = principal_axes(x, 2)
    assert axes.shape == (3, 2) and axes[1, 0].abs() > 0.99 and axes[2, 1].abs() > 0.99
    torch.testing.assert_close(axes.T @ axes, torch.eye(2, dtype=torch.float64))


def test_small_pixels():
    images = torch.arange(2 * 32 * 32, dtype=torch.float32).reshape(2, 1, 32, 32)
    found = small_pixels(images)
    assert found.shape == (2, 256) and found[0, 0] == images[0, 0, :2, :2].mean()
    assert torch.equal(small_pixels(images[:, :, :4, :4]), images[:, :, :4, :4].flatten(1))


# ---------------------------------------------------------------------------------------------------------------------
# Smoothed images


@pytest.mark.bitwise
def test_smoothed_images_are_those_of_the_smoothed_network(files, tmp_path):
    base = [f"--network={files / 'tiny.pkl'}", "--seeds=0-1"]

    def made(name, *options):
        result = invoke(gen_images, *base, "--outdir", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in (tmp_path / name / "samples.jsonl").read_text().splitlines()]
        return np.stack([PIL.Image.open(tmp_path / name / line["file"]) for line in lines]), lines

    plain_images, lines = made("plain")
    assert "smooth" not in lines[0]
    same, lines = made("one", "--smooth=1")
    assert np.array_equal(same, plain_images) and "smooth" not in lines[0]
    soft, lines = made("soft", "--smooth=0.5")
    assert [line["smooth"] for line in lines] == [0.5, 0.5]
    network = smoothed(small_stylegan2(), 0.5)
    z = torch.cat([network.seed_latent(seed) for seed in (0, 1)])
    assert np.array_equal(soft, to_uint8(network(z, torch.zeros(2, 0)))[:, :, :, 0])
    assert not np.array_equal(soft, plain_images)


def test_a_smoothed_network_has_an_atlas_of_its_own(files, tmp_path):
    base = [f"--network={files / 'tiny.pkl'}", "--seeds=0", "--sampler=magnet", "--candidates=40"]
    for name, options in (("a", []), ("b", ["--smooth=0.5"])):
        result = invoke(gen_images, *base, "--outdir", tmp_path / name, *options)
        assert result.exit_code == 0 and "Atlas of 40 candidates" in result.output, result.output


@pytest.mark.parametrize("beta", ["2", "nan", "-1"])
def test_bad_smoothing(files, tmp_path, beta):
    result = invoke(gen_images, f"--network={files / 'tiny.pkl'}", "--outdir", tmp_path, f"--smooth={beta}")
    message = "smooth must be a finite number" if beta == "nan" else "is not in the range 0<=x<=1"
    assert result.exit_code == 2 and message in result.output
