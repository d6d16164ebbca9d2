"""Discriminators of TensorFlow pickles: their scores, the samplers and trainings that use them, and what is refused.

tests/goldens/discriminator-tf.npz holds, for each of fourteen discriminators with random weights and biases, arguments,
variables, labels and scores, and the eight images of all: computed by the official code of StyleGAN2, StyleGAN2-ADA and
ProGAN, run in TensorFlow 2.21 (compat.v1) with its reference implementations of the custom operations. Theano's
parameters went through the converter of ProGAN's code.
"""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import GOLDENS, small_stylegan2
from helpers.image_zips import random_images, write_zip
from helpers.pickles import Call, Named
from helpers.tf_pickles import (
    PROGAN,
    STYLEGAN2,
    Recorded,
    as_file,
    golden_discriminator,
    state_of_network,
    tf_stylegan2,
    write_tf_pickle,
)

from cli import describe, gen_images, train_weights
from dnnlib_compat.assemble import empty_network
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError
from dnnlib_compat.loader import load_network, own_discriminator
from dnnlib_compat.networks.discriminator import ProGANDiscriminator
from dnnlib_compat.networks.layers import MappingNetwork
from dnnlib_compat.plain_files import write_npz
from latent_plugins.reweighting import load_weights
from latent_plugins.reweighting.networks import critic_of
from latent_plugins.samplers.recipe import Recipe

with np.load(GOLDENS / "discriminator-tf.npz") as _file:
    NAMES = sorted({key.partition("/")[0] for key in _file.files} - {"img"})
ROUNDING = 5e-6  # of float32, relative to the largest score; what is measured is 8e-7


def written(folder, record, generator=None):
    """A file with this discriminator, and a generator that makes images of its size."""
    average = tf_stylegan2(generator or small_stylegan2(img_channels=3))
    return write_tf_pickle(folder / "net.pkl", as_file(average, record))


def loaded(folder, record):
    return load_network(written(folder, record), key="D")


def refusal(folder, record):
    path = written(folder, record)
    with pytest.raises(NetworkFileError) as caught:
        load_network(path, key="D")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 500
    return message.removeprefix(f"{path}: ")


def scores(network, arrays):
    with torch.no_grad():
        return network(torch.from_numpy(arrays["img"]), torch.from_numpy(arrays["c"])).numpy()


# ---- numbers of the official code ----


def test_there_are_goldens_of_every_kind():
    kinds = "resnet skip orig grown ada-resnet ada-skip ada-orig ada-cond ada-cond-mapped"
    assert {*kinds.split(), "progan-fused", "progan-plain", "progan-theano", "progan-theano-plain"} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_the_official_ones(tmp_path, name):
    record, arrays = golden_discriminator(name)
    network = loaded(tmp_path, record)
    expected = arrays["scores"]
    ours = scores(network, arrays)
    assert ours.shape == expected.shape == (8, 1) and expected.std() > 10 * ROUNDING * np.abs(expected).max()
    assert np.abs(ours - expected).max() <= ROUNDING * np.abs(expected).max()
    assert network.family == ("progan" if name.startswith("progan") else "stylegan2") + "-discriminator"
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    "name, change",
    [
        ("resnet", dict(mbstd_group_size=2)),  # four where nothing is recorded
        ("ada-orig", dict(conv_clamp=0.5)),
        ("ada-resnet", dict(conv_clamp=None)),
        ("ada-resnet", dict(mbstd_group_size=4)),  # all where nothing is recorded
        ("skip", dict(resample_kernel=[2, 3, 1])),
        ("ada-skip", dict(resample_kernel=[1, 3, 3, 1])),
        ("ada-cond-mapped", dict(mapping_lrmul=0.1)),
        ("orig", dict(nonlinearity="lrelu")),
        ("progan-plain", dict(use_wscale=True)),
        ("progan-fused", dict(mbstd_group_size=2)),
    ],
)
def test_what_the_goldens_are_to_show_shows(tmp_path, name, change):
    """Another value of an argument gives other scores."""
    record, arrays = golden_discriminator(name)
    record.state["static_kwargs"].update(change)
    ours, expected = scores(loaded(tmp_path, record), arrays), arrays["scores"]
    assert np.abs(ours - expected).max() > 100 * ROUNDING * np.abs(expected).max()


def test_the_image_layer_of_the_last_block_is_clamped(tmp_path):
    """As TensorFlow has it, unlike the PyTorch releases."""
    record, arrays = golden_discriminator("ada-skip")
    network = loaded(tmp_path, record)
    network.b4.fromrgb.conv_clamp = None
    assert np.abs(scores(network, arrays) - arrays["scores"]).max() > 0.1 * np.abs(arrays["scores"]).max()


@pytest.mark.bitwise
@pytest.mark.parametrize("name", ["ada-cond", "ada-skip", "progan-theano", "skip"])
def test_plain_files_give_the_same_scores(tmp_path, name):
    record, arrays = golden_discriminator(name)
    network = loaded(tmp_path, record)
    write_npz(network, tmp_path / "d.npz")
    again = load_network(tmp_path / "d.npz", key="D")
    assert type(again) is type(network) and np.array_equal(scores(again, arrays), scores(network, arrays))


def test_a_mapping_without_layers_normalises_the_label_alone():
    mapping = MappingNetwork(0, 3, 4, None, num_layers=0, w_avg_beta=None)
    assert sorted(name for name, _ in mapping.named_parameters()) == ["embed.bias", "embed.weight"]
    assert torch.allclose(mapping(None, torch.eye(3)).square().mean(dim=1), torch.ones(3), atol=1e-4)
    with pytest.raises(ValueError, match="a mapping without layers from 2 to 4 features"):
        MappingNetwork(0, 3, 4, None, num_layers=0, embed_features=2)


# Published networks: function, resolution, fmap_base, further arguments, number of classes.
PUBLISHED = {
    "config-f 1024": ("D_stylegan2", 1024, 16384, {}, 0),
    "config-f 256": ("D_stylegan2", 256, 16384, {}, 0),
    "config-e-Dskip": ("D_stylegan2", 512, 8192, dict(architecture="skip"), 0),
    "config-d": ("D_stylegan", 1024, 8192, {}, 0),
    "ada 1024": ("D_main", 1024, 16384, dict(num_fp16_res=4, conv_clamp=256, mbstd_group_size=4), 0),
    "ada cifar10": ("D_main", 32, 8192, dict(architecture="orig", mbstd_group_size=32), 10),
    "progan 1024": ("D_paper", 1024, 8192, {}, 0),
    "progan 256": ("D_paper", 256, 8192, dict(fused_scale=True, mbstd_group_size=16), 0),
}


def shapes_of(function, resolution, base, most, classes, architecture):
    """{variable: shape} by the official names; the widths are those of `fmap_base` and `fmap_max`."""
    width = {2**i: min(2 * base >> i, most) for i in range(1, int(np.log2(resolution)) + 1)}
    grown, found = function in ("D_stylegan", "D_paper"), {}

    def layer(scope, *shape, bias=True):
        found[f"{scope}/weight"] = shape
        if bias:
            found[f"{scope}/bias"] = shape[-1:]

    for lod in range(int(np.log2(resolution)) - 1):
        r = resolution >> lod
        if grown or lod == 0 or architecture == "skip":
            layer(f"FromRGB_lod{lod}" if grown else f"{r}x{r}/FromRGB", 1, 1, 3, width[r])
        if r > 4:
            layer(f"{r}x{r}/Conv0", 3, 3, width[r], width[r])
            layer(f"{r}x{r}/Conv1_down", 3, 3, width[r], width[r // 2])
            if architecture == "resnet" and not grown:
                layer(f"{r}x{r}/Skip", 1, 1, width[r], width[r // 2], bias=False)
    layer("4x4/Conv", 3, 3, width[4] + 1, width[4])
    layer("4x4/Dense0", 16 * width[4], width[2])
    layer("4x4/Dense1" if function == "D_paper" else "Output", width[2], width[2] if classes else 1)
    if classes:
        layer("LabelEmbed", classes, width[2])
    return found | (dict(lod=()) if grown else {})


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_published_architectures_are_recognised(tmp_path, case):
    """Official names and arguments, with a 16th of the channels, and of these at most four."""
    function, resolution, base, further, classes = PUBLISHED[case]
    shapes = shapes_of(function, resolution, base // 16, 4, classes, further.get("architecture", "resnet"))
    variables = {key: np.full(shape, 0.0 if key == "lod" else 0.1, np.float32) for key, shape in shapes.items()}
    given = dict(num_channels=3, resolution=resolution, label_size=classes, fmap_base=base // 16, fmap_max=4, **further)
    progan = function == "D_paper"
    state = state_of_network("D", function, given, variables, 2 if progan else 5, None if progan else {})
    network = loaded(tmp_path, Recorded(PROGAN if progan else STYLEGAN2, state))
    assert (network.img_resolution, network.img_channels, network.c_dim) == (resolution, 3, classes)
    assert network.b8.conv1.conv_clamp == further.get("conv_clamp")
    assert network.b4.group_size == further.get("mbstd_group_size", None if function == "D_main" else 4)
    used = {key for key in shapes if not key.startswith("FromRGB_lod") or key.startswith("FromRGB_lod0")} - {"lod"}
    assert sum(p.numel() for p in network.parameters()) == sum(int(np.prod(shapes[key])) for key in used)


def test_the_published_progan_has_its_number_of_parameters():
    """23.1 million, Table 2 of the paper; FromRGB of the coarser images, which are none of ours, are 9 thousand."""
    sizes = dict(c_dim=0, img_resolution=1024, img_channels=3, channel_base=16384)
    network = empty_network(ProGANDiscriminator, dict(**sizes, architecture="orig"), "no file")
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 23.1


# ---- what they are for ----


@pytest.fixture(params=["resnet", "progan-fused"])
def file(request, tmp_path):
    return written(tmp_path, golden_discriminator(request.param)[0])


def invoke(command, *args, code=0):
    result = CliRunner().invoke(command.main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    "sampler, options", [("dot", ["--steps=2"]), ("sir", []), ("drs", ["--burn-in=50"]), ("mh", ["--steps=3"])]
)
def test_samplers_find_the_discriminator_in_the_file(tmp_path, sampler, options):
    path = written(tmp_path, golden_discriminator("resnet")[0])
    invoke(gen_images, f"--network={path}", f"--sampler={sampler}", *options, "--seeds=0-1", f"--outdir={tmp_path}/out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert [line["critic"] for line in lines] == [str(path)] * 2


def test_the_samplers_scores_are_the_discriminators(tmp_path):
    record, _ = golden_discriminator("skip")
    path = written(tmp_path, record)
    generator, network = load_network(path), load_network(path, key="D")
    sampler, _ = Recipe(generator, "sir", {}, source=str(path)).make(None, 1.0)
    z = generator.sample_prior(3, torch.Generator().manual_seed(0))
    references = generator(sampler._setup_latents(1), torch.zeros(1, 0))  # groups of two: one image completes each
    pairs = [torch.cat([generator(each, torch.zeros(1, 0)), references]) for each in z.split(1)]
    expected = torch.cat([network(pair)[0] for pair in pairs]).double()
    assert torch.allclose(sampler.score(z), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name, warns", [("resnet", False), ("progan-fused", True)])
def test_scores_of_progan_are_no_log_density_ratios(tmp_path, name, warns, recwarn):
    """Its official training is WGAN-GP, for which that is so; dot needs no ratios."""
    path = written(tmp_path, golden_discriminator(name)[0])
    generator = load_network(path)
    Recipe(generator, "dot", {}, source=str(path)).make(None, 1.0)
    assert not [w for w in recwarn if "density ratios" in str(w.message)]
    Recipe(generator, "sir", {}, source=str(path)).make(None, 1.0)
    told = [str(w.message) for w in recwarn if "density ratios" in str(w.message)]
    assert len(told) == warns and all(text.endswith("Train one with train_critic") for text in told)


def test_trainings_go_on_from_it(tmp_path, file):
    data = write_zip(tmp_path / "real.zip", random_images(20, channels=3))
    options = [f"--network={file}", f"--data={data}", "--preset=discriminator", "--steps=1", "--batch=8"]
    invoke(train_weights, *options, f"--outdir={tmp_path}/out")
    weights, network = load_weights(tmp_path / "out" / "weights.npz"), load_network(file, key="D")
    assert weights.critic.settings["kind"] == network.family
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = critic_of(network)(images)
    assert torch.equal(start, network(images)[:, 0]) and start.shape == (4,)
    ours = weights.critic(images)
    assert torch.allclose(ours, start, atol=0.05 * start.abs().max().item()) and not torch.equal(ours, start)


def test_describe_tells_it(file, tmp_path):
    network = own_discriminator(file)
    text = f"in the same file (key D): {network.family}, {sum(p.numel() for p in network.parameters())} parameters"
    assert json.loads(invoke(describe, file, "--json"))["discriminator"] == text
    assert text in invoke(describe, file)
    lacking = write_tf_pickle(tmp_path / "lacking.pkl", as_file(tf_stylegan2(small_stylegan2())))
    assert "discriminator" not in json.loads(invoke(describe, lacking, "--json"))
    assert own_discriminator("mnist32") is None  # its companion is a file of its own


def test_of_a_network_pickled_alone_the_key_must_fit(tmp_path):
    record, arrays = golden_discriminator("resnet")
    path = write_tf_pickle(tmp_path / "d.pkl", record)
    assert np.abs(scores(load_network(path, key="D"), arrays) - arrays["scores"]).max() < 1e-4
    with pytest.raises(NetworkFileError, match="a stylegan2-discriminator, not what key 'G_ema' asks for"):
        load_network(path)
    alone = write_tf_pickle(tmp_path / "g.pkl", tf_stylegan2(small_stylegan2()))
    with pytest.raises(NetworkFileError, match="a stylegan2, not what key 'D' asks for"):
        load_network(alone, key="D")


# ---- what is refused ----


@pytest.mark.parametrize(
    "name, kwargs, message",
    [
        ("resnet", dict(glow=3), "unknown argument glow; a fork"),
        ("resnet", dict(architecture="dense"), "architecture is 'dense', not skip or resnet or orig"),
        ("resnet", dict(architecture="skip"), "does not fit a stylegan2-discriminator: 8x8/FromRGB/weight is missing"),
        ("resnet", dict(nonlinearity="gelu"), "nonlinearity is 'gelu', not linear or relu"),
        ("resnet", dict(resolution=24), "img_resolution must be a power of two of at least 8"),
        ("resnet", dict(resolution=4), "img_resolution must be a power of two of at least 8"),
        ("resnet", dict(resolution=1 << 40), "resolution is 1099511627776, not a size"),
        ("resnet", dict(fmap_max=8), "is [1, 1, 3, 6] instead of [1, 1, 3, 8]"),
        ("resnet", dict(label_size=2), "a conditional discriminator of the first StyleGAN2 release"),
        ("resnet", dict(mbstd_group_size=None), "mbstd_group_size is None, not a number of images"),
        ("resnet", dict(mbstd_group_size=-4), "mbstd_group_size is -4, not a number of images"),
        ("resnet", dict(mbstd_group_size=0), "4x4/Conv/weight is [3, 3, 7, 6] instead of [3, 3, 6, 6]"),
        ("resnet", dict(mbstd_num_features=99), "4x4/Conv/weight is [3, 3, 7, 6] instead of [3, 3, 105, 6]"),
        ("resnet", dict(resample_kernel=[0, 0]), "resample_kernel is [0, 0], not a list of taps"),
        ("ada-resnet", dict(mbstd_group_size=0), "mbstd_group_size is 0, not a number of images"),
        ("ada-resnet", dict(conv_clamp="high"), "conv_clamp is 'high', not a bound or None"),
        ("ada-resnet", dict(use_pagan=True), "use_pagan is True, not False"),
        ("ada-resnet", dict(use_spectral_norm=True), "use_spectral_norm is True, not False"),
        ("ada-resnet", dict(adaptive_dropout=1), "adaptive_dropout is 1, not 0"),
        ("ada-resnet", dict(score_max=4), "score_max is 4, not 1"),
        ("ada-resnet", dict(label_size=3), "LabelEmbed/weight is missing"),
        ("ada-cond", dict(label_size=2), "LabelEmbed/weight is [3, 6] instead of [2, 6]"),
        ("ada-cond", dict(mapping_layers=2), "Mapping0/weight is missing"),
        ("ada-cond", dict(mapping_layers=60000), "mapping_layers is 60000, not a number of layers"),
        ("progan-fused", dict(glow=3), "unknown argument glow"),
        ("progan-fused", dict(fmap_base=8), "FromRGB_lod0/weight is [1, 1, 3, 6] instead of [1, 1, 3, 1]"),
        ("progan-plain", dict(label_size=1), "4x4/Dense1/weight is [6, 3] instead of [6, 1]"),
        ("progan-fused", dict(use_wscale="yes"), "use_wscale is 'yes', not True or False"),
        ("progan-fused", dict(dtype="int8"), "dtype is 'int8', not float32 or float16"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, name, kwargs, message):
    record, _ = golden_discriminator(name)
    record.state["static_kwargs"].update(kwargs)
    assert message in refusal(tmp_path, record)


@pytest.mark.parametrize(
    "name, variable, value, message",
    [
        ("resnet", "16x16/Skip/weight", None, "does not fit a stylegan2-discriminator: 16x16/Skip/weight is missing"),
        ("resnet", "Output/bias", None, "Output/bias is missing"),
        ("resnet", "8x8/Conv1_down/weight", None, "8x8/Conv1_down/weight is missing"),
        ("resnet", "4x4/Dense0/weight", np.zeros((3, 3)), "4x4/Dense0/weight is [3, 3] instead of [96, 6]"),
        ("resnet", "4x4/Conv/bias", np.full(6, np.nan), "4x4/Conv/bias holds NaN or infinity"),
        ("resnet", "4x4/Conv/bias", "text", "4x4/Conv/bias is no array of floating-point numbers"),
        ("resnet", "FromRGB_lod1/weight", np.zeros(3), "FromRGB_lod1/weight is surplus"),
        ("resnet", "8x8/Conv0/weight_sn", np.zeros((1, 6)), "8x8/Conv0/weight_sn is surplus"),
        ("grown", "FromRGB_lod0/bias", None, "FromRGB_lod0/bias is missing"),
        ("grown", "lod", np.float32(1.5), "saved while the network was still growing"),
        ("progan-fused", "lod", np.float32(0.5), "saved while the network was still growing"),
        ("progan-fused", "lod", np.zeros((2, 2)), "lod is [2, 2] instead of a number"),
        ("progan-fused", "4x4/Dense1/weight", None, "a progan-discriminator: 4x4/Dense1/weight is missing"),
        ("progan-plain", "8x8/Conv1/weight", None, "8x8/Conv1/weight is missing"),
        ("progan-plain", "4x4/Dense1/weight", np.float32(1), "4x4/Dense1/weight is [] instead of [6, 1]"),
    ],
)
def test_misfit_variables_are_refused(tmp_path, name, variable, value, message):
    record, _ = golden_discriminator(name)
    kept = [pair for pair in record.state["variables"] if pair[0] != variable]
    record.state["variables"] = kept if value is None else [*kept, (variable, value)]
    assert message in refusal(tmp_path, record)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(param_values=[]), "does not have the 30 parameters of a progan of that resolution"),
        (dict(build_func_spec=dict(func="D_paper", mbstat_func="none")), "mbstat_func is 'none', not Tstdeps"),
        (dict(build_func_spec=dict(func="D_paper", mbstat_avg="none")), "mbstat_avg is 'none', not all"),
        (dict(build_func_spec=dict(func="D_paper", mbdisc_kernels=3)), "mbdisc_kernels is 3, not None"),
        (dict(build_func_spec=dict(func="D_paper", use_layernorm=True)), "use_layernorm is True, not False"),
        (dict(build_func_spec=dict(func="D_mnist")), "an unknown discriminator (built by 'D_mnist')"),
    ],
)
def test_theano_networks_that_tensorflow_could_not_import_are_refused(tmp_path, change, message):
    record, _ = golden_discriminator("progan-theano")
    if "param_values" in change:
        change["build_func_spec"] = record.state["build_func_spec"]
    record.state.update(change)
    assert message in refusal(tmp_path, record)


@pytest.mark.parametrize("function", ["D_new", None, 3, ["D_main"], "x" * 999])
def test_discriminators_of_other_code_are_told(tmp_path, function):
    record, _ = golden_discriminator("resnet")
    record.state["build_func_name"] = function
    assert "an unknown discriminator (built by " in refusal(tmp_path, record)
    record.state["build_func_name"] = "D_basic"
    assert "a discriminator of the first StyleGAN (D_basic)" in refusal(tmp_path, record)


@pytest.mark.parametrize("place", ["static_kwargs", "variables", "build_module_src"])
def test_nothing_of_a_file_runs(tmp_path, place):
    record, _ = golden_discriminator("resnet")
    sentinel = tmp_path / "it-ran"
    text = f"open({str(sentinel)!r}, 'w')"
    record.state["build_module_src"] = text
    loaded(tmp_path, record)
    code = Call(Named("builtins", "eval"), text)
    if place == "build_module_src":
        record.state[place] = code
    elif place == "static_kwargs":
        record.state[place]["resolution"] = code
    else:
        record.state[place].append(("4x4/Conv/glow", code))
    with pytest.raises(UnsafePickleError, match="nothing from it has run: it asks for builtins.eval"):
        loaded(tmp_path, record)
    assert not sentinel.exists()
