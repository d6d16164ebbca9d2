"""Data sets of images in the ecosystem's layout: a folder or a zip of image files, labels in its dataset.json."""

import contextlib
import hashlib
import json
import operator
import warnings
from pathlib import Path

import numpy as np
import torch

from dnnlib_compat.dataset_files import (
    blaming,
    is_hidden,
    is_image,
    open_source,
    ordered_map,
    reader_per_thread,
    several,
)
from dnnlib_compat.dataset_labels import LABELS, LABELS_FORM, labels_of, parse_labels, plain_name
from dnnlib_compat.errors import DatasetError
from dnnlib_compat.pictures import channels_of, decode, open_picture

COLOURS = {1: "grayscale", 3: "RGB"}
COLOUR_SAMPLE = 100  # images that are looked at where nobody says how many channels there should be


class ImageDataset:
    """Square images of one size, with labels if asked for, from a folder or a zip (which is never unpacked).

    Every file with one of a fixed list of extensions is an image; hidden files are not, and a warning says what else
    was left out. Images are sorted by their path in the data set, and the first one says what size all have. Where RGB
    is needed, a data set with any image in colour is RGB; without `channels`, one with most of them. `resolution`,
    `channels` and `label_dim` are what the network needs; None takes what the data set has. `max_size` keeps so many
    images, drawn with `random_seed`; `xflip` appends a mirrored copy of every image that is kept. Without `use_labels`,
    labels are empty and dataset.json is not looked at.

    Raises DatasetError when path, first image or labels do not fit; later images are checked when they are read.
    A zip stays open as long as the data set lives.
    """

    def __init__(
        self,
        path,
        *,
        resolution=None,
        channels=None,
        use_labels=False,
        label_dim=None,
        xflip=False,
        max_size=None,
        random_seed=0,
    ):
        if max_size is not None and max_size < 1:
            raise DatasetError(f"{path}: max_size={max_size} leaves no images; give 1 or more")
        self.path = Path(path)
        self._source = open_source(self.path)
        self.name = self.path.resolve().name if self.path.is_dir() else self.path.stem
        self._names = sorted(filter(is_image, self._source.names))
        if not self._names:
            left_out = f" (there are {several(self._others())})" if self._others() else ""
            raise DatasetError(
                f"{path}: no images found in it; give a folder or zip with files like 00000/img.png{left_out}"
            )
        self._tell_left_out()
        self.resolution, self.channels = self._check_first(resolution, channels)
        self._labels = self._read_labels() if use_labels else None
        self.label_dim = self._check_label_dim(label_dim) if use_labels else 0
        self.xflip = bool(xflip)
        self._kept = _selection(len(self._names), max_size, random_seed)

    def __len__(self):
        return len(self._kept) * (2 if self.xflip else 1)

    def label_batch(self, indices):
        """Labels of the images `indices`: float32 [n, label_dim], one-hot for classes. No image is read.

        Raises IndexError for an index outside the data set.
        """
        indices = self._checked(indices)
        out = np.zeros((len(indices), self.label_dim), np.float32)
        if self._labels is not None:
            found = self._labels[self._kept[indices % len(self._kept)]]
            if found.ndim == 1:
                out[np.arange(len(out)), found] = 1
            else:
                out[:] = found
        return torch.from_numpy(out)

    def image(self, i):
        """Image i: uint8 [C, H, W]. Raises IndexError for an index outside the data set, DatasetError if damaged."""
        return self._pixels(self._source.read, self._checked([operator.index(i)])[0])

    def batches(self, indices, *, batch=64, workers=3):
        """Iterate over the images `indices` in their order: uint8 tensors [n, C, H, W], n = `batch` but in the last.

        `workers` threads decode, each a batch at a time and at most one more than there are threads ahead of the
        caller; with none, the caller decodes. Raises ValueError for numbers that make no sense, IndexError for an
        index outside the data set, and, where it is reached, DatasetError for a damaged image.
        """
        if batch < 1 or workers < 0:
            raise ValueError(f"batch={batch}, workers={workers}: give a batch of 1 or more, 0 or more workers")
        indices = self._checked(indices)
        return self._decoded([indices[k : k + batch] for k in range(0, len(indices), batch)], workers)

    def fingerprint(self):
        """16 hexadecimal digits that tell data sets apart by content, wherever they are and if zipped or not.

        They depend on the names, sizes and CRC-32 of all image files and of dataset.json, on the choice of images,
        mirroring, channels, and whether labels are used. Reads all files of a folder, but only the directory of a zip.
        Raises DatasetError if a file cannot be read.
        """
        names = self._names + ([LABELS] if LABELS in self._source.names else [])
        files = [[name, *check] for name, check in zip(names, self._source.checksums(names))]
        content = [files, self._kept.tolist(), self.xflip, self.channels, self._labels is not None]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _others(self):
        """The files that are neither images nor hidden."""
        names = self._source.names
        return [name for name in names if not is_image(name) and not is_hidden(name) and name[-1:] not in ("/", "\\")]

    def _tell_left_out(self):
        others = [name for name in self._others() if name != LABELS]
        if others:
            text = f"{len(others)} file{'s' * (len(others) > 1)} left out of the data set, no images of a known format"
            warnings.warn(f"{self.path}: {text}: {several(others)}", stacklevel=3)
        if self._source.loops:
            text = f"links that lead back to where they are, not followed: {several(self._source.loops)}"
            warnings.warn(f"{self.path}: {text}", stacklevel=3)

    def _in_colour(self, wanted):
        """Whether the images are RGB: any of them where that is wanted, else most of some that lie evenly spread."""
        count, colours, seen = len(self._names), 0, 0
        for i in range(count) if wanted == 3 else np.unique(np.linspace(0, count - 1, COLOUR_SAMPLE).astype(int)):
            try:
                colours += channels_of(open_picture(self._source.read(self._names[i])), 3) == 3
            except Exception:  # it is named when it is its turn
                continue
            seen += 1
            if colours and wanted == 3:
                return True
        return 2 * colours > seen

    def _check_first(self, resolution, channels):
        with blaming(self.path, self._names[0]):
            data = self._source.read(self._names[0])
            picture = open_picture(data)
            width, height = picture.size
            found = channels_of(picture, channels)
        if found == 1 and channels != 1 and self._in_colour(channels):
            found = 3
        if width != height:
            raise DatasetError(f"{self.path}: images are {width}x{height}, not square: convert the data set to squares")
        if resolution not in (None, width):
            raise DatasetError(
                f"{self.path}: images are {width}x{width}, the network makes {resolution}x{resolution}: convert the "
                f"data set to {resolution}x{resolution}"
            )
        if channels not in (None, found):
            if channels in COLOURS:
                made, remedy = COLOURS[channels], f"convert the data set to {COLOURS[channels]}"
            else:
                made, remedy = f"{channels} channels", "take a network that makes grayscale (1) or RGB (3)"
            raise DatasetError(f"{self.path}: images are {COLOURS[found]}, the network makes {made}: {remedy}")
        with blaming(self.path, self._names[0]):
            decode(data, found, width)
        return width, found

    def _read_labels(self):
        lack = f"{self.path}: a conditional network needs labels"
        if LABELS not in self._source.names:
            nested = [name for name in self._source.names if plain_name(name).endswith(f"/{LABELS}")]
            there = f", only {several(nested)}: take it and its images to the top" if nested else f"; {LABELS_FORM}"
            raise DatasetError(f"{lack}, but there is no {LABELS} at the top of the data set{there}")
        with blaming(self.path, LABELS):
            data = self._source.read(LABELS)
        try:
            labels = parse_labels(data)
            if labels is not None:
                return labels_of(labels, self._names)
        except ValueError as error:
            raise DatasetError(f"{self.path}: its {LABELS} {error}") from error
        raise DatasetError(f"{lack}, but its {LABELS} has none; {LABELS_FORM}")

    def _check_label_dim(self, wanted):
        if self._labels.ndim == 2:
            found = self._labels.shape[1]
            if wanted not in (None, found):
                raise DatasetError(
                    f"{self.path}: labels are vectors of {found} numbers, the network takes {wanted}: give every image "
                    f"a label of {wanted} numbers"
                )
            return found
        largest = int(self._labels.max())
        if wanted is not None and largest >= wanted:
            raise DatasetError(
                f"{self.path}: the largest class is {largest}, the network knows {wanted} classes: take a data set "
                "with the network's classes, numbered from 0"
            )
        return largest + 1 if wanted is None else wanted

    def _checked(self, indices):
        """`indices` as int64 [n]; raises IndexError, or ValueError if they are not a row of whole numbers."""
        indices = np.asarray(indices if hasattr(indices, "__len__") else list(indices))
        if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
            raise ValueError("indices must be a row of whole numbers")
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"{self.path}: no image {indices[outside][0]}; its images are 0 to {len(self) - 1}")
        return indices.astype(np.int64)

    def _pixels(self, read, i):
        mirrored, k = divmod(int(i), len(self._kept))
        name = self._names[self._kept[k]]
        with blaming(self.path, name):
            pixels = decode(read(name), self.channels, self.resolution)
        return pixels[:, :, ::-1].copy() if mirrored else pixels

    def _decoded(self, parts, workers):
        with reader_per_thread(self._source) as read:

            def decode_part(part):
                out = np.empty((len(part), self.channels, self.resolution, self.resolution), np.uint8)
                for row, i in enumerate(part):
                    out[row] = self._pixels(read, i)
                return out

            # Closing them by hand lets the threads end before their handles, also when the caller stops early.
            with contextlib.closing(ordered_map(decode_part, parts, workers)) as arrays:
                for array in arrays:
                    yield torch.from_numpy(array)


def _selection(count, max_size, random_seed):
    """Sorted indices int64 of the images that `max_size` leaves; the official tools' choice for the same seed."""
    order = np.arange(count, dtype=np.int64)
    if max_size is None or max_size >= count:
        return order
    np.random.RandomState(random_seed).shuffle(order)
    return np.sort(order[:max_size])
