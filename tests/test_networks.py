"""The re-implemented networks against goldens of the official code."""

import numpy as np
import pytest
import torch
from conftest import GOLDENS, golden_network, small_stylegan2
from helpers.golden_networks import NETWORKS

from dnnlib_compat.networks import ops
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum


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
        (dict(resample_filter=[[[1, 2], [3, 4]]]), "list of taps"),
    ],
)
def test_impossible_architectures_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small_stylegan2(**kwargs)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_a_plane_filter_of_rank_one_is_the_separable_one(architecture):
    taps = [1.0, 3.0, 3.0, 1.0]
    plane = np.outer(taps, taps).tolist()
    z, c = torch.randn(2, 8), torch.zeros(2, 0)
    first = small_stylegan2(architecture=architecture, resample_filter=taps)
    second = small_stylegan2(architecture=architecture, resample_filter=plane)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(z, c), first(z, c), rtol=1e-4, atol=1e-5)


def test_a_plane_filter_need_not_be_separable():
    """Every step is linear in the filter: a sum of two of rank one gives the sum of their images."""
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    first, second = (torch.outer(torch.rand(4), torch.rand(4)) for _ in range(2))
    for step in (
        lambda f: ops.upsample2d(x, f),
        lambda f: ops.downsample2d(x[:, :, :4, :4], f),
        lambda f: ops.upsampling_conv2d(x, w, f, 2),
    ):
        torch.testing.assert_close(step(first + second), step(first) + step(second))
    assert ops.upsample2d(x, torch.rand(2, 6)).shape == (2, 3, 10, 10)


def test_no_filter_is_the_filter_of_one_tap():
    z, c = torch.randn(2, 8), torch.zeros(2, 0)
    without, one = small_stylegan2(resample_filter=None), small_stylegan2(resample_filter=[1])
    assert torch.equal(without(z, c), one(z, c)) and not torch.equal(without(z, c), small_stylegan2()(z, c))


def test_averages_of_classes_are_chosen_by_label(tiny_conditional):
    """[c_dim, w_dim], as StyleGAN-XL tracks them: each row is truncated as by a network with that average alone."""
    averages = torch.randn(3, 8)
    z, c = torch.randn(4, 8), torch.eye(3)[[0, 2, 1, 2]]
    w = tiny_conditional.style(z, c)
    tiny_conditional.mapping.w_avg = averages
    ws = tiny_conditional.broadcast(w, 0.5, 2, c)
    for row, k in enumerate([0, 2, 1, 2]):
        tiny_conditional.mapping.w_avg = averages[k]
        assert torch.equal(ws[row], tiny_conditional.broadcast(w[row : row + 1], 0.5, 2)[0])
    tiny_conditional.mapping.w_avg = averages
    with pytest.raises(ValueError, match="an average style for each class"):
        tiny_conditional.broadcast(w, 0.5)
    space_map = get_space(tiny_conditional, "w:pixel", c=torch.eye(3)[1], psi=0.5)
    assert space_map(w).shape == (4, 256) and spectrum(space_map, w, top_k=2).shape == (4, 2)


def test_truncation_without_an_average_is_refused():
    network = StyleGAN2Generator(8, 0, 8, 8, 1, mapping_kwargs=dict(w_avg_beta=None), channel_base=64)
    z, c = torch.randn(1, 8), torch.zeros(1, 0)
    assert network(z, c).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="tracks no average style"):
        network(z, c, truncation_psi=0.5)


def test_goldens_stay_small():
    assert all(path.stat().st_size <= 500_000 for path in GOLDENS.iterdir())
