"""Pictures of partitions, coloured by log-volume. Needs matplotlib, the optional extra `geometry`."""

from pathlib import Path

import numpy as np

from latent_plugins.pictures.canvas import canvas, save

FORMATS = {".png": "png", ".svg": "svg"}
WITHOUT_VOLUME = "lightgrey"


def save_partition(path, partition, *, title=""):
    """Draw a Partition or a SampledPartition as a PNG or SVG, by the suffix of `path`.

    Regions are coloured by log-volume, grey without full rank, and have their borders drawn; on a grid, the borders
    between cells of different codes where it has codes. Raises ValueError for another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot draw a {suffix or 'file without a suffix'}: known suffixes are {', '.join(FORMATS)}")
    figure, (axes,) = canvas(7, 6)
    colours = (_draw_polygons if partition.exact else _draw_grid)(axes, partition)
    (x0, y0), (x1, y1) = partition.slice.low, partition.slice.high
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", title=title)
    axes.set(xlabel="first slice coordinate", ylabel="second slice coordinate")
    figure.colorbar(colours, ax=axes, label="log-volume" if partition.exact else "log-volume, first order")
    save(figure, path, FORMATS[suffix])


def _colours(log_volume):
    """(limits, colour map) for these values: with a colour for −inf, and room around a single value or none."""
    import matplotlib

    shown = log_volume[np.isfinite(log_volume)]
    low, high = (shown.min(), shown.max()) if len(shown) else (0, 0)
    room = 0.5 if low == high else 0
    cmap = matplotlib.colormaps["viridis"].with_extremes(bad=WITHOUT_VOLUME)
    return dict(vmin=low - room, vmax=high + room), cmap


def _draw_polygons(axes, partition):
    from matplotlib.collections import PolyCollection

    limits, cmap = _colours(partition.log_volume)
    polygons = PolyCollection(partition.vertices, edgecolors="black", linewidths=0.3, cmap=cmap)
    polygons.set_array(np.ma.masked_invalid(partition.log_volume))
    polygons.set_clim(**limits)
    return axes.add_collection(polygons)


def _draw_grid(axes, partition):
    limits, cmap = _colours(partition.log_volume)
    (x0, y0), (x1, y1) = partition.slice.low, partition.slice.high
    place = dict(extent=(x0, x1, y0, y1), origin="lower", interpolation="nearest")
    picture = axes.imshow(np.ma.masked_invalid(partition.log_volume), cmap=cmap, **place, **limits)
    if partition.code is not None:
        border = np.zeros(partition.code.shape, dtype=bool)
        border[:, 1:] |= partition.code[:, 1:] != partition.code[:, :-1]
        border[1:] |= partition.code[1:] != partition.code[:-1]
        axes.imshow(np.ma.masked_where(~border, border), cmap="gray_r", vmin=0, vmax=1, alpha=0.5, **place)
    return picture
