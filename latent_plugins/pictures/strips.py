"""Strips: columns of images, each under or above its text."""

import numpy as np

from latent_plugins.pictures.captions import row_of_texts, width_of
from latent_plugins.pictures.contact_sheet import CELL, contact_sheet, enlarged


def strip(columns, texts, captions=None, *, cell=CELL):
    """One picture [H, W, C] of columns of uint8 images [n, h, w, C], each under its text.

    captions: n texts, which stand under the images of each row; cell: as for `contact_sheet`, and as wide as the texts.
    """
    n = len(columns)
    cells = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    repeated = None if captions is None else [text for text in captions for _ in range(n)]
    cell = max(cell, *map(width_of, texts))
    return captioned(contact_sheet(cells, repeated, columns=n, cell=cell), texts)


def captioned(picture, texts, below=False):
    """A uint8 picture [H, W, C] with a row of texts, evenly spaced, above or below it; texts may have several lines.

    A picture narrower than CELL is enlarged first.
    """
    if picture.shape[1] < CELL:
        picture = enlarged(picture[None])[0]
    row = row_of_texts(texts, picture.shape[1], picture.shape[2])
    return np.concatenate([picture, row] if below else [row, picture])
