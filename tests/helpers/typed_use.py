"""The public API as a type checker sees it: never run, only checked (`mypy`, with the settings in pyproject.toml)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from typing_extensions import assert_type

import latent_plugins as lp
from dnnlib_compat.networks.interface import Generator
from latent_plugins.attaching import AttachedGenerator


def typed() -> None:
    generator = assert_type(lp.load("mnist32"), Generator)
    assert_type(lp.wrap(torch.nn.Linear(4, 16), z_dim=4), Generator)
    assert_type(lp.LogVolume(generator, space="pixel", top_k=15)(torch.randn(2, 64)), np.ndarray)
    atlas = assert_type(lp.Atlas.build(generator, "atlas", space="style", candidates=20_000), lp.Atlas)
    sampler = assert_type(lp.sampler("jbt+polarity", generator, atlas=atlas, rho=-0.2, keep=0.9), lp.Sampler)
    latents = assert_type(sampler.draw(range(16)), lp.Latents)
    assert_type(lp.images(generator, latents, psi=0.8), torch.Tensor)
    assert_type(sampler.record(), dict[str, Any])
    assert_type(lp.evaluate("fid5k_full", generator, sampler), dict[str, float])
    assert_type(lp.attach(generator, sampler), AttachedGenerator)
    for line, image in lp.remake([{"seed": 0}]):
        assert_type(line, dict[str, Any])
        assert_type(image, np.ndarray)
