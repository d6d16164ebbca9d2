"""Shared fixtures: reference data, goldens, small networks, a cache folder of their own."""

import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there: the suite's processes share the cores

import hypothesis
import numpy as np
import pytest
import torch

from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator
from dnnlib_compat.plain_files import write_npz

pytest.register_assert_rewrite("helpers")  # so that their assertions explain themselves, too

# The same examples in every run, and no failures because a machine is slow.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = Path(__file__).resolve().parent / "goldens"


def pytest_addoption(parser):
    parser.addoption("--fuzz", type=int, default=200, metavar="N", help="damaged files of each format")
    parser.addoption("--fuzz-first", type=int, default=0, metavar="NUMBER", help="the number of the first of them")


@pytest.fixture(autouse=True)
def cache_folder_of_its_own(monkeypatch, tmp_path_factory):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def data_folder():
    """The folder with data sets and large goldens."""
    folder = ROOT / os.environ.get("LATENT_PLUGINS_DATA", "../shared")
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder}; set LATENT_PLUGINS_DATA")
    return folder


def load_golden(name):
    """(arrays, constructor arguments) of tests/goldens/NAME.npz and .json."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    config = GOLDENS / f"{name}.json"
    return arrays, json.loads(config.read_text())["init_kwargs"] if config.exists() else None


def assert_same_images(ours, expected):
    """Pixels differ by a level of 255 at most: the batch may turn the last bit of a float32, and that a pixel."""
    np.testing.assert_allclose(np.asarray(ours).astype(int), np.asarray(expected).astype(int), rtol=0, atol=1)


def golden_network(name):
    """(our network with a golden's weights, the golden's arrays)."""
    arrays, kwargs = load_golden(name)
    family = StyleGAN3Generator if name.startswith("stylegan3") else StyleGAN2Generator
    network = family(**kwargs).eval().requires_grad_(False)
    network.load_state_dict({k[6:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("state/")})
    return network, arrays


def small_stylegan2(seed=0, **kwargs):
    """An untrained 16×16 StyleGAN2 that evaluates in a millisecond."""
    torch.manual_seed(seed)
    defaults = dict(z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=1, channel_base=64, channel_max=8)
    defaults.update(mapping_kwargs=dict(num_layers=2), **kwargs)
    network = StyleGAN2Generator(**defaults).eval().requires_grad_(False)
    network.mapping.w_avg.normal_()
    return network


def write_network(path, network):
    """Write a network as a file without code, and return the path."""
    write_npz(network, path)
    return path


@pytest.fixture
def tiny():
    return small_stylegan2()


@pytest.fixture
def tiny_conditional():
    return small_stylegan2(c_dim=3)
