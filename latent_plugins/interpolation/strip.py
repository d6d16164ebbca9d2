"""A picture of an interpolation: some frames of each segment, above them those of the straight path."""

import numpy as np

from latent_plugins.interpolation.paths import DenseFrames
from latent_plugins.pictures.contact_sheet import CELL
from latent_plugins.pictures.strips import strip

COLUMNS = 9  # frames of a segment that are shown


def path_strip(found, images, seeds, straight, *, cell=CELL):
    """One picture [H, W, C] of Frames: a row a segment, or of DenseFrames two, the straight path and this one.

    images: of the frames, uint8 [F, H, W, C]; seeds: of the key frames; straight: callable rows [n] → the images of
    DenseFrames.straight there. Under each image of DenseFrames stands its log-density. Columns are evenly spaced, as
    far as there are frames.
    """
    rows = [segment_rows(found, i) for i in range(found.segment[-1] + 1)]
    dense = isinstance(found, DenseFrames)
    pictures, captions = [], []
    for i, shown in enumerate(rows):
        ends = f"{seeds[i]} to {seeds[(i + 1) % len(seeds)]}"
        if dense:
            pictures.append(straight(shown))
            captions.append([f"{ends}, straight\nlog p {each:.2f}" for each in found.before.log_density[shown]])
        pictures.append(images[shown])
        texts = [f"{ends}\nlog p {each:.2f}" for each in found.found.log_density[shown]] if dense else ends
        captions.append(texts)
    texts = [f"t {each:.2f}" for each in [*found.t[rows[0][:-1]], 1.0]]
    return strip(list(np.stack(pictures, axis=1)), texts, captions, cell=cell)


def segment_rows(found, i):
    """Numbers of the frames of a segment that are shown: from its first key frame to the next one."""
    rows = np.flatnonzero((found.segment == i) & (found.t < 1))
    rows = np.append(rows, (rows[-1] + 1) % len(found))
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(COLUMNS, len(rows))).round().astype(int))]
