"""Loading official pickles and our own format: what fits loads, what does not is named."""

import numpy as np
import pytest
import torch
from conftest import load_golden, small_stylegan2
from helpers.pickles import module_record, official_content, with_gpu_tensors, write_official, write_pickle
from helpers.small_networks import images, small_stylegan3

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import read_npz, write_npz
from dnnlib_compat.unpickle import read_pickle


@pytest.mark.parametrize("name", ["stylegan3-t-structure", "stylegan2-ada-cond-structure"])
def test_official_structures_give_the_official_images(data_folder, name):
    network = load_network(data_folder / "goldens" / f"{name}.pkl")
    arrays, _ = load_golden(name)
    ours = network(torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["c"])).numpy()
    assert np.abs(ours - arrays["img"]).max() <= 1e-4 * arrays["img"].std()
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.bitwise
@pytest.mark.parametrize("network", [small_stylegan2(), small_stylegan3()], ids=["stylegan2", "stylegan3"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_round_trip(tmp_path, network, protocol):
    path = write_pickle(tmp_path / "net.pkl", official_content(network), protocol)
    loaded = load_network(path)
    assert loaded.family == network.family
    assert torch.equal(images(loaded), images(network))


@pytest.mark.bitwise
def test_tensors_saved_on_a_gpu_load_without_one(tmp_path, tiny):
    path = write_pickle(tmp_path / "net.pkl", with_gpu_tensors(tiny))
    loaded = load_network(path)
    assert {p.device.type for p in loaded.parameters()} == {"cpu"}
    assert torch.equal(images(loaded), images(tiny))


@pytest.mark.bitwise
def test_a_pickled_generator_alone_is_accepted(tmp_path, tiny):
    path = write_pickle(tmp_path / "net.pkl", module_record(tiny, "Generator", tiny.init_kwargs))
    assert torch.equal(images(load_network(path)), images(tiny))


def test_the_releases_differ_in_their_default_clamp(tmp_path, tiny):
    """The StyleGAN2-ADA release clamps nothing unless told to, the StyleGAN3 release clamps at 256."""
    content = official_content(tiny)
    assert load_network(write_pickle(tmp_path / "ada.pkl", content)).synthesis.b8.conv1.conv_clamp is None
    meta = content["G_ema"].args[0]
    for name, child in meta["state"]["_modules"]["synthesis"].args[0]["state"]["_modules"].items():
        assert name.startswith("b")
        child.args[0]["state"]["fused_modconv_default"] = True
    assert load_network(write_pickle(tmp_path / "sg3.pkl", content)).synthesis.b8.conv1.conv_clamp == 256


@pytest.mark.bitwise
def test_positional_constructor_arguments(tmp_path, tiny):
    content = official_content(tiny)
    state = content["G_ema"].args[0]["state"]
    kwargs = state["_init_kwargs"]
    names = ["z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"]
    state["_init_args"] = tuple(kwargs.pop(name) for name in names)
    assert torch.equal(images(load_network(write_pickle(tmp_path / "net.pkl", content))), images(tiny))


def refusal(path, **kwargs):
    with pytest.raises(NetworkFileError) as caught:
        load_network(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: ")
    return message


def test_unknown_arguments_are_named(tmp_path, tiny):
    assert "unknown synthesis argument glow" in refusal(write_official(tmp_path / "a.pkl", tiny, glow=1))
    changed = dict(mapping_kwargs=dict(num_layers=2, dropout=0.1))
    assert "unknown mapping argument dropout" in refusal(write_official(tmp_path / "b.pkl", tiny, **changed))
    assert "mapping arguments are a int" in refusal(write_official(tmp_path / "d.pkl", tiny, mapping_kwargs=7))
    nested = dict(synthesis_kwargs=dict(channel_base=64, channel_max=8, style="new"))
    assert "unknown synthesis argument style" in refusal(write_official(tmp_path / "c.pkl", tiny, **nested))


def test_stylegan3_refuses_stylegan2_arguments(tmp_path):
    path = write_official(tmp_path / "a.pkl", small_stylegan3(), architecture="skip")
    assert "unknown synthesis argument architecture" in refusal(path)


def test_missing_surplus_and_misfit_tensors_are_named(tmp_path, tiny):
    content = official_content(tiny)
    layer = content["G_ema"].args[0]["state"]["_modules"]["synthesis"].args[0]["state"]["_modules"]["b8"].args[0]
    torgb = layer["state"]["_modules"]["torgb"].args[0]["state"]
    bias = torgb["_parameters"].pop("bias")
    assert "synthesis.b8.torgb.bias is missing" in refusal(write_pickle(tmp_path / "a.pkl", content))
    torgb["_parameters"].update(bias=bias, extra=bias)
    assert "synthesis.b8.torgb.extra is surplus" in refusal(write_pickle(tmp_path / "b.pkl", content))
    del torgb["_parameters"]["extra"]
    torgb["_parameters"]["bias"] = torch.zeros(7)
    assert "synthesis.b8.torgb.bias is [7] instead of [1]" in refusal(write_pickle(tmp_path / "c.pkl", content))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named(tmp_path, value):
    network = small_stylegan2()
    network.synthesis.b16.conv1.weight[0, 0, 0, 0] = value
    message = refusal(write_official(tmp_path / "a.pkl", network))
    assert "synthesis.b16.conv1.weight holds NaN or infinity" in message
    write_npz(network, tmp_path / "a.npz")
    assert "synthesis.b16.conv1.weight" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("size", [-1, "32", 1 << 40, None, 3.5])
def test_absurd_sizes_are_refused(tmp_path, tiny, size):
    assert "img_resolution is" in refusal(write_official(tmp_path / "a.pkl", tiny, img_resolution=size))


def test_impossible_arguments_are_refused(tmp_path, tiny):
    assert "power of two" in refusal(write_official(tmp_path / "a.pkl", tiny, img_resolution=24))


def test_a_missing_key_lists_the_networks(tmp_path, tiny):
    path = write_official(tmp_path / "a.pkl", tiny)
    assert "has no network under 'G_teacher'; its networks: G_ema" in refusal(path, key="G_teacher")


def test_another_kind_of_network_is_named(tmp_path):
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    path = write_pickle(tmp_path / "a.pkl", dict(G_ema=module_record(other, "Detector", {})))
    assert "not a StyleGAN2 or StyleGAN3 generator, its classes are Detector, Linear" in refusal(path)


@pytest.mark.bitwise
def test_npz_round_trip(tmp_path, tiny):
    write_npz(tiny, tmp_path / "a.npz")
    assert torch.equal(images(load_network(tmp_path / "a.npz")), images(tiny))
    write_npz(tiny, tmp_path / "half.npz", dtype=torch.float16)
    half = load_network(tmp_path / "half.npz")
    assert next(half.parameters()).dtype == torch.float32
    assert (images(half) - images(tiny)).abs().max() < 0.02 * images(tiny).std()
    assert (tmp_path / "half.npz").stat().st_size < (tmp_path / "a.npz").stat().st_size


def test_npz_of_an_unknown_family(tmp_path, tiny):
    np.savez(tmp_path / "a.npz", config=np.array('{"family": "stylegan9", "kwargs": {}}'))
    with pytest.raises(NetworkFileError, match="unknown family 'stylegan9'"):
        read_npz(tmp_path / "a.npz")
    tiny.family = "foreign"
    with pytest.raises(ValueError, match="cannot be stored without its code"):
        write_npz(tiny, tmp_path / "b.npz")


def test_the_embedded_network_loads_by_name():
    network = load_network("mnist32")
    assert (network.img_resolution, network.img_channels, network.c_dim) == (32, 1, 0)
    z = torch.randn(64, network.z_dim, generator=torch.Generator().manual_seed(0))
    pictures = network(z, torch.zeros(64, 0))
    # Mostly black background, bright strokes, and not one picture for all.
    assert pictures.quantile(0.25) < -0.9 and pictures.max() > 0.8 and pictures.std(dim=0).max() > 0.3


def test_loading_decodes_only_the_network_asked_for(tmp_path, tiny):
    content = official_content(tiny)
    content["D"] = module_record(small_stylegan2(c_dim=2), "Discriminator", {})
    path = write_pickle(tmp_path / "a.pkl", content)
    decoded = []
    original = read_pickle(path)["D"].tensors()
    with pytest.MonkeyPatch.context() as patch:
        record = type(next(iter(original.values())))
        decode = record.decode
        patch.setattr(record, "decode", lambda self: decoded.append(1) or decode(self))
        load_network(path)
    assert len(decoded) == len(tiny.state_dict())
