"""The embedded MNIST classifier: a feature detector that needs no download."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.assemble import is_finite
from dnnlib_compat.errors import NetworkFileError

WEIGHTS = Path(__file__).resolve().parents[1] / "embedded" / "mnist32-classifier.npz"


class MnistClassifier(torch.nn.Module):
    """Digits at 32×32: images [N, 1, 32, 32] in [−1, 1] → logits [N, 10]; `features` gives [N, 64], non-negative."""

    def __init__(self):
        super().__init__()
        self.conv0 = torch.nn.Conv2d(1, 16, 3, padding=1)
        self.conv1 = torch.nn.Conv2d(16, 32, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(32, 64, 3, padding=1)
        self.hidden = torch.nn.Linear(64 * 16, 64)
        self.out = torch.nn.Linear(64, 10)

    def layers(self, images):
        """(name, activation) of every layer in turn, from "input" to "out", for images [N, 1, 32, 32] in [−1, 1]."""
        x = images
        yield "input", x
        for name in ("conv0", "conv1", "conv2"):
            x = F.max_pool2d(F.relu(getattr(self, name)(x)), 2)
            yield name, x
        x = F.relu(self.hidden(x.flatten(1)))
        yield "hidden", x
        yield "out", self.out(x)

    def features(self, images):
        """The last hidden layer [N, 64] of images [N, 1, 32, 32] in [−1, 1]."""
        return next(x for name, x in self.layers(images) if name == "hidden")

    def forward(self, images):
        return self.out(self.features(images))


def load_mnist_classifier(path=WEIGHTS):
    """The trained classifier, in evaluation mode, float32, on the CPU. Raises NetworkFileError for a damaged file."""
    network = MnistClassifier()
    expected = network.state_dict()
    with open_arrays(path) as file:
        shapes = {name: shape for name, (shape, _) in file.shapes.items()}
        if shapes != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
            raise NetworkFileError(f"{path}: a truncated or damaged classifier file (its tensors are others)")
        network.load_state_dict({name: torch.from_numpy(file.read(name).astype(np.float32)) for name in expected})
    if not all(map(is_finite, network.state_dict().values())):
        raise NetworkFileError(f"{path}: a damaged classifier file (it holds NaN or infinity)")
    return network.eval().requires_grad_(False)
