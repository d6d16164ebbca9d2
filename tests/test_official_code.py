"""Networks of this package in official code: its calls, the attributes that it reads, copies by name both ways.

`goldens/official-attributes.json` holds what the modules of the official networks say of themselves, for small sizes.
"""

import copy
import json

import numpy as np
import pytest
import torch
from conftest import GOLDENS, small_stylegan2
from helpers.family_files import write_biggan
from helpers.small_networks import small_stylegan3

from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator
from latent_plugins.attaching import attach
from latent_plugins.samplers import create_sampler

OFFICIAL = json.loads((GOLDENS / "official-attributes.json").read_text())
CLASSES = {"stylegan2": StyleGAN2Generator, "stylegan3": StyleGAN3Generator, "discriminator": StyleGAN2Discriminator}


def latents(n, seed=0, z_dim=8):
    return torch.from_numpy(np.random.RandomState(seed).randn(n, z_dim)).float()


def copied(source, target):
    """What official code does to bring the weights of one network into another: by name, among all tensors."""
    tensors = dict([*source.named_parameters(), *source.named_buffers()])
    for name, tensor in [*target.named_parameters(), *target.named_buffers()]:
        assert name in tensors, name
        tensor.copy_(tensors[name].detach()).requires_grad_(tensor.requires_grad)


@pytest.mark.parametrize("case", OFFICIAL)
def test_blocks_and_layers_have_the_official_attributes(case):
    network = CLASSES[case.split("-")[0]](**OFFICIAL[case]["kwargs"])
    ours = dict(network.named_modules())
    for name, attributes in OFFICIAL[case]["modules"].items():
        for attribute, value in attributes.items():
            found = getattr(ours[name], attribute)
            found = found.tolist() if isinstance(found, np.ndarray) else found
            same = found == value if isinstance(value, (str, bool, list, type(None))) else found == pytest.approx(value)
            assert same, f"{name}.{attribute}: {found!r}, official {value!r}"


@pytest.mark.parametrize("make", [small_stylegan2, small_stylegan3])
def test_another_network_is_made_from_the_recorded_arguments(make):
    network = make()
    other = type(network)(*network.init_args, **copy.deepcopy(network.init_kwargs)).requires_grad_(False)
    copied(network, other)
    z, c = latents(2), torch.zeros(2, 0)
    assert torch.equal(network(z, c), other(z, c))


@pytest.mark.parametrize("make", [small_stylegan2, small_stylegan3])
def test_official_calls_leave_the_averages_alone_unless_asked(make):
    network = make()
    before = copy.deepcopy(network.state_dict())
    z, c = latents(4), torch.zeros(4, 0)
    ws = network.mapping(z, c, update_emas=False)
    assert torch.equal(ws, network.mapping(z, c, skip_w_avg_update=True))
    assert torch.equal(network.synthesis(ws, update_emas=False), network(z, c, update_emas=False, force_fp32=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("options", [dict(update_emas=True), dict(skip_w_avg_update=False)])
def test_the_average_style_moves_as_the_official_one(options):
    """w_avg ← w_avg + (1 − beta)(mean w − w_avg)."""
    network = small_stylegan2().train()
    w_avg, z, c = network.mapping.w_avg.clone(), latents(4), torch.zeros(4, 0)
    w = network.mapping(z, c)[:, 0]
    assert torch.equal(network.mapping.w_avg, w_avg)
    network.mapping(z, c, **options)
    expected = w_avg + (1 - 0.998) * (w.mean(dim=0) - w_avg)
    torch.testing.assert_close(network.mapping.w_avg, expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(network.mapping.w_avg, w_avg)


def test_magnitudes_move_as_the_official_ones():
    """The first layer's: magnitude_ema ← magnitude_ema + (1 − beta)(mean x² − magnitude_ema), before it is used."""
    network = small_stylegan3()
    ws = network.mapping(latents(3), torch.zeros(3, 0))
    layer = getattr(network.synthesis, network.synthesis.layer_names[0])
    magnitude = network.synthesis.input(ws[:, 0]).square().mean()
    network.synthesis(ws, update_emas=True)
    torch.testing.assert_close(layer.magnitude_ema, 1 + (1 - 0.999) * (magnitude - 1))
    moved = [getattr(network.synthesis, name).magnitude_ema for name in network.synthesis.layer_names]
    assert all(value != 1 for value in moved)


def test_networks_without_averages_take_the_calls_too(tmp_path):
    network = load_network(write_biggan(tmp_path))
    z, c = latents(2, z_dim=network.z_dim), torch.eye(network.c_dim)[:2]
    assert torch.equal(network(z, c, update_emas=True, force_fp32=True), network(z, c))
    critic = StyleGAN2Discriminator(0, 16, 1, channel_base=64, channel_max=8)
    images = torch.randn(2, 1, 16, 16)
    assert torch.equal(critic(images, None, update_emas=True), critic(images, None))


@pytest.mark.parametrize("make", [small_stylegan2, small_stylegan3])
def test_attached_networks_have_the_names_of_their_network(make):
    network = make()
    attached = attach(network, create_sampler("prior", network))
    assert list(attached.state_dict()) == list(network.state_dict())
    assert [name for name, _ in attached.named_parameters()] == [name for name, _ in network.named_parameters()]
    assert [name for name, _ in attached.named_buffers()] == [name for name, _ in network.named_buffers()]
    assert list(attached.mapping.state_dict()) == list(network.mapping.state_dict())
    assert attached.init_kwargs == network.init_kwargs and attached.init_args == ()
    assert len(list(attached.parameters())) == len(list(network.parameters()))
    prefixed = torch.nn.ModuleDict(dict(G=network)).state_dict()
    assert list(torch.nn.ModuleDict(dict(G=attached)).state_dict()) == list(prefixed)


def test_weights_are_copied_into_and_out_of_attached_networks():
    network = small_stylegan2()
    attached = attach(network, create_sampler("prior", network))
    z, c = latents(2), torch.zeros(2, 0)
    plain = StyleGAN2Generator(*attached.init_args, **attached.init_kwargs).requires_grad_(False)
    copied(attached, plain)
    assert torch.equal(plain(z, c), network(z, c))
    other = small_stylegan2(seed=5)
    assert not torch.equal(attached(z, c), attach(other, create_sampler("prior", other))(z, c))
    copied(other, attached)
    assert torch.equal(network(z, c), other(z, c))
    attached.load_state_dict(plain.state_dict())
    assert torch.equal(network(z, c), plain(z, c)) and not torch.equal(network(z, c), other(z, c))


def test_attached_copies_are_their_own():
    network = small_stylegan2()
    attached = attach(network, create_sampler("prior", network))
    double = copy.deepcopy(attached).requires_grad_(True)
    for parameter in double.parameters():
        parameter.data.zero_()
    assert not any(p.requires_grad for p in attached.parameters())
    assert any(p.any() for p in network.parameters())
