"""The examples of other packages' samplers, filters, families, metrics and methods do what their READMEs say."""

import importlib.metadata
import importlib.util
import json
import re
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT

from cli.calc_metrics import main as calc_metrics
from cli.convert import main as convert
from cli.describe import main as describe
from cli.gen_images import main as gen_images
from dnnlib_compat.loader import load_network
from latent_plugins.attaching import attach
from latent_plugins.volume import methods
from latent_plugins.volume.spectrum import METHODS

EXAMPLES = ("nearest_sampler", "short_filter", "linear_family", "mean_metric", "difference_method")


def run(command, *options, fails=False):
    result = CliRunner().invoke(command, [*map(str, options), "--device=cpu"])
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def lines(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


@pytest.fixture
def installed(monkeypatch):
    """Function of an example's name: its entry points are there, as if it were installed; returns its module."""
    groups, real = {}, importlib.metadata.entry_points
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))  # what is found is remembered

    def install(name):
        text = (ROOT / "examples" / name / "pyproject.toml").read_text()
        group, entry, module, attribute = re.search(
            r'\[project.entry-points."([\w.]+)"\]\n(\w+) = "(\w+):(\w+)"', text
        ).groups()
        spec = importlib.util.spec_from_file_location(module, ROOT / "examples" / name / f"{module}.py")
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        monkeypatch.setitem(sys.modules, module, found)
        groups.setdefault(group, []).append(importlib.metadata.EntryPoint(entry, f"{module}:{attribute}", group))
        # A function of its own for each example: what one has answered is remembered.
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda *, group: [*real(group=group), *groups.get(group, [])]
        )
        return found

    return install


def test_every_example_is_tried_here():
    assert sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir()) == sorted(EXAMPLES)
    for name in EXAMPLES:
        code = (ROOT / "examples" / name).glob("*.py")
        assert len(list(code)) == 1  # one file, and one line of the pyproject.toml


@pytest.mark.bitwise
def test_the_sampler(tmp_path, installed):
    module = installed("nearest_sampler")
    options = ["--sampler=nearest", "--choices=20", "--seeds=0-2", f"--outdir={tmp_path}"]
    run(gen_images, *options)
    line = lines(tmp_path)[0]
    assert (line["sampler"], line["choices"], line["widest"]) == ("nearest", 20, False)
    text = CliRunner().invoke(gen_images, ["--sampler=nearest", "--help"]).output
    assert "--choices" in text and "--widest" in text and "--steps" not in text
    assert "the one nearest" in CliRunner().invoke(gen_images, ["--help"]).output
    for wrong, message in [
        ("--choices=0", "0 is not in the range x>=1"),
        ("--steps=3", "--steps is an option of "),
        ("--sampler=prior", "--choices is an option of nearest and has no effect with --sampler=prior; leave it out"),
    ]:
        assert message in run(gen_images, *options, wrong, fails=True)
    network = load_network("mnist32")
    sampler = module.NearestSampler(network, choices=50)
    assert torch.equal(sampler.draw([4, 7]).z[1], sampler.draw([7]).z[0])
    norms = sampler.sample(200, torch.Generator().manual_seed(0)).z.norm(dim=1)
    assert norms.mean() < 7  # the smallest of fifty; the prior has a mean near 8
    assert attach(network, sampler)(torch.randn(2, 64), torch.zeros(2, 0)).shape == (2, 1, 32, 32)


def test_the_filter(tmp_path, installed):
    installed("short_filter")
    given = ["--sampler=short+truncated-normal", "--threshold=2", "--seeds=0-5"]
    run(gen_images, *given, "--longest=0.9", f"--outdir={tmp_path}")
    line = lines(tmp_path)[0]
    assert line["sampler"] == "short+truncated-normal" and line["longest"] == 0.9 and line["threshold"] == 2
    assert line["draw"]["acceptance"] < 1
    assert "--longest" in CliRunner().invoke(gen_images, ["--sampler=short+prior", "--help"]).output
    assert "jbt, simplicial, latentrs, short" in " ".join(CliRunner().invoke(gen_images, ["--help"]).output.split())
    assert "0.0 is not in the range x>0" in run(gen_images, *given, "--longest=0", fails=True)


def test_the_family(tmp_path, installed):
    module = installed("linear_family")
    torch.manual_seed(0)
    network = module.LinearGenerator(z_dim=6, img_resolution=8)
    torch.save(network.state_dict(), tmp_path / "linear.pth")
    found = load_network(tmp_path / "linear.pth")
    assert found.family == "linear" and torch.equal(found.layer.weight, network.layer.weight)
    run(gen_images, f"--network={tmp_path / 'linear.pth'}", "--sampler=magnet", "--space=pixel", "--candidates=40",
        "--seeds=0-3", f"--outdir={tmp_path / 'out'}")  # fmt: skip
    assert lines(tmp_path / "out")[0]["space"] == "z:pixel"
    result = CliRunner().invoke(convert, [str(tmp_path / "linear.pth"), str(tmp_path / "linear.npz")])
    assert result.exit_code == 0, result.output
    again = load_network(tmp_path / "linear.npz")
    assert torch.equal(again.layer.weight, network.layer.weight)
    assert "linear" in CliRunner().invoke(describe, [str(tmp_path / "linear.npz")]).output


def test_the_metric(installed):
    installed("mean_metric")
    output = run(calc_metrics, "--metrics=mfd70_full,fid70_full", "--seed=0", "--mix=0.5", "--sampler=truncation")
    figures = {}
    for text in output.splitlines():
        if text.startswith("{"):
            figures |= json.loads(text)["results"]
    assert 0 < figures["mfd70_full"] ** 2 <= figures["fid70_full"] + 1e-6  # the first term of FID
    assert "did you mean mfd70_full" in run(calc_metrics, "--metrics=mfd70_ful", fails=True)


def test_the_method(tmp_path, installed):
    installed("difference_method")
    common = ["--sampler=magnet", "--space=style", "--top-k=3", "--candidates=30", "--seeds=0-3"]
    run(gen_images, *common, "--method=difference", "--width=0.02", f"--outdir={tmp_path / 'a'}")
    run(gen_images, *common, "--method=exact", f"--outdir={tmp_path / 'b'}")
    ours, exact = lines(tmp_path / "a"), lines(tmp_path / "b")
    assert ours[0]["method"] == "difference" and ours[0]["method_settings"] == dict(width=0.02)
    volumes = {line["candidate"]: line["log_volume"] for line in exact}
    same = [(line["log_volume"], volumes[line["candidate"]]) for line in ours if line["candidate"] in volumes]
    assert same and np.allclose(*zip(*same), atol=0.05)
    assert "--width" in CliRunner().invoke(gen_images, ["--method=difference", *common, "--help"]).output
    assert "difference" in methods.method_names()


def test_a_package_that_fails_is_left_out_with_a_word(monkeypatch, tmp_path):
    real = importlib.metadata.entry_points
    broken = {
        group: importlib.metadata.EntryPoint("broken", "nowhere_at_all:Thing", group)
        for group in ("samplers", "filters", "families", "metrics")
    }

    def entry_points(*, group):
        return [*real(group=group), *([broken[group.rpartition(".")[2]]] if group.rpartition(".")[2] in broken else [])]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    output = run(gen_images, "--seeds=0", "--sampler=truncated-normal", "--threshold=1", f"--outdir={tmp_path}")
    assert "1 images" in output
    with pytest.warns(UserWarning, match="the metric 'broken' of nowhere_at_all:Thing fails to import and is left out"):
        from latent_plugins.metrics.names import parse_metric

        assert parse_metric("fid50k_full").samples == 50_000
