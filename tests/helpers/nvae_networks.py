"""NVAEs for tests: small ones, and those of the goldens."""

import functools
import json
import zlib

import numpy as np
import torch
from conftest import GOLDENS

from dnnlib_compat.networks.nvae import NVAEGenerator

SIZES = dict(
    img_resolution=32,
    output="bernoulli",
    channels=2,
    latent_channels=1,
    groups_per_scale=[1, 1],
    cells_per_group=1,
    post_blocks=2,
    post_cells=1,
    use_se=True,
    architecture="res_mbconv",
)


def random_weights(name, shape):
    """A tensor in which every layer shows: the same everywhere, of sizes that keep the activations in range."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    name = name.removesuffix("_normalized")  # the same filters under another name
    values = np.random.RandomState(zlib.crc32(name.encode())).randint(-128, 128, size=shape)
    noise = torch.from_numpy(np.float32(values)).add(0.5).div(128)
    if name.endswith("log_weight_norm"):
        return 0.5 * noise - (0.3 if name.startswith("image_conditional") else -0.2)
    if name.endswith("running_var") or name.endswith(".weight") and len(shape) == 1:
        return noise.div(2).add(2 if name.endswith("running_var") else 1)
    return noise * np.float32((6 / np.prod(shape[1:])) ** 0.5) if len(shape) in (2, 4) else noise / 4


@functools.cache
def variants():
    return json.loads((GOLDENS / "nvae.json").read_text())["variants"]


@functools.cache
def golden(name):
    """(training arguments, {official name: tensor}, {figure: array}) of a variant."""
    config = variants()[name]
    with np.load(GOLDENS / "nvae.npz") as file:
        arrays = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
    return config["args"], {key: random_weights(key, tuple(shape)) for key, shape in config["tensors"].items()}, arrays


def small(seed=0, **changes):
    torch.manual_seed(seed)
    return NVAEGenerator(**(SIZES | changes)).eval().requires_grad_(False)
