"""The nearest output of a network to a target, over all of its regions, with a proof."""

import math

import numpy as np
import pytest
import torch
from helpers.maps import FunctionMap, normal
from helpers.pwa_networks import convolutional_network, corner_network, flat_network, random_network
from torch import nn

from latent_plugins.geometry.inversion import invert
from latent_plugins.geometry.partition import Slice, exact_partition, sampled_partition
from latent_plugins.geometry.region_inversion import RegionInversion, invert_by_codes, invert_in_partition, units_of

SQUARE = Slice(np.zeros(2), np.eye(2), -4.0, 4.0)


def both(network, x):
    """The RegionInversions of targets of a network with two inputs, by its partition and by its codes."""
    return invert_in_partition(exact_partition(network, SQUARE), x), invert_by_codes(network, x)


def test_the_corner_by_hand():
    """(1, ½, 1) is 2/7 above the plane of the corner, whose normal is (−3, −6, 2) / 7 and which holds (0, 1, 0).

    (0, 0, −5) is straight below the flat part, and (−10, 0, 0) beyond its edge at (−4, 0, 0).
    """
    x = torch.tensor([[1.0, 0.5, 1.0], [0, 0, -5], [-10, 0, 0]], dtype=torch.float64)
    for found in both(corner_network(), x):
        assert isinstance(found, RegionInversion) and found.certified.all()
        assert found.distance.tolist() == pytest.approx([2 / 7, 5, 6], abs=1e-9)
        assert found.lower.tolist() == pytest.approx([2 / 7, 5, 6], abs=1e-5)
        # The foot is x + 2/7 · (3, 6, −2) / 7 = (55, 36.5, 45) / 49, which is (2 z₀, z₁, 3 (z₀ + z₁ − 1)).
        assert found.z[0].tolist() == pytest.approx([55 / 98, 36.5 / 49], abs=1e-8)
        assert found.z[1:].flatten().tolist() == pytest.approx([0, 0, -4, 0], abs=1e-8)


def test_regions_that_lose_dimensions():
    """(z₀⁺, z₁⁺): the nearest to (−1, −1) is the origin, to (−1, 2) the point (0, 2), both from many latents."""
    x = torch.tensor([[-1.0, -1], [-1, 2]], dtype=torch.float64)
    for found in both(flat_network(), x):
        assert found.certified.all() and found.distance.tolist() == pytest.approx([math.sqrt(2), 1], abs=1e-9)
        torch.testing.assert_close(
            flat_network()(found.z), torch.tensor([[0.0, 0], [0, 2]]).double(), atol=1e-8, rtol=0
        )


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_both_searches_find_the_same_and_no_latent_is_nearer(seed):
    network = random_network(seed, [2, 7, 6, 5], [nn.ReLU(), nn.LeakyReLU(-0.2)])
    x = torch.cat([network(normal(2, 2)), 3 * normal(3, 5, seed=1)]).detach()
    whole, codes = both(network, x)
    assert whole.certified.all() and codes.certified.all()
    assert codes.distance.tolist() == pytest.approx(whole.distance.tolist(), abs=1e-7)
    assert whole.distance[:2].max() < 1e-9  # what the network made
    side = torch.linspace(-4, 4, 300, dtype=torch.float64)
    grid = network(torch.cartesian_prod(side, side)).detach()
    for found in (whole, codes):
        assert (torch.cdist(x, grid).amin(dim=1) >= found.lower - 1e-6).all() and (found.z.abs() <= 4).all()
        torch.testing.assert_close((network(found.z) - x).norm(dim=1), found.distance, rtol=1e-9, atol=1e-9)


def test_it_is_proposition_4_where_that_applies():
    """min over ω of ‖x − G(A⁺(x − b))‖, by its formula: zero for what the network made, at the same outputs."""
    network = random_network(4, [2, 7, 6, 5], [nn.LeakyReLU(0.3), nn.LeakyReLU(0.2)])
    partition, z = exact_partition(network, SQUARE), normal(4, 2)
    x = network(z).detach()
    inverse = np.linalg.pinv(partition.slope)
    latents = torch.from_numpy(np.einsum("rio,nro->nri", inverse, x.numpy()[:, None] - partition.offset))
    published = (x[:, None] - network(latents)).norm(dim=2).amin(dim=1).detach()
    found = invert_in_partition(partition, x)
    assert published.max() < 1e-9 and found.distance.max() < 1e-9
    torch.testing.assert_close(network(found.z), x, rtol=1e-9, atol=1e-9)


def test_more_inputs_and_local_minima():
    """Targets that the network made are found from nowhere; the local method from a start elsewhere is not as sure."""
    network = random_network(5, [4, 10, 8, 9], [nn.ReLU(), nn.ReLU()])
    x = network(normal(3, 4)).detach()
    found = invert_by_codes(network, x)
    assert found.certified.all() and found.distance.max() < 1e-8
    off = x[:1] + normal(1, 9, seed=3)
    nearest = invert_by_codes(network, off)
    assert nearest.certified.all() and nearest.distance[0] > 0.1
    local = invert(FunctionMap(network, 4, 9), off.expand(5, -1), normal(5, 4, seed=4), tolerance=1e-9)
    distances = (local.error * 9).sqrt()[local.z.abs().amax(dim=1) <= 4]
    assert len(distances) and (distances >= nearest.lower[0] - 1e-6).all()


def test_a_search_that_is_cut_short_says_so():
    """A target whose first proposed regions are not the best ones: the bound stays one, the claim is not made."""
    network = random_network(0, [2, 7, 6, 5], [nn.ReLU(), nn.LeakyReLU(0.2)])
    x = 3 * normal(3, 5, seed=1)
    whole = invert_by_codes(network, x)
    long = whole.regions > 1
    assert long.any()
    short = invert_by_codes(network, x, most_regions=1)
    assert not short.certified[long].any() and (short.regions == 1).all()
    assert (short.lower <= whole.distance + 1e-6).all() and (short.distance >= whole.distance - 1e-6).all()
    none = invert_by_codes(network, x, seconds=1e-9)
    assert not none.certified.any() and (none.regions == 0).all() and none.distance.isfinite().all()


def test_other_layers():
    torch.manual_seed(0)
    affine = nn.Sequential(nn.Linear(3, 2)).double()
    x = normal(2, 2)
    assert invert_by_codes(affine, x, box=50).distance.max() < 1e-9
    last = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).double()
    found = both(last, -torch.ones(1, 3, dtype=torch.float64))
    assert found[0].distance.item() == pytest.approx(found[1].distance.item(), abs=1e-8)
    network = convolutional_network()
    assert units_of(network, 2) == 48
    x = network(normal(1, 2)).detach().flatten(1)
    (found,) = invert_by_codes(network, x).distance
    assert found < 1e-7


def test_bad_input():
    x = torch.zeros(1, 3)
    for wrong in (torch.zeros(1, 2), torch.zeros(3), torch.full((1, 3), torch.nan), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match=r"\[n, 3\]"):
            invert_by_codes(corner_network(), wrong)
        with pytest.raises(ValueError, match=r"\[n, 3\]"):
            invert_in_partition(exact_partition(corner_network(), SQUARE), wrong)
    with pytest.raises(ValueError, match="not a sampled one"):
        invert_in_partition(sampled_partition(corner_network(), SQUARE, resolution=2), x)
    with pytest.raises(ValueError, match="two pieces, not clamps"):
        invert_by_codes(nn.Sequential(nn.Linear(2, 3), nn.ReLU6()), x)
    assert units_of(nn.Sequential(nn.Linear(2, 3), nn.ReLU6()), 2) is None
    with pytest.raises(ValueError, match="Tanh"):
        invert_by_codes(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), x)
    with pytest.raises(ValueError, match="how many inputs"):
        invert_by_codes(nn.Sequential(nn.ReLU()), x)
    for options in (dict(box=0), dict(tolerance=0), dict(most_regions=0), dict(seconds=-1)):
        with pytest.raises(ValueError, match="above zero"):
            invert_by_codes(corner_network(), x, **options)
