"""The discriminator against goldens of the official networks, and through the official files.

tests/goldens/discriminator.npz holds, for each of five discriminators of the two PyTorch releases with random weights
and biases, the arguments, the weights, eight images with labels, the logits, and the gradient with respect to the
images of the logits' sum weighted by eight equidistant numbers from −1 to 2; all computed by the releases' own code on
a CPU.
"""

import json

import numpy as np
import pytest
import torch
from conftest import GOLDENS, small_stylegan2
from helpers.pickles import content_with, official_content, write_pickle

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator, minibatch_stddev
from dnnlib_compat.plain_files import write_npz
from latent_plugins.samplers.sir import SIRSampler

CASES = ["ada-resnet", "ada-skip-clamped", "ada-orig-cond", "sg3-resnet-cond", "sg3-skip-cond"]
ROUNDING = 5e-6  # of float32, relative to the largest number; what is measured is 5e-7


def golden(name, **changes):
    """(our discriminator with a golden's weights, the golden's arrays). changes: of the constructor's arguments."""
    with np.load(GOLDENS / "discriminator.npz") as file:
        arrays = {k.removeprefix(f"{name}/"): file[k] for k in file.files if k.startswith(f"{name}/")}
    kwargs = json.loads(str(arrays.pop("kwargs"))) | changes
    if name.startswith("sg3"):
        kwargs.setdefault("conv_clamp", 256)
    network = StyleGAN2Discriminator(**kwargs).eval().requires_grad_(False)
    network.load_state_dict({k[6:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("state/")})
    return network, arrays


def inputs(arrays):
    return torch.from_numpy(arrays["img"]), torch.from_numpy(arrays["c"])


def relative_error(ours, reference):
    return np.abs(ours.numpy() - reference).max() / np.abs(reference).max()


def weighted_sum(network, c):
    return lambda img: (network(img, c)[:, 0] * torch.linspace(-1, 2, len(img))).sum()


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_the_official_ones(name):
    network, arrays = golden(name)
    assert arrays["logits"].std() > 0.05
    logits = network(*inputs(arrays))
    assert logits.shape == (8, 1) and relative_error(logits, arrays["logits"]) <= ROUNDING


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_the_official_ones(name):
    network, arrays = golden(name)
    img, c = inputs(arrays)
    ours = torch.func.grad(weighted_sum(network, c))(img)
    assert relative_error(ours, arrays["gradient"]) <= ROUNDING


def test_the_clamp_takes_part():
    network, arrays = golden("ada-skip-clamped", conv_clamp=None)
    assert relative_error(network(*inputs(arrays)), arrays["logits"]) > 0.05


@pytest.mark.parametrize("name", CASES)
def test_forward_and_reverse_mode_agree(name):
    network, arrays = golden(name)
    img, c = inputs(arrays)
    direction = torch.randn(img.shape, generator=torch.Generator().manual_seed(0))
    _, slope = torch.func.jvp(weighted_sum(network, c), (img,), (direction,))
    expected = (torch.from_numpy(arrays["gradient"]) * direction).sum()
    assert slope.item() == pytest.approx(expected.item(), rel=1e-3)


def test_single_images_compose_with_vmap():
    network, arrays = golden("sg3-resnet-cond")
    img, c = inputs(arrays)
    alone = torch.cat([network(img[i : i + 1], c[i : i + 1]) for i in range(8)])
    mapped = torch.func.vmap(lambda img, c: network(img[None], c[None])[0])(img, c)
    assert relative_error(mapped, alone.numpy()) <= ROUNDING
    assert relative_error(network(img, c), alone.numpy()) > 1e-3  # the groups of a batch do take part


def test_minibatch_statistics_of_known_images():
    """Groups are every second image; features that differ by ±a within a group have the standard deviation a."""
    x = torch.zeros(4, 2, 3, 3)
    x[2] += 2.0  # images 0 and 2 differ by 2, images 1 and 3 not at all
    y = minibatch_stddev(x, group_size=2, num_channels=1)
    assert torch.equal(y[:, :2], x)
    assert torch.allclose(y[:, 2, 0, 0], torch.tensor([1.0, 1e-4, 1.0, 1e-4]))
    x[:, 1] = 0
    y = minibatch_stddev(x, group_size=None, num_channels=2)
    assert y.shape == (4, 4, 3, 3)
    assert torch.allclose(y[:, 2], torch.tensor(0.75).sqrt()) and torch.allclose(y[:, 3], torch.tensor(1e-4))


def test_batches_that_do_not_split_are_refused():
    network, arrays = golden("ada-resnet")
    with pytest.raises(ValueError, match="a batch of 6 images cannot be split into groups of 4"):
        network(inputs(arrays)[0][:6])
    assert network(inputs(arrays)[0][:3]).shape == (3, 1)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(img_resolution=24), "power of two"),
        (dict(img_resolution=4), "at least 8"),
        (dict(architecture="dense"), "orig, skip or resnet"),
    ],
)
def test_impossible_architectures_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        StyleGAN2Discriminator(**dict(dict(c_dim=0, img_resolution=16, img_channels=3, channel_base=64), **kwargs))


# ---- files ----


@pytest.mark.bitwise
@pytest.mark.parametrize("name", CASES)
def test_key_d_of_a_pickle(tmp_path, name):
    network, arrays = golden(name)
    path = write_pickle(tmp_path / "net.pkl", content_with(network))
    loaded = load_network(path, key="D")
    assert isinstance(loaded, StyleGAN2Discriminator) and not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(loaded(*inputs(arrays)), network(*inputs(arrays)))
    assert load_network(path).family == "stylegan2"


@pytest.mark.bitwise
def test_positional_arguments(tmp_path):
    network, arrays = golden("sg3-resnet-cond")
    content = content_with(network)
    state = content["D"].args[0]["state"]
    state["_init_args"] = tuple(state["_init_kwargs"].pop(name) for name in ("c_dim", "img_resolution", "img_channels"))
    loaded = load_network(write_pickle(tmp_path / "net.pkl", content), key="D")
    assert torch.equal(loaded(*inputs(arrays)), network(*inputs(arrays)))


@pytest.mark.parametrize("recorded, clamp", [({"conv_clamp": 256}, 256), ({"conv_clamp": None}, None), ({}, None)])
def test_a_clamp_by_default_is_the_one_of_the_layers(tmp_path, recorded, clamp):
    """The StyleGAN3 release clamps at 256 where the arguments say nothing, the StyleGAN2-ADA release does not."""
    network, _ = golden("ada-resnet")
    content = content_with(network, conv_clamp="left out")
    conv = content["D"].args[0]["state"]["_modules"]["b4"].args[0]["state"]["_modules"]["conv"]
    conv.args[0]["state"].update(recorded)
    loaded = load_network(write_pickle(tmp_path / "net.pkl", content), key="D")
    assert loaded.b16.conv0.conv_clamp == loaded.b4.conv.conv_clamp == clamp


@pytest.mark.parametrize("name", ["stylegan3-t-structure", "stylegan2-ada-cond-structure"])
def test_official_structures_hold_discriminators(data_folder, name):
    network = load_network(data_folder / "goldens" / f"{name}.pkl", key="D")
    generator = load_network(data_folder / "goldens" / f"{name}.pkl")
    assert (network.c_dim, network.img_resolution) == (generator.c_dim, generator.img_resolution)
    images = torch.randn(4, network.img_channels, *[network.img_resolution] * 2)
    logits = network(images, torch.eye(max(network.c_dim, 1))[[0] * 4, : network.c_dim])
    assert logits.shape == (4, 1) and logits.isfinite().all()


@pytest.mark.bitwise
def test_plain_files(tmp_path):
    network, arrays = golden("sg3-skip-cond")
    write_npz(network, tmp_path / "d.npz")
    assert torch.equal(load_network(tmp_path / "d.npz", key="D")(*inputs(arrays)), network(*inputs(arrays)))


def refusal(path, **kwargs):
    with pytest.raises(NetworkFileError) as caught:
        load_network(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: ")
    return message


def test_what_is_no_discriminator_and_what_is_no_generator(tmp_path):
    network, _ = golden("ada-resnet")
    write_npz(network, tmp_path / "d.npz")
    assert "a stylegan2-discriminator, not what key 'G_ema' asks for" in refusal(tmp_path / "d.npz")
    write_npz(small_stylegan2(), tmp_path / "g.npz")
    assert "a stylegan2, not what key 'D' asks for" in refusal(tmp_path / "g.npz", key="D")
    path = write_pickle(tmp_path / "a.pkl", official_content(small_stylegan2()))
    assert "has no network under 'D'; its networks: G_ema" in refusal(path, key="D")


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(img_resolution=-1), "img_resolution is -1, not a size"),
        (dict(img_resolution=24), "power of two"),
        (dict(c_dim="left out"), "its constructor call lacks c_dim"),
        (dict(glow=1), "unknown discriminator argument glow"),
        (dict(block_kwargs=dict(dropout=1)), "unknown block argument dropout"),
        (dict(block_kwargs=dict(architecture="skip")), "the recorded arguments do not build a stylegan2-discriminator"),
        (dict(mapping_kwargs=7), "its mapping arguments are a int"),
        (dict(epilogue_kwargs=dict(depth=1)), "unknown epilogue argument depth"),
        (dict(channel_max=16, channel_base=256), "instead of"),
    ],
)
def test_bad_records_are_named(tmp_path, changes, message):
    network, _ = golden("ada-resnet")
    path = write_pickle(tmp_path / "a.pkl", content_with(network, **changes))
    assert message in refusal(path, key="D")


# ---- scores of each image alone ----


@pytest.mark.parametrize("name", CASES)
def test_scores_of_images_alone_are_those_of_a_group_with_the_references(name):
    network, arrays = golden(name)
    images, c = inputs(arrays)
    n = network.references_needed
    assert n == (3 if network.b4.group_size is None else network.b4.group_size - 1)
    alone = network.scoring_alone(images[1 : 1 + n])
    scores = alone(images, c)
    for i in (0, len(images) - 1):
        group = torch.cat([images[i : i + 1], images[1 : 1 + n]])
        labels = c[i : i + 1].expand(len(group), -1)
        assert torch.allclose(network(group, labels)[0], scores[i], rtol=1e-4, atol=1e-4)
        assert torch.allclose(alone(images[i : i + 1], c[i : i + 1]), scores[i : i + 1], rtol=1e-4, atol=1e-4)
    assert network.b4.references is None  # the network itself is as before


def test_a_sampler_s_scores_do_not_depend_on_the_batch():
    """Chains compare the score of a lone image with those of many: both are of the image alone."""
    torch.manual_seed(0)
    generator = small_stylegan2()
    size, channels = generator.img_resolution, generator.img_channels
    critic = StyleGAN2Discriminator(0, size, channels, channel_base=64, channel_max=8).requires_grad_(False)
    sampler = SIRSampler(generator, critic, proposals=5)
    z = generator.sample_prior(7, torch.Generator().manual_seed(0))
    together = sampler.score(z)
    assert torch.allclose(torch.cat([sampler.score(each) for each in z.split(1)]), together, rtol=1e-5, atol=1e-5)
    assert len(together.unique()) == 7
