"""BigGAN and BigGAN-deep against the official code; architectures, statistics and damages of their files.

The goldens biggan-pytorch, biggan-deep-pytorch and biggan-deep-hf hold weights; those of goldens/biggan-variants.npz
are drawn again by `noisy`. The official code, given the same weights, has made their images and singular values:
BigGAN.Generator and BigGANdeep.Generator of BigGAN-PyTorch with the keywords in biggan-variants.json, in evaluation
mode and with `accumulate_standing`, and BigGAN of pytorch-pretrained-BigGAN with the configuration there.
"""

import json
import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import GOLDENS
from helpers.biggan_tensors import (
    VARIANTS,
    converted,
    noisy,
    official_shapes,
    official_shapes_hf,
    variant_network,
)

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.imagenet import class_index, class_names
from dnnlib_compat.networks.biggan import BigGANGenerator
from dnnlib_compat.networks.biggan_deep import BigGANDeepGenerator
from dnnlib_compat.networks.biggan_files import (
    HF_DEFAULTS,
    biggan_architecture,
    convert_biggan,
    convert_biggan_hf,
    is_biggan,
    is_biggan_hf,
)
from dnnlib_compat.networks.biggan_layers import at_truncation


@pytest.fixture(scope="module", params=["odd-z-64", "deep-64", "hf-no-attention", "one-class"])
def network(request):
    return variant_network(request.param)


# ---------------------------------------------------------------------------------------------------------------------
# The official names and shapes


# golden tests start
# ---------------------------------------------------------------------------------------------------------------------
# Against the official code


def one_hot(y, network):
    return (
        torch.nn.functional.one_hot(torch.as_tensor(y), network.c_dim).float()
        if network.c_dim
        else torch.zeros(len(y), 0)
    )


def relative_error(ours, reference):
    """Largest deviation in units of the reference's standard deviation."""
    return np.abs(ours.numpy() - reference).max() / reference.std()


def singular_values(network, z, c, psi=1):
    def image(z):
        return network(z[None], c, truncation_psi=psi)[0].flatten()

    return torch.linalg.svdvals(torch.func.jacfwd(image)(z).double()).numpy()


@pytest.fixture(scope="module")
def variants():
    with np.load(GOLDENS / "biggan-variants.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_equal_the_official_code(name, variants):
    network = variant_network(name)
    z, c = torch.from_numpy(variants[f"{name}/z"]), one_hot(variants[f"{name}/y"], network)
    pictures = {float(key.partition("/img")[2]): x for key, x in variants.items() if key.startswith(f"{name}/img")}
    assert pictures
    for psi, expected in pictures.items():
        images = network(z, c, truncation_psi=psi)
        assert images.shape == (2, 3, network.img_resolution, network.img_resolution)
        step = network.img_resolution // 16
        assert relative_error(images[..., ::step, step // 2 :: step], expected) <= 2e-5, psi
    if f"{name}/singular_values" in variants:
        expected = variants[f"{name}/singular_values"]
        np.testing.assert_allclose(singular_values(network, z[0], c[:1], max(pictures)), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["biggan-pytorch", "biggan-deep-pytorch", "biggan-deep-hf"])
def test_goldens_equal_the_official_code(name, data_folder):
    with np.load(data_folder / "goldens" / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    tensors = {key[6:]: torch.from_numpy(x) for key, x in arrays.items() if key.startswith("state/")}
    config = json.loads((data_folder / "goldens" / f"{name}.json").read_text()).get("config")
    network, z = converted(tensors, config), torch.from_numpy(arrays["z"])
    c = torch.from_numpy(arrays["c"]) if "c" in arrays else one_hot(arrays["y"], network)
    if config is None:
        pictures = {1.0: arrays["img"]}
    else:  # their caller has not scaled z, and our network does
        pictures = {psi: arrays[f"img_trunc{psi}"] for psi in (1.0, 0.5, 0.4)}
    for psi, expected in pictures.items():
        scaled = z if config is None else z / psi
        assert relative_error(network(scaled, c, truncation_psi=psi), expected) <= 2e-5, psi
    expected = arrays["jac_z_singular_values"]
    np.testing.assert_allclose(singular_values(network, z[0], c[:1]), expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# The networks


def inputs(network, n=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, network.z_dim, generator=generator), one_hot(torch.arange(n), network)


def test_forward_and_reverse_mode_compose_and_agree(network):
    z, c = inputs(network)

    def image(z, c):
        return network(z[None], c[None])[0]

    directions = torch.randn(4, network.z_dim, generator=torch.Generator().manual_seed(1))
    columns = torch.func.vmap(lambda v: torch.func.jvp(lambda z: image(z, c[0]), (z[0],), (v,))[1])(directions)
    weights = torch.randn(columns.shape[1:], generator=torch.Generator().manual_seed(2))
    row = torch.func.grad(lambda z: (weights * image(z, c[0])).sum())(z[0])
    torch.testing.assert_close((columns * weights).sum(dim=(1, 2, 3)), directions @ row, rtol=1e-3, atol=1e-3)
    apart = torch.func.vmap(image)(z, c)
    assert relative_error(apart, network(z, c).numpy()) <= 1e-5


def test_samples_of_a_batch_do_not_influence_each_other(network):
    z, c = inputs(network)
    alone = torch.cat([network(z[k : k + 1], c[k : k + 1]) for k in range(len(z))])
    assert relative_error(alone, network(z, c).numpy()) <= 1e-5


@pytest.mark.bitwise
def test_networks_rebuild_from_their_arguments(network):
    again = type(network)(**json.loads(json.dumps(network.init_kwargs))).eval()
    again.load_state_dict(network.state_dict())
    z, c = inputs(network)
    assert torch.equal(again(z, c), network(z, c))
    assert again.init_kwargs == network.init_kwargs
    assert (network.has_styles, network.num_ws, network.w_dim, network.img_channels) == (False, 0, 0, 3)


def test_labels_matter_and_one_class_takes_none():
    network = variant_network("deep-64")
    z, c = inputs(network)
    assert network.c_dim == 5
    assert relative_error(network(z, c.roll(1, dims=0)), network(z, c).numpy()) > 0.1
    assert variant_network("one-class").c_dim == 0


@pytest.mark.bitwise
@pytest.mark.parametrize("name", ["odd-z-64", "deep-64"])
def test_truncation_scales_z(name):
    network = variant_network(name)
    z, c = inputs(network)
    assert torch.equal(network(z, c, truncation_psi=0.25), network(z / 4, c))
    with pytest.raises(ValueError, match="no truncation cutoff"):
        network(z, c, truncation_cutoff=2)


@pytest.mark.parametrize("psi", [0, -0.5, 1.01, float("nan")])
def test_truncation_without_statistics_is_refused(psi):
    network = variant_network("hf-no-attention")
    with pytest.raises(ValueError, match="above 0 and at most 1, not"):
        network(*inputs(network), truncation_psi=psi)


def test_prior_of_pytorch_pretrained_biggan():
    network = variant_network("hf-no-attention")
    expected = scipy.stats.truncnorm.rvs(-2, 2, size=(1, 8), random_state=np.random.RandomState(7))
    z = network.seed_latent(7)
    assert z.dtype == torch.float32 and np.array_equal(z.numpy(), expected.astype(np.float32))
    bulk = network.sample_prior(500, torch.Generator().manual_seed(0))
    u = torch.rand(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    np.testing.assert_allclose(bulk.numpy(), scipy.stats.truncnorm.ppf(u, -2, 2), atol=1e-6)
    assert "[−2, 2]" in network.prior_text and "statistics" in network.truncation_text


def test_prior_of_biggan_pytorch():
    network = variant_network("odd-z-64")
    expected = np.random.RandomState(7).randn(1, network.z_dim).astype(np.float32)
    assert np.array_equal(network.seed_latent(7).numpy(), expected)


@pytest.mark.parametrize(
    "family, kwargs, message",
    [
        (BigGANGenerator, dict(z_dim=9, channels=[8, 8], hierarchical=True), "9 does not fall into 2 equal chunks"),
        (BigGANGenerator, dict(z_dim=8, channels=[8, 4], attention=[1]), "at least 8 channels, not 4"),
        (BigGANGenerator, dict(z_dim=8, channels=[8, 8], attention=[2]), r"attention \[2\] is not after 0 to 1 blocks"),
        (BigGANDeepGenerator, dict(z_dim=8, blocks=[[8, 8, 1], [4, 4, 0]]), "do not follow on one another"),
        (BigGANDeepGenerator, dict(z_dim=8, blocks=[[8, 16, True]]), "from 8 to 16 channels"),
    ],
)
def test_impossible_architectures_are_refused(family, kwargs, message):
    with pytest.raises(ValueError, match=message):
        family(n_classes=2, **kwargs)


# ---------------------------------------------------------------------------------------------------------------------
# Architectures told from names and shapes

PUBLISHED = {
    "launch_BigGAN_bs256x8.sh, and the author's files": dict(
        G_ch=96, dim_z=120, shared_dim=128, G_attn="64", hier=True, img=128, channels=[1536, 1536, 768, 384, 192, 96]
    ),
    "launch_BigGAN_ch64_bs256x8.sh": dict(
        G_ch=64, dim_z=120, shared_dim=128, G_attn="64", hier=True, img=128, channels=[1024, 1024, 512, 256, 128, 64]
    ),
    "launch_SAGAN_bs128x2_ema.sh": dict(
        G_ch=64, G_shared=False, G_attn="64", img=128, channels=[1024, 1024, 512, 256, 128, 64]
    ),
    "launch_cifar_ema.sh": dict(
        G_ch=64, G_shared=False, G_attn="0", resolution=32, n_classes=10, img=32, channels=[256, 256, 256, 256]
    ),
    "64 pixels": dict(
        G_ch=64, dim_z=100, shared_dim=128, G_attn="32", hier=True, resolution=64, channels=[1024, 1024, 512, 256, 128]
    ),
    "TF Hub, 256 pixels": dict(
        G_ch=96,
        dim_z=140,
        shared_dim=128,
        G_attn="128",
        hier=True,
        resolution=256,
        channels=[1536, 1536, 768, 768, 384, 192, 96],
    ),
    "TF Hub, 512 pixels": dict(
        G_ch=96,
        dim_z=128,
        shared_dim=128,
        G_attn="64",
        hier=True,
        resolution=512,
        channels=[1536, 1536, 768, 768, 384, 192, 96, 96],
    ),
    "two attentions": dict(
        G_ch=96, dim_z=120, shared_dim=128, G_attn="16_64", hier=True, channels=[1536, 1536, 768, 384, 192, 96]
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures_are_told_from_shapes(name):
    settings = {"resolution": 128, "dim_z": 128, "n_classes": 1000, **PUBLISHED[name]}
    shapes = official_shapes(**settings)
    if "TF Hub" in name:
        shapes = {name: shape for name, shape in shapes.items() if not name.endswith(".sv0")}
    family, kwargs = biggan_architecture(shapes)
    assert family is BigGANGenerator
    places = [int(math.log2(int(res) // 4)) for res in settings["G_attn"].split("_") if res != "0"]
    assert kwargs == dict(
        z_dim=settings["dim_z"],
        n_classes=settings["n_classes"],
        channels=settings["channels"],
        attention=places,
        shared_dim=settings.get("shared_dim", 0),
        hierarchical=settings.get("hier", False),
        bottom_width=4,
        img_channels=3,
        eps=1e-4 if "TF Hub" in name else 1e-5,
        adds_gain=False,
    )
    check_sizes(family, kwargs, shapes, settings["resolution"])


def check_sizes(family, kwargs, shapes, resolution):
    """The network has as many numbers as the file, less what belongs to the spectral norm, and the right resolution."""
    with torch.device("meta"):
        network = family(**kwargs)
    theirs = sum(math.prod(s) for n, s in shapes.items() if not re.search(r"\.(u|sv)\d+$|weight_[uv]$", n))
    assert sum(t.numel() for t in network.state_dict().values()) == theirs
    assert network.img_resolution == resolution


@pytest.mark.parametrize("resolution, blocks", [(32, 6), (64, 8), (128, 10), (256, 12)])
def test_published_deep_architectures_are_told_from_shapes(resolution, blocks):
    shapes = official_shapes(
        deep=True, G_ch=128, resolution=resolution, dim_z=128, shared_dim=128, hier=True, G_attn=str(resolution // 2)
    )
    family, kwargs = biggan_architecture(shapes)
    assert family is BigGANDeepGenerator
    assert kwargs["z_dim"] == kwargs["shared_dim"] == 128 and kwargs["n_classes"] == 1000
    assert [upsamples for *_, upsamples in kwargs["blocks"]] == [False, True] * (blocks // 2)
    assert kwargs["attention"] == [blocks - 2]
    check_sizes(family, kwargs, shapes, resolution)


HF_LAYERS = {
    128: (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1),
    256: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1),
    512: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1),
}


@pytest.mark.parametrize("resolution", HF_LAYERS)
def test_published_configurations_of_pytorch_pretrained_biggan(resolution):
    """At a thirty-second of the width, with real tensors."""
    widths = HF_LAYERS[resolution]
    config = dict(channel_width=4, z_dim=8, num_classes=10, class_embed_dim=128, output_dim=resolution, colour="blue")
    config["layers"] = [[k % 2 == 1, *pair] for k, pair in enumerate(zip(widths[:-1], widths[1:]))]
    if resolution == 128:
        assert config["layers"] == HF_DEFAULTS["layers"]
    network = converted(noisy(official_shapes_hf(**config)), config)
    assert network.img_resolution == resolution
    assert list(network.attention) == ["8"]


@pytest.mark.bitwise
def test_channels_beyond_rgb_and_copies_of_weights_are_left_out():
    config = VARIANTS["hf-no-attention"]
    tensors = noisy(official_shapes_hf(**config))
    copies = {k.removesuffix("_orig"): v for k, v in tensors.items() if k.endswith("_orig")}
    whole, lean = converted(tensors | copies, config), converted(tensors, config)
    assert all(torch.equal(t, lean.state_dict()[name]) for name, t in whole.state_dict().items())
    assert whole.output_conv.weight.shape == (3, 4, 3, 3)


# ---------------------------------------------------------------------------------------------------------------------
# Files

SMALL = dict(G_ch=4, resolution=32, dim_z=12, shared_dim=6, n_classes=5, hier=True, G_attn="16")
SMALL_HF = dict(VARIANTS["hf-no-attention"], attention_layer_position=1)


def same_network(ours, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.bitwise
def test_names_may_have_the_prefix_of_data_parallel():
    tensors, hf = noisy(official_shapes(**SMALL)), noisy(official_shapes_hf(**SMALL_HF))
    parallel = converted({f"module.{name}": tensor for name, tensor in tensors.items()})
    assert same_network(parallel, converted(tensors))
    parallel = converted({f"module.{name}": tensor for name, tensor in hf.items()}, SMALL_HF)
    assert same_network(parallel, converted(hf, SMALL_HF))


@pytest.mark.bitwise
def test_attention_gain_may_have_an_axis():
    tensors = noisy(official_shapes(**SMALL))
    assert same_network(
        converted(tensors | {"blocks.1.1.gamma": tensors["blocks.1.1.gamma"][None]}), converted(tensors)
    )


def test_half_precision_files_are_read():
    tensors = noisy(official_shapes(**SMALL))
    half = converted({name: t.half() for name, t in tensors.items()})
    for name, tensor in converted(tensors).state_dict().items():
        torch.testing.assert_close(half.state_dict()[name], tensor, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("count, divisor", [(0.0, 1), (0.4, 1), (1.0, 1), (14.5, 14.5), (16.0, 16)])
def test_standing_statistics_are_sums_over_counted_batches(count, divisor):
    tensors = noisy(official_shapes(**SMALL, mybn=True))
    counters = {name: torch.tensor([count]) for name in tensors if name.endswith("counter")}
    network = converted({**tensors, **counters})
    expected = tensors["blocks.1.0.bn2.bn.stored_var"] / divisor
    torch.testing.assert_close(network.blocks[1].bn2.var, expected[None])
    torch.testing.assert_close(network.output_norm.mean[0], tensors["output_layer.0.bn.stored_mean"] / divisor)


def test_folding_divides_by_one_step_of_the_power_iteration():
    tensors = noisy(official_shapes(**SMALL))
    w, u = tensors["blocks.0.0.conv1.weight"].double(), tensors["blocks.0.0.conv1.u0"].double()
    v = u @ w.flatten(1)
    v = v / v.norm()
    step = v @ w.flatten(1).T
    sigma = (v @ w.flatten(1).T @ (step / step.norm()).T).item()
    weight = converted(tensors).blocks[0].conv1.weight
    torch.testing.assert_close(weight, (w / sigma).float())
    assert abs(sigma / torch.linalg.matrix_norm(w.flatten(1), 2) - 1) > 0.01  # it is an estimate


def test_discriminators_are_told_and_refused():
    generator = noisy(official_shapes(**SMALL))
    blocks = {name: t for name, t in generator.items() if name.startswith("blocks.") and ".bn" not in name}
    tensors = blocks | {
        "linear.weight": torch.ones(1, 16),
        "linear.bias": torch.ones(1),
        "embed.weight": torch.ones(5, 16),
    }
    assert is_biggan(tensors)
    with pytest.raises(NetworkFileError, match="^D.pth: a BigGAN discriminator, which makes no images; take G_ema.pth"):
        convert_biggan(tensors, "D.pth")


def test_other_names_are_neither():
    for names in ([], ["mapping.fc0.weight"], ["linear.weight"], ["module.blocks.0.0.conv1.weight", "linear.weight"]):
        assert not is_biggan(names) and not is_biggan_hf(names)


def changed(tensors, changes):
    """Tensors with some replaced, or removed where the new one is None."""
    return {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}


NAN = torch.full((8,), torch.nan)
CONV = "blocks.1.0.conv2"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({f"{CONV}.bias": None}, f"does not fit a biggan generator: {CONV}.bias is missing$"),
        ({f"{CONV}.weight": None}, f"{CONV}.weight is missing$"),
        ({f"{CONV}.u0": None}, f"{CONV}.u0 is missing$"),
        ({f"{CONV}.u0": torch.ones(1, 9)}, rf"{CONV}.u0 is \[1, 9\] instead of 16 numbers$"),
        ({f"{CONV}.weight": torch.ones(16, 16, 1, 1)}, r"weight is \[16, 16, 1, 1\] instead of \[16, 16, 3, 3\]$"),
        ({f"{CONV}.weight": torch.zeros(16, 16, 3, 3)}, f"{CONV}.weight of shape .* has the spectral norm 0; damaged"),
        ({f"{CONV}.weight": torch.full((16, 16, 3, 3), torch.nan)}, f"{CONV}.weight .* spectral norm nan; damaged"),
        ({f"{CONV}.weight": torch.tensor(1.0)}, f"{CONV}.weight of shape .* spectral norm nan|u0 is .* 1 numbers"),
        ({f"{CONV}.bias": torch.full((16,), torch.inf)}, f"{CONV}.bias holds NaN or infinity"),
        ({"blocks.2.0.bn1.stored_var": None}, "blocks.2.0.bn1.stored_var is missing$"),
        ({"blocks.2.0.bn1.stored_var": torch.ones(7)}, r"blocks.2.0.bn1.stored_var is \[7\] instead of \[16\]$"),
        ({"blocks.2.0.bn1.bn.running_var": torch.ones(16)}, "and blocks.2.0.bn1.stored_var are both there$"),
        ({"blocks.2.0.bn9.bn.stored_var": torch.ones(16)}, "blocks.2.0.bn9.bn.accumulation_counter is missing$"),
        ({"shared.weight": None}, "shared.weight is missing$"),
        ({"linear.weight": None}, "linear.weight is missing$"),
        ({"linear.weight": torch.ones(250, 3)}, "linear.weight has 250 rows, no square picture of 16 channels$"),
        ({"linear.weight": torch.ones(256, 4)}, "has 9 columns instead of 6, or 10 with hierarchical latents$"),
        ({"linear.weight": torch.ones(256)}, r"linear.weight is \[256\], which is no weight$"),
        ({"output_layer.2.weight": None}, "output_layer.2.weight is missing$"),
        ({"glow.weight": torch.ones(2)}, "glow.weight is surplus$"),
        ({"glow.u0": torch.ones(2)}, "glow.u0 is surplus$"),
        ({"blocks.1.1.gamma": torch.ones(2)}, r"blocks.1.1.gamma is \[2\] instead of \[\]$"),
        ({"blocks.4.0.conv1.bias": torch.ones(16)}, "blocks.3.0.conv1.weight is missing$"),
        ({"itr": 17}, "itr is no tensor but of type int$"),
    ],
)
def test_misfit_files_are_refused(changes, message):
    with pytest.raises(NetworkFileError, match=message) as caught:
        convert_biggan(changed(noisy(official_shapes(**SMALL)), changes), "G.pth")
    assert str(caught.value).startswith("G.pth: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"linear.weight": torch.ones(256, 6), "linear.u0": torch.ones(1, 256)}, "6 columns, too few for z"),
        ({"blocks.3.0.conv4.weight": None}, "blocks.3.0.conv4.weight is missing$"),
        ({"blocks.3.0.bn4.gain.weight": torch.ones(4, 3)}, r"gain.weight is \[4, 3\] instead of \[4, 18\]$"),
        ({"blocks.3.0.conv4.weight": torch.ones(8, 4, 1, 1)}, "blocks .* do not follow on one another"),
    ],
)
def test_misfit_deep_files_are_refused(changes, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_biggan(changed(noisy(official_shapes(**SMALL, deep=True)), changes), "G.pth")


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"embeddings.weight": None},
            "^bin: does not fit the BigGAN-deep of its config.json: embeddings.weight is mis",
        ),
        ({"embeddings.weight": torch.ones(8, 6)}, r"embeddings.weight is \[8, 6\] instead of \[8, 5\]$"),
        ({"generator.gen_z.weight_v": None}, "generator.gen_z.weight_v is missing$"),
        ({"generator.gen_z.weight_u": torch.ones(3)}, r"generator.gen_z.weight_u is \[3\] instead of 1024 numbers$"),
        ({"generator.gen_z.weight_orig": torch.ones(1024, 17)}, r"weight_v is \[16\] instead of 17 numbers$"),
        ({"generator.gen_z.weight_v": torch.zeros(16)}, "weight_orig .* has the spectral norm 0; damaged file"),
        ({"generator.layers.1.gamma": None}, "generator.layers.1.gamma is missing$"),
        (
            {"generator.bn.running_means": torch.ones(50, 4)},
            r"generator.bn.running_means is \[50, 4\] instead of \[51, 4\]",
        ),
        ({"generator.conv_to_rgb.bias": torch.full((4,), torch.nan)}, "generator.conv_to_rgb.bias holds NaN"),
        ({"generator.layers.9.gamma": torch.ones(1)}, "generator.layers.9.gamma is surplus$"),
    ],
)
def test_misfit_files_of_pytorch_pretrained_biggan_are_refused(changes, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_biggan_hf(changed(noisy(official_shapes_hf(**SMALL_HF)), changes), SMALL_HF, "bin")


NARROW = [[True, 16, 8], [0, 8, 4], [0, 4, 2], [0, 2, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    "config, message",
    [
        ([], "^bin: config.json holds a list, not an object of settings$"),
        (None, "holds a NoneType"),
        ({"z_dim": "128"}, "z_dim is '128', not a whole number from 1 to 65536$"),
        ({"z_dim": True}, "z_dim is True, not"),
        ({"num_classes": 0}, "num_classes is 0, not"),
        ({"n_stats": 1}, "n_stats is 1, not a whole number from 2"),
        ({"channel_width": 1 << 40}, "channel_width is 1099511627776, not"),
        ({"attention_layer_position": 8.0}, "attention_layer_position is 8.0, not a whole number$"),
        ({"eps": -1e-4}, "eps is -0.0001, not a number between 0 and 1$"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"layers": {}}, "layers is not a list of 1 to 64 layers$"),
        ({"layers": [[True, 1, 1]] * 65}, "layers is not a list"),
        ({"layers": [[True, 16]]}, r"layer 0 is \[True, 16\], not \[true or false, channels in, channels out\]$"),
        ({"layers": [["yes", 16, 16]]}, "layer 0 is"),
        ({"layers": [[True, 16, 8.0]]}, "layer 0 is"),
        ({"layers": [[True, 8, 4]]}, "layer 0 is from 8 to 4 channels, not from 16 to 16 or half$"),
        ({"layers": [[True, 16, 4]]}, "layer 0 is from 16 to 4 channels"),
        ({"layers": [[True, 16, 8]]}, "the last layer has 8 channels out instead of 1$"),
        ({"channel_width": 3, "layers": NARROW}, "a block from 3 to 3 channels"),
    ],
)
def test_nonsense_configurations_are_refused(config, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_biggan_hf(noisy(official_shapes_hf(**SMALL_HF)), config, "bin")


def test_a_configuration_of_another_file_is_told():
    config = dict(SMALL_HF, attention_layer_position=2)
    message = "^bin: does not fit the BigGAN-deep of its config.json: generator.layers.2.snconv1x1_theta.* is missing$"
    with pytest.raises(NetworkFileError, match=message):
        convert_biggan_hf(noisy(official_shapes_hf(**SMALL_HF)), config, "bin")


def test_statistics_between_two_truncations_are_weighted_as_the_original_does():
    """The weight of the lower neighbour is the fraction, where one would expect that of the upper."""
    table = torch.arange(51.0)[:, None]
    expected = {0.02: 1, 1: 50, 0.5: 25, 0.005: 0.75, 0.435: 21.25}
    for psi, value in expected.items():
        assert at_truncation(table, psi).item() == pytest.approx(value), psi
    assert at_truncation(table[:1], 0.3).item() == 0


# ---------------------------------------------------------------------------------------------------------------------
# Class names


def test_class_names():
    assert len(class_names()) == 1000
    assert all(entry == entry.strip() and all(entry.split(", ")) for entry in class_names())
    known = {
        0: "tench, Tinca tinca",
        207: "golden retriever",
        281: "tabby, tabby cat",
        999: "toilet tissue, toilet paper",
    }
    assert all(class_names()[index].startswith(entry) for index, entry in known.items())


@pytest.mark.parametrize(
    "name, index",
    [
        ("tench", 0),
        ("Tinca tinca", 0),
        ("golden_retriever", 207),
        ("GOLDEN  Retriever ", 207),
        ("tabby cat", 281),
        ("giant panda", 388),
        ("ailuropoda_melanoleuca", 388),
        ("toilet paper", 999),
        ("maillot, tank suit", 639),
        ("jack-o'-lantern", 607),
    ],
)
def test_class_index(name, index):
    assert class_index(name) == index


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "golden retreiver",
            "no ImageNet class is called 'golden retreiver'; the nearest names are golden retriever, ",
        ),
        ("", "the nearest names are "),
        ("crane", r"'crane' is the name of several ImageNet classes, give the number: 134 \(crane\); 517 \(crane\)$"),
        ("panda", r"387 \(lesser panda.*\); 388 \(giant panda, .*\)$"),
    ],
)
def test_unknown_and_ambiguous_classes_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        class_index(name)
