"""VGG16 as a feature detector, and the perceptual distance LPIPS on top of it."""

import math
import re

import torch
import torch.nn.functional as F

from dnnlib_compat.assemble import fit_tensors
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.resize import float_images, resize_bilinear_tf1

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, convolutions), a max pool after each
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # where they are in torchvision's `features`
# The activation behind each block's last ReLU and the head that weighs its channels.
TAPS = {f"features.{i}": f"lpips{k}" for k, i in enumerate((3, 8, 15, 22, 29))}
HEADS = {f"lpips{k}": channels for k, (channels, _) in enumerate(BLOCKS)}
HEAD_NAME = re.compile(r"lins?\.?([0-4])\.model\.[01]\.weight")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16(torch.nn.Module):
    """Images uint8 or float [N, 3, H, W] in [0, 255], RGB → features [N, 4096], or LPIPS coordinates.

    The state dict has torchvision's names, and `lpips0` … `lpips4` where LPIPS heads are loaded: each channel's weight
    in the squared distance, non-negative. Dropout and training mode do not exist. Raises ValueError for images that
    are not RGB or too small for the pools.
    """

    def __init__(self):
        super().__init__()
        layers, n = [], 3
        for channels, count in BLOCKS:
            for _ in range(count):
                layers += [torch.nn.Conv2d(n, channels, 3, padding=1), torch.nn.ReLU()]
                n = channels
            layers.append(torch.nn.MaxPool2d(2))
        # Entered by hand: the state dict needs the name, which as an attribute is the method's.
        self._modules["features"] = torch.nn.Sequential(*layers)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(512 * 7 * 7, 4096),
            torch.nn.ReLU(),
            torch.nn.Identity(),  # in torchvision's place for dropout
            torch.nn.Linear(4096, 4096),
            torch.nn.ReLU(),
            torch.nn.Identity(),
            torch.nn.Linear(4096, 1000),
        )
        for name in HEADS:
            self.register_buffer(name, None)

    @property
    def has_lpips(self):
        """Whether all LPIPS heads are loaded."""
        return all(getattr(self, name) is not None for name in HEADS)

    def layers(self, images, resize=True):
        """(name, activation) of every layer in turn, from "input" to "classifier.6" [N, 1000], named as in torchvision.

        `resize` brings the images to 224×224 first, as TensorFlow 1 does.
        """
        trunk = self._modules["features"]
        x = float_images(images, trunk[0].weight.dtype)
        if resize:
            x = resize_bilinear_tf1(x, 224)
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).reshape(3, 1, 1) for v in (MEAN, STD))
        x = (x / 255 - mean) / std
        yield "input", x
        for i, layer in enumerate(trunk):
            x = layer(x)
            yield f"features.{i}", x
        x = F.adaptive_avg_pool2d(x, 7).flatten(1)
        for i, layer in enumerate(self.classifier):
            x = layer(x)
            yield f"classifier.{i}", x

    def features(self, images, resize=True):
        """The second fully connected layer after its ReLU, [N, 4096], non-negative.

        Without `resize` the images keep their size, at least 32×32.
        """
        if not resize:
            check_size(images, 32)
        return next(x for name, x in self.layers(images, resize) if name == "classifier.4")

    def lpips(self, images):
        """Coordinates [N, D] in which the squared Euclidean distance of two images is their LPIPS distance.

        The images keep their size, which D depends on, and are at least 16×16. Raises ValueError when no heads are
        loaded. (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", Eq. 1.)
        """
        if not self.has_lpips:
            raise ValueError("this VGG16 has no LPIPS heads (lpips0 to lpips4); load the LPIPS head file as well")
        check_size(images, 16)
        parts = []
        for name, x in self.layers(images, resize=False):
            if name in TAPS:
                norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
                weight = getattr(self, TAPS[name]).sqrt().reshape(-1, 1, 1) / math.sqrt(x.shape[2] * x.shape[3])
                parts.append((x / (norm + 1e-10) * weight).flatten(1))
            if len(parts) == len(TAPS):
                break
        return torch.cat(parts, dim=1)

    def forward(self, images):
        return self.features(images)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Make room for the heads that the state dict has, then load as usual."""
        like = self._modules["features"][0].weight
        for name, channels in HEADS.items():
            if prefix + name in state_dict and getattr(self, name) is None:
                setattr(self, name, torch.zeros(channels, dtype=like.dtype, device=like.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def check_size(images, least):
    if min(images.shape[2:], default=0) < least:
        raise ValueError(f"images of {list(images.shape)} are too small, VGG16 takes at least {least}×{least} pixels")


def is_vgg16_state(names):
    """Whether tensors of these names are those of a VGG16, in torchvision's or NVIDIA's naming."""
    marks = {"features.28.weight", "classifier.3.weight"}, {"layers.conv13.weight", "layers.fc2.weight"}
    return any(mark <= set(names) for mark in marks)


def is_lpips_state(names):
    """Whether these names include LPIPS heads, as the authors of LPIPS name them."""
    return any(HEAD_NAME.fullmatch(name) for name in names)


def convert_vgg16_state(tensors):
    """The float32 state dict of a `VGG16` from {name: tensor} as torchvision or NVIDIA names them, maybe with heads.

    Raises NetworkFileError naming missing, surplus or misfit tensors.
    """
    with torch.device("meta"):
        expected = VGG16().state_dict()
    if any(name.startswith("layers.") for name in tensors):
        modules = {f"layers.conv{k + 1}": f"features.{i}" for k, i in enumerate(CONVOLUTIONS)}
        modules |= {"layers.fc1": "classifier.0", "layers.fc2": "classifier.3", "layers.fc3": "classifier.6"}
        names = {f"{a}.{part}": f"{b}.{part}" for a, b in modules.items() for part in ("weight", "bias")}
    else:
        names = {name: name for name in expected}
    trunk = {name: tensor for name, tensor in tensors.items() if name not in HEADS}
    heads = {name: tensor for name, tensor in tensors.items() if name in HEADS}
    return fit_tensors(trunk, names, expected, "a VGG16") | (fit_heads(heads, {k: k for k in HEADS}) if heads else {})


def convert_lpips_heads(tensors):
    """{"lpips0": float32 [64], …, "lpips4": [512]} from the LPIPS head file, or from a file of the whole LPIPS model.

    Raises NetworkFileError naming missing or misfit heads, or one with negative weights. Other tensors are ignored.
    """
    # A whole model has its heads twice, alone and in a list: the same tensors.
    found = {match[1]: name for name in tensors if (match := HEAD_NAME.fullmatch(name))}
    names = {found.get(str(k), f"lin{k}.model.1.weight"): f"lpips{k}" for k in range(len(HEADS))}
    return fit_heads({name: tensors[name] for name in names if name in tensors}, names)


def fit_heads(tensors, names):
    """Heads of any shape with one number a channel as vectors. names: {the file's name: ours}."""
    expected = {name: torch.empty(channels, device="meta") for name, channels in HEADS.items()}
    vectors = {
        name: tensor.flatten() if torch.is_tensor(tensor) and tensor.numel() == HEADS[names[name]] else tensor
        for name, tensor in tensors.items()
    }
    heads = fit_tensors(vectors, names, expected, "the LPIPS heads of a VGG16")
    for name, ours in names.items():
        if heads[ours].min() < 0:
            raise NetworkFileError(f"{name} holds negative weights, which no distance has")
    return heads
