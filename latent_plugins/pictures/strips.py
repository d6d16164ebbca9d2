"""Strips: columns of images, each under or above its text."""

import numpy as np

from latent_plugins.pictures.captions import row_of_texts, width_of
from latent_plugins.pictures.contact_sheet import CELL, contact_sheet, enlarged


def strip(columns, texts, captions=None, *, cell=CELL):
    """One picture [H, W, C] of columns of uint8 images [n, h, w, C], each under its text.

    captions: n texts, which stand under all images of a row, or n lists of a text for each of its images; cell: as for
    `contact_sheet`, and as wide as the texts.
    """
    width = len(columns)
    cells = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    if captions is not None:
        captions = [each for row in captions for each in ([row] * width if isinstance(row, str) else row)]
    cell = max(cell, *map(width_of, texts))
    return captioned(contact_sheet(cells, captions, columns=width, cell=cell), texts)


def captioned(picture, texts, below=False):
    """A uint8 picture [H, W, C] with a row of texts, evenly spaced, above or below it; texts may have several lines.

    A picture narrower than CELL is enlarged first.
    """
    if picture.shape[1] < CELL:
        picture = enlarged(picture[None])[0]
    row = row_of_texts(texts, picture.shape[1], picture.shape[2])
    return np.concatenate([picture, row] if below else [row, picture])
