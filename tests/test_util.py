"""Atomic writes, pictures."""

import os

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib_compat.util import atomic_output
from latent_plugins.pictures.contact_sheet import image_grid
from latent_plugins.pictures.files import save_png, to_uint8


def test_a_failed_write_leaves_the_earlier_file_and_no_debris(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        with atomic_output(path) as tmp:
            tmp.write_text("half")
            raise KeyboardInterrupt
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["result.txt"]
    with atomic_output(path) as tmp:
        tmp.write_text("later")
        assert path.read_text() == "earlier"
    assert path.read_text() == "later" and os.listdir(tmp_path) == ["result.txt"]


def test_files_get_the_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "a"):
            pass
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_to_uint8_rounds_as_the_official_commands_do():
    values = torch.tensor([-3.0, -1.0, 0.0, 0.5, 0.9999, 1.0, 3.0]).reshape(1, 1, 1, 7)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 128, 191, 255, 255, 255]
    assert to_uint8(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_pictures_round_trip(tmp_path, channels, mode):
    image = np.random.RandomState(0).randint(0, 256, (4, 6, channels), dtype=np.uint8)
    save_png(image, tmp_path / "a.png")
    picture = PIL.Image.open(tmp_path / "a.png")
    assert picture.mode == mode and np.array_equal(np.asarray(picture).reshape(image.shape), image)


def test_grids_go_row_by_row_and_end_in_black():
    images = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    grid = image_grid(images)
    assert grid.shape == (4, 9, 1)
    assert grid[::2, ::3, 0].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert image_grid(images, columns=1).shape == (10, 3, 1)
