"""The embedded networks are what the card says."""

import numpy as np
import pytest
import torch

from benchmarks.train_classifier import accuracy
from benchmarks.training_data import load_zip
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.mnist_classifier import WEIGHTS, load_mnist_classifier
from dnnlib_compat.pretrained import PACKAGE


def test_the_classifier_knows_the_held_out_digits(data_folder):
    images, labels = load_zip(data_folder / "datasets" / "mnist32-test.zip")
    assert len(labels) == 10_000
    assert accuracy(load_mnist_classifier(), images, labels) >= 0.99


def test_the_generator_draws_all_ten_digits_plainly():
    network, classifier = load_network("mnist32"), load_mnist_classifier()
    z = torch.randn(1000, network.z_dim, generator=torch.Generator().manual_seed(0))
    images = torch.cat([network(part, torch.zeros(len(part), 0)) for part in z.split(200)])
    confidence, digit = classifier(images).softmax(dim=1).max(dim=1)
    share = np.bincount(digit.numpy(), minlength=10) / 1000
    assert share.min() >= 0.03 and share.max() <= 0.25, share
    assert (confidence > 0.9).float().mean() >= 0.75
    features = classifier.features(images)
    assert features.shape == (1000, 64) and (features >= 0).all()


def test_the_embedded_files_are_small():
    assert sum(path.stat().st_size for path in (PACKAGE / "embedded").iterdir()) <= 3_000_000


@pytest.mark.parametrize("damage", [b"", b"PK", b"not an archive"])
def test_a_damaged_classifier_file_is_named(tmp_path, damage):
    (tmp_path / "c.npz").write_bytes(damage or WEIGHTS.read_bytes()[:5000])
    with pytest.raises(NetworkFileError, match="c.npz: a truncated or damaged archive, download it again"):
        load_mnist_classifier(tmp_path / "c.npz")
