"""Data sets: folders and zips alike, labels, mirrored and chosen images, threads, and one clear line for each fault."""

import io
import json
import math
import os
import threading
import warnings
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib_compat import dataset_files
from dnnlib_compat.dataset_labels import LABELS, labels_of, parse_labels
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.errors import DatasetError

SIDE = 8


def pixels(seed, channels=1, side=SIDE):
    return np.random.RandomState(seed).randint(0, 256, (channels, side, side), dtype=np.uint8)


def picture(array):
    """[C, H, W] as a Pillow image."""
    return PIL.Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, PIL.Image.Image) else picture(image)).save(file, format, **options)
    return file.getvalue()


def labels_file(labels):
    return json.dumps(dict(labels=labels)).encode()


def write(path, files):
    """`files` (name → bytes) as a zip if `path` says so, else as a folder. Zips hold them in the opposite order."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in reversed(files.items()):
                archive.writestr(name, data)
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def some(count=5, channels=1, **extra):
    """`count` files in folders, as the official tool names them, not in their order."""
    names = [f"{i // 3:05d}/img{i:08d}.png" for i in range(count)]
    return {name: encoded(pixels(i, channels)) for i, name in reversed(list(enumerate(names)))} | extra


def classes(files, values):
    return {LABELS: labels_file([[name, value] for name, value in zip(sorted(files), values)])}


@pytest.fixture(params=["set.zip", "folder.d/set"])
def place(request, tmp_path):
    """Where to write a data set: as a zip, and as a folder."""
    return tmp_path / request.param


# --- what is read -----------------------------------------------------------------------------------------------------


def test_zip_and_folder_are_the_same_data_set(tmp_path):
    files = some()
    files |= classes(files, [2, 0, 1, 1, 0])
    zipped, folder = (
        ImageDataset(write(tmp_path / name, files), use_labels=True, xflip=True) for name in ("a.zip", "b")
    )
    assert len(zipped) == len(folder) == 10
    assert all(np.array_equal(zipped.image(i), folder.image(i)) for i in range(10))
    assert torch.equal(zipped.label_batch(range(10)), folder.label_batch(range(10)))
    assert zipped.fingerprint() == folder.fingerprint()
    assert (zipped.name, folder.name, zipped.path) == ("a", "b", tmp_path / "a.zip")


def test_images_are_sorted_by_path(place):
    data = ImageDataset(write(place, some()))
    assert (len(data), data.resolution, data.channels, data.label_dim, data.xflip) == (5, SIDE, 1, 0, False)
    for i in range(5):
        assert data.image(i).dtype == np.uint8 and np.array_equal(data.image(i), pixels(i))
    assert data.label_batch([0, 1]).shape == (2, 0)


def test_a_folder_is_named_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "digits.v2", some()))
    assert [ImageDataset(path).name for path in (".", str(tmp_path / "digits.v2"))] == ["digits.v2"] * 2


def test_other_and_hidden_files_are_no_images(place):
    other = {
        name: b"no image"
        for name in ("notes.txt", "._a.png", "__MACOSX/a.png", ".cache/a.png", "0/.b.png", "png", "x/y")
    }
    shown = {"B.PNG": encoded(pixels(1)), "c.JpEg": encoded(pixels(2), "JPEG"), "z/d.bmp": encoded(pixels(3), "BMP")}
    data = ImageDataset(write(place, other | shown))
    assert len(data) == 3 and np.array_equal(data.image(0), pixels(1)) and np.array_equal(data.image(2), pixels(3))


@pytest.mark.parametrize("name", ["/abs.png", "../../up.png"])
def test_names_that_leave_the_zip_are_refused(tmp_path, name):
    path = write(tmp_path / "set.zip", {"a.png": encoded(pixels(1)), name: encoded(pixels(1))})
    with pytest.raises(DatasetError, match="set.zip: refused, its entry .* leads out of the archive"):
        ImageDataset(path)
    assert os.listdir(tmp_path) == ["set.zip"]


def test_class_labels_are_one_hot(place):
    files = some()
    data = ImageDataset(write(place, files | classes(files, [2, 0, 1, 1, 0])), use_labels=True)
    found = data.label_batch([0, 3, 0])
    assert data.label_dim == 3 and found.dtype == torch.float32
    assert found.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]
    wider = ImageDataset(place, use_labels=True, label_dim=5)
    assert wider.label_dim == 5 and wider.label_batch([4]).tolist() == [[1, 0, 0, 0, 0]]
    assert ImageDataset(place, label_dim=5).label_dim == 0


def test_vector_labels_are_kept(place):
    files = some(3)
    data = ImageDataset(
        write(place, files | classes(files, [[1, 0.5], [-2, 3e-9], [0, 0]])), use_labels=True, label_dim=2
    )
    found = data.label_batch(np.array([1, 0]))
    assert found.dtype == torch.float32 and torch.equal(found, torch.tensor([[-2, 3e-9], [1, 0.5]]))


def test_labels_need_no_image(tmp_path):
    files = some()
    files |= classes(files, range(5)) | {name: b"damaged" for name in sorted(files)[1:]}
    data = ImageDataset(write(tmp_path / "set.zip", files), use_labels=True)
    assert torch.equal(data.label_batch(range(5)), torch.eye(5))


def test_xflip_appends_mirrored_images(place):
    files = some()
    data = ImageDataset(write(place, files | classes(files, range(5))), use_labels=True, xflip=True)
    assert len(data) == 10 and data.xflip
    for i in range(5):
        assert np.array_equal(data.image(i), pixels(i)) and np.array_equal(data.image(i + 5), pixels(i)[:, :, ::-1])
    assert torch.equal(data.label_batch(range(10)), torch.eye(5).repeat(2, 1))


@pytest.mark.parametrize("seed", [0, 3])
def test_max_size_chooses_as_the_official_tools_do(tmp_path, seed):
    files = some(10)
    write(tmp_path / "set.zip", files | classes(files, range(10)))
    order = np.arange(10)
    np.random.RandomState(seed).shuffle(order)
    kept = np.sort(order[:4])
    data = ImageDataset(tmp_path / "set.zip", use_labels=True, xflip=True, max_size=4, random_seed=seed)
    assert len(data) == 8 and data.label_dim == 10
    assert data.label_batch(range(8)).argmax(dim=1).tolist() == [*kept, *kept]
    assert np.array_equal(data.image(1), pixels(kept[1])) and np.array_equal(data.image(5), pixels(kept[1])[:, :, ::-1])
    whole = ImageDataset(tmp_path / "set.zip", max_size=10, random_seed=seed)
    assert len(whole) == 10 and np.array_equal(whole.image(0), pixels(0))


# --- kinds of pictures ------------------------------------------------------------------------------------------------

GRAY, COLOUR = pixels(0)[0], pixels(1, 3)
WIDE = np.random.RandomState(2).randint(0, 65536, (SIDE, SIDE), dtype=np.uint16)
OPAQUE = np.full((1, SIDE, SIDE), 7, np.uint8)


def palette(colour):
    """A palette image of GRAY % 3: 10, 20, 30 in all channels, but the last one in colour if `colour`."""
    image = PIL.Image.new("P", (SIDE, SIDE))
    image.putdata((GRAY % 3).ravel().tolist())
    image.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30 + 9 * colour])
    return image


def cmyk():
    return PIL.Image.merge("CMYK", [PIL.Image.fromarray(np.full((SIDE, SIDE), v, np.uint8)) for v in (0, 255, 0, 0)])


KINDS = [
    ("L", encoded(GRAY[None]), GRAY[None]),
    ("1", encoded(PIL.Image.fromarray(GRAY > 99)), np.where(GRAY > 99, 255, 0)[None]),
    ("LA", encoded(PIL.Image.merge("LA", [picture(GRAY[None]), picture(OPAQUE)])), GRAY[None]),
    ("16-bit", encoded(PIL.Image.fromarray(WIDE)), np.round(WIDE / 257)[None]),
    ("16-bit from 8", encoded(PIL.Image.fromarray(GRAY * np.uint16(257))), GRAY[None]),
    ("32-bit from 16", encoded(PIL.Image.fromarray(WIDE.astype(np.int32)), "TIFF"), np.round(WIDE / 257)[None]),
    ("RGB", encoded(COLOUR), COLOUR),
    ("RGBA", encoded(np.concatenate([COLOUR, OPAQUE])), COLOUR),
    ("P", encoded(palette(True)), 10 * (GRAY % 3 + 1) + np.array([0, 0, 9])[:, None, None] * (GRAY % 3 == 2)),
    ("P, transparent", encoded(palette(False), transparency=b"\0\7\xff"), (10 * (GRAY % 3 + 1))[None].repeat(3, 0)),
    ("GIF", encoded(palette(False), "GIF", transparency=1), (10 * (GRAY % 3 + 1))[None].repeat(3, 0)),
    ("CMYK", encoded(cmyk(), "TIFF"), np.array([255, 0, 255])[:, None, None] + np.zeros((1, SIDE, SIDE))),
]


@pytest.mark.parametrize("data, expected", [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_every_kind_of_picture(tmp_path, data, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ImageDataset(write(tmp_path / "set.zip", {"a.png": data}))
        assert found.channels == len(expected) and np.array_equal(found.image(0), expected)
        assert found.image(0).flags.writeable
        # Beside a colour image, first in order, all become RGB.
        both = ImageDataset(write(tmp_path / "both.zip", {"0.png": encoded(COLOUR), "a.png": data}))
        assert np.array_equal(both.image(1), np.broadcast_to(expected, (3, SIDE, SIDE)))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_decodes_as_pillow_does(tmp_path, channels):
    data = encoded(pixels(0, channels), "JPEG")
    expected = np.asarray(PIL.Image.open(io.BytesIO(data))).reshape(SIDE, SIDE, channels).transpose(2, 0, 1)
    found = ImageDataset(write(tmp_path / "set.zip", {"a.jpg": data}))
    assert found.channels == channels and np.array_equal(found.image(0), expected)


def test_a_palette_of_grays_serves_a_grayscale_network(tmp_path):
    files = {"a.png": encoded(palette(False)), "b.png": encoded(GRAY[None])}
    data = ImageDataset(write(tmp_path / "set.zip", files), channels=1)
    assert np.array_equal(data.image(0), 10 * (GRAY % 3 + 1)[None]) and np.array_equal(data.image(1), GRAY[None])
    assert ImageDataset(tmp_path / "set.zip", channels=3).channels == 3


def test_a_single_pixel_is_an_image(tmp_path):
    data = ImageDataset(write(tmp_path / "set.zip", {"a.png": encoded(pixels(0, 3, side=1))}), xflip=True)
    assert data.resolution == 1 and np.array_equal(data.image(1), pixels(0, 3, side=1))
    assert data.image(0).flags.writeable


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """(data set of 20 images, doubled; the images [40, C, H, W])."""
    data = ImageDataset(write(tmp_path_factory.mktemp("twenty") / "set.zip", some(20, channels=3)), xflip=True)
    return data, torch.from_numpy(np.stack([data.image(i) for i in range(40)]))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_keep_the_order(twenty, workers):
    data, images = twenty
    order = np.random.RandomState(0).permutation(40)
    for indices in (range(40), order, order.tolist(), torch.from_numpy(order), iter(order)):
        found = list(data.batches(indices, batch=7, workers=workers))
        assert [len(part) for part in found] == [7, 7, 7, 7, 7, 5] and found[0].dtype == torch.uint8
        assert torch.equal(torch.cat(found), images if isinstance(indices, range) else images[order])


@given(st.lists(st.integers(0, 39), max_size=30), st.integers(1, 40), st.integers(0, 4))
def test_batches_of_any_indices_and_size(twenty, indices, batch, workers):
    data, images = twenty
    found = list(data.batches(indices, batch=batch, workers=workers))
    assert len(found) == math.ceil(len(indices) / batch) and all(len(part) == batch for part in found[:-1])
    assert torch.equal(torch.cat([images[:0], *found]), images[indices])


def test_batches_of_a_folder(tmp_path):
    data = ImageDataset(write(tmp_path / "set", some()))
    found = torch.cat(list(data.batches([4, 0, 1], batch=2)))
    assert np.array_equal(found, np.stack([pixels(i) for i in (4, 0, 1)]))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_handles_and_threads_end_with_the_batches(twenty, monkeypatch, workers):
    opened = []

    class Recorded(zipfile.ZipFile):
        def __init__(self, *args):
            super().__init__(*args)
            opened.append(self)

    monkeypatch.setattr(dataset_files.zipfile, "ZipFile", Recorded)
    threads = threading.active_count()
    for count in (1, 40):  # the caller stops early, or takes all
        batches = twenty[0].batches(range(40), batch=2, workers=workers)
        for _, _ in zip(range(count), batches):
            pass
        batches.close()
        assert 1 <= len(opened) <= max(workers, 1) and all(archive.fp is None for archive in opened)
        assert threading.active_count() == threads
        opened.clear()


def test_few_results_wait_for_a_slow_caller():
    begun = []
    results = dataset_files.ordered_map(lambda i: begun.append(i) or i, range(100), workers=2)
    assert next(results) == 0
    results.close()
    assert len(begun) <= 3


def test_the_good_batches_come_before_the_damaged_one(place):
    files = some() | {"00001/img00000003.png": b"damaged"}
    for workers in (0, 3):
        batches = ImageDataset(write(place, files)).batches(range(5), batch=2, workers=workers)
        assert np.array_equal(next(batches)[1], pixels(1))
        with pytest.raises(DatasetError, match="img00000003.png in it is damaged"):
            next(batches)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(indices=[0], batch=0), ValueError, "give a batch of 1 or more"),
        (dict(indices=[0], workers=-1), ValueError, "0 or more workers"),
        (dict(indices=[0.5]), ValueError, "whole numbers"),
        (dict(indices=[[0]]), ValueError, "whole numbers"),
        (dict(indices=[3, 40]), IndexError, "no image 40; its images are 0 to 39"),
        (dict(indices=[-1]), IndexError, "no image -1"),
    ],
)
def test_senseless_numbers_are_refused_at_once(twenty, arguments, error, message):
    with pytest.raises(error, match=message):
        twenty[0].batches(**arguments)


@pytest.mark.parametrize("i", [-1, 40])
def test_images_and_labels_outside_are_refused(twenty, i):
    for ask in (twenty[0].image, lambda i: twenty[0].label_batch([i])):
        with pytest.raises(IndexError, match=f"no image {i}; "):
            ask(i)


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_content(tmp_path):
    files = some()
    files |= classes(files, range(5))
    first = ImageDataset(write(tmp_path / "a.zip", files)).fingerprint()
    assert len(first) == 16 and int(first, 16) >= 0
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files | {"notes.txt": b"not looked at"}).items():
            archive.writestr(name, data)
    for path in ("packed.zip", write(tmp_path / "there" / "b", files)):
        assert ImageDataset(tmp_path / path).fingerprint() == first
    assert ImageDataset(tmp_path / "a.zip", max_size=5, random_seed=7).fingerprint() == first


def test_the_fingerprint_changes_with_the_content(tmp_path):
    files = some()
    files |= classes(files, range(5))
    name = "00000/img00000000.png"
    other = pixels(0)
    other[0, 3, 4] ^= 1
    changed = {
        "plain": files,
        "pixel": files | {name: encoded(other)},
        "label": files | {LABELS: files[LABELS].replace(b", 4]", b", 3]")},
        "unlabelled": {key: data for key, data in files.items() if key != LABELS},
        "renamed": {key.replace("img00000000", "img00000009"): data for key, data in files.items()},
        "fewer": {key: data for key, data in files.items() if key != name},
    }
    made = [ImageDataset(write(tmp_path / f"{key}.zip", value)).fingerprint() for key, value in changed.items()]
    options = [
        dict(xflip=True),
        dict(use_labels=True),
        dict(max_size=3),
        dict(max_size=4),
        dict(max_size=3, random_seed=1),
    ]
    made += [ImageDataset(tmp_path / "plain.zip", **option).fingerprint() for option in options]
    assert len(set(made)) == len(changed) + len(options)


def test_a_file_that_vanished_is_named(tmp_path):
    data = ImageDataset(write(tmp_path / "set", some()))
    (tmp_path / "set" / "00001" / "img00000004.png").unlink()
    for use in (data.fingerprint, lambda: data.image(4)):
        with pytest.raises(DatasetError, match=r"set: 00001/img00000004.png in it is damaged \(No such file"):
            use()


# --- faults -----------------------------------------------------------------------------------------------------------


def line(path, use=ImageDataset, **options):
    """The message of the DatasetError that opening `path` raises: one line that begins with the path."""
    with pytest.raises(DatasetError) as raised:
        use(path, **options)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_paths_that_are_no_data_set(tmp_path):
    assert line(tmp_path / "nowhere.zip") == "no such file or folder; check the path"
    (tmp_path / "a.zip").write_text("just some notes")
    assert "neither a folder nor a zip; give a folder or zip" in line(tmp_path / "a.zip")
    whole = write(tmp_path / "b.zip", some()).read_bytes()
    for size in (2, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "c.zip").write_bytes(whole[:size])
        assert "a truncated or damaged zip" in line(tmp_path / "c.zip")
    assert "max_size=0 leaves no images" in line(tmp_path / "b.zip", max_size=0)


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", some())

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dataset_files.zipfile, "ZipFile", refuse)
    assert "cannot be read (Permission denied)" in line(path)


def test_no_images(place):
    message = line(write(place, {"notes.txt": b"", LABELS: b"{}", "__MACOSX/a.png": encoded(pixels(0))}))
    assert "no images found in it; give a folder or zip with files like" in message


def test_the_wrong_size(place):
    write(place, {"a.png": encoded(pixels(0)), "b.png": encoded(pixels(0, side=4))})
    assert line(place, resolution=4) == "images are 8x8, the network makes 4x4: convert the data set to 4x4"
    assert ImageDataset(place, resolution=8).resolution == 8
    oblong = encoded(np.zeros((1, 2, 3), np.uint8))
    assert "images are 3x2, not square: convert the data set" in line(
        write(place.with_name("x.zip"), {"a.png": oblong})
    )


@pytest.mark.parametrize(
    "image, channels, message",
    [
        (pixels(0, 1), 3, "images are grayscale, the network makes RGB: convert the data set to RGB"),
        (pixels(0, 3), 1, "images are RGB, the network makes grayscale: convert the data set to grayscale"),
        (palette(True), 1, "images are RGB, the network makes grayscale"),
        (pixels(0, 4), 1, "images are RGB, the network makes grayscale"),
        (pixels(0, 3), 4, r"images are RGB, the network makes 4 channels: take a network that makes grayscale \(1\)"),
    ],
)
def test_the_wrong_channels(tmp_path, image, channels, message):
    with pytest.raises(DatasetError, match=message):
        ImageDataset(write(tmp_path / "set.zip", {"a.png": encoded(image)}), channels=channels)


GOOD = encoded(pixels(1))
COLOURFUL = encoded(pixels(1, 3, side=64))
DAMAGED = [
    ("not an image", b"some text", "not an image that Pillow can read"),
    ("empty", b"", "not an image that Pillow can read"),
    ("half a PNG", GOOD[: len(GOOD) // 2], "truncated"),
    ("a PNG's header", GOOD[:20], "damaged ("),
    ("half a JPEG", encoded(pixels(1), "JPEG")[:-20], "truncated"),
    ("another size", encoded(pixels(1, side=4)), "it is 4x4, the others are 8x8"),
    ("not square", encoded(np.zeros((1, 8, 4), np.uint8)), "it is 4x8, the others are 8x8"),
    ("RGB", encoded(pixels(1, 3)), "it is RGB, the others are grayscale"),
    ("RGBA", encoded(pixels(1, 4)), "it is RGB, the others are grayscale"),
    ("palette", encoded(palette(True)), "it is RGB, the others are grayscale"),
    ("floats", encoded(PIL.Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"), "neither 8 nor 16 bits"),
    ("32 bits", encoded(PIL.Image.fromarray(np.full((8, 8), 70000, np.int32)), "TIFF"), "neither 8 nor 16 bits"),
    ("EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "not an image that Pillow can read"),
]


@pytest.mark.parametrize("data, reason", [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_image_is_named(place, data, reason):
    dataset = ImageDataset(write(place, some() | {"00009/bad.png": data}))
    message = line(place, lambda path: dataset.image(5))
    assert message.startswith("00009/bad.png in it is damaged (") and message.endswith("); replace or remove it")
    assert reason in message


@pytest.mark.parametrize("data", [b"some text", GOOD[:-30]])
def test_a_damaged_first_image_is_named(place, data):
    assert "0.png in it is damaged (" in line(write(place, {"0.png": data, "1.png": GOOD}))


def test_changed_bytes_in_a_zip_are_found(tmp_path):
    path = write(tmp_path / "set.zip", {"a.png": GOOD, "b.png": GOOD})
    data = path.read_bytes()
    path.write_bytes(data.replace(GOOD[-20:], GOOD[-20:-18] + b"!" + GOOD[-17:], 1))  # of b.png, which is first in it
    dataset = ImageDataset(path)
    assert "b.png in it is damaged (Bad CRC-32" in line(path, lambda path: dataset.image(1))


def test_names_with_line_breaks_stay_on_one_line(place):
    dataset = ImageDataset(write(place, {"a.png": GOOD, "b\n.png": b""}))
    assert r"'b\n.png' in it is damaged" in line(place, lambda path: dataset.image(1))


def test_huge_pictures_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "set.zip", {"a.png": GOOD, "b.png": COLOURFUL})
    dataset = ImageDataset(path)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    assert "b.png in it is damaged (Image size (4096 pixels)" in line(path, lambda path: dataset.image(1))
    assert "b.png in it is damaged (Image size" in line(write(tmp_path / "b.zip", {"b.png": COLOURFUL}))


NAMES = sorted(some(3))


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "a conditional network needs labels, but there is no dataset.json"),
        (labels_file(None), "a conditional network needs labels, but its dataset.json has none"),
        (b"{}", "a conditional network needs labels, but its dataset.json has none"),
        (b"{", "dataset.json is malformed (Expecting"),
        (b"\xff\xfe\xff", "dataset.json is malformed ("),
        (b"[" * 100_000, "dataset.json is malformed ("),
        (b"[]", "dataset.json is malformed (it holds a list)"),
        (labels_file({NAMES[0]: 1}), "dataset.json is malformed (its labels are a dict, not a list)"),
        (
            labels_file([[NAMES[0], 1], [NAMES[1]]]),
            "dataset.json is malformed (entry 1 of its labels is no [name, label])",
        ),
        (labels_file([[3, 1]]), "dataset.json is malformed (entry 0"),
        (labels_file([[name, 1] for name in NAMES[:2]]), f"dataset.json has no label for '{NAMES[2]}'"),
        (labels_file([]), f"dataset.json has no label for '{NAMES[0]}'"),
    ],
)
def test_faults_of_labels(place, content, message):
    files = some(3) | ({} if content is None else {LABELS: content})
    assert message in line(write(place, files), use_labels=True)
    assert len(ImageDataset(place)) == 3  # without labels, their file is not looked at


@pytest.mark.parametrize(
    "values, message",
    [
        ([1, [1.0], 1], f"mixes classes and vectors ('{NAMES[0]}', '{NAMES[1]}')"),
        ([[1, 2], [1, 2], [1]], f"mixes vectors of 2 and 1 numbers ('{NAMES[0]}', '{NAMES[2]}')"),
        ([1, -1, 1], f"malformed (the label of '{NAMES[1]}', -1, is neither a class, a whole number from 0"),
        ([1, 1.5, 1], "1.5, is neither a class"),
        ([1, True, 1], "true, is neither a class"),
        ([1, 2**31, 1], "2147483648, is neither a class"),
        ([None, 1, 1], "null, is neither a class"),
        (["a" * 99, 1, 1], '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..., is neither a class'),
        ([[], [], []], f"the vector of '{NAMES[0]}' is not of finite numbers"),
        ([[1], [math.nan], [1]], f"the vector of '{NAMES[1]}' is not of finite numbers"),
        ([[1], [1], [math.inf]], f"the vector of '{NAMES[2]}' is not of finite numbers"),
        ([[1], [1], [10**400]], f"the vector of '{NAMES[2]}' is not of finite numbers"),
        ([[1], ["1"], [1]], f"the vector of '{NAMES[1]}' is not of finite numbers"),
    ],
)
def test_faults_of_single_labels(tmp_path, values, message):
    files = some(3)
    assert message in line(write(tmp_path / "set.zip", files | classes(files, values)), use_labels=True)


ANY_LABEL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
ANY_LABELS = st.lists(
    st.tuples(st.sampled_from(NAMES[:2]) | st.text(max_size=3), st.integers() | ANY_LABEL), max_size=4
)


@settings(max_examples=50)
@given(ANY_LABEL | st.builds(lambda labels: dict(labels=labels), ANY_LABEL | ANY_LABELS))
def test_labels_of_any_form_are_read_or_refused(content):
    try:
        labels = parse_labels(json.dumps(content).encode())
        found = None if labels is None else labels_of(labels, NAMES[:2])
    except ValueError as error:
        assert str(error).startswith(("is malformed (", "has no label for", "mixes ")) and "\n" not in str(error)
    else:
        assert found is None or (len(found) == 2 and np.isfinite(found).all() and found.dtype in (np.int64, np.float32))


def test_labels_of_another_width(tmp_path):
    files = some(3)
    write(tmp_path / "classes", files | classes(files, [0, 4, 1]))
    message = line(tmp_path / "classes", use_labels=True, label_dim=4)
    assert message.startswith("the largest class is 4, the network knows 4 classes: take a data set")
    write(tmp_path / "vectors", files | classes(files, [[0, 1]] * 3))
    message = line(tmp_path / "vectors", use_labels=True, label_dim=3)
    assert message.startswith("labels are vectors of 2 numbers, the network takes 3: give every image")


# --- real data sets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, channels, first", [("mnist32-test", 1, [8, 0]), ("cifar10-test", 3, [7, 5])])
def test_real_data_sets(data_folder, name, channels, first):
    path = data_folder / "datasets" / f"{name}.zip"
    data = ImageDataset(path, resolution=32, channels=channels, use_labels=True, label_dim=10)
    assert (len(data), data.name, data.resolution, data.channels, data.label_dim) == (10_000, name, 32, channels, 10)
    assert data.label_batch([0, 1]).argmax(dim=1).tolist() == first
    (images,) = data.batches(range(64))
    assert images.shape == (64, channels, 32, 32) and images.float().std() > 20
    assert data.fingerprint() == ImageDataset(path, use_labels=True).fingerprint()


# --- what users' tools make -------------------------------------------------------------------------------------------


def warned(path, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = ImageDataset(path, **options)
    return data, [str(each.message) for each in caught]


def test_one_line_says_what_was_left_out(place):
    others = {
        name: b"%PDF" for name in ("notes.pdf", "poster.eps", "vid.mpg", "00000/x.psd", ".hidden", "__MACOSX/a.txt")
    }
    data, told = warned(write(place, some() | others | {LABELS: labels_file(None)}))
    assert len(data) == 5
    assert told == [
        f"{place}: 4 files left out of the data set, no images of a known format: '00000/x.psd', 'notes.pdf', "
        "'poster.eps' and 1 more"
    ]


def test_a_data_set_of_images_alone_is_told_nothing(place):
    files = some()
    assert warned(write(place, files | classes(files, range(5))))[1] == []


def test_what_counts_as_an_image_is_no_matter_of_this_machines_pillow(place, monkeypatch):
    """Neither do extensions that a plug-in adds count, nor do those stop to that a build lacks."""
    monkeypatch.setattr(PIL.Image, "registered_extensions", lambda: {".psd": "PSD"})
    data, told = warned(write(place, some() | {"a.psd": GOOD, "b.webp": b"no webp"}))
    assert len(data) == 6 and "'a.psd'" in told[0]
    assert "b.webp in it is damaged" in line(place, lambda path: data.image(5))


def test_links_to_folders_are_followed(tmp_path):
    write(tmp_path / "set", {"0.png": GOOD})
    write(tmp_path / "more", {"a/1.png": GOOD, "a/b/2.png": GOOD})
    (tmp_path / "set" / "link").symlink_to(tmp_path / "more", target_is_directory=True)
    (tmp_path / "set" / "3.png").symlink_to(tmp_path / "set" / "0.png")
    data, told = warned(tmp_path / "set")
    assert len(data) == 4 and told == []
    assert np.array_equal(data.image(3), data.image(0))


def test_links_to_each_other_do_not_multiply(tmp_path):
    """Nine folders with links to all others have a million paths, and none of them leads back to where it is."""
    write(tmp_path / "set", some())
    for i in range(9):
        (tmp_path / "set" / f"d{i}").mkdir()
        for k in set(range(9)) - {i}:
            (tmp_path / "set" / f"d{i}" / f"to{k}").symlink_to(tmp_path / "set" / f"d{k}", target_is_directory=True)
    with pytest.raises(DatasetError, match=f"{tmp_path / 'set'}: its links lead to the same folders more than 1000"):
        ImageDataset(tmp_path / "set")


def test_links_that_go_round_are_told_and_end(tmp_path):
    write(tmp_path / "set", {"a/0.png": GOOD})
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set", target_is_directory=True)
    data, told = warned(tmp_path / "set")
    assert len(data) == 1 and told == [
        f"{tmp_path / 'set'}: links that lead back to where they are, not followed: 'a/up'"
    ]


@pytest.mark.parametrize("gray", [0, 5])
def test_the_place_of_a_gray_image_is_of_no_account(place, gray):
    files = {f"{i}.png": encoded(pixels(i, 1 if i == gray else 3)) for i in range(6)}
    path = write(place, files)
    for options in (dict(channels=3), {}):
        data = ImageDataset(path, **options)
        assert data.channels == 3
        assert np.array_equal(data.image(gray), np.repeat(pixels(gray), 3, axis=0))


def test_a_gray_data_set_is_no_rgb_one(place):
    assert "images are grayscale, the network makes RGB" in line(write(place, some()), channels=3)


def test_labels_as_other_tools_write_them(place):
    names = sorted(some())
    written = [names[0].replace("/", "\\"), "./" + names[1], ".\\" + names[2].replace("/", "\\"), *names[3:]]
    pairs = [[name, value] for name, value in zip(written, [2.0, 0.0, 1, 1.0, 0])]
    data = ImageDataset(write(place, some() | {LABELS: labels_file(pairs)}), use_labels=True)
    assert data.label_batch(range(5)).argmax(1).tolist() == [2, 0, 1, 1, 0]


def test_labels_between_the_classes_are_still_refused(place):
    files = some()
    message = line(write(place, files | classes(files, [0, 1, 1.5, 0, 0])), use_labels=True)
    assert "1.5, is neither a class" in message


def test_a_dataset_json_one_folder_down_is_named(place):
    message = line(
        write(place, {f"set/{name}": data for name, data in (some() | {LABELS: b"{}"}).items()}), use_labels=True
    )
    assert "there is no dataset.json at the top of the data set, only 'set/dataset.json': take it" in message


def test_an_encrypted_zip_is_named(tmp_path):
    path = write(tmp_path / "set.zip", some())
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(mark, start + 4)
    path.write_bytes(data)
    assert "encrypted ('00000/img00000000.png' in it); unpack it with its password" in line(path)


def test_brackets_in_names_are_no_nesting():
    names = [f"odd[{{[{i}.png" for i in range(300)]
    assert parse_labels(labels_file([[name, 1] for name in names])) == dict.fromkeys(names, 1)
    with pytest.raises(ValueError, match="brackets are nested more than 100 deep"):
        parse_labels(b'{"labels": ' + b"[" * 200 + b"]" * 200 + b"}")


def test_two_labels_for_one_image_are_told():
    both = [["a.png", 1], ["./a.png", 2]]
    with pytest.raises(ValueError, match=r"'a.png' and './a.png' give one image two labels"):
        parse_labels(json.dumps(dict(labels=both)).encode())
    both[1] = ["sub\\b.png", 3]
    with pytest.raises(ValueError, match="give one image two labels"):
        parse_labels(json.dumps(dict(labels=[*both, ["sub/b.png", 4]])).encode())
    same = [["a.png", 1], ["./a.png", 1.0]]
    assert parse_labels(json.dumps(dict(labels=same)).encode()) == {"a.png": 1}
