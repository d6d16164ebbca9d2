"""Contact sheets: many images in one picture, small ones enlarged, with captions if wanted."""

import math

import numpy as np

from latent_plugins.pictures.captions import caption, width_of

CELL = 64  # pixels: smaller images are enlarged, so that one sees them and captions have room


def contact_sheet(images, captions=None, *, columns=None, cell=CELL):
    """Images [N, H, W, C] uint8, C 1 or 3, as one picture [rows, columns, C] uint8, row by row; missing ones are black.

    Images smaller than `cell` pixels are enlarged by a whole factor, see `enlarged`. captions: N texts, one under each
    image; where the widest has no room, the images are enlarged further. columns: as for `image_grid`. Raises
    ValueError for another number of captions than of images.
    """
    if captions is None:
        return image_grid(enlarged(images, cell), columns)
    if len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images")
    images = enlarged(images, max(cell, *map(width_of, captions)))
    _, _, width, channels = images.shape
    under = np.stack([caption(text, width, channels) for text in captions])
    return image_grid(np.concatenate([images, under], axis=1), columns)


def image_grid(images, columns=None):
    """Tile uint8 images [N, H, W, C] row by row into one [rows·H, columns·W, C]; missing cells are black.

    columns: by default as many as make the grid about as high as wide, counted in images.
    """
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cells = np.zeros((rows * columns, h, w, c), dtype=np.uint8)
    cells[:n] = images
    return cells.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)


def enlarged(images, cell=CELL):
    """Images [N, H, W, C], every pixel repeated by the least whole factor that makes them `cell` pixels high or more.

    Images that are as large already stay as they are.
    """
    factor = max(1, -(-cell // images.shape[1]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)
