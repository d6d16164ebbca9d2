"""Texts of a chart at places where they cover nothing."""

import math

import numpy as np

DISTANCES = (5, 9, 15, 23, 33, 45, 60, 80)  # points between a point of the chart and its text, in the order of trial
DIRECTIONS = (45, 0, 315, 90, 270, 135, 180, 225)  # degrees, in the order of trial
FAR = 9  # points: from here on a thin line leads to the text
MARKER = 4  # points: half the side of a marker
GAP = 1  # points between texts
OUTSIDE = 100  # how much worse it is to be cut off than to be covered
FONT_SIZE = 8  # points
TICK_GAP = 6  # points between the texts of ticks
DIGIT = 0.7  # the width of a digit, as a part of the font's size, and a little more


def label_points(axes, places, texts, line=()):
    """Write texts beside points: where they cover neither each other nor a point nor a line, and inside of the axes.

    places: [(x, y), …]; texts: as many, of which empty ones are left out; line: the corners of a line, as [(x, y), …].
    The figure must be `settled`. A text that finds no free place takes the one where it covers least. Returns the
    matplotlib texts.
    """
    if not places:
        return []
    pixels = axes.figure.dpi / 72
    centres = axes.transData.transform(np.asarray(places, dtype=float))
    taken = [box_around(*centre, MARKER * pixels, MARKER * pixels) for centre in centres]
    taken += boxes_along(axes.transData.transform(np.asarray(line, dtype=float).reshape(-1, 2)), MARKER * pixels / 2)
    written = []
    for place, centre, text in zip(places, centres, texts):
        if not text:
            continue
        note = axes.annotate(text, place, xytext=(0, 0), textcoords="offset points", fontsize=FONT_SIZE)
        extent = note.get_window_extent()
        width, height = extent.width + 2 * GAP * pixels, extent.height + 2 * GAP * pixels
        box, distance = free_box(centre, width, height, taken, axes.bbox.extents, pixels)
        taken.append(box)
        lower_left = (extent.x0 - centre[0], extent.y0 - centre[1])  # of the text at offset 0
        shift = [(box[i] - centre[i] - lower_left[i]) / pixels + GAP for i in (0, 1)]
        if distance >= FAR:
            note.remove()
            leader = dict(arrowstyle="-", color="grey", linewidth=0.6, shrinkA=0, shrinkB=MARKER)
            note = axes.annotate(
                text, place, xytext=shift, textcoords="offset points", fontsize=FONT_SIZE, arrowprops=leader
            )
        else:
            note.set_position(shift)
        written.append(note)
    return written


def free_box(centre, width, height, taken, frame, pixels=1.0):
    """((x0, y0, x1, y1), distance) of the first place of a text that overlaps no box of `taken` and lies in the frame.

    All are in pixels, of which a point has `pixels`; the distance is the entry of DISTANCES. Where there is no such
    place, that of the least overlap.
    """
    best = None
    taken = np.asarray(taken, dtype=float).reshape(-1, 4)
    for distance in DISTANCES:
        for degrees in DIRECTIONS:
            x, y = (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
            middle_x = centre[0] + x * (distance * pixels) + side(x) * width / 2
            middle_y = centre[1] + y * (distance * pixels) + side(y) * height / 2
            box = box_around(middle_x, middle_y, width / 2, height / 2)
            outside = width * height - overlap(np.asarray([frame]), box)[0]
            cost = overlap(taken, box).sum() + OUTSIDE * outside
            if best is None or cost < best[0]:
                best = (cost, box, distance)
            if cost < 1e-6 * width * height:
                return box, distance
    return best[1:]


def side(x):
    """−1, 0 or 1: on which side of a point a text in this direction stands."""
    return 0 if abs(x) < 1e-9 else math.copysign(1, x)


def box_around(x, y, half_width, half_height):
    """(x0, y0, x1, y1) around a point."""
    return x - half_width, y - half_height, x + half_width, y + half_height


def boxes_along(corners, half):
    """Boxes with this half side along a line through corners [N, 2], so close that no text slips through."""
    found = []
    for start, end in zip(corners[:-1], corners[1:]):
        steps = 1 + int(np.abs(end - start).max() / (2 * half))
        found += [box_around(*(start + (end - start) * i / steps), half, half) for i in range(steps + 1)]
    return found


def overlap(boxes, box):
    """The areas [N] that boxes [N, 4] share with a box."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    return np.prod(np.maximum(high - low, 0), axis=1)


def ticks_at(axes, values):
    """Give the x axis ticks at these values, with plain numbers; where texts would touch, some between the ends go.

    The figure must be `settled`, since what is too close depends on its size.
    """
    first, *rest = sorted(set(values))
    pixels, size = axes.figure.dpi / 72, axes.xaxis.get_major_ticks()[0].label1.get_fontsize()
    taken, kept = [], []
    for value in [first, *rest[-1:], *rest[:-1]]:
        place = axes.transData.transform((value, axes.get_ylim()[0]))[0]
        half = (DIGIT * size * len(f"{value:g}") + TICK_GAP) / 2 * pixels
        if all(place + half <= low or place - half >= high for low, high in taken):
            taken.append((place - half, place + half))
            kept.append(value)
    axes.set_xticks(sorted(kept), [f"{value:g}" for value in sorted(kept)])
    axes.set_xticks([], minor=True)
