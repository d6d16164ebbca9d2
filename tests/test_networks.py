"""The re-implemented networks against goldens of the official code."""

import numpy as np
import pytest
import torch
from conftest import GOLDENS, golden_network, small_stylegan2

from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator

NETWORKS = [
    "stylegan2-ada-skip",
    "stylegan2-sg3repo-skip",
    "stylegan2-sg3repo-resnet-cond",
    "stylegan2-orig-clamped",
    "stylegan3-t",
    "stylegan3-r",
]


@pytest.fixture(scope="module", params=NETWORKS)
def golden(request):
    return golden_network(request.param)


def relative_error(ours, reference):
    """Largest deviation in units of the reference's standard deviation."""
    return np.abs(ours.numpy() - reference).max() / reference.std()


def inputs(arrays):
    return torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["c"])


def test_images_equal_the_official_ones(golden):
    network, arrays = golden
    z, c = inputs(arrays)
    calls = {"img": {}, "img_trunc0.7": dict(truncation_psi=0.7), "img_noise_none": dict(noise_mode="none")}
    checked = [name for name in calls if name in arrays]
    assert "img" in checked and "img_trunc0.7" in checked
    for name in checked:
        assert relative_error(network(z, c, **calls[name]), arrays[name]) <= 1e-4, name


@pytest.mark.bitwise
def test_styles_equal_the_official_ones(golden):
    network, arrays = golden
    z, c = inputs(arrays)
    calls = {"w": {}, "w_trunc0.7": dict(truncation_psi=0.7)}
    calls["w_trunc0.5_cutoff2"] = dict(truncation_psi=0.5, truncation_cutoff=2)
    for name, kwargs in calls.items():
        if name in arrays:
            assert relative_error(network.mapping(z, c, **kwargs), arrays[name]) <= 1e-6, name
            w = network.style(z, c)
            assert torch.equal(network.broadcast(w, *kwargs.values()), network.mapping(z, c, **kwargs))
    assert network.style(z, c).shape == (len(z), network.w_dim)


def test_user_transform_equals_the_official_one():
    network, arrays = golden_network("stylegan3-r")
    network.input_transform.copy_(torch.from_numpy(arrays["transform"]))
    assert relative_error(network(*inputs(arrays)), arrays["img_transform"]) <= 1e-4
    assert relative_error(network(*inputs(arrays)), arrays["img"]) > 0.1


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("stylegan2")])
def test_fused_and_separate_modulation_agree(name):
    network, arrays = golden_network(name)
    z, c = inputs(arrays)
    separate, fused = network(z, c), network(z, c, fused_modconv=True)
    assert relative_error(fused, separate.numpy()) <= 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_reverse_mode_compose_and_agree(name):
    network, arrays = golden_network(name)
    z, c = inputs(arrays)

    def image(z):
        return network(z, c[:2])

    direction = torch.randn(2, network.z_dim, generator=torch.Generator().manual_seed(0))
    y, tangent = torch.func.jvp(image, (z[:2],), (direction,))
    assert relative_error(y, image(z[:2]).numpy()) <= 1e-6
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    _, pullback = torch.func.vjp(image, z[:2])
    left, right = (weight * tangent).sum(), (pullback(weight)[0] * direction).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-3)
    per_sample = torch.func.vmap(lambda z, c: network(z[None], c[None])[0])(z[:2], c[:2])
    assert relative_error(per_sample, y.numpy()) <= 1e-4


def test_samples_of_a_batch_do_not_influence_each_other(golden):
    network, arrays = golden
    z, c = inputs(arrays)
    alone = torch.cat([network(z[i : i + 1], c[i : i + 1]) for i in range(len(z))])
    assert relative_error(alone, network(z, c).numpy()) <= 1e-5


@pytest.mark.bitwise
def test_noise_modes():
    network, arrays = golden_network("stylegan2-ada-skip")
    z, c = inputs(arrays)
    torch.manual_seed(0)
    first, second = network(z, c, noise_mode="random"), network(z, c, noise_mode="random")
    assert not torch.equal(first, second)
    assert torch.equal(network(z, c), network(z, c, noise_mode="const"))
    with pytest.raises(ValueError, match="const, random, none"):
        network(z, c, noise_mode="loud")


@pytest.mark.bitwise
def test_half_precision_switches_change_no_number(tiny):
    z, c = torch.randn(2, 8), torch.zeros(2, 0)
    other = small_stylegan2(num_fp16_res=2, fp16_channels_last=True)
    assert torch.equal(tiny(z, c), other(z, c))


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(img_resolution=24), "power of two"),
        (dict(architecture="dense"), "orig, skip or resnet"),
        (dict(resample_filter=[[1, 2], [3, 4]]), "list of taps"),
    ],
)
def test_impossible_architectures_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small_stylegan2(**kwargs)


def test_truncation_without_an_average_is_refused():
    network = StyleGAN2Generator(8, 0, 8, 8, 1, mapping_kwargs=dict(w_avg_beta=None), channel_base=64)
    z, c = torch.randn(1, 8), torch.zeros(1, 0)
    assert network(z, c).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="tracks no average style"):
        network(z, c, truncation_psi=0.5)


def test_goldens_stay_small():
    assert all(path.stat().st_size <= 500_000 for path in GOLDENS.iterdir())
