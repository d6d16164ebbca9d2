"""Lines of text as pixels, in Pillow's own font."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

LINE_HEIGHT = 14  # pixels
MARGIN = 3  # pixels on the left, and on the right where there is room
READABLE = 320  # pixels of a width that one line height more of letters goes with: large images have large captions


def caption(text, width, channels):
    """A text as a uint8 picture [height, width, channels], black on white; it may have several lines.

    Letters grow with the width by whole factors; a text that is wider is cut off.
    """
    scale = max(1, min(width // READABLE, width // max(1, width_of(text))))
    bar = row_of_texts([text], -(-width // scale), channels)
    return bar.repeat(scale, axis=0).repeat(scale, axis=1)[:, :width]


def row_of_texts(texts, width, channels):
    """Texts, evenly spaced, as a uint8 picture [height, width, channels], black on white; with line ends if need be."""
    height = LINE_HEIGHT * max(text.count("\n") + 1 for text in texts)
    bar = PIL.Image.new("L", (width, height), 255)
    pen, font = PIL.ImageDraw.Draw(bar), PIL.ImageFont.load_default()
    for i, text in enumerate(texts):
        for line, words in enumerate(text.split("\n")):
            pen.text((i * width // len(texts) + MARGIN, line * LINE_HEIGHT + 1), words, fill=0, font=font)
    return np.repeat(np.asarray(bar)[:, :, None], channels, axis=2)


def width_of(text):
    """How many pixels wide a text is, with its margin on the left."""
    font = PIL.ImageFont.load_default()
    return MARGIN + max(round(font.getlength(line) + 0.5) for line in text.split("\n"))
