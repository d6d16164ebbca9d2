"""The Inception-v3 of the Fréchet Inception Distance: the TensorFlow graph of 2015-12-05, in plain torch."""

import dataclasses

import torch
import torch.nn.functional as F

from dnnlib_compat.assemble import fit_tensors
from dnnlib_compat.networks.resize import float_images, resize_bilinear_tf1

POOLS = {
    "average": lambda x: F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),
    "max": lambda x: F.max_pool2d(x, 3, stride=1, padding=1),
    "shrink": lambda x: F.max_pool2d(x, 3, stride=2),
}


@dataclasses.dataclass(frozen=True)
class Conv:
    """One convolution of the table below. `theirs` is its name in NVIDIA's files; `padding` None keeps the size."""

    name: str
    theirs: str
    channels: int
    kernel: tuple = (1, 1)
    stride: int = 1
    padding: tuple | None = None


# A branch is a list of steps: a convolution, the name of a pool, or a tuple of convolutions that share their input
# and whose outputs are concatenated. The branches of a block are concatenated too.


def block_a(pooled):
    return (
        [Conv("branch1x1", "conv", 64)],
        [Conv("branch5x5_1", "tower.conv", 48), Conv("branch5x5_2", "tower.conv_1", 64, (5, 5))],
        [
            Conv("branch3x3dbl_1", "tower_1.conv", 64),
            Conv("branch3x3dbl_2", "tower_1.conv_1", 96, (3, 3)),
            Conv("branch3x3dbl_3", "tower_1.conv_2", 96, (3, 3)),
        ],
        ["average", Conv("branch_pool", "tower_2.conv", pooled)],
    )


def block_b():
    return (
        [Conv("branch3x3", "conv", 384, (3, 3), 2, (0, 0))],
        [
            Conv("branch3x3dbl_1", "tower.conv", 64),
            Conv("branch3x3dbl_2", "tower.conv_1", 96, (3, 3)),
            Conv("branch3x3dbl_3", "tower.conv_2", 96, (3, 3), 2, (0, 0)),
        ],
        ["shrink"],
    )


def block_c(inner):
    return (
        [Conv("branch1x1", "conv", 192)],
        [
            Conv("branch7x7_1", "tower.conv", inner),
            Conv("branch7x7_2", "tower.conv_1", inner, (1, 7)),
            Conv("branch7x7_3", "tower.conv_2", 192, (7, 1)),
        ],
        [
            Conv("branch7x7dbl_1", "tower_1.conv", inner),
            Conv("branch7x7dbl_2", "tower_1.conv_1", inner, (7, 1)),
            Conv("branch7x7dbl_3", "tower_1.conv_2", inner, (1, 7)),
            Conv("branch7x7dbl_4", "tower_1.conv_3", inner, (7, 1)),
            Conv("branch7x7dbl_5", "tower_1.conv_4", 192, (1, 7)),
        ],
        ["average", Conv("branch_pool", "tower_2.conv", 192)],
    )


def block_d():
    return (
        [Conv("branch3x3_1", "tower.conv", 192), Conv("branch3x3_2", "tower.conv_1", 320, (3, 3), 2, (0, 0))],
        [
            Conv("branch7x7x3_1", "tower_1.conv", 192),
            Conv("branch7x7x3_2", "tower_1.conv_1", 192, (1, 7)),
            Conv("branch7x7x3_3", "tower_1.conv_2", 192, (7, 1)),
            Conv("branch7x7x3_4", "tower_1.conv_3", 192, (3, 3), 2, (0, 0)),
        ],
        ["shrink"],
    )


def block_e(pool):
    return (
        [Conv("branch1x1", "conv", 320)],
        [
            Conv("branch3x3_1", "tower_conv", 384),
            (
                Conv("branch3x3_2a", "tower_mixed_conv", 384, (1, 3)),
                Conv("branch3x3_2b", "tower_mixed_conv_1", 384, (3, 1)),
            ),
        ],
        [
            Conv("branch3x3dbl_1", "tower_1_conv", 448),
            Conv("branch3x3dbl_2", "tower_1_conv_1", 384, (3, 3)),
            (
                Conv("branch3x3dbl_3a", "tower_1_mixed_conv", 384, (1, 3)),
                Conv("branch3x3dbl_3b", "tower_1_mixed_conv_1", 384, (3, 1)),
            ),
        ],
        [pool, Conv("branch_pool", "tower_2_conv", 192)],
    )


# The layers in order: a convolution, a pool (name, kind) or a block (name, NVIDIA's name, branches).
ARCHITECTURE = (
    Conv("Conv2d_1a_3x3", "conv", 32, (3, 3), 2, (0, 0)),
    Conv("Conv2d_2a_3x3", "conv_1", 32, (3, 3), 1, (0, 0)),
    Conv("Conv2d_2b_3x3", "conv_2", 64, (3, 3)),
    ("maxpool1", "shrink"),
    Conv("Conv2d_3b_1x1", "conv_3", 80),
    Conv("Conv2d_4a_3x3", "conv_4", 192, (3, 3), 1, (0, 0)),
    ("maxpool2", "shrink"),
    ("Mixed_5b", "mixed", block_a(32)),
    ("Mixed_5c", "mixed_1", block_a(64)),
    ("Mixed_5d", "mixed_2", block_a(64)),
    ("Mixed_6a", "mixed_3", block_b()),
    ("Mixed_6b", "mixed_4", block_c(128)),
    ("Mixed_6c", "mixed_5", block_c(160)),
    ("Mixed_6d", "mixed_6", block_c(160)),
    ("Mixed_6e", "mixed_7", block_c(192)),
    ("Mixed_7a", "mixed_8", block_d()),
    ("Mixed_7b", "mixed_9", block_e("average")),
    ("Mixed_7c", "mixed_10", block_e("max")),  # a slip of the original graph that every published FID contains
)


class ConvNormReLU(torch.nn.Module):
    """Convolution without bias, batch normalisation by the running statistics, ReLU."""

    def __init__(self, n_in, conv):
        super().__init__()
        padding = tuple(k // 2 for k in conv.kernel) if conv.padding is None else conv.padding
        self.conv = torch.nn.Conv2d(n_in, conv.channels, conv.kernel, conv.stride, padding, bias=False)
        self.bn = torch.nn.BatchNorm2d(conv.channels, eps=1e-3)

    def forward(self, x):
        bn = self.bn  # called as a function, so that training mode changes nothing
        x = F.batch_norm(self.conv(x), bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        return F.relu(x)


class Mixed(torch.nn.Module):
    """Parallel branches over [N, n_in, H, W], concatenated to `channels` channels."""

    def __init__(self, n_in, branches):
        super().__init__()
        self.branches = branches
        self.channels = 0
        for branch in branches:
            n = n_in
            for convs in map(convolutions, branch):
                for conv in convs:
                    self.add_module(conv.name, ConvNormReLU(n, conv))
                n = sum(conv.channels for conv in convs) if convs else n
            self.channels += n

    def forward(self, x):
        return torch.cat([self.run(branch, x) for branch in self.branches], dim=1)

    def run(self, branch, x):
        for step in branch:
            if isinstance(step, str):
                x = POOLS[step](x)
            else:
                outputs = [getattr(self, conv.name)(x) for conv in convolutions(step)]
                x = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
        return x


def convolutions(step):
    """The convolutions in a step of a branch: () for a pool."""
    if isinstance(step, str):
        return ()
    return step if isinstance(step, tuple) else (step,)


class InceptionV3(torch.nn.Module):
    """Images uint8 or float [N, 3, H, W] in [0, 255] → features [N, 2048] and 1008 class scores.

    Images of any size are resized to 299×299 as TensorFlow 1 does. The state dict has the names of pytorch-fid and
    torch-fidelity. Training mode changes nothing. Raises ValueError for images that are not RGB.
    """

    def __init__(self):
        super().__init__()
        n = 3
        for layer in ARCHITECTURE:
            if isinstance(layer, Conv):
                self.add_module(layer.name, ConvNormReLU(n, layer))
                n = layer.channels
            elif len(layer) == 3:
                name, _, branches = layer
                self.add_module(name, Mixed(n, branches))
                n = getattr(self, name).channels
        self.fc = torch.nn.Linear(n, 1008)

    def layers(self, images):
        """(name, activation) of every layer in turn, from "input" (resized, in [−1, 1)) to "avgpool" [N, 2048]."""
        x = resize_bilinear_tf1(float_images(images, self.fc.weight.dtype), 299)
        x = (x - 128) / 128
        yield "input", x
        for layer in ARCHITECTURE:
            name = layer.name if isinstance(layer, Conv) else layer[0]
            x = getattr(self, name)(x) if name in self._modules else POOLS[layer[1]](x)
            yield name, x
        yield "avgpool", x.mean(dim=(2, 3))

    def features(self, images):
        """The features [N, 2048], non-negative, that FID, KID, precision and recall are computed from."""
        return next(x for name, x in self.layers(images) if name == "avgpool")

    def logits(self, images, bias=True):
        """Class scores [N, 1008] before the softmax, with or without the last layer's bias."""
        return F.linear(self.features(images), self.fc.weight, self.fc.bias if bias else None)

    def probabilities(self, images, bias=False):
        """Class probabilities [N, 1008]. The Inception score is customarily computed without the bias."""
        return self.logits(images, bias).softmax(dim=1)

    def forward(self, images):
        return self.features(images)


def layer_names():
    """(our name, NVIDIA's name) of every convolution."""
    for layer in ARCHITECTURE:
        if isinstance(layer, Conv):
            yield layer.name, f"layers.{layer.theirs}"
        elif len(layer) == 3:
            ours, theirs, branches = layer
            for conv in (conv for branch in branches for step in branch for conv in convolutions(step)):
                yield f"{ours}.{conv.name}", f"layers.{theirs}.{conv.theirs}"


def is_inception_state(names):
    """Whether tensors of these names are those of an Inception-v3, in either naming."""
    return any(name.startswith(("Mixed_5b.", "layers.mixed.")) for name in names)


def convert_inception_state(tensors):
    """The float32 state dict of an `InceptionV3` from {name: tensor} as pytorch-fid or as NVIDIA names them.

    Raises NetworkFileError naming missing, surplus or misfit tensors.
    """
    with torch.device("meta"):
        expected = InceptionV3().state_dict()
    counters = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith("num_batches_tracked")}
    if any(name.startswith("layers.") for name in tensors):
        parts = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}
        names = {f"{theirs}.{a}": f"{ours}.{b}" for ours, theirs in layer_names() for a, b in parts.items()}
        names |= {"output.weight": "fc.weight", "output.bias": "fc.bias"}
        # NVIDIA's batch normalisation shifts but does not scale.
        constants = {f"{ours}.bn.weight": torch.ones(expected[f"{ours}.bn.weight"].shape) for ours, _ in layer_names()}
    else:
        names = {name: name for name in expected if name not in counters}
        constants = {}
        # Files differ in whether they have the counters, which nothing reads, and the head that only training uses.
        tensors = {k: v for k, v in tensors.items() if k not in counters and not k.startswith("AuxLogits.")}
    state = fit_tensors(tensors, names, expected, "an Inception-v3") | constants | counters
    return {name: state[name] for name in expected}
