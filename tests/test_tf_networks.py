"""TensorFlow pickles: which networks a file holds, the StyleGAN2 converter, and that nothing of a file runs.

The goldens were computed by the official code of the StyleGAN2 and StyleGAN2-ADA releases, run in TensorFlow 2.21
(compat.v1) with its reference implementations of the custom operations; the singular values by its differentiation.
"""

import numpy as np
import pytest
import torch
from conftest import GOLDENS, small_stylegan2
from helpers.pickles import Call, Named, write_pickle
from helpers.tf_pickles import (
    PROGAN,
    STYLEGAN2,
    Recorded,
    as_file,
    golden_inputs,
    golden_record,
    state_of_network,
    tf_stylegan2,
    write_tf_pickle,
    write_tf_stylegan2,
)

from dnnlib_compat.assemble import assemble
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.pickle_records import TFNetworkRecord
from dnnlib_compat.tf_networks import convert, is_tf_network, select_tf_network, tf_family
from dnnlib_compat.unpickle import read_pickle

NAMES = sorted(path.stem for path in GOLDENS.glob("stylegan2-tf-*.npz"))


def read(path, key="G_ema"):
    """The network of a pickle."""
    content = read_pickle(path)
    assert is_tf_network(content)
    return assemble(*convert(select_tf_network(content, path, key), path), path).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=NAMES)
def golden(request, tmp_path_factory):
    record, arrays = golden_record(request.param)
    path = write_tf_pickle(tmp_path_factory.mktemp("stylegan2") / "net.pkl", as_file(record))
    return read(path), arrays


def relative_error(ours, reference):
    return np.abs(ours.numpy() - reference).max() / reference.std()


def draw(network, n=3):
    z = torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(0))
    return z, torch.eye(max(network.c_dim, 1))[torch.arange(n) % max(network.c_dim, 1), : network.c_dim]


def small(seed=0, **kwargs):
    """An untrained network with every parameter and buffer off its initial value, clamped where TensorFlow's is."""
    network = small_stylegan2(seed, **dict(conv_clamp=None) | kwargs)
    for name, tensor in network.state_dict().items():
        if name.endswith(("bias", "noise_strength")) and "affine" not in name:
            tensor.normal_()
    return network


# ---------------------------------------------------------------------------------------------------------------------
# Numbers of the official code


def test_there_are_goldens_of_every_kind():
    assert len(NAMES) == 6


def test_images_and_styles_equal_the_official_ones(golden):
    network, arrays = golden
    z, c = golden_inputs(arrays)
    assert relative_error(network.mapping(z, c), arrays["w"]) <= 1e-6
    calls = {"img": {}, "img_trunc0.5": dict(truncation_psi=0.5)}
    calls["img_trunc0.6_cutoff3"] = dict(truncation_psi=0.6, truncation_cutoff=3)
    for name, kwargs in calls.items():
        assert relative_error(network(z, c, **kwargs), arrays[name]) <= 1e-5, name


def test_singular_values_equal_the_official_ones(golden):
    network, arrays = golden
    z, c = golden_inputs(arrays)
    jacobian = torch.func.jacrev(lambda z: network(z, c[:1]).flatten())(z[:1])[:, 0]
    ours, theirs = torch.linalg.svdvals(jacobian).numpy(), arrays["svds"]
    real = theirs > 1e-4 * theirs[0]
    narrowest = min(network.w_dim, network.mapping.fc0.weight.shape[0])
    assert real.sum() == min(network.z_dim - 1, narrowest)  # z is normalised: its own direction changes nothing
    assert np.abs(ours / theirs - 1)[real].max() <= 1e-3


@pytest.mark.bitwise
def test_networks_rebuild_from_their_arguments(golden):
    network, arrays = golden
    copy = StyleGAN2Generator(**network.init_kwargs).eval()
    copy.load_state_dict(network.state_dict())
    inputs = golden_inputs(arrays)
    assert torch.equal(copy(*inputs), network(*inputs))


def test_an_official_structure_gives_the_official_images(data_folder):
    path = data_folder / "goldens" / "stylegan2-tf-skip-structure.pkl"
    with np.load(path.with_suffix(".npz")) as arrays:
        network = read(path)
        z, c = golden_inputs(arrays)
        for name, psi in {"img": 1, "img_trunc0.5": 0.5}.items():
            assert relative_error(network(z, c, truncation_psi=psi), arrays[name]) <= 1e-5
        assert relative_error(network.mapping(z, c), arrays["w"]) <= 1e-6


def test_clamps_and_noise_are_in_the_goldens():
    """What the goldens are to show would not show if no activation reached the clamp, or if noise were weak."""
    for name in ("stylegan2-tf-ada-cond", "stylegan2-tf-ada-plain"):
        record, arrays = golden_record(name)
        assert np.abs(arrays["img"]).max() > 0.9 * record.state["static_kwargs"]["conv_clamp"]
    record, _ = golden_record("stylegan2-tf-skip")
    strengths = [v for k, v in record.state["components"]["synthesis"].state["variables"] if "noise_strength" in k]
    assert len(strengths) == 5 and np.abs(strengths).max() > 0.1


# ---------------------------------------------------------------------------------------------------------------------
# Our networks, written and read


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        dict(architecture="resnet"),
        dict(architecture="orig", img_resolution=32, channel_max=4),
        dict(img_channels=3, z_dim=6, w_dim=5, conv_clamp=2.0),
        dict(use_noise=False, activation="swish", resample_filter=[1, 2, 1]),
        dict(img_resolution=4),
    ],
)
def test_networks_survive_writing_and_reading(tmp_path, kwargs, version):
    network = small(**kwargs)
    loaded = read(write_tf_stylegan2(tmp_path / "net.pkl", network, version=version))
    assert list(loaded.state_dict()) == list(network.state_dict())
    inputs = draw(network)
    for psi in (1, 0.5):
        expected = network(*inputs, truncation_psi=psi)
        assert relative_error(loaded(*inputs, truncation_psi=psi), expected.numpy()) <= 1e-5  # a bias is stored less 1


def test_conditional_networks_of_the_ada_release(tmp_path):
    network = small(c_dim=3)
    loaded = read(write_tf_stylegan2(tmp_path / "net.pkl", network))
    assert loaded.c_dim == 3
    assert relative_error(loaded(*draw(network)), network(*draw(network)).numpy()) <= 1e-5


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_is_read(tmp_path, protocol):
    network = small()
    loaded = read(write_tf_stylegan2(tmp_path / "net.pkl", network, protocol=protocol))
    assert relative_error(loaded(*draw(network)), network(*draw(network)).numpy()) <= 1e-5


def test_a_network_pickled_alone_is_accepted(tmp_path):
    network = small()
    path = write_tf_pickle(tmp_path / "net.pkl", tf_stylegan2(network))
    assert relative_error(read(path)(*draw(network)), network(*draw(network)).numpy()) <= 1e-5


def test_the_averaged_generator_is_the_one_wanted(tmp_path):
    raw, average = small(seed=1), small(seed=2)
    content = (tf_stylegan2(raw), as_file(tf_stylegan2(average))[1], tf_stylegan2(average))
    path = write_tf_pickle(tmp_path / "net.pkl", content)
    for key, network in {"G": raw, "G_ema": average, "Gs": average}.items():
        assert torch.equal(read(path, key).synthesis.b4.const, network.synthesis.b4.const)
    with pytest.raises(
        NetworkFileError, match="does not fit a stylegan2-discriminator: 16x16/FromRGB/weight is missing"
    ):
        read(path, "D")
    with pytest.raises(NetworkFileError, match="has no network under 'H'; its networks: G, D, G_ema"):
        read(path, "H")


# The published networks: resolution, fmap_base, architecture, release, classes.
PUBLISHED = {
    "config-f 1024": (1024, 16384, "skip", 4, 0),
    "config-f 256": (256, 16384, "skip", 4, 0),
    "config-e 1024": (1024, 8192, "skip", 4, 0),
    "config-e-Gorig": (512, 8192, "orig", 4, 0),
    "config-e-Gresnet": (512, 8192, "resnet", 4, 0),
    "ada 1024": (1024, 16384, "skip", 5, 0),
    "ada 256": (256, 8192, "skip", 5, 0),
    "ada cifar10": (32, 8192, "skip", 5, 10),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_published_architectures_are_recognised(tmp_path, case):
    """Official names and arguments, with a 16th of the channels, and of these at most four."""
    resolution, base, architecture, version, classes = PUBLISHED[case]
    base, most, layers = base // 16, 4, 2 if classes else 8
    channels = {2**i: min(2 * base // 2**i, most) for i in range(2, int(np.log2(resolution)) + 1)}

    def layer(scope, kernel, n_in, n_out, noise=True):
        found = {f"{scope}/weight": (kernel, kernel, n_in, n_out), f"{scope}/mod_weight": (4, n_in)}
        found |= {f"{scope}/mod_bias": (n_in,), f"{scope}/bias": (n_out,)}
        return found | ({f"{scope}/noise_strength": ()} if noise else {})

    synthesis = {"4x4/Const/const": (1, most, 4, 4)} | layer("4x4/Conv", 3, most, most) | {"noise0": (1, 1, 4, 4)}
    for i, r in enumerate(channels):
        if r > 4:
            n = channels[r // 2], channels[r]
            synthesis |= layer(f"{r}x{r}/Conv0_up", 3, *n) | layer(f"{r}x{r}/Conv1", 3, n[1], n[1])
            synthesis |= {f"noise{2 * i - 1}": (1, 1, r, r), f"noise{2 * i}": (1, 1, r, r)}
            if architecture == "resnet":
                synthesis[f"{r}x{r}/Skip/weight"] = (1, 1, *n)
        if architecture == "skip" or r == resolution:
            synthesis |= layer(f"{r}x{r}/ToRGB", 1, channels[r], 3, noise=False)
    mapping = {f"Dense{i}/weight": (8 if classes and i == 0 else 4, 4) for i in range(layers)}
    mapping |= {f"Dense{i}/bias": (4,) for i in range(layers)}
    if classes:
        mapping |= {"LabelEmbed/weight": (classes, 4), "LabelEmbed/bias": (4,)}

    def network(name, function, shapes, parts=None):
        variables = {key: np.full(shape, 0.1, np.float32) for key, shape in shapes.items()}
        return Recorded(STYLEGAN2, state_of_network(name, function, given, variables, version, parts or {}))

    given = dict(num_channels=3, resolution=resolution, label_size=classes, fmap_base=base, fmap_max=most)
    given |= dict(latent_size=4, dlatent_size=4) | (dict(architecture=architecture) if architecture != "skip" else {})
    if version == 5:
        given |= dict(mapping_layers=layers, num_fp16_res=4, conv_clamp=256, style_mixing_prob=None)
    function = "G_synthesis_stylegan2" if version == 4 else "G_synthesis"
    parts = dict(
        synthesis=network("G_synthesis", function, synthesis), mapping=network("G_mapping", "G_mapping", mapping)
    )
    own = {"dlatent_avg": (4,)} | ({"lod": ()} if version == 4 else {})
    loaded = read(write_tf_pickle(tmp_path / "net.pkl", as_file(network("Gs", "G_main", own, parts))))
    assert (loaded.img_resolution, loaded.c_dim, loaded.num_ws) == (resolution, classes, 2 * len(channels))
    assert loaded.synthesis.b4.architecture == architecture
    assert [getattr(loaded.synthesis, f"b{r}").conv1.weight.shape[0] for r in channels] == list(channels.values())
    assert loaded.synthesis.b8.conv1.conv_clamp == (256 if version == 5 else None)


def test_what_is_not_recorded_is_as_the_releases_have_it_by_default(tmp_path):
    record, _ = golden_record("stylegan2-tf-skip")
    parts = (record, *record.state["components"].values())
    for part in parts:
        del part.state["static_kwargs"]["mapping_fmaps"]  # the defaults of the releases differ: the variables tell
    assert read(write_tf_pickle(tmp_path / "net.pkl", record)).mapping.fc0.weight.shape == (14, 12)
    for part in parts:
        part.state["static_kwargs"] = {}
    assert "synthesis/32x32/Conv0_up/weight is missing" in refusal(write_tf_pickle(tmp_path / "net.pkl", record))


def test_the_arguments_of_the_components_count(tmp_path):
    network = small()
    record = tf_stylegan2(network)
    record.state["static_kwargs"] = {}
    loaded = read(write_tf_pickle(tmp_path / "net.pkl", record))
    assert relative_error(loaded(*draw(network)), network(*draw(network)).numpy()) <= 1e-5


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def refusal(path, key="G_ema"):
    with pytest.raises(NetworkFileError) as caught:
        read(path, key)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 500
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(glow=3), "unknown argument glow; a fork"),
        ({"glow\nworm": 3}, "unknown argument glow worm; a fork"),
        (dict(fmap_decay=1.5), "fmap_decay is 1.5, not 1"),
        (dict(fmap_min=8), "fmap_min is 8, not at most 4, the feature maps of the last block"),
        (dict(fmap_const=9), "fmap_const is 9, not None or 8"),
        (dict(resolution=24), "img_resolution must be a power of two"),
        (dict(resolution=1 << 40), "resolution is 1099511627776, not a size"),
        (dict(resolution=8.5), "resolution is 8.5, not a size"),
        (dict(latent_size=True), "latent_size is True, not a size"),
        (dict(latent_size=0), "latent_size is 0, not a size"),
        (dict(latent_size=9), "mapping/Dense0/weight is [8, 8] instead of [9, 8]"),
        (dict(fmap_base=64), "synthesis/16x16/Conv0_up/weight is [3, 3, 8, 4] instead of [3, 3, 8, 8]"),
        (dict(mapping_layers=3), "mapping/Dense2/weight is missing"),
        (dict(mapping_layers=1), "mapping/Dense1/weight is surplus"),
        (dict(mapping_layers=60000), "mapping_layers is 60000, not a number of layers"),
        (dict(mapping_func="G_mapping_new"), "mapping_func is 'G_mapping_new', not G_mapping"),
        (dict(synthesis_func="G_synthesis_new"), "synthesis_func is 'G_synthesis_new', not"),
        (dict(normalize_latents=False), "normalize_latents is False, not True"),
        (dict(architecture="dense"), "architecture is 'dense', not skip or resnet or orig"),
        (dict(nonlinearity="gelu"), "nonlinearity is 'gelu', not linear or relu or lrelu"),
        (dict(resample_kernel=[[1, 1], [1, 1]]), "resample_kernel is [[1, 1], [1, 1]], not a list of taps"),
        (dict(resample_kernel=[0, 0]), "resample_kernel is [0, 0], not a list of taps"),
        (dict(conv_clamp="high"), "conv_clamp is 'high', not a bound or None"),
        (dict(conv_clamp=float("nan")), "conv_clamp is nan"),
        (dict(mapping_lrmul=float("inf")), "mapping_lrmul is inf"),
        (dict(use_noise=False), "synthesis/noise0 is surplus"),
        (dict(dtype="int8"), "dtype is 'int8', not float32 or float16"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, kwargs, message):
    record = tf_stylegan2(small(), **kwargs)
    assert message in refusal(write_tf_pickle(tmp_path / "net.pkl", as_file(record)))


@pytest.mark.parametrize(
    "kwargs",
    [
        dict(truncation_psi=0.7, truncation_cutoff=8, style_mixing_prob=None, dlatent_avg_beta=0.99),
        dict(fused_modconv=True, structure="auto", conditioning=None, randomize_noise=False, w_avg_beta=None),
        dict(num_fp16_res=4, dtype="float16", fmap_decay=1.0, fmap_min=1, fmap_const=None, mapping_func="G_mapping"),
    ],
)
def test_arguments_without_effect_are_accepted(tmp_path, kwargs):
    network = small()
    loaded = read(write_tf_stylegan2(tmp_path / "net.pkl", network, **kwargs))
    assert relative_error(loaded(*draw(network)), network(*draw(network)).numpy()) <= 1e-5


def part_of(record, name):
    """(the part of a `Recorded` network with a variable of that name, the name in it)."""
    component, _, rest = name.partition("/")
    parts = record.state["components"]
    return (parts[component], rest) if component in parts else (record, name)


NAN = np.full(8, np.nan, np.float32)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("dlatent_avg", None, "does not fit a stylegan2: dlatent_avg is missing"),
        ("mapping/Dense0/bias", None, "mapping/Dense0/bias is missing"),
        ("mapping/Dense1/weight", np.zeros((8, 9), np.float32), "mapping/Dense1/weight is [8, 9] instead of [8, 8]"),
        ("synthesis/4x4/Conv/weight", np.zeros(3, np.float32), "4x4/Conv/weight is [3] instead of [3, 3, 8, 8]"),
        ("synthesis/8x8/Conv0_up/mod_bias", None, "synthesis/8x8/Conv0_up/mod_bias is missing"),
        ("synthesis/noise2", None, "synthesis/noise2 is missing"),
        ("synthesis/8x8/Glow/weight", np.float32([1]), "synthesis/8x8/Glow/weight is surplus"),
        ("mapping/Dense0/bias", NAN, "mapping/Dense0/bias holds NaN or infinity; the file is of a failed training run"),
        ("mapping/Dense0/bias", np.full(8, 1e300), "mapping/Dense0/bias holds NaN or infinity"),
        ("mapping/Dense0/bias", np.arange(8), "mapping/Dense0/bias is no array of floating-point numbers"),
        ("mapping/Dense0/bias", "text", "mapping/Dense0/bias is no array of floating-point numbers"),
        ("mapping/LabelConcat/weight", np.zeros((3, 8), np.float32), "a conditional network of the first StyleGAN2"),
    ],
)
def test_misfit_variables_are_refused(tmp_path, name, value, message):
    record = tf_stylegan2(small())
    part, own = part_of(record, name)
    kept = [pair for pair in part.state["variables"] if pair[0] != own]
    part.state["variables"] = kept if value is None else [*kept, (own, value)]
    assert message in refusal(write_tf_pickle(tmp_path / "net.pkl", as_file(record)))


def test_a_network_that_is_still_growing_is_refused(tmp_path):
    record, _ = golden_record("stylegan2-tf-revised")
    for name in ("lod", "synthesis/lod"):
        part, own = part_of(record, name)
        part.state["variables"] = [(k, np.float32(1.5) if k == own else v) for k, v in part.state["variables"]]
    assert "still growing" in refusal(write_tf_pickle(tmp_path / "net.pkl", as_file(record)))


def named_only(function, *names):
    return Recorded(STYLEGAN2, state_of_network("Gs", function, {}, dict.fromkeys(names, np.zeros(1)), 3, {}))


@pytest.mark.parametrize(
    "record, message",
    [
        (named_only("D_new", "16x16/FromRGB/weight"), "an unknown discriminator (built by 'D_new'); those that can be"),
        (named_only("D_basic", "FromRGB_lod0/weight"), "a discriminator of the first StyleGAN (D_basic); of NVIDIA's"),
        (named_only("G_style", "synthesis/4x4/Conv/StyleMod/weight"), "a network of the first StyleGAN; of NVIDIA's"),
        (named_only("lpips", "Conv1/weight"), "an unknown network (built by 'lpips'); of NVIDIA's"),
        (named_only("x" * 999), "an unknown network"),
        (Recorded(PROGAN, {}), "its list of variables is damaged"),
        (Recorded(STYLEGAN2, dict(variables=3)), "its list of variables is damaged"),
        (Recorded(STYLEGAN2, dict(variables=[3])), "its list of variables is damaged"),
        (Recorded(STYLEGAN2, dict(variables=[(3, 4)])), "its list of variables is damaged"),
        (Recorded(STYLEGAN2, dict(variables=[], components=[1])), "its list of variables is damaged"),
        (Recorded(STYLEGAN2, dict(variables=[], components=dict(mapping=3))), "its list of variables is damaged"),
    ],
)
def test_networks_of_other_kinds_are_told(tmp_path, record, message):
    assert message in refusal(write_tf_pickle(tmp_path / "net.pkl", record))


def test_tuples_of_other_things_are_refused(tmp_path):
    record = tf_stylegan2(small())
    assert "holds 2 objects instead of the three" in refusal(write_tf_pickle(tmp_path / "a.pkl", (record, record)))
    assert "under 'G_ema', but a int" in refusal(write_tf_pickle(tmp_path / "b.pkl", (record, record, 3)))
    for content in (3, (1, 2, 3), [], {}, dict(G_ema=3), None):
        assert not is_tf_network(content)


def test_damaged_arrays_are_named(tmp_path):
    record = tf_stylegan2(small())
    path = write_tf_pickle(tmp_path / "net.pkl", record)
    content = read_pickle(path)
    variables = content.state["components"]["mapping"].state["variables"]
    encoded = dict(variables)["Dense0/bias"]
    encoded.state = (*encoded.state[:4], encoded.state[4][:-1])
    with pytest.raises(NetworkFileError, match="mapping/Dense0/bias: an array of the file cannot be decoded"):
        convert(content, path)


# ---------------------------------------------------------------------------------------------------------------------
# Nothing of a file runs


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "it-ran"


def test_embedded_source_does_not_run(tmp_path, sentinel):
    record = tf_stylegan2(small())
    code = f"open({str(sentinel)!r}, 'w')"
    for part in (record, *record.state["components"].values()):
        part.state.update(build_module_src=code, build_func_name=code)
    record.state["build_func_name"] = "G_main"
    read(write_tf_pickle(tmp_path / "net.pkl", as_file(record)))
    assert not sentinel.exists()


@pytest.mark.parametrize("place", ["static_kwargs", "variables", "state", "beside"])
def test_code_inside_a_good_pickle_is_refused(tmp_path, sentinel, place):
    record = tf_stylegan2(small())
    code = Call(Named("builtins", "eval"), f"open({str(sentinel)!r}, 'w')")
    content = as_file(record)
    if place == "static_kwargs":
        record.state["static_kwargs"]["latent_size"] = code
    elif place == "variables":
        record.state["variables"].append(("lod", code))
    elif place == "state":
        content = Recorded(STYLEGAN2, code)
    else:
        content = (code, *content[1:])
    with pytest.raises(UnsafePickleError, match="nothing from it has run: it asks for builtins.eval"):
        read(write_tf_pickle(tmp_path / "net.pkl", content))
    assert not sentinel.exists()


@pytest.mark.parametrize("module", ["dnnlib.tflib.network", "tfutil", "network"])
def test_only_the_networks_of_these_modules_are_known(tmp_path, module):
    for name in ("exec", "Network.__init__", "os"):
        with pytest.raises(UnsafePickleError):
            read_pickle(write_pickle(tmp_path / "net.pkl", Call(Named(module, name))))
    assert isinstance(read_pickle(write_pickle(tmp_path / "net.pkl", Call(Named(module, "Network")))), TFNetworkRecord)


@pytest.mark.parametrize("state", [3, None, [("version", 4)], (None, {"decode": 1}), "text"])
def test_states_that_are_no_dictionary_are_refused(tmp_path, state):
    path = write_tf_pickle(tmp_path / "net.pkl", Recorded(STYLEGAN2, state))
    with pytest.raises(NetworkFileError, match="a TensorFlow network without a state"):
        read_pickle(path)


def test_pickles_cannot_alter_the_record_type(tmp_path):
    """BUILD on the class itself, as a state and as slots; and arguments for its constructor."""
    head = b"\x80\x02cdnnlib.tflib.network\nNetwork\n"
    for tail in (b"}U\x05stateU\x01xsb.", b"N}U\x05stateU\x01xs\x86b.", b"K\x01\x85\x81.", b"K\x01\x85R."):
        (tmp_path / "net.pkl").write_bytes(head + tail)
        with pytest.raises(NetworkFileError):
            read_pickle(tmp_path / "net.pkl")
    with pytest.raises(AttributeError, match="cannot be changed"):
        TFNetworkRecord.__setstate__ = None
    assert TFNetworkRecord().state == {}


def test_networks_that_contain_themselves_are_refused(tmp_path):
    path = write_tf_pickle(tmp_path / "net.pkl", tf_stylegan2(small()))
    content = read_pickle(path)
    content.state["components"]["mapping"] = content
    with pytest.raises(NetworkFileError, match="does not fit a stylegan2"):
        convert(content, path)


def test_networks_without_a_state_are_refused(tmp_path):
    path = write_pickle(tmp_path / "net.pkl", Call(Named("tfutil", "Network")))
    assert "its list of variables is damaged" in refusal(path)


def test_the_family_is_told(tmp_path):
    record = read_pickle(write_tf_pickle(tmp_path / "net.pkl", tf_stylegan2(small())))
    assert tf_family(record) == "stylegan2"
    path = write_tf_pickle(tmp_path / "d.pkl", named_only("D_paper"))
    assert tf_family(read_pickle(path)) == "progan-discriminator"
    with pytest.raises(NetworkFileError, match="^this pickle: an unknown network"):
        tf_family(read_pickle(write_tf_pickle(tmp_path / "e.pkl", named_only("G_paper"))))
