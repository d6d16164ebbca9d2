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
from latent_plugins.attach import attach
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

    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: [Entry()])
    options = ["--sampler=nearest", "--steps=20", "--seeds=0-2", "--device=cpu", f"--outdir={tmp_path}"]
    result = CliRunner().invoke(gen_images, options)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])["steps"] == 20

    network = load_network("mnist32")
    sampler = module.NearestSampler(network, choices=50)
    assert torch.equal(sampler.draw([4, 7]).z[1], sampler.draw([7]).z[0])
    norms = sampler.sample(200, torch.Generator().manual_seed(0)).z.norm(dim=1)
    assert norms.mean() < 7  # the smallest of fifty; the prior has a mean near 8
    assert attach(network, sampler)(torch.randn(2, 64), torch.zeros(2, 0)).shape == (2, 1, 32, 32)
