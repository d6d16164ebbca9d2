"""Image files as arrays: which formats, how many channels, what becomes of palettes, alpha and 16 bits."""

import functools
import io

import numpy as np
import PIL.Image

from dnnlib_compat.budgets import MAX_PIXELS, MORE

GRAY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
PALETTE_MODES = {"P", "PA"}


# The formats that are opened, the usual ones tried first; not EPS, for which Pillow would start a program. MPO is what
# cameras write as JPEG.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "JPEG2000")


@functools.cache
def _formats():
    """Those of FORMATS that this machine's Pillow knows."""
    PIL.Image.init()
    return [name for name in FORMATS if name in PIL.Image.ID]


def open_picture(data):
    """An image file's bytes as a Pillow image, not yet decoded. Raises ValueError, or what Pillow's decoder raises."""
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=_formats())
    except PIL.UnidentifiedImageError:
        raise ValueError("not an image that Pillow can read") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it is {width}x{height}, more than {MAX_PIXELS} pixels; {MORE}")
    return picture


def channels_of(picture, wanted):
    """1 for a grayscale picture, 3 for one in colour; a palette of grays is either, as `wanted`."""
    if picture.mode in GRAY_MODES:
        return 1
    if wanted == 1 and picture.mode in PALETTE_MODES:
        red, green, blue = _converted(picture, "RGB").transpose(2, 0, 1)
        return 1 if (red == green).all() and (green == blue).all() else 3
    return 3


def decode(data, channels, side):
    """Pixels of an image file's bytes: uint8 [channels, side, side]; alpha is dropped, 16 bits become 8.

    Raises ValueError if the image has another size, or colour where there is one channel; else what Pillow raises.
    """
    picture = open_picture(data)
    if picture.size != (side, side):
        width, height = picture.size
        raise ValueError(f"it is {width}x{height}, the others are {side}x{side}")
    if channels_of(picture, channels) > channels:
        raise ValueError("it is RGB, the others are grayscale")
    if picture.mode in GRAY_MODES:
        return np.repeat(_gray(picture)[None], channels, axis=0)
    if channels == 1:
        return _converted(picture, "L")[None].copy()
    return _converted(picture, "RGB").transpose(2, 0, 1).copy()


def _converted(picture, mode):
    # Pillow warns about transparency that gets lost, once per image, and may look for a free colour for it.
    picture.info.pop("transparency", None)
    return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def _gray(picture):
    """uint8 [H, W] of a picture in one of the gray modes. Pillow would clip numbers above 255, here they are scaled."""
    if picture.mode in ("1", "L", "LA"):
        return _converted(picture, "L")
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its numbers have neither 8 nor 16 bits")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
