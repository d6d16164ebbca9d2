"""Small data sets for tests, in the ecosystem's layout."""

import io
import json
import zipfile

import numpy as np
import PIL.Image


def random_images(n, size=16, channels=1, seed=0):
    """Smooth random uint8 images [n, size, size, channels]."""
    coarse = np.random.RandomState(seed).rand(n, 4, 4, channels)
    return (np.kron(coarse, np.ones((1, size // 4, size // 4, 1))) * 255).astype(np.uint8)


def write_zip(path, images, labels=None):
    """Write images [n, H, W, C] as a zip of PNG files with `dataset.json`."""
    names = [f"00000/img{i:08d}.png" for i in range(len(images))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in zip(names, images):
            buffer = io.BytesIO()
            PIL.Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
            archive.writestr(name, buffer.getvalue())
        pairs = None if labels is None else [[name, label] for name, label in zip(names, labels)]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    return path
