"""Regions along a path: against exact partitions, by hand, and Theorem 4's angle at their boundaries."""

import numpy as np
import pytest
import torch
from helpers.pwa_networks import corner_network, folding_network, random_network
from torch import nn

from latent_plugins.geometry.crossings import regions_along
from latent_plugins.geometry.dimension import rank_bound, region_bounds
from latent_plugins.geometry.partition import exact_partition, slice_along
from latent_plugins.geometry.piecewise import activation_code, affine_map
from latent_plugins.geometry.subspaces import subspace_angles


def test_crossings_by_hand():
    """From (-0.5, 0.5) through z0 = 0 at t = 1/3 and z0 + z1 = 1 at t = 2/3 to (1, 0.5)."""
    found = regions_along(corner_network(), torch.tensor([-0.5, 0.5]), torch.tensor([1.0, 0.5]))
    assert found.t.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-15)
    assert found.slope[0].numpy() == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]))
    assert found.slope[1].numpy() == pytest.approx(np.array([[2, 0], [0, 1], [0, 0]]))
    assert found.slope[2].numpy() == pytest.approx(np.array([[2, 0], [0, 1], [3, 3]]))
    # z0 passes 0: two of the network's units, z0+ and z0-, change at once.
    assert found.changed().tolist() == [2, 1]
    # The plane z = 0 against that spanned by (2, 0, 3) and (0, 1, 3), whose normal is (3/2, 3, -1).
    assert found.angles().tolist() == pytest.approx([0, np.arccos(1 / np.sqrt(9 / 4 + 9 + 1))], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_regions_along_a_line_are_those_of_an_exact_partition(seed):
    network = random_network(seed, [2, 7, 6, 5], [nn.ReLU(), nn.Hardtanh()]).eval()
    partition = exact_partition(network, slice_along(torch.zeros(2), torch.eye(2), low=-2, high=2))
    start, end = torch.tensor([-1.7, -1.1]).double(), torch.tensor([1.6, 1.9]).double()
    found = regions_along(network, start, end)
    middles = start + ((found.t[1:] + found.t[:-1]) / 2)[:, None] * (end - start)
    assert torch.equal(found.codes, activation_code(network, middles))
    assert found.slope.numpy() == pytest.approx(affine_map(network, middles).slope.numpy(), abs=1e-12)
    through = partition.locate(middles.numpy())
    assert (through >= 0).all() and len(set(through.tolist())) == len(found) > 3
    for one, other in zip(through, through[1:]):
        assert other in partition.neighbours[one]
    # A fine grid of points meets no region that the crossings miss.
    grid = start + torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None] * (end - start)
    seen = {row.tobytes() for row in activation_code(network, grid).numpy()}
    assert seen <= {row.tobytes() for row in found.codes.numpy()}


def test_large_latents_and_convolutions():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(3, 1, 3, 1, 1),
    ).eval()  # fmt: skip
    start, end = torch.randn(2, 32)
    found = regions_along(network, start, end)
    middles = start + ((found.t[1:] + found.t[:-1]) / 2)[:, None] * (end - start).double()
    assert torch.equal(found.codes, activation_code(network.double(), middles))
    assert len(found) > 50 and (found.changed() == 1).all() and (found.t.diff() > 0).all()
    with pytest.raises(ValueError, match="more than 10 regions: take a shorter one"):
        regions_along(network, start, end, max_regions=10)


def test_a_path_within_one_region_and_one_that_starts_on_a_boundary():
    network = folding_network()
    inside = regions_along(network, torch.tensor([0.3, 0.0]), torch.tensor([0.9, 0.1]))
    assert len(inside) == 1 and inside.t.tolist() == [0, 1] and not len(inside.angles())
    onto = regions_along(network, torch.tensor([0.25, 0.0]), torch.tensor([-0.75, 0.0]))
    assert len(onto) == 1 and onto.slope[0].numpy() == pytest.approx(np.diag([-1.0, 2.0]))


@pytest.mark.parametrize("seed", range(3))
def test_angles_are_the_norm_of_the_projections_difference(seed):
    """Theorem 4 as it is printed, to 1e-12, on adjacent regions of a network that keeps the dimension."""
    network = random_network(seed, [3, 8, 8, 9], [nn.LeakyReLU(0.3), nn.LeakyReLU(0.3)]).eval()
    found = regions_along(network, -torch.ones(3), torch.tensor([1.0, 1.5, 0.7]))
    projections = [a @ np.linalg.inv(a.T @ a) @ a.T for a in found.slope.numpy()]
    sines = [np.linalg.norm(p - q, 2) for p, q in zip(projections, projections[1:])]
    assert len(sines) > 3 and found.angles().sin().numpy() == pytest.approx(sines, abs=1e-12)


def test_angles_of_spaces_of_other_dimensions():
    space = torch.eye(3, dtype=torch.float64)[None]
    a, b = space[:, :, :2], space[:, :, :1]
    assert subspace_angles(a, torch.cat([b, 0 * b], dim=2)).tolist() == [np.pi / 2]
    assert subspace_angles(0 * a, 0 * a).tolist() == [0.0]
    tiny = torch.tensor([[[1.0], [1e-9], [0.0]]], dtype=torch.float64)
    assert subspace_angles(b, tiny).tolist() == pytest.approx([1e-9], rel=1e-6)


def test_proposition_1_bounds_every_region():
    """A ReLU network 6-6-6-10: units that are off take dimensions away, which the layers' own ranks do not see."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 10)).double()
    z = torch.randn(400, 6, dtype=torch.float64)
    bounds, slopes = region_bounds(network, z), affine_map(network, z).slope
    true = torch.linalg.matrix_rank(slopes, rtol=1e-10)
    assert rank_bound(network) == 6 and (true <= bounds).all() and bounds.max() < 6
    assert 2 < true.double().mean() <= bounds.double().mean() < 3.5
    # By hand: as many rows as units are on, in the layer that has fewest.
    first = (network[0](z) > 0).sum(dim=1)
    second = (network[2](network[1](network[0](z))) > 0).sum(dim=1)
    assert torch.equal(bounds, torch.minimum(first, second))


def test_bounds_without_units_that_are_off():
    torch.manual_seed(0)
    for activation in (nn.LeakyReLU(0.1), nn.Tanh()):
        network = nn.Sequential(nn.Linear(4, 3), activation, nn.Linear(3, 9))
        assert region_bounds(network, torch.randn(5, 4)).tolist() == [3] * 5
    silent = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        silent[0].bias.fill_(-100)
    assert region_bounds(silent, torch.randn(3, 2)).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="not Softmax"):
        region_bounds(nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)), torch.randn(2, 2))
