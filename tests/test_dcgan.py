"""DCGANs of PyTorch's tutorial: parity with plain modules, sizes read off shapes, damaged files."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.family_files import write_dcgan

from cli.gen_images import main as gen_images
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from latent_plugins.any_network import wrap
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum

SIZES = [
    dict(z_dim=100, channels=[16, 8, 8, 4], img_channels=3),  # 64×64, the tutorial's depth
    dict(z_dim=7, channels=[8], img_channels=1),  # 8×8
    dict(z_dim=20, channels=[12, 6, 3, 6, 4], img_channels=3),  # 128×128
    dict(z_dim=5, channels=[6, 4], img_channels=1, bottom_width=7),  # 28×28
]


def tutorial_module(z_dim, channels, img_channels, bottom_width=4, seed=0):
    """The tutorial's layers as plain modules, with statistics that evaluation must use."""
    torch.manual_seed(seed)
    layers, n = [], z_dim
    for k, width in enumerate(channels):
        geometry = (4, 2, 1) if k else (bottom_width, 1, 0)
        layers += [torch.nn.ConvTranspose2d(n, width, *geometry, bias=False), torch.nn.BatchNorm2d(width)]
        layers += [torch.nn.ReLU(True)]
        n = width
    layers += [torch.nn.ConvTranspose2d(n, img_channels, 4, 2, 1, bias=False), torch.nn.Tanh()]
    module = torch.nn.Module()
    module.main = torch.nn.Sequential(*layers)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.1, 3)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
            norm.num_batches_tracked += 5
    return module.eval().requires_grad_(False)


def saved(folder, content):
    torch.save(content, folder / "net.pth")
    return folder / "net.pth"


def none(n):
    return torch.zeros(n, 0)


@pytest.mark.parametrize("sizes", SIZES)
def test_images_are_those_of_plain_modules(sizes, tmp_path):
    module = tutorial_module(**sizes)
    network = load_network(saved(tmp_path, module.state_dict()))
    assert network.family == "dcgan" and network.init_kwargs == dict(bottom_width=4) | sizes
    assert network.img_resolution == sizes.get("bottom_width", 4) << len(sizes["channels"])
    z = torch.randn(5, sizes["z_dim"])
    expected = module.main(z[:, :, None, None])
    assert expected.std() > 0.01
    torch.testing.assert_close(network(z, none(5)), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(network(z, none(5), truncation_psi=0.5), module.main(z[:, :, None, None] / 2))


def test_the_trained_faces_are_those_of_plain_modules(data_folder):
    path = data_folder / "networks" / "dcgan-faces-64.pth"
    if not path.is_file():
        pytest.skip(f"no trained DCGAN at {path}")
    network = load_network(path)
    assert network.init_kwargs == dict(z_dim=100, channels=[512, 256, 128, 64], img_channels=3, bottom_width=4)
    module = tutorial_module(100, [512, 256, 128, 64], 3)
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["netG_state_dict"])
    z = torch.cat([network.seed_latent(seed) for seed in range(4)])
    np.testing.assert_array_equal(z[3], np.random.RandomState(3).randn(100).astype(np.float32))
    torch.testing.assert_close(network(z, none(4)), module.main(z[:, :, None, None]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "packed",
    [
        lambda state: dict(netG_state_dict=state, netD_state_dict={}, epoch=3),
        lambda state: dict(netG=state),
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: dict(state_dict={f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}),
        lambda state: {name.removeprefix("main."): tensor for name, tensor in state.items()},  # a bare Sequential
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
        lambda state: {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()},
    ],
)
def test_wrappers_and_prefixes(packed, tmp_path):
    module = tutorial_module(**SIZES[1])
    plain = load_network(saved(tmp_path, module.state_dict()))
    network = load_network(saved(tmp_path, packed(module.state_dict())))
    z = torch.randn(2, 7)
    torch.testing.assert_close(network(z, none(2)), plain(z, none(2)), rtol=0, atol=3e-3)


def test_what_training_counted_is_no_part_of_the_fingerprint(tmp_path):
    state = tutorial_module(**SIZES[1]).state_dict()
    first = fingerprint(load_network(saved(tmp_path, state)))
    state["main.1.num_batches_tracked"] += 1000
    assert fingerprint(load_network(saved(tmp_path, state))) == first
    state["main.1.running_mean"] += 1
    assert fingerprint(load_network(saved(tmp_path, state))) != first


def test_exact_spectrum_is_that_of_autograd(tmp_path):
    network = load_network(write_dcgan(tmp_path))
    z = network.seed_latent(1)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, none(1)).flatten(), z)[:, 0]
    expected = torch.linalg.svdvals(jacobian.double())
    found = spectrum(get_space(network, "pixel"), z, method="exact", top_k=10)[0]
    np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-4)


def refusal(path):
    with pytest.raises(NetworkFileError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def renamed(state, old, new):
    state[new] = state.pop(old)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda s: s.update({"main.9.weight": torch.zeros(3)}), "main.9.weight is surplus"),
        (lambda s: s.update({"extra": torch.zeros(3)}), "extra is surplus"),
        (lambda s: s.update({"main.0.bias": torch.zeros(8)}), "main.0.bias is surplus"),
        (lambda s: s.pop("main.4.running_var"), "main.4.running_var is missing"),
        (lambda s: s.pop("main.4.weight"), "main.4.weight is missing"),
        (lambda s: s.pop("main.3.weight"), "every third layer is a transposed convolution (found main.0, main.6)"),
        (lambda s: s.update({"main.3.weight": torch.zeros(9, 6, 4, 4)}), "main.3.weight is [9, 6, 4, 4] instead of"),
        (lambda s: s.update({"main.3.weight": torch.zeros(8, 6, 3, 3)}), "main.3.weight is [8, 6, 3, 3], whose kernel"),
        (lambda s: s.update({"main.0.weight": torch.zeros(5, 8, 4, 3)}), "whose kernel is not square"),
        (lambda s: s.update({"main.4.running_mean": torch.zeros(7)}), "main.4.running_mean is [7] instead of [6]"),
        (lambda s: s["main.1.bias"].fill_(float("nan")), "main.1.bias holds NaN or infinity"),
        (lambda s: s.update({"main.1.bias": torch.zeros(8, dtype=torch.int64)}), "main.1.bias is no tensor of float"),
        (lambda s: renamed(s, "main.6.weight", "main.7.weight"), "found main.0, main.3, main.7"),
    ],
)
def test_damaged_files_get_one_line(damage, words, tmp_path):
    state = tutorial_module(5, [8, 6], 3).state_dict()
    damage(state)
    assert words in refusal(saved(tmp_path, state))


def test_a_discriminator_is_told(tmp_path):
    layers = [torch.nn.Conv2d(3, 4, 4, 2, 1, bias=False), torch.nn.LeakyReLU(0.2)]
    layers += [torch.nn.Conv2d(4, 8, 4, 2, 1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.LeakyReLU(0.2)]
    layers += [torch.nn.Conv2d(8, 1, 4, 1, 0, bias=False), torch.nn.Sigmoid()]
    module = torch.nn.Module()
    module.main = torch.nn.Sequential(*layers)
    assert "a DCGAN discriminator, which makes no images" in refusal(saved(tmp_path, module.state_dict()))


def test_a_wrapped_module_is_the_same_network(tmp_path):
    module = tutorial_module(**SIZES[0])
    network, wrapped = load_network(saved(tmp_path, module.state_dict())), wrap(module.main, 100, z_shape=(100, 1, 1))
    z = network.seed_latent(2)
    assert torch.equal(z, wrapped.seed_latent(2))
    torch.testing.assert_close(network(z, none(1)), wrapped(z, none(1)), rtol=0, atol=1e-6)
    first, second = (spectrum(get_space(each, "pixel"), z, method="exact", top_k=20)[0] for each in (network, wrapped))
    np.testing.assert_allclose(np.asarray(first), np.asarray(second), rtol=1e-4)


def test_too_many_layers_build_nothing(tmp_path):
    state = tutorial_module(1, [1] * 13, 1, seed=1).state_dict()
    assert "1 to 12 layers, not of 13" in refusal(saved(tmp_path, state))


def test_smoothing_knows_its_units(tmp_path):
    args = [f"--network={write_dcgan(tmp_path)}", "--seeds=0", "--smooth=0.5", f"--outdir={tmp_path / 'out'}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = CliRunner().invoke(gen_images, args)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "samples.jsonl").read_text())["smooth"] == 0.5
