"""Feature detectors: the networks whose features a metric compares, from the files that the ecosystem has.

A detector file is one of: TorchScript (`.pt`, the StyleGAN2-ADA release), a persistent pickle (`.pkl`, the StyleGAN3
release), a state dict (`.pth`: pytorch-fid's Inception, torchvision's VGG16), or the embedded classifier (`.npz`).
The networks are imported when a file has one: their classes are torch's.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import torch

from dnnlib_compat import pretrained
from dnnlib_compat.archives import open_archive, verify
from dnnlib_compat.assemble import ALLOW_CODE_HINT, fill
from dnnlib_compat.checkpoint import read_checkpoint, state_dict_of
from dnnlib_compat.download import sha256_of
from dnnlib_compat.errors import NetworkFileError, naming, reading, reason
from dnnlib_compat.formats import LEGACY_CHECKPOINT, first_look
from dnnlib_compat.pickle_records import PersistentRecord
from dnnlib_compat.torch_archives import read_torchscript_tensors
from dnnlib_compat.unpickle import read_pickle, refuse_inert

FEATURES, PROBABILITIES, LPIPS = "features", "probabilities", "lpips"
IMAGE_STATISTICS = "image-statistics"  # the name of a detector that needs no file, and what its features are
STATISTICS = ("brightness", "contrast", "saturation", "red", "green", "blue")


@dataclasses.dataclass(frozen=True)
class Detector:
    """A network whose features a metric compares.

    `outputs` maps a name, `features`, `probabilities` or `lpips`, to a function of images [N, channels, H, W], uint8 or
    float in [0, 255], with values [N, F] float32; those of `lpips` have squared distances that are LPIPS distances.
    `layers`, of networks that are known here and can be differentiated, maps such images to an iterator of (name,
    activation). `digest` tells the content of the file, `channels` and `resolution` (None: any) what images it takes.
    """

    name: str
    digest: str
    network: torch.nn.Module
    outputs: dict[str, Callable]
    channels: int = 3
    resolution: int | None = None
    layers: Callable | None = None

    @property
    def device(self):
        """Where the network is."""
        return next(self.network.parameters()).device

    def __call__(self, images, output=FEATURES):
        """The `output` [N, F] of images [N, C, H, W] in [0, 255]. Grayscale is repeated to RGB where needed.

        Raises ValueError for an output that this detector does not have, and for images that it does not take.
        """
        self.check(output, images.shape[1], images.shape[2])
        if images.shape[1] == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        return self.outputs[output](images).to(torch.float32)

    def activation(self, images, layer=None):
        """A layer's activation [N, …] for float images [N, C, H, W] in [0, 255]; without a name, the features [N, F].

        It composes with torch.func. Raises ValueError as `check_layer`.
        """
        self.check_layer(layer)
        if layer is None:
            return self(images)
        if images.shape[1] == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        return next(x for name, x in self.layers(images) if name == layer)

    def check_layer(self, layer=None):
        """Raise ValueError when the detector cannot be differentiated, or has no such layer (None: its features)."""
        if self.layers is None:
            raise ValueError(
                f"the detector {self.name} cannot be differentiated; take the .pkl of the StyleGAN3 release or a state "
                "dict (.pth) of Inception or VGG16"
            )
        if layer is not None and layer not in self.layer_names:
            raise ValueError(
                f"the detector {self.name} has no layer {layer!r}; its layers: {', '.join(self.layer_names)}"
            )

    @functools.cached_property
    def layer_names(self):
        """The names of its layers, in order."""
        size = self.resolution or 32
        with torch.no_grad():
            return [name for name, _ in self.layers(torch.zeros(1, self.channels, size, size, device=self.device))]

    def check(self, output, channels, resolution):
        """Raise ValueError when the detector has no such output, or does not take such images."""
        if output not in self.outputs:
            known = ", ".join(self.outputs)
            raise ValueError(f"the detector {self.name} gives no {output}, only {known}; choose another --detector")
        if channels not in (1, self.channels):
            raise ValueError(f"the detector {self.name} takes grayscale images, not {channels} channels")
        if self.resolution not in (None, resolution):
            raise ValueError(
                f"the detector {self.name} takes images of {self.resolution}x{self.resolution} pixels, not "
                f"{resolution}x{resolution}"
            )


def load_detector(source, *, lpips_heads=None, device="cpu", allow_code=False):
    """The Detector of a short name of the catalogue, an address, or a file.

    lpips_heads: a state dict file with the LPIPS heads, for a VGG16 that has none. Nothing from a file is executed: the
    tensors of an Inception-v3 or VGG16, also those in a TorchScript file, are put into this project's own networks.
    `allow_code` runs the code of a pickle or a TorchScript file whose network is not known here.

    Raises NetworkFileError (a ValueError) for a file that is no detector, ValueError for an unknown name, OSError when
    it cannot be read.
    """
    if source == IMAGE_STATISTICS:
        return image_statistics(device)
    from dnnlib_compat.networks.inception_v3 import is_inception_state
    from dnnlib_compat.networks.mnist_classifier import load_mnist_classifier
    from dnnlib_compat.networks.vgg16 import is_vgg16_state

    path = pretrained.locate(source, pretrained.detectors())
    with reading(path):
        identity = str(source) if source in pretrained.detectors() else Path(source).name, file_digest(path)
        kind = sniff_detector(path)
        if lpips_heads is not None and kind == "classifier":
            raise NetworkFileError(f"{path}: LPIPS heads are for a VGG16, this is a {kind} file; leave them out")
        if kind == "classifier":
            return classifier_detector(identity, load_mnist_classifier(path).to(device))
        try:
            tensors = READERS[kind](path)
            if is_inception_state(tensors):
                return inception_detector(identity, tensors, path, device)
            if is_vgg16_state(tensors):
                return vgg16_detector(identity, tensors, path, lpips_heads, device)
            raise NetworkFileError(f"{path}: not an Inception-v3 or VGG16 network; {HINTS.get(kind, ALLOW_CODE_HINT)}")
        except NetworkFileError:
            if not allow_code or kind not in ("pickle", "torchscript"):
                raise
        if lpips_heads is not None:
            raise NetworkFileError(f"{path}: LPIPS heads are for a VGG16, this is another network; leave them out")
        return called_detector(identity, run_code(path, kind, device))


HINTS = {
    "torchscript": "TorchScript is code, so only the tensors of such a file are read; if you trust it: --allow-code"
}


def run_code(path, kind, device):
    """The module of a file, made by executing the code in it."""
    if kind == "torchscript":
        return run_torchscript(path, device)
    from dnnlib_compat.foreign import load_module_with_code

    return load_module_with_code(path).eval().requires_grad_(False).to(device)


def sniff_detector(path):
    """What kind of detector file it is: classifier, torchscript, state dict or pickle.

    Raises NetworkFileError for anything else.
    """
    head, names = first_look(path)
    if head.startswith(LEGACY_CHECKPOINT):
        return "state dict"
    if names is None and head[:1] == b"\x80":
        return "pickle"
    for kind, marks in (
        ("classifier", lambda name: name == "conv0.weight.npy"),
        ("torchscript", lambda name: "/code/" in name),
        ("state dict", lambda name: name.endswith("data.pkl")),
    ):
        if any(map(marks, names or ())):
            return kind
    raise NetworkFileError(f"{path}: not a feature detector (TorchScript, persistent pickle or state dict)")


def image_statistics(device):
    """The Detector whose features are brightness, contrast and colours."""
    from dnnlib_compat.networks.image_statistics import ImageStatistics

    network = ImageStatistics().eval().to(device)
    return Detector(IMAGE_STATISTICS, IMAGE_STATISTICS, network, {FEATURES: network})


def classifier_detector(identity, network):
    def scaled(images):
        return images.to(torch.float32) / 127.5 - 1

    def layers(images):
        return network.layers(scaled(images))

    outputs = {
        FEATURES: lambda images: network.features(scaled(images)),
        PROBABILITIES: lambda images: network(scaled(images)).softmax(dim=1),
    }
    return Detector(*identity, network, outputs, channels=1, resolution=32, layers=layers)


def inception_detector(identity, tensors, path, device):
    from dnnlib_compat.networks.inception_v3 import InceptionV3, convert_inception_state

    with naming(path):
        tensors = convert_inception_state(tensors)
    network = filled(InceptionV3, tensors).to(device)
    outputs = {FEATURES: network.features, PROBABILITIES: network.probabilities}
    return Detector(*identity, network, outputs, layers=network.layers)


def vgg16_detector(identity, tensors, path, lpips_heads, device):
    from dnnlib_compat.networks.vgg16 import VGG16, convert_lpips_heads, convert_vgg16_state, is_lpips_state

    with naming(path):
        tensors = convert_vgg16_state(tensors)
    if lpips_heads is not None:
        path = pretrained.locate(lpips_heads, pretrained.detectors())
        heads = read_state_dict(path)
        if not is_lpips_state(heads):
            raise NetworkFileError(f"{path}: holds no LPIPS heads of a VGG16 (lin0.model.1.weight and so on)")
        with naming(path):
            tensors |= convert_lpips_heads(heads)
        name, digest = identity
        identity = name, hashlib.sha256((digest + file_digest(path)).encode()).hexdigest()[:16]
    network = filled(VGG16, tensors).to(device)
    outputs = {FEATURES: network.features} | ({LPIPS: network.lpips} if network.has_lpips else {})
    return Detector(*identity, network, outputs, layers=network.layers)


def filled(network_class, tensors):
    """A network with these tensors, in evaluation mode, without gradients of its own."""
    from dnnlib_compat.shapes_only import shapes_only  # whose class is torch's

    with shapes_only():  # no random initialisation that would be overwritten
        network = network_class()
    fill(network, tensors, strict=False)  # the converter has compared the names
    return network.eval().requires_grad_(False)


def called_detector(identity, network):
    """The Detector of a module with the official call: keywords `return_features`, `no_output_bias`, `return_lpips`."""
    accepted = argument_names(network)
    calls = {
        "return_features": (FEATURES, lambda images: network(images, return_features=True)),
        "no_output_bias": (PROBABILITIES, lambda images: network(images, no_output_bias=True)),
        "return_lpips": (LPIPS, lambda images: network(images, resize_images=False, return_lpips=True)),
    }
    outputs = dict(calls[keyword] for keyword in calls if keyword in accepted)
    if not outputs:
        raise NetworkFileError("a network, but no feature detector (it takes no return_features)")
    return Detector(*identity, network, outputs)


def argument_names(network):
    if isinstance(network, torch.jit.ScriptModule):
        return {argument.name for argument in network.forward.schema.arguments}
    return set(inspect.signature(network.forward).parameters)


def file_digest(path):
    """16 hexadecimal digits that tell the content of a file."""
    return sha256_of(path)[:16]


def run_torchscript(path, device):
    """The module of a TorchScript file, whose code may do whatever TorchScript can. Raises NetworkFileError."""
    with open_archive(path, ignore_case=True) as archive:
        verify(path, archive)
    click.secho(f"{path}: the TorchScript inside this file now runs, with all your rights on this machine", fg="red",
                err=True)  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise NetworkFileError(f"{path}: a damaged TorchScript file ({reason(error)})") from None
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def read_state_dict(path):
    """{name: tensor} of a torch.save file. Raises NetworkFileError when it is anything else, or damaged."""
    state = state_dict_of(read_checkpoint(path))
    if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
        raise NetworkFileError(f"{path}: holds no state dict of a network")
    return state


def read_pickled_tensors(path):
    """{name: tensor} of a persistent pickle."""
    content = read_pickle(path)
    refuse_inert(content, path)
    if not isinstance(content, PersistentRecord):
        raise NetworkFileError(f"{path}: holds a {type(content).__name__}, not a feature detector")
    with naming(path):
        return {name: value.decode() for name, value in content.tensors().items()}


READERS = {"torchscript": read_torchscript_tensors, "state dict": read_state_dict, "pickle": read_pickled_tensors}
