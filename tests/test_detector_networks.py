"""The detector networks against independent implementations, layer by layer, with random weights.

The figures in goldens/inception-v3.npz and goldens/vgg16.npz come from torch-fidelity 0.4.0 on torchvision 0.28.0:
FeatureExtractorInceptionV3 and FeatureExtractorVGG16, its float32 resize followed by float64 layers, and (in float32)
SampleSimilarityLPIPS; "classifier.6" is torchvision's own VGG16. The Inception of pytorch-fid 0.3.0 on the same weights
gave the same numbers. The weights are not stored: every machine draws the same ones with `random_tensor`.
"""

import functools
import zlib

import numpy as np
import pytest
import torch
from conftest import load_golden

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.inception_v3 import InceptionV3, convert_inception_state, is_inception_state
from dnnlib_compat.networks.resize import interpolation_matrix, resize_bilinear_tf1
from dnnlib_compat.networks.vgg16 import (
    VGG16,
    convert_lpips_heads,
    convert_vgg16_state,
    is_lpips_state,
    is_vgg16_state,
)

SIDES = (40, 320)  # one to be enlarged, one to be reduced
LPIPS_SIZES = ((40, 40), (64, 96))
LPIPS_CHANNELS = (64, 128, 256, 512, 512)


def random_tensor(name, shape):
    """Float32 noise of a fixed tensor, the same to the bit everywhere: 256 equally likely values, symmetric about 0.

    Filters have the variance that keeps the activations' size ("He initialisation"), so that a wrong layer shows.
    """
    seed = zlib.crc32(name.encode())
    values = np.random.RandomState(seed).randint(-128, 128, size=shape, dtype=np.int8)
    noise = torch.from_numpy(values).to(torch.float32).add_(0.5)
    if "lpips" in name:
        return noise.add_(128).div_(256)
    if len(shape) > 1:
        return noise.mul_(np.float32((6 / np.prod(shape[1:])) ** 0.5 / 128))
    if name.endswith("running_var") or "bn.weight" in name:
        return noise.div_(256).add_(1)
    return noise.div_(640)


def random_state(network):
    """Random tensors for the names and shapes of a network on the meta device."""
    return {
        name: random_tensor(name, tuple(t.shape)) if t.ndim else torch.zeros((), dtype=torch.int64)
        for name, t in network.state_dict().items()
    }


def random_heads():
    return {f"lpips{k}": random_tensor(f"lpips{k}", (n,)) for k, n in enumerate(LPIPS_CHANNELS)}


def random_images(side):
    """Two images uint8 [2, 3, side, side], half large squares, half noise."""
    random = np.random.RandomState(side)
    squares = random.randint(0, 256, (2, 3, 8, 8)).repeat(side // 8, axis=2).repeat(side // 8, axis=3)
    return torch.from_numpy(((squares + random.randint(0, 256, squares.shape)) // 2).astype(np.uint8))


def figures(name, activation):
    """Mean, standard deviation, and 24 values of an activation, of which 8 in the corners if it is an image."""
    x = activation.detach().numpy()
    random = np.random.RandomState(zlib.crc32(name.encode()))
    places = np.stack([random.randint(0, size, 24) for size in x.shape])
    if x.ndim == 4:
        places[2:, :8] = [[0, 0, -1, -1] * 2, [0, -1, 0, -1] * 2]
    return np.concatenate([[x.mean(dtype=np.float64), x.std(dtype=np.float64)], x[tuple(places)]])


def relative_error(ours, reference):
    """Largest deviation in units of the reference's standard deviation."""
    return np.abs(np.asarray(ours) - np.asarray(reference)).max() / np.asarray(reference).std()


def empty(family):
    with torch.device("meta"):
        return family()


def filled(family, state):
    network = empty(family)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def inception_state():
    return random_state(empty(InceptionV3))


@pytest.fixture(scope="module")
def inception(inception_state):
    return filled(InceptionV3, inception_state)


@pytest.fixture(scope="module")
def vgg16_state():
    return random_state(empty(VGG16))


@pytest.fixture(scope="module")
def vgg16(vgg16_state):
    return filled(VGG16, vgg16_state | random_heads())


def layer_errors(network, golden, side):
    """{layer: deviation of its figures from the golden's in units of the layer's standard deviation}."""
    errors = {}
    for name, activation in network.layers(random_images(side)):
        if f"{side}/{name}" in golden:
            assert list(activation.shape) == golden[f"{side}/{name}/shape"].tolist(), name
            reference = golden[f"{side}/{name}"]
            errors[name] = np.abs(figures(name, activation) - reference).max() / reference[1]
    return errors


# ---------------------------------------------------------------------------------------------------------------------
# Resizing


@pytest.mark.parametrize("size", [17, 40])
def test_resize_equals_the_independent_one(size):
    golden, _ = load_golden("inception-v3")
    images = random_images(40)[:, :, :24, :31].double()
    assert relative_error(resize_bilinear_tf1(images, size), golden[f"resize/{size}"]) <= 1e-6


def test_resize_follows_the_coordinate_rule():
    row = torch.tensor([[[[0.0, 10.0, 40.0]]]]).expand(1, 1, 3, 3)
    assert resize_bilinear_tf1(row, 6)[0, 0, 0].tolist() == [0, 5, 10, 25, 40, 40]
    assert resize_bilinear_tf1(row, 2)[0, 0, 0].tolist() == [0, 25]
    assert resize_bilinear_tf1(row, 3) is row
    for n_in, n_out in [(1, 5), (5, 1), (7, 5), (5, 7), (320, 299)]:
        matrix = interpolation_matrix(n_in, n_out)
        assert matrix.min() >= 0 and np.allclose(matrix.sum(axis=1), 1, atol=1e-15)
        coordinate = np.minimum(np.arange(n_out) * n_in / n_out, n_in - 1)
        np.testing.assert_allclose(matrix @ np.arange(n_in), coordinate, atol=1e-7 * n_in)


def test_resize_is_linear_under_torch_func():
    x = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    resize = functools.partial(resize_bilinear_tf1, size=7)
    _, tangent = torch.func.jvp(resize, (x,), (x,))
    assert torch.allclose(tangent, resize(x), atol=1e-14)
    assert torch.allclose(torch.func.vmap(lambda x: resize(x[None])[0])(x), resize(x), atol=1e-14)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: resize(x[None])[0]))(x)
    assert jacobian.shape == (2, 1, 7, 7, 1, 5, 6)
    assert torch.allclose(torch.einsum("nchwkij,nkij->nchw", jacobian, x), resize(x), atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Layer by layer


@pytest.mark.parametrize("side", SIDES)
def test_every_inception_layer_equals_the_independent_one(inception, side):
    golden, _ = load_golden("inception-v3")
    errors = layer_errors(inception, golden, side)
    assert len(errors) == 20 and all(error <= 1e-4 for error in errors.values()), errors


@pytest.mark.bitwise
@pytest.mark.parametrize("side", SIDES)
def test_inception_outputs_equal_the_independent_ones(inception, side):
    golden, _ = load_golden("inception-v3")
    images = random_images(side)
    features = inception(images)
    assert relative_error(features, golden[f"{side}/features"]) <= 1e-4
    logits, unbiased = inception.logits(images), inception.logits(images, bias=False)
    assert relative_error(logits, golden[f"{side}/logits"]) <= 1e-4
    assert relative_error(unbiased, golden[f"{side}/logits_unbiased"]) <= 1e-4
    assert relative_error(unbiased, golden[f"{side}/logits"]) > 0.01
    assert torch.equal(inception.probabilities(images), unbiased.softmax(dim=1))
    assert torch.equal(inception.probabilities(images, bias=True), logits.softmax(dim=1))
    reference = torch.from_numpy(golden[f"{side}/logits_unbiased"]).softmax(dim=1)
    assert relative_error(inception.probabilities(images), reference) <= 1e-4


@pytest.mark.parametrize("side", SIDES)
def test_every_vgg16_layer_equals_the_independent_one(vgg16, side):
    golden, _ = load_golden("vgg16")
    errors = layer_errors(vgg16, golden, side)
    assert len(errors) == 22 and all(error <= 1e-4 for error in errors.values()), errors
    assert relative_error(vgg16(random_images(side)), golden[f"{side}/features"]) <= 1e-4


@pytest.mark.parametrize("height, width", LPIPS_SIZES)
def test_lpips_equals_the_independent_one(vgg16, height, width):
    golden, _ = load_golden("vgg16")
    reference = golden[f"lpips/{height}x{width}"]  # the contributions of the five layers
    coordinates = vgg16.lpips(random_images(320 if width > 40 else 40)[:, :, :height, :width])
    sizes = [n * (height >> k) * (width >> k) for k, n in enumerate(LPIPS_CHANNELS)]
    ours = [part.diff(dim=0).square().sum().item() for part in coordinates.split(sizes, dim=1)]
    np.testing.assert_allclose(ours, reference, rtol=1e-4)
    assert coordinates.diff(dim=0).square().sum().item() == pytest.approx(reference.sum(), rel=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Input and modes


@pytest.mark.bitwise
def test_bytes_and_floats_agree(inception, vgg16):
    images = random_images(40)[:1]
    for call in (inception.features, vgg16.features, vgg16.lpips):
        assert torch.equal(call(images), call(images.float()))


@pytest.mark.bitwise
def test_training_mode_changes_nothing(inception, vgg16):
    images = random_images(40)[:1]
    for network in (inception, vgg16):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items() if tensor.numel() < 10_000}
        expected = network(images)
        network.train()
        try:
            assert torch.equal(network(images), expected)
        finally:
            network.eval()
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def test_images_of_a_batch_do_not_influence_each_other(inception):
    images = random_images(40)
    alone = torch.cat([inception(image[None]) for image in images])
    assert relative_error(alone, inception(images)) <= 1e-5


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 4, 32, 32), (3, 32, 32)])
def test_images_that_are_not_rgb_are_refused(shape):
    images = torch.zeros(shape)
    inception, vgg16 = empty(InceptionV3), empty(VGG16)
    for call in (inception, inception.logits, inception.probabilities, vgg16):
        with pytest.raises(ValueError, match=r"RGB images \[N, 3, H, W\]"):
            call(images)


def test_images_too_small_for_the_pools_are_refused(vgg16):
    with pytest.raises(ValueError, match="at least 16×16"):
        vgg16.lpips(torch.zeros(1, 3, 16, 15))
    with pytest.raises(ValueError, match="at least 32×32"):
        vgg16.features(torch.zeros(1, 3, 31, 40), resize=False)
    assert vgg16.lpips(torch.zeros(1, 3, 16, 16)).shape == (1, 64 * 256 + 128 * 64 + 256 * 16 + 512 * 4 + 512)
    assert vgg16.features(torch.zeros(1, 3, 32, 40), resize=False).shape == (1, 4096)


@pytest.mark.bitwise
def test_resizing_beforehand_is_the_same(vgg16):
    images = random_images(40)[:1].float()
    assert torch.equal(vgg16.features(resize_bilinear_tf1(images, 224), resize=False), vgg16.features(images))


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


def derivatives_agree(function, images, step, tolerance):
    """Check float64 derivatives of images → [1, D] in two directions: forward mode, reverse mode, differences.

    The step is a compromise of rounding and the kinks of ReLU and max pools in between.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn((2, *images.shape), dtype=torch.float64, generator=generator)
    _, tangent = torch.func.jvp(function, (images,), (directions[0],))
    ahead, behind = function(images + step * directions[0]), function(images - step * directions[0])
    assert relative_error(tangent, (ahead - behind) / (2 * step)) <= tolerance

    tangents = torch.func.vmap(lambda v: torch.func.jvp(function, (images,), (v,))[1])(directions)
    assert relative_error(tangents[0], tangent) <= 1e-10
    chosen = tangent[0].abs().topk(3).indices

    def few(t):
        return function(images + torch.einsum("k,knchw->nchw", t, directions))[0, chosen]

    jacobian = torch.func.jacrev(few)(torch.zeros(2, dtype=torch.float64))
    assert relative_error(jacobian, tangents[:, 0, chosen].T) <= 1e-10


def test_derivatives_of_inception(inception_state):
    doubles = {name: t.double() if t.is_floating_point() else t for name, t in inception_state.items()}
    network = filled(InceptionV3, doubles)
    derivatives_agree(network.features, random_images(40)[:1].double(), step=1e-7, tolerance=1e-4)


def test_derivatives_of_lpips(vgg16_state):
    network = empty(VGG16)  # without the classifier, which is large and has no part in it
    trunk = {name: t.double() for name, t in (vgg16_state | random_heads()).items() if "classifier" not in name}
    network.load_state_dict(trunk, assign=True, strict=False)
    images = random_images(40)[:1, :, :20, :24].double()
    derivatives_agree(network.requires_grad_(False).lpips, images, step=1e-4, tolerance=1e-6)


def test_derivatives_of_vgg16(vgg16):
    images = random_images(40)[:1].float()
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn((2, *images.shape), generator=generator)
    tangents = torch.func.vmap(lambda v: torch.func.jvp(vgg16, (images,), (v,))[1])(directions)
    value, pullback = torch.func.vjp(vgg16, images)
    weight = torch.randn(value.shape, generator=generator)
    for tangent, direction in zip(tangents, directions):
        left, right = (weight * tangent).sum(), (pullback(weight)[0] * direction).sum()
        assert left.item() == pytest.approx(right.item(), rel=1e-3)


def test_lpips_has_finite_derivatives_where_no_channel_is_active(vgg16):
    state = {name: tensor for name, tensor in vgg16.state_dict().items() if "classifier" not in name}
    network = empty(VGG16)
    network.load_state_dict(state | {"features.28.bias": torch.full((512,), -1e9)}, assign=True, strict=False)
    images = random_images(40)[:1, :, :16, :16].float()
    value, tangent = torch.func.jvp(network.lpips, (images,), (torch.ones_like(images),))
    assert value.isfinite().all() and tangent.isfinite().all()
    gradient = torch.func.grad(lambda x: network.lpips(x).sum())(images)
    assert gradient.isfinite().all()


# ---------------------------------------------------------------------------------------------------------------------
# Files

# The blocks' convolutions: pytorch-fid's names, then NVIDIA's in the same order.
BLOCK_NAMES = {
    "a": (
        "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool",
        "conv tower.conv tower.conv_1 tower_1.conv tower_1.conv_1 tower_1.conv_2 tower_2.conv",
    ),
    "b": ("branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", "conv tower.conv tower.conv_1 tower.conv_2"),
    "c": (
        "branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 "
        "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5 branch_pool",
        "conv tower.conv tower.conv_1 tower.conv_2 "
        "tower_1.conv tower_1.conv_1 tower_1.conv_2 tower_1.conv_3 tower_1.conv_4 tower_2.conv",
    ),
    "d": (
        "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4",
        "tower.conv tower.conv_1 tower_1.conv tower_1.conv_1 tower_1.conv_2 tower_1.conv_3",
    ),
    "e": (
        "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b "
        "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a branch3x3dbl_3b branch_pool",
        "conv tower_conv tower_mixed_conv tower_mixed_conv_1 "
        "tower_1_conv tower_1_conv_1 tower_1_mixed_conv tower_1_mixed_conv_1 tower_2_conv",
    ),
}
STEM_NAMES = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
MIXED_NAMES = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


def numbered(name, k):
    return f"{name}_{k}" if k else name


def nvidia_inception(state):
    """The tensors of a state dict under NVIDIA's names, in which the batch normalisation has no scale."""
    modules = {f"Conv2d_{name}": numbered("layers.conv", k) for k, name in enumerate(STEM_NAMES)}
    for k, (name, kind) in enumerate(zip(MIXED_NAMES, "aaabccccdee")):
        for ours, theirs in zip(*map(str.split, BLOCK_NAMES[kind])):
            modules[f"Mixed_{name}.{ours}"] = f"{numbered('layers.mixed', k)}.{theirs}"
    tensors = {"output.weight": state["fc.weight"], "output.bias": state["fc.bias"]}
    for ours, theirs in modules.items():
        tensors[f"{theirs}.weight"] = state[f"{ours}.conv.weight"]
        for a, b in dict(bias="beta", running_mean="mean", running_var="var").items():
            tensors[f"{theirs}.{b}"] = state[f"{ours}.bn.{a}"]
    return tensors


def nvidia_vgg16(state):
    """The tensors of a state dict under NVIDIA's names, the LPIPS heads as [C, 1, 1]."""
    convs = sorted({int(name.split(".")[1]) for name in state if name.startswith("features")})
    modules = {f"features.{i}": f"layers.conv{k}" for k, i in enumerate(convs, start=1)}
    modules |= {f"classifier.{i}": f"layers.fc{k}" for k, i in enumerate((0, 3, 6), start=1)}
    tensors = {f"{b}.{part}": state[f"{a}.{part}"] for a, b in modules.items() for part in ("weight", "bias")}
    return tensors | {name: head.reshape(-1, 1, 1) for name, head in random_heads().items()}


@pytest.mark.bitwise
def test_inception_files_of_both_namings_give_the_same_network(inception_state):
    unscaled = {k: torch.ones_like(v) if k.endswith("bn.weight") else v for k, v in inception_state.items()}
    theirs = nvidia_inception(unscaled)
    assert len(theirs) == 94 * 4 + 2 and is_inception_state(theirs) and is_inception_state(unscaled)
    converted = convert_inception_state(theirs)
    assert list(converted) == list(unscaled)
    assert all(torch.equal(converted[name], tensor) for name, tensor in unscaled.items())
    images = random_images(40)[:1]
    expected = filled(InceptionV3, unscaled).features(images)
    assert torch.equal(filled(InceptionV3, converted).features(images), expected)
    assert relative_error(filled(InceptionV3, inception_state).features(images), expected) > 0.1


def test_inception_files_may_lack_counters_and_have_an_auxiliary_head(inception_state):
    lean = {name: tensor for name, tensor in inception_state.items() if "num_batches_tracked" not in name}
    empty(InceptionV3).load_state_dict(lean, assign=True)
    for state in (lean, inception_state, inception_state | {"AuxLogits.fc.weight": torch.zeros(1008, 768)}):
        converted = convert_inception_state(state)
        assert list(converted) == list(inception_state)
        assert all(torch.equal(converted[name], tensor) for name, tensor in lean.items())
    half = convert_inception_state({name: tensor.half() for name, tensor in lean.items()})
    assert {tensor.dtype for tensor in half.values()} == {torch.float32, torch.int64}


@pytest.mark.bitwise
def test_vgg16_files_of_both_namings_give_the_same_network(vgg16, vgg16_state):
    theirs = nvidia_vgg16(vgg16_state)
    assert is_vgg16_state(theirs) and is_vgg16_state(vgg16_state)
    for state in (theirs, vgg16.state_dict()):
        converted = convert_vgg16_state(state)
        assert set(converted) == set(vgg16.state_dict())
        assert all(torch.equal(converted[name], tensor) for name, tensor in vgg16.state_dict().items())
    without_heads = convert_vgg16_state(vgg16_state)
    assert list(without_heads) == list(vgg16_state)
    network = filled(VGG16, without_heads)
    assert not network.has_lpips and list(network.state_dict()) == list(vgg16_state)
    with pytest.raises(ValueError, match="has no LPIPS heads"):
        network.lpips(random_images(40))
    network.load_state_dict(random_heads(), strict=False)
    assert network.has_lpips
    assert torch.equal(network.lpips(random_images(40)), vgg16.lpips(random_images(40)))


def test_lpips_files_of_every_naming_give_the_same_heads():
    heads = random_heads()
    alone = {f"lin{k}.model.1.weight": head.reshape(1, -1, 1, 1) for k, head in enumerate(heads.values())}
    listed = {name.replace("lin", "lins."): head for name, head in alone.items()}
    whole = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}
    for tensors in (alone, listed, whole | alone, whole | alone | listed):
        assert is_lpips_state(tensors)
        converted = convert_lpips_heads(tensors)
        assert list(converted) == list(heads)
        assert all(torch.equal(converted[name], head) for name, head in heads.items())


def test_files_are_told_apart_by_name(inception_state, vgg16_state):
    inception, vgg16, lpips = list(inception_state), list(vgg16_state), ["lin0.model.1.weight"]
    kinds = {is_inception_state: inception, is_vgg16_state: vgg16, is_lpips_state: lpips}
    for test in kinds:
        assert [test(names) for names in (inception, vgg16, lpips, ["mapping.fc0.weight"], [])] == [
            test is is_inception_state,
            test is is_vgg16_state,
            test is is_lpips_state,
            False,
            False,
        ]


def changed(state, **changes):
    """A state dict with some tensors replaced, or removed where the new one is None. "__" in names stands for "."."""
    state = state | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


NAN = torch.full((1008,), torch.nan)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(fc__weight=None), "^does not fit an Inception-v3: fc.weight is missing$"),
        (dict(glow__weight=torch.zeros(2)), "^does not fit an Inception-v3: glow.weight is surplus$"),
        (dict(fc__bias=torch.zeros(1000)), r"fc.bias is \[1000\] instead of \[1008\]$"),
        (dict(fc__bias=[0] * 1008), "fc.bias is no tensor"),
        (dict(fc__bias=NAN), "fc.bias holds NaN or infinity"),
        (dict(Mixed_7c__branch_pool__bn__running_var=None), "Mixed_7c.branch_pool.bn.running_var is missing"),
        (dict(Conv2d_1a_3x3__bn__weight=None, fc__bias=None), "Conv2d_1a_3x3.bn.weight is missing; fc.bias is missing"),
    ],
)
def test_misfit_inception_files_are_refused(inception_state, changes, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_inception_state(changed(inception_state, **changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(layers__mixed_9__tower_mixed_conv__beta=None), "layers.mixed_9.tower_mixed_conv.beta is missing"),
        (dict(layers__mixed_11__conv__beta=torch.zeros(2)), "layers.mixed_11.conv.beta is surplus"),
        (dict(output__bias=torch.zeros(1000)), r"output.bias is \[1000\] instead of \[1008\]"),
    ],
)
def test_misfit_inception_files_in_the_other_naming_are_refused(inception_state, changes, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_inception_state(changed(nvidia_inception(inception_state), **changes))


def test_an_empty_file_misses_everything():
    with pytest.raises(NetworkFileError, match="Conv2d_1a_3x3.conv.weight is missing; .* and 469 more$"):
        convert_inception_state({})


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(classifier__6__bias=None), "^does not fit a VGG16: classifier.6.bias is missing$"),
        (dict(features__30__weight=torch.zeros(2)), "^does not fit a VGG16: features.30.weight is surplus$"),
        (dict(classifier__6__bias=torch.zeros(10)), r"classifier.6.bias is \[10\] instead of \[1000\]"),
        (dict(classifier__6__bias=NAN[:1000]), "classifier.6.bias holds NaN"),
        (dict(lpips0=torch.ones(64)), "^does not fit the LPIPS heads of a VGG16: lpips1 is missing; lpips2"),
    ],
)
def test_misfit_vgg16_files_are_refused(vgg16_state, changes, message):
    with pytest.raises(NetworkFileError, match=message):
        convert_vgg16_state(changed(vgg16_state, **changes))


def test_misfit_vgg16_files_in_the_other_naming_are_refused(vgg16_state):
    theirs = nvidia_vgg16(vgg16_state)
    with pytest.raises(NetworkFileError, match="^does not fit a VGG16: layers.conv13.bias is missing$"):
        convert_vgg16_state(changed(theirs, layers__conv13__bias=None))
    with pytest.raises(NetworkFileError, match="layers.conv14.weight is surplus"):
        convert_vgg16_state(changed(theirs, layers__conv14__weight=torch.zeros(2)))


def test_misfit_lpips_files_are_refused():
    alone = {f"lin{k}.model.1.weight": torch.ones(1, n, 1, 1) for k, n in enumerate(LPIPS_CHANNELS)}
    with pytest.raises(NetworkFileError, match="heads of a VGG16: lin3.model.1.weight is missing$"):
        convert_lpips_heads(changed(alone, lin3__model__1__weight=None))
    with pytest.raises(NetworkFileError, match=r"lin1.model.1.weight is \[1, 192, 1, 1\] instead of \[128\]"):
        convert_lpips_heads(changed(alone, lin1__model__1__weight=torch.ones(1, 192, 1, 1)))
    with pytest.raises(NetworkFileError, match="lin4.model.1.weight holds negative weights"):
        convert_lpips_heads(changed(alone, lin4__model__1__weight=-torch.ones(1, 512, 1, 1)))


def test_heads_of_the_wrong_size_do_not_load():
    with pytest.raises(RuntimeError, match="size mismatch for lpips0"):
        empty(VGG16).load_state_dict({"lpips0": torch.ones(3)}, strict=False)
