"""Images of an ecosystem zip as one array, for the training scripts."""

import io
import zipfile

import numpy as np
import PIL.Image

from dnnlib_compat.json_text import parse_json


def load_zip(path):
    """(images uint8 [N, C, H, W], labels int64 [N]) of a dataset zip whose `dataset.json` holds class labels."""
    with zipfile.ZipFile(path) as archive:
        labels = parse_json(archive.read("dataset.json"))["labels"]
        images = [np.asarray(PIL.Image.open(io.BytesIO(archive.read(name)))) for name, _ in labels]
    images = np.stack(images)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return images, np.array([label for _, label in labels], dtype=np.int64)
