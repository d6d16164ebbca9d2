"""Animations of pictures."""

import PIL.Image

from dnnlib_compat.util import atomic_output

FORMATS = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF"}


def save_animation(frames, path, duration):
    """Write uint8 pictures [H, W, C] of one size as an endless animation there and back, atomically.

    The format is that of the suffix, .webp (without loss) or .gif. duration: milliseconds of each frame.
    """
    pictures = [
        PIL.Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in there_and_back(frames)
    ]
    form = FORMATS[path.suffix.lower()]
    lossless = dict(lossless=True) if form == "WEBP" else {}
    with atomic_output(path) as tmp:
        pictures[0].save(
            tmp, format=form, save_all=True, append_images=pictures[1:], duration=duration, loop=0, **lossless
        )


def there_and_back(items):
    """The items, then those between the last and the first in reverse: repeated, they go up and down."""
    return [*items, *items[-2:0:-1]]
