"""ProGAN against goldens of the official code; its options, limits and derivatives.

The goldens were computed by the release's own `networks.py` and `tfutil.py`, run in TensorFlow 2.21 (compat.v1), those
of the Theano layout after its own `legacy.py` had imported them; the singular values by TensorFlow's differentiation.
"""

import numpy as np
import pytest
import torch
from conftest import GOLDENS
from helpers.small_networks import small_progan
from helpers.tf_pickles import (
    PROGAN,
    Recorded,
    golden_inputs,
    golden_record,
    state_of_network,
    tf_progan,
    write_tf_pickle,
    write_tf_progan,
)

from dnnlib_compat.assemble import assemble
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.progan import ProGANGenerator, upscale, upscaling_conv2d
from dnnlib_compat.tf_networks import convert, select_tf_network, tf_family
from dnnlib_compat.unpickle import read_pickle

NAMES = sorted(path.stem for path in GOLDENS.glob("progan-*.npz"))


def read(path):
    """The network of a pickle."""
    record = select_tf_network(read_pickle(path), path)
    assert tf_family(record) == "progan"
    return assemble(*convert(record, path), path).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=NAMES)
def golden(request, tmp_path_factory):
    record, arrays = golden_record(request.param)
    path = write_tf_pickle(tmp_path_factory.mktemp("progan") / "net.pkl", (record, record, record), protocol=2)
    return read(path), arrays


def relative_error(ours, reference):
    return np.abs(ours.numpy() - reference).max() / reference.std()


def draw(network, n=3):
    z = torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(0))
    return z, torch.eye(max(network.c_dim, 1))[torch.arange(n) % max(network.c_dim, 1), : network.c_dim]


def test_there_are_goldens_of_every_kind():
    assert len(NAMES) == 8


def test_images_equal_the_official_ones(golden):
    network, arrays = golden
    images = network(*golden_inputs(arrays))
    assert images.shape == arrays["img"].shape
    assert relative_error(images, arrays["img"]) <= 1e-5


def test_singular_values_equal_the_official_ones(golden):
    network, arrays = golden
    z, c = golden_inputs(arrays)
    jacobian = torch.func.jacrev(lambda z: network(z, c[:1]).flatten())(z[:1])[:, 0]
    ours, theirs = torch.linalg.svdvals(jacobian).numpy(), arrays["svds"]
    real = (
        theirs > 1e-3 * theirs[0]
    )  # where z is normalised, its own direction changes nothing (or, by epsilon, little)
    assert real.sum() == network.z_dim - network.normalizes_z
    assert np.abs(ours - theirs)[real].max() <= 1e-5 * theirs[0]
    assert np.abs(ours / theirs - 1)[real].max() <= 1e-3


@pytest.mark.bitwise
def test_networks_rebuild_from_their_arguments(golden):
    network, arrays = golden
    copy = ProGANGenerator(**network.init_kwargs).eval()
    copy.load_state_dict(network.state_dict())
    inputs = golden_inputs(arrays)
    assert torch.equal(copy(*inputs), network(*inputs))


def test_samples_of_a_batch_do_not_influence_each_other(golden):
    network, arrays = golden
    z, c = golden_inputs(arrays)
    alone = torch.cat([network(z[i : i + 1], c[i : i + 1]) for i in range(len(z))])
    assert relative_error(alone, network(z, c).numpy()) <= 1e-5


def test_forward_and_reverse_mode_compose_and_agree(golden):
    network, arrays = golden
    z, c = golden_inputs(arrays)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    y, tangent = torch.func.jvp(lambda z: network(z, c), (z,), (direction,))
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    _, pullback = torch.func.vjp(lambda z: network(z, c), z)
    left, right = (weight * tangent).sum(), (pullback(weight)[0] * direction).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-3)

    def column(z, c, v):
        return torch.func.jvp(lambda z: network(z[None], c[None])[0], (z,), (v,))[1]

    assert relative_error(torch.func.vmap(column)(z, c, direction), tangent.numpy()) <= 1e-4


def test_upscaling_is_part_of_the_convolution():
    x, weight = torch.randn(2, 5, 4, 6), torch.randn(5, 3, 3, 3)
    kernel = weight.flip((2, 3)).transpose(0, 1)
    separate = torch.nn.functional.conv2d(upscale(x, 2), kernel, padding=1)
    assert torch.allclose(upscaling_conv2d(x, weight), separate, atol=1e-5)


@pytest.mark.bitwise
def test_an_unfinished_network_shows_coarse_images():
    images = small_progan(channels=[8, 6])(*draw(small_progan()))
    assert images.shape == (3, 3, 16, 16)
    assert torch.equal(images, upscale(images[:, :, ::2, ::2], 2))


def test_fading_goes_from_one_block_to_the_next():
    before, after = small_progan(channels=[8, 6]), small_progan()
    z, c = draw(before)
    kwargs = after.init_kwargs | dict(fade=0.25)
    middle = ProGANGenerator(**kwargs).eval().requires_grad_(False)
    shared = {name: tensor for name, tensor in before.state_dict().items() if name.startswith("b")}
    after.load_state_dict(after.state_dict() | shared)
    faded = {name.replace("torgb", "torgb_before"): t for name, t in before.torgb.state_dict(prefix="torgb.").items()}
    middle.load_state_dict(after.state_dict() | faded)
    assert torch.allclose(middle(z, c), 0.75 * after(z, c) + 0.25 * before(z, c), atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# What the interface promises


def test_the_direction_of_z_alone_matters():
    network = small_progan()
    z, c = draw(network)
    assert network.normalizes_z and not network.has_styles and network.num_ws == 0 and network.w_avg is None
    assert torch.allclose(network(3 * z, c), network(z, c), atol=1e-6)
    with pytest.raises(ValueError, match="normalises z, so scaling it would change no image; use truncation psi 1"):
        network(z, c, truncation_psi=0.7)
    assert "psi must be 1" in network.truncation_text


@pytest.mark.bitwise
@pytest.mark.parametrize("kwargs", [dict(normalize_latents=False), dict(c_dim=3)])
def test_the_length_of_z_matters_without_normalisation_or_with_a_label(kwargs):
    network = small_progan(**kwargs)
    z, c = draw(network)
    assert not network.normalizes_z and ProGANGenerator.normalizes_z
    assert (network.prior_text, network.truncation_text) == ("N(0, I)", "scales z")
    assert torch.equal(network(z, c, truncation_psi=0.7), network(0.7 * z, c))
    assert not torch.allclose(network(z, c, truncation_psi=0.7), network(z, c), atol=1e-3)


def test_there_are_no_layers_to_truncate():
    network = small_progan()
    with pytest.raises(ValueError, match="no truncation cutoff"):
        network(*draw(network), truncation_cutoff=2)


def test_seeds_are_those_of_numpy():
    network = small_progan()
    expected = np.random.RandomState(7).randn(1, 8).astype(np.float32)
    assert np.array_equal(network.seed_latent(7).numpy(), expected)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(img_resolution=24), "power of two"),
        (dict(img_resolution=8), "3 blocks reach 16×16"),
        (dict(channels=[]), "0 blocks"),
        (dict(fade=1.0), "below 1"),
        (dict(fade=-0.5), "at least 0"),
        (dict(channels=[8], fade=0.5), "a single block"),
    ],
)
def test_impossible_architectures_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small_progan(**kwargs)


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.bitwise
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        dict(c_dim=3, img_channels=1),
        dict(normalize_latents=False, pixel_norm=False, slope=0.0, epsilon=1e-4),
        dict(channels=[8], img_resolution=4),
        dict(channels=[8, 4], fade=0.25, img_resolution=32),
    ],
)
def test_networks_survive_writing_and_reading(tmp_path, kwargs, fused):
    network = small_progan(**kwargs)
    inputs = draw(network)
    exact = read(write_tf_progan(tmp_path / "a.pkl", network, fused=fused, scaled=False))
    assert exact.init_kwargs == network.init_kwargs
    assert torch.equal(exact(*inputs), network(*inputs))
    scaled = read(write_tf_progan(tmp_path / "b.pkl", network, fused=fused))
    assert relative_error(scaled(*inputs), network(*inputs).numpy()) <= 5e-5


def test_the_published_architecture_is_recognised(tmp_path):
    """CelebA-HQ at 1024×1024: the official names, with a 64th of the channels."""
    channels = [8, 8, 8, 8, 4, 2, 1, 1, 1]
    random = np.random.RandomState(0)

    def layer(scope, *shape, outputs=None):
        weight = random.randn(*shape).astype(np.float32)
        return {f"{scope}/weight": weight, f"{scope}/bias": np.zeros(outputs or shape[-1], np.float32)}

    variables = {"lod": np.float32(0)} | layer("4x4/Dense", 8, 128, outputs=8) | layer("4x4/Conv", 3, 3, 8, 8)
    for i, (before, n) in enumerate(zip(channels, channels[1:])):
        r = 8 << i
        variables |= layer(f"{r}x{r}/Conv0_up", 3, 3, n, before, outputs=n) | layer(f"{r}x{r}/Conv1", 3, 3, n, n)
    for i, n in enumerate(reversed(channels)):
        variables |= layer(f"ToRGB_lod{i}", 1, 1, n, 3)
    given = dict(num_channels=3, resolution=1024, label_size=0, fmap_base=128, fmap_max=8, mbstd_group_size=16)
    record = Recorded(PROGAN, state_of_network("Gs", "G_paper", given, variables, 2))
    network = read(write_tf_pickle(tmp_path / "net.pkl", (record, record, record)))
    assert network.init_kwargs["channels"] == channels and (network.z_dim, network.c_dim) == (8, 0)
    assert network(*draw(network, 1)).shape == (1, 3, 1024, 1024)


def test_the_published_network_has_its_number_of_parameters():
    """23.1 million, Table 2 of the paper, of which the 7 608 of the unused colour layers are none of ours."""
    with torch.device("meta"):
        network = ProGANGenerator(512, 0, 1024, 3, [512, 512, 512, 512, 256, 128, 64, 32, 16])
    assert sum(p.numel() for p in network.parameters()) == 23_079_115 - 7_608


def variables_of(record):
    return record.state["variables"]


def replace(record, name, value=None):
    """Change, add or (value None) remove a variable of a `Recorded` network."""
    kept = [pair for pair in variables_of(record) if pair[0] != name]
    record.state["variables"] = kept if value is None else [*kept, (name, value)]


ZEROS = np.zeros((2, 2), np.float32)
NAN = np.full(6, np.nan, np.float32)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("8x8/Conv1/weight", None, "does not fit a progan: 8x8/Conv1/weight is missing; a fork"),
        ("8x8/Conv1/bias", None, "8x8/Conv1/bias is missing"),
        ("4x4/Dense/bias", None, "4x4/Dense/bias is missing"),
        ("8x8/Conv0_up/weight", None, "8x8/Conv0_up/weight is missing"),
        ("8x8/Conv1/weight", ZEROS, r"8x8/Conv1/weight is \[2, 2\] instead of \[3, 3, 6, 6\]"),
        ("8x8/Conv0_up/bias", ZEROS, r"8x8/Conv0_up/bias is \[2, 2\] instead of \[6\]"),
        ("4x4/Dense/weight", np.zeros((9, 128), np.float32), r"\[9, 128\] instead of \[8, 128\]"),
        ("8x8/Conv1/bias", NAN, "8x8/Conv1/bias holds NaN or infinity; the file is of a failed training run"),
        ("8x8/Conv1/bias", np.arange(6), "8x8/Conv1/bias is no array of floating-point numbers"),
        ("8x8/Conv1/bias", [0.0] * 6, "8x8/Conv1/bias is no array of floating-point numbers"),
        ("8x8/Glow/weight", ZEROS, "8x8/Glow/weight is surplus"),
        ("lod", ZEROS, r"lod is \[2, 2\] instead of a number"),
    ],
)
def test_misfit_variables_are_refused(tmp_path, name, value, message):
    record = tf_progan(small_progan())
    replace(record, name, value)
    path = write_tf_pickle(tmp_path / "net.pkl", record)
    with pytest.raises(NetworkFileError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(glow=3), "unknown argument glow; a fork"),
        (dict(resolution=24), "resolution is 24, not a power of two"),
        (dict(resolution=1 << 40), "resolution is 1099511627776, not a size"),
        (dict(resolution="16"), "resolution is '16', not a size"),
        (dict(label_size=-1), "label_size is -1, not a size"),
        (dict(label_size=2), r"4x4/Dense/weight is \[8, 128\] instead of \[10, 128\]"),
        (dict(num_channels=1), r"ToRGB_lod0/weight is \[1, 1, 4, 3\] instead of \[1, 1, 4, 1\]"),
        (dict(use_wscale="yes"), "use_wscale is 'yes', not True or False"),
        (dict(pixelnorm_epsilon=float("nan")), "pixelnorm_epsilon is nan"),
        (dict(dtype="int8"), "dtype is 'int8', not float32 or float16"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, kwargs, message):
    path = write_tf_pickle(tmp_path / "net.pkl", tf_progan(small_progan(), **kwargs))
    with pytest.raises(NetworkFileError, match=message):
        read(path)


def test_the_number_of_latents_shows_in_the_variables(tmp_path):
    record = tf_progan(small_progan(c_dim=3))
    del record.state["static_kwargs"]["latent_size"]
    assert read(write_tf_pickle(tmp_path / "net.pkl", record)).z_dim == 8


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(param_values=[]), "does not have the 27 parameters of a progan of that resolution"),
        (dict(param_values={}), "does not have the 27 parameters"),
        (dict(build_func_spec=dict(func="G_paper", label_size=3)), "label_size is 3, not 0"),
        (dict(build_func_spec=dict(func="G_paper", tanh_at_end=1.0)), "tanh_at_end is 1.0, not None"),
        (dict(build_func_spec=dict(func="G_paper", use_batchnorm=True)), "use_batchnorm is True, not False"),
        (dict(build_func_spec=dict(func="G_mnist_mode_recovery")), "an unknown network .built by 'G_mnist_mode_rec"),
        (dict(build_func_spec=3), "does not record how its network was built"),
    ],
)
def test_theano_networks_that_tensorflow_could_not_import_are_refused(tmp_path, change, message):
    record, _ = golden_record("progan-theano")
    record.state.update(change)
    with pytest.raises(NetworkFileError, match=message):
        read(write_tf_pickle(tmp_path / "net.pkl", record, protocol=2))


def test_theano_parameters_in_another_order_are_refused(tmp_path):
    record, _ = golden_record("progan-theano")
    record.state["param_values"].reverse()
    with pytest.raises(NetworkFileError, match="not the weights of a progan layer"):
        read(write_tf_pickle(tmp_path / "net.pkl", record, protocol=2))
