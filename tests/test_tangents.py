"""A network's own forward products are those of torch.func.jvp, whatever its layers are made of."""

import pytest
import torch
from conftest import small_stylegan2
from helpers.maps import seeded

from dnnlib_compat.networks.stylegan2 import SynthesisNetwork
from latent_plugins.geometry.smoothing import smoothed
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import JacobianOperator
from latent_plugins.volume.spectrum import products as module


def differentiated(function, x, directions):
    """The derivatives [N, M, …] of function at x [N, …] along directions [N, M, …], by torch.func."""
    push = torch.func.vmap(lambda v: torch.func.jvp(function, (x,), (v,))[1], in_dims=1, out_dims=1)
    return push(directions)


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(architecture="resnet"),
        dict(architecture="orig"),
        dict(conv_clamp=0.5),
        dict(conv_clamp=None, use_noise=False),
        dict(architecture="resnet", conv_clamp=0.5, activation="swish"),
        dict(activation="tanh"),
        dict(kernel_size=1),
        dict(resample_filter=[[1, 2], [3, 4]]),
        dict(resample_filter=None),
        dict(img_channels=1, channel_max=6),
    ],
    ids=str,
)
def test_tangents_of_every_kind_of_synthesis(options):
    torch.manual_seed(0)
    made = dict(img_channels=3, channel_base=64, channel_max=8) | options
    network = SynthesisNetwork(5, 16, **made).requires_grad_(False).eval()
    for name, tensor in network.named_parameters():
        if "noise_strength" in name or name.endswith("bias"):
            tensor.add_(torch.randn(tensor.shape, generator=seeded(1)) * 0.3)
    ws = torch.randn(3, network.num_ws, 5, generator=seeded(2))
    directions = torch.randn(3, 4, network.num_ws, 5, generator=seeded(3))
    expected = differentiated(lambda x: network(x, noise_mode="const"), ws, directions)
    kept = ws.clone(), directions.clone()
    found = network.tangents(ws, directions)
    assert found.shape == expected.shape == (3, 4, made["img_channels"], 16, 16)
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert torch.equal(ws, kept[0]) and torch.equal(directions, kept[1])


@pytest.mark.parametrize("name", ["pixel", "w:pixel"])
@pytest.mark.parametrize("options", [dict(), dict(psi=0.6, cutoff=3), dict(domain="gaussian")], ids=str)
def test_products_of_a_space_go_that_way(name, options, monkeypatch):
    space_map = get_space(small_stylegan2(c_dim=3), name, c=torch.eye(3)[1], **options)
    x = torch.randn(4, space_map.in_dim, generator=seeded(0))
    each = torch.randn(4, space_map.in_dim, 3, generator=seeded(1))
    ways = []
    monkeypatch.setattr(
        module, "_own_products", lambda *args, own=module._own_products: ways.append(own(*args)) or ways[-1]
    )
    operator = JacobianOperator(space_map, x)
    products = [operator.columns(each), operator.columns(each[0]), operator.dense()]
    assert sum(way is not None for way in ways) >= 3  # the mapping network, where it is a part, has none
    monkeypatch.setattr(module, "_own_products", lambda *args: None)
    operator = JacobianOperator(space_map, x)
    for found, expected in zip(products, [operator.columns(each), operator.columns(each[0]), operator.dense()]):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 3e-6 * expected.abs().max()


class Brighter(SynthesisNetwork):
    """Another package's network, with a forward pass of its own."""

    def forward(self, ws, **options):
        return super().forward(ws, **options).exp()


def hooked(generator):
    generator.synthesis.b8.conv1.register_forward_hook(lambda module, inputs, output: 3 * output)
    return generator


def parametrized(generator):
    class Doubled(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight.abs()

    torch.nn.utils.parametrize.register_parametrization(generator.synthesis.b8.conv1, "weight", Doubled())
    return generator.requires_grad_(False)


def of_another_class(generator):
    generator.synthesis.__class__ = Brighter
    return generator


@pytest.mark.parametrize(
    "changed", [lambda generator: smoothed(generator, 0.5), hooked, parametrized, of_another_class]
)
@pytest.mark.parametrize("name", ["pixel", "w:pixel"])
def test_changed_networks_are_differentiated_as_they_run(changed, name):
    generator = changed(small_stylegan2())
    space_map = get_space(generator, name)
    x = torch.randn(3, space_map.in_dim, generator=seeded(0))
    expected = torch.func.vmap(torch.func.jacfwd(lambda row: space_map(row[None])[0]))(x)
    for found in (
        JacobianOperator(space_map, x).dense(),
        JacobianOperator(space_map, x).columns(torch.eye(x.shape[1])),
    ):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_other_maps_and_gradients_stay_with_torch():
    """Other dtypes, spaces and calls with gradients have no such products."""
    network = small_stylegan2()
    x = torch.randn(2, network.z_dim)
    v = torch.randn(2, network.z_dim, 2)
    with torch.no_grad():
        assert get_space(network, "style").tangents(x, v) is None
        assert get_space(network, "pixel").tangents(x.double(), v.double()) is None
    assert module._own_products(get_space(network, "pixel"), x, v) is None  # gradients may be asked for
