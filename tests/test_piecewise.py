"""Activation codes and affine pieces, on networks whose regions are known and against autograd."""

import math

import pytest
import torch
from helpers.pwa_networks import CORNER_REGIONS, convolutional_network, corner_network, one_hidden_layer, random_network
from torch import nn

from latent_plugins.geometry.piecewise import (
    activation_code,
    affine_map,
    check_piecewise_affine,
    log_volume,
    log_volumes,
    same_region,
)
from latent_plugins.spaces import get_space


def latents(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Squared(nn.ReLU):
    def forward(self, x):
        return super().forward(x) ** 2


class Renamed(nn.ReLU):
    pass


@pytest.mark.parametrize(
    "layers, named",
    [
        ([nn.Linear(2, 3), nn.ReLU(), nn.Tanh()], r"layer 2 \(Tanh\)"),
        ([nn.Linear(2, 3), nn.Sequential(nn.Sigmoid(), nn.Tanh())], r"layer 1\.0 \(Sigmoid\)"),
        ([nn.Linear(2, 3), Squared()], r"layer 1 \(Squared\)"),
        ([nn.BatchNorm1d(2).train()], r"layer 0 \(BatchNorm1d\).*evaluation mode"),
        ([nn.BatchNorm1d(2, track_running_stats=False).eval()], r"layer 0 \(BatchNorm1d\).*running statistics"),
        ([nn.Linear(2, 3), nn.Dropout().train()], r"layer 1 \(Dropout\).*random"),
        ([nn.Flatten(0)], r"layer 0 \(Flatten\).*rows"),
    ],
)
def test_the_first_layer_that_is_not_piecewise_affine_is_named(layers, named):
    with pytest.raises(ValueError, match=named + ".*affine_map.*sampled_partition"):
        check_piecewise_affine(nn.Sequential(*layers))


def test_a_network_that_is_no_sequential_is_refused(tiny):
    with pytest.raises(ValueError, match="a StyleGAN2Generator is not"):
        check_piecewise_affine(tiny)


def test_piecewise_affine_networks_are_accepted():
    check_piecewise_affine(convolutional_network())
    check_piecewise_affine(nn.Sequential(nn.Linear(2, 2), nn.ReLU6(), nn.Hardsigmoid(), Renamed(), nn.Identity()))
    check_piecewise_affine(nn.Linear(2, 3))


def test_codes_are_the_signs_of_the_activations():
    network = corner_network()
    z = torch.tensor([place for place, *_ in CORNER_REGIONS.values()])
    expected = [[1, 0, 1, 0, 1], [1, 0, 1, 0, 0], [0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 1, 0]]
    codes = activation_code(network, z)
    assert codes.dtype == torch.int8 and codes.tolist() == expected
    # On a boundary a ReLU is off, as torch's derivative of 0 says.
    assert activation_code(network, torch.zeros(1, 2)).tolist() == [[0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "clamp, low, high, slope",
    [(nn.Hardtanh(-0.5, 2.0), -0.5, 2.0, 1.0), (nn.ReLU6(), 0, 6, 1.0), (nn.Hardsigmoid(), -3, 3, 1 / 6)],
)
def test_a_clamp_has_three_states(clamp, low, high, slope):
    network = nn.Sequential(nn.Identity(), clamp)
    z = torch.tensor([[low - 1, low, (low + high) / 2, high, high + 1]], dtype=torch.float64)
    assert activation_code(network, z).tolist() == [[0, 0, 1, 2, 2]]
    found = affine_map(network, z)
    torch.testing.assert_close(found.slope @ z[0] + found.offset, clamp(z), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(found.slope[0], torch.diag(torch.tensor([0, 0, slope, 0, 0], dtype=torch.float64)))


def test_a_module_that_is_used_twice_counts_twice():
    activation, unit = nn.LeakyReLU(0.5), nn.Linear(2, 2).double()
    network = nn.Sequential(unit, activation, unit, activation)
    z = latents(20, 2)
    assert activation_code(network, z).shape == (20, 4)
    found = affine_map(network, z)
    torch.testing.assert_close(torch.einsum("noi,ni->no", found.slope, z) + found.offset, network(z).detach())


def test_latents_with_one_code_share_a_region():
    network = corner_network()
    z1 = torch.tensor([[0.8, 0.7], [0.8, 0.7], [-0.5, 0.5]])
    z2 = torch.tensor([[0.6, 0.6], [0.3, 0.2], [-0.1, 0.9]])
    assert same_region(network, z1, z2).tolist() == [True, False, True]


@pytest.mark.parametrize("widths", [(3, 8, 8, 5), (6, 8, 8, 2), (4, 7, 1)])
def test_the_affine_map_holds_on_the_whole_region(widths):
    activations = [nn.LeakyReLU(0.1), nn.Hardtanh()][: len(widths) - 2]
    network = random_network(1, widths, activations)
    z = latents(50, widths[0])
    found = affine_map(network, z)
    assert found.exact and found.slope.dtype == found.offset.dtype == torch.float64
    assert found.slope.shape == (50, widths[-1], widths[0])
    near = z + 1e-3 * latents(50, widths[0], seed=1)
    together = same_region(network, z, near)
    assert together.sum() > 25
    predicted = torch.einsum("noi,ni->no", found.slope, near) + found.offset
    torch.testing.assert_close(predicted[together], network(near).detach()[together], rtol=1e-12, atol=1e-12)
    # Elsewhere it fails: the regions are not larger than their codes say.
    far = latents(50, widths[0], seed=2)
    apart = ~same_region(network, z, far)
    predicted = torch.einsum("noi,ni->no", found.slope, far) + found.offset
    assert (predicted - network(far))[apart].abs().amax(dim=1).median() > 1e-3


@pytest.mark.parametrize("max_memory", [None, 20_000])
def test_slopes_are_autograds_jacobians_whatever_the_chunks(max_memory):
    network, z = convolutional_network(), latents(9, 2)
    before = z.clone()
    found = affine_map(network, z, max_memory=max_memory)
    expected = torch.stack([torch.autograd.functional.jacobian(lambda r: network(r[None]).flatten(), row) for row in z])
    torch.testing.assert_close(found.slope, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(z, before)  # whatever works in place
    assert activation_code(network, z).shape == (9, 4 * 2 * 2 + 2 * 4 * 4)


def test_other_maps_get_a_first_order_map(tiny):
    smooth = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    z = latents(6, 3)
    found = affine_map(smooth, z)
    assert not found.exact
    torch.testing.assert_close(torch.einsum("noi,ni->no", found.slope, z) + found.offset, smooth(z).detach())
    step = 1e-4 * latents(6, 3, seed=1)
    predicted = torch.einsum("noi,ni->no", found.slope, z + step) + found.offset
    torch.testing.assert_close(predicted, smooth(z + step).detach(), rtol=0, atol=1e-6)  # second order in the step

    space = get_space(tiny, "pixel")
    z = latents(3, 8, dtype=torch.float32)
    found = affine_map(space, z)
    assert not found.exact and found.slope.dtype == torch.float32 and found.slope.shape == (3, 256, 8)
    torch.testing.assert_close(torch.einsum("noi,ni->no", found.slope, z) + found.offset, space(z))
    expected = torch.stack([torch.autograd.functional.jacobian(lambda r: space(r[None])[0], row) for row in z])
    torch.testing.assert_close(found.slope, expected, rtol=1e-4, atol=1e-5)


def test_latents_take_the_networks_dtype():
    found = affine_map(corner_network().float(), latents(4, 2))
    assert found.slope.dtype == found.offset.dtype == torch.float32


def test_log_volumes_by_hand():
    slope = torch.tensor([[[2, 0], [0, 1], [3, 3]], [[3, 0], [0, 4], [0, 0]], [[1, 2], [2, 4], [0, 0]]]).double()
    torch.testing.assert_close(log_volume(slope).exp(), torch.tensor([7.0, 12.0, 0.0]).double())
    torch.testing.assert_close(log_volume(slope[1:], top_k=1).exp(), torch.tensor([4.0, 5.0]).double())
    assert log_volume(slope.transpose(1, 2)).tolist() == [-math.inf] * 3  # three dimensions into two
    pseudo = log_volume(slope, pseudo=True)
    torch.testing.assert_close(pseudo[:2], log_volume(slope[:2]))
    torch.testing.assert_close(pseudo[2].exp(), torch.linalg.svdvals(slope[2].double())[0])
    torch.testing.assert_close(log_volume(slope.transpose(1, 2), pseudo=True), pseudo)
    assert log_volume(torch.zeros(1, 3, 2), pseudo=True).tolist() == [0]
    slope[0, 0, 0] = torch.nan
    assert log_volume(slope).isnan().tolist() == [True, False, False]


def test_log_volumes_of_maps(tiny):
    z = torch.tensor([place for place, *_ in CORNER_REGIONS.values()])
    volumes = torch.tensor([volume for _, _, volume, *_ in CORNER_REGIONS.values()]).double()
    torch.testing.assert_close(log_volumes(corner_network(), z).exp(), volumes)
    space, z = get_space(tiny, "pixel"), latents(5, 8)
    assert log_volumes(space, z).tolist() == [-math.inf] * 5  # on the sphere one direction is lost
    by_spectrum = log_volumes(space, z, top_k=7)
    torch.testing.assert_close(by_spectrum, log_volume(affine_map(space, z).slope, top_k=7), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "z, message",
    [
        (torch.zeros(2), r"\[N, in\] of floats .* not \[2\]"),
        (torch.zeros(0, 2), "at least one row"),
        (torch.zeros(3, 2, dtype=torch.int64), "int64"),
        ([[0.0, 0.0]], "not list"),
        (torch.tensor([[0.0, math.nan], [0.0, 0.0]]), "1 of 2 latents are not finite"),
        (torch.zeros(1, 3), "does not take latents of 3 entries"),
    ],
)
def test_latents_that_do_not_fit_are_refused(z, message):
    for function in (activation_code, affine_map, log_volumes):
        with pytest.raises(ValueError, match=message):
            function(corner_network(), z)


@pytest.mark.parametrize("top_k", [0, 3])
def test_a_top_k_beyond_the_rank_is_refused(top_k):
    narrow = one_hidden_layer([[1.0, 0, 0], [0, 1, 0]], [0.0, 0], [[1.0, 0], [0, 1]], [0.0, 0])
    with pytest.raises(ValueError, match=f"top_k {top_k} is outside 1 to 2"):
        log_volumes(narrow, torch.ones(1, 3), top_k=top_k)
