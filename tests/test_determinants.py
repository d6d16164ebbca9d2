"""Log-determinants of regions, data with two modes, rescaled weights."""

import math

import pytest
import scipy.stats
import torch
from helpers.maps import seeded
from helpers.pwa_networks import CORNER_REGIONS, corner_network, flat_network
from torch import nn

from latent_plugins.geometry.determinants import (
    DEVIATIONS,
    published_determinants,
    region_log_determinants,
    rescaled,
    two_gaussians,
    two_gaussians_entropy,
)
from latent_plugins.geometry.dropout import random_generator

LEVEL = 1e-3  # of every statistical test here


def test_two_gaussians_are_two():
    x = two_gaussians(4000, 0.1, seeded(), distance=3.0)
    right = x[:, 0] > 0
    assert x.shape == (4000, 2) and scipy.stats.binomtest(int(right.sum()), 4000, 0.5).pvalue > LEVEL
    for side, centre in ((right, 1.5), (~right, -1.5)):
        assert scipy.stats.kstest((x[side, 0] - centre) / 0.1, "norm").pvalue > LEVEL
    assert scipy.stats.kstest(x[:, 1] / 0.1, "norm").pvalue > LEVEL


def test_entropies_of_two_gaussians():
    """One Gaussian where the modes coincide, log 2 more where they are apart, and the sample's mean −log p between."""
    for deviation in DEVIATIONS:
        one = math.log(2 * math.pi * math.e * deviation**2)
        assert two_gaussians_entropy(deviation, distance=0) == pytest.approx(one)
        apart = two_gaussians_entropy(deviation, distance=40 * deviation)
        assert apart == pytest.approx(one + math.log(2))
    for deviation in (0.5, 1.0, 2.0):
        x = two_gaussians(40_000, deviation, seeded(1))
        modes = [torch.distributions.Normal(torch.tensor([c, 0.0]), deviation).log_prob(x).sum(dim=1) for c in (1, -1)]
        surprise = math.log(2) - torch.logaddexp(*modes)
        error = surprise.std().item() / math.sqrt(len(x))
        assert two_gaussians_entropy(deviation) == pytest.approx(surprise.mean().item(), abs=4 * error)


def test_regions_count_once_with_their_determinants():
    places = torch.tensor([place for place, *_ in CORNER_REGIONS.values()], dtype=torch.float64)
    volumes = [volume for _, _, volume, *_ in CORNER_REGIONS.values()]
    found = region_log_determinants(corner_network(), torch.cat([places, places[:2]]))
    assert sorted(found.log_determinant.exp().tolist()) == pytest.approx(sorted(volumes))
    assert sorted(found.latents.tolist()) == [1, 1, 1, 2, 2]
    z = torch.tensor([[1.0, -1.0], [-1.0, -2.0]], dtype=torch.float64)
    assert region_log_determinants(flat_network(), z).log_determinant.tolist() == [-math.inf] * 2
    assert region_log_determinants(flat_network(), z, pseudo=True).log_determinant.tolist() == [0, 0]
    with pytest.raises(ValueError, match="Tanh"):
        region_log_determinants(nn.Sequential(nn.Tanh()), z)


def test_half_of_the_weights_are_rescaled():
    network = random_generator(seeded(), width=7)
    found = rescaled(network, (0.0, 3.0), seeded(1))
    for before, after in zip(network.parameters(), found.parameters()):
        if before.ndim == 2:
            zero = after == 0
            assert zero.sum() == before.numel() // 2
            torch.testing.assert_close(after[~zero], 3 * before[~zero])
    assert torch.equal(network[0].weight, random_generator(seeded(), width=7)[0].weight)  # untouched


def test_determinants_grow_with_the_weights():
    """Without biases a network's slopes go with the product of its layers' scales: 6 · 3 · log 2 in nats for twice."""
    found = published_determinants(0, regions=300)
    assert list(found) == [1.0, 2.0, 3.0] and all(each.isfinite().all() for each in found.values())
    torch.testing.assert_close(found[2.0] - found[1.0], torch.full((300,), 18 * math.log(2), dtype=torch.float64))
    torch.testing.assert_close(found[3.0] - found[1.0], torch.full((300,), 18 * math.log(3), dtype=torch.float64))
    assert found[1.0].std() > 0.1
    # Unequal halves spread the weights, and with them the mean.
    spread = published_determinants(0, first=1.0, scales=(1.0, 3.0), regions=300)
    assert spread[3.0].mean() > spread[1.0].mean()


def test_bad_input():
    for wrong in (dict(deviation=0), dict(deviation=1, distance=-1), dict(deviation=1, dimension=0)):
        with pytest.raises(ValueError, match="are needed"):
            two_gaussians_entropy(**wrong)
        with pytest.raises(ValueError, match="are needed"):
            two_gaussians(3, generator=seeded(), **wrong)
    with pytest.raises(ValueError, match="two scales"):
        rescaled(random_generator(seeded()), (1.0,), seeded())
