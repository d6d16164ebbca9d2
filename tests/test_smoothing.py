"""Soft units: the formula, its limits, and what stays as it was."""

import copy
import math
import pickle

import pytest
import torch
from conftest import small_stylegan2
from helpers.biggan_tensors import converted
from helpers.family_files import biggan_state
from helpers.nvae_networks import small as small_nvae
from helpers.small_networks import small_progan
from helpers.splines import SplineGenerator

from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.mnist_classifier import load_mnist_classifier
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator
from dnnlib_compat.plain_files import write_npz
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.geometry.smoothing import smooth_leaky_relu, smoothed
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.products import jacobian_columns, jacobian_rows


def small_stylegan3():
    torch.manual_seed(0)
    sizes = dict(z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=1, mapping_kwargs=dict(num_layers=1))
    network = StyleGAN3Generator(**sizes, channel_base=128, channel_max=8, num_layers=4, num_critical=1)
    return network.eval().requires_grad_(False)


NETWORKS = {
    "stylegan2": small_stylegan2,
    "stylegan2 conditional": lambda: small_stylegan2(c_dim=3),
    "stylegan3": small_stylegan3,
    "progan": small_progan,
    "biggan": lambda: converted(biggan_state()),
    "biggan-deep": lambda: converted(biggan_state(deep=True)),
    "mnist32": lambda: load_network("mnist32"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


def inputs(network, n=2):
    z = torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(0))
    return z, torch.eye(max(network.c_dim, 1))[:1, : network.c_dim].expand(n, -1)


def relu_net():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.LeakyReLU(0.3)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 5)).requires_grad_(False)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9, 0.999])
def test_the_unit_is_near_the_hard_one(slope, beta):
    """|soft − hard| = (1 − α) |u| σ(−s|u|), s = β / (1 − β): at most 0.2785 (1 − α) / s, at |u| = 1.2785 / s."""
    s = beta / (1 - beta)
    u = torch.linspace(-20, 20, 200_001, dtype=torch.float64) / s
    gap = (smooth_leaky_relu(u, slope, beta) - torch.nn.functional.leaky_relu(u, slope)).abs()
    expected = (1 - slope) * u.abs() * torch.sigmoid(-s * u.abs())
    torch.testing.assert_close(gap, expected, rtol=1e-6, atol=1e-12)
    assert gap.max().item() == pytest.approx(0.278465 * (1 - slope) / s, rel=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_the_derivative_is_continuous_at_zero(slope):
    """It is (1 + α)/2 there, and changes by (1 − α) s/2 · u: the second derivative is (1 − α) s/2 on both sides."""
    beta = 0.75  # s = 3
    derivative = torch.func.grad(lambda u: smooth_leaky_relu(u, slope, beta))
    at = [derivative(torch.tensor(u, dtype=torch.float64)).item() for u in (-1e-6, 0.0, 1e-6)]
    assert at[1] == pytest.approx((1 + slope) / 2, abs=1e-12)
    for side in (at[2] - at[1], at[1] - at[0]):
        assert side == pytest.approx((1 - slope) * 3 / 2 * 1e-6, rel=1e-4)


def test_nearly_hard_units_are_finite():
    u = torch.tensor([-1e30, -1.0, 0.0, 1.0, 1e30], requires_grad=True)
    soft = smooth_leaky_relu(u, 0.2, 1 - 2**-53)
    torch.testing.assert_close(soft, torch.nn.functional.leaky_relu(u, 0.2))
    assert torch.autograd.grad(soft.sum(), u)[0].isfinite().all()


@pytest.mark.bitwise
def test_beta_one_is_the_original_bit_for_bit(network):
    z, c = inputs(network)
    copied = smoothed(network, 1)
    assert copied is not network and torch.equal(copied(z, c), network(z, c))
    assert copied.family == network.family


@pytest.mark.bitwise
def test_images_converge_and_the_original_is_untouched(network):
    z, c = inputs(network)
    before = network(z, c)
    gaps = [(smoothed(network, beta)(z, c) - before).abs().max() / before.std() for beta in (0.9, 0.999, 1 - 1e-6)]
    assert gaps[0] > 0.01 and gaps[1] < gaps[0] / 5 and gaps[2] < 1e-4
    assert torch.equal(network(z, c), before) and type(smoothed(network, 0.5)) is type(network)


@pytest.mark.bitwise
def test_every_unit_is_soft():
    """A ReLU network and its soft copy, layer by layer."""
    network, x, beta = relu_net(), torch.randn(7, 3, generator=torch.Generator().manual_seed(1)), 0.8
    first, _, second, _, last = network
    expected = last(smooth_leaky_relu(second(smooth_leaky_relu(first(x), 0.0, beta)), 0.3, beta))
    assert torch.equal(smoothed(network, beta)(x), expected)
    in_place = copy.deepcopy(network)
    in_place[1].inplace = in_place[3].inplace = True
    assert torch.equal(smoothed(in_place, beta)(x), expected)


@pytest.mark.bitwise
def test_styles_and_synthesis_are_soft_on_their_own():
    """The spaces z:w and w:pixel call the parts, not the whole."""
    network = small_stylegan2()
    soft, (z, c) = smoothed(network, 0.5), inputs(network)
    ws = soft.mapping(z, c)
    assert (ws - network.mapping(z, c)).abs().max() > 1e-3
    assert (soft.synthesis(ws) - network.synthesis(ws)).abs().max() > 1e-3
    assert torch.equal(soft(z, c), soft.synthesis(ws))
    assert soft.w_avg is soft.mapping.w_avg and torch.equal(soft.w_avg, network.w_avg)


def test_jacobians_by_torch_func(network):
    """Forward and reverse mode agree, and with the slope of a central difference in float32's reach."""
    soft, (z, c) = smoothed(network, 0.9), inputs(network, n=1)
    space_map = get_space(soft, "pixel", c=c[0], domain="gaussian")
    v = torch.randn(2, network.z_dim, generator=torch.Generator().manual_seed(1))
    columns = jacobian_columns(space_map, z, v)[0]
    u = torch.randn(2, space_map.out_dim, generator=torch.Generator().manual_seed(2))
    rows = jacobian_rows(space_map, z, u)[0]
    scale = columns.norm() * u.norm()
    assert ((u @ columns) - (rows @ v.T)).abs().max() / scale < 1e-5
    step = 2e-3 * v[:1]
    difference = (space_map(z + step) - space_map(z - step))[0] / 4e-3
    assert (difference - columns[:, 0]).norm() / columns[:, 0].norm() < 0.02
    assert torch.allclose(torch.func.vmap(lambda row: space_map(row[None])[0])(z), space_map(z), atol=1e-4)


def test_slopes_of_a_soft_network_move_where_those_of_a_hard_one_jump():
    """Across the kink of one unit."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
    torch.nn.init.ones_(network[0].weight)
    for net, jump in ((network, 1.0), (smoothed(network, 0.9), 0.0)):
        slopes = [torch.func.jacfwd(net)(torch.tensor([u])).item() for u in (-1e-6, 1e-6)]
        assert slopes[1] - slopes[0] == pytest.approx(jump, abs=1e-4)


def test_spectra_converge_to_the_original_ones():
    network = load_network("mnist32")
    values = [
        spectrum(space_map, space_map.enter(inputs(network)[0]), top_k=5)
        for space_map in (
            get_space(net, "pixel") for net in (network, smoothed(network, 0.9999), smoothed(network, 0.5))
        )
    ]
    torch.testing.assert_close(values[1], values[0], rtol=0.02, atol=0)
    assert (values[2] / values[0] - 1).abs().max() > 0.1


@pytest.mark.bitwise
def test_copies_and_pickles_are_soft_too():
    for soft, arguments in ((smoothed(small_stylegan2(), 0.5), None), (smoothed(small_progan(), 0.5), None)):
        arguments = inputs(soft)
        for again in (copy.deepcopy(soft), pickle.loads(pickle.dumps(soft))):
            assert torch.equal(again(*arguments), soft(*arguments))
            for parameter in again.parameters():
                parameter.data.zero_()
        assert soft(*arguments).abs().max() > 0  # the copies have parameters of their own


def test_a_smoothed_network_is_another_network(tmp_path):
    network = small_stylegan2()
    names = {fingerprint(net) for net in (network, smoothed(network, 0.5), smoothed(network, 0.6))}
    assert len(names) == 3 and fingerprint(smoothed(network, 1)) == fingerprint(network)
    with pytest.raises(ValueError, match="smoothed with beta 0.5"):
        write_npz(smoothed(network, 0.5), tmp_path / "net.npz")


@pytest.mark.parametrize(
    "make, message",
    [
        (small_nvae, "nvae network is not piecewise affine, its units are smooth already: .*silu"),
        (lambda: small_stylegan2(synthesis_kwargs=dict(activation="swish")), "smooth already: silu"),
        (SplineGenerator, "spline network has no ReLU or leaky ReLU in its images"),
        (lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.GELU()), "already: GELU"),
        (lambda: torch.nn.Linear(2, 2), "this Linear has no ReLU"),
        (load_mnist_classifier, "this MnistClassifier has no ReLU or leaky ReLU among its modules"),
    ],
)
@pytest.mark.parametrize("beta", [0.5, 1])
def test_networks_that_are_not_piecewise_affine_are_refused(make, message, beta):
    with pytest.raises(ValueError, match=message):
        smoothed(make(), beta)


def test_beta_zero_is_a_globally_affine_network():
    """Units u / 2 and (1 + α) u / 2; differences along a line are all the same."""
    network, x = relu_net(), torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    first, _, second, _, last = network
    affine = smoothed(network, 0)
    torch.testing.assert_close(affine(x), last(0.65 * second(0.5 * first(x))))
    steps = affine(torch.linspace(-9, 9, 7)[:, None] * x[:1]).diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))


@pytest.mark.parametrize("beta", [-0.5, 1.01, math.nan])
def test_impossible_betas_are_refused(beta):
    with pytest.raises(ValueError, match="beta must lie between 0 and 1"):
        smoothed(relu_net(), beta)
