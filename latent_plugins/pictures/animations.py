"""Animations of pictures."""

import PIL.Image

from dnnlib_compat.util import atomic_output

FORMATS = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF"}


def save_animation(frames, path, duration, *, back=True):
    """Write uint8 pictures [H, W, C] of one size as an endless animation, atomically.

    The format is that of the suffix, .webp (without loss), .gif or .png. duration: milliseconds of each frame; back:
    whether it goes there and back, or begins again at the first frame.
    """
    frames = there_and_back(frames) if back else frames
    pictures = [PIL.Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in frames]
    form = FORMATS[path.suffix.lower()]
    lossless = dict(lossless=True) if form == "WEBP" else {}
    with atomic_output(path) as tmp:
        pictures[0].save(
            tmp, format=form, save_all=True, append_images=pictures[1:], duration=duration, loop=0, **lossless
        )


def there_and_back(items):
    """The items, then those between the last and the first in reverse: repeated, they go up and down."""
    return [*items, *items[-2:0:-1]]
