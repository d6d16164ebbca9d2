"""The example of a third party's sampler does what its README says."""

import importlib.util
import json
import re

import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT

from cli.gen_images import main as gen_images
from dnnlib_compat.loader import load_network
from latent_plugins.attaching import attach
from latent_plugins.samplers import registry

FOLDER = ROOT / "examples" / "nearest_sampler"


@pytest.mark.bitwise
def test_the_example(tmp_path, monkeypatch):
    group = re.escape(f'[project.entry-points."{registry.ENTRY_POINTS}"]')
    pattern = group + r'\n(\w+) = "(\w+):(\w+)"'
    name, module_name, class_name = re.search(pattern, (FOLDER / "pyproject.toml").read_text()).groups()
    spec = importlib.util.spec_from_file_location(module_name, FOLDER / f"{module_name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Entry:
        def __init__(self):
            self.name, self.value = name, f"{module_name}:{class_name}"

        def load(self):
            return getattr(module, class_name)

    whose = dict([(registry.ENTRY_POINTS, [Entry()])])
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: whose.get(group, []))
    options = ["--sampler=nearest", "--choices=20", "--seeds=0-2", "--device=cpu", f"--outdir={tmp_path}"]
    result = CliRunner().invoke(gen_images, options)
    assert result.exit_code == 0, result.output
    line = json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])
    assert (line["sampler"], line["choices"], line["widest"]) == ("nearest", 20, False)
    text = CliRunner().invoke(gen_images, ["--sampler=nearest", "--help"]).output
    assert "--choices" in text and "--widest" in text and "--steps" not in text
    assert "the one nearest" in CliRunner().invoke(gen_images, ["--help"]).output
    for wrong, message in [
        ("--choices=0", "0 is not in the range x>=1"),
        ("--steps=3", "--steps is an option of "),
        ("--sampler=prior", "--choices is an option of nearest and has no effect with --sampler=prior; leave it out"),
    ]:
        result = CliRunner().invoke(gen_images, [*options, wrong])
        assert result.exit_code != 0 and message in result.output, result.output

    network = load_network("mnist32")
    sampler = module.NearestSampler(network, choices=50)
    assert torch.equal(sampler.draw([4, 7]).z[1], sampler.draw([7]).z[0])
    norms = sampler.sample(200, torch.Generator().manual_seed(0)).z.norm(dim=1)
    assert norms.mean() < 7  # the smallest of fifty; the prior has a mean near 8
    assert attach(network, sampler)(torch.randn(2, 64), torch.zeros(2, 0)).shape == (2, 1, 32, 32)
