"""Figures of a report on a generator's geometry. Need matplotlib, the optional extra `geometry`."""

import math

from latent_plugins.pictures.canvas import canvas, legend_above, save, settled
from latent_plugins.pictures.labels import label_points


def save_histograms(path, groups, *, xlabel, ylabel="latents", whole=False):
    """Draw histograms of {legend: numbers} over each other and write the PNG `path`; `whole`: a bar an integer."""
    figure, (axes,) = canvas()
    everything = [x for numbers in groups.values() for x in numbers]
    low, high = min(everything), max(everything)
    bins = 30
    if whole:
        bins = [x - 0.5 for x in range(int(low), int(high) + 2)]
    elif low < high:
        bins = [low + (high - low) * i / 30 for i in range(31)]
    for legend, numbers in groups.items():
        axes.hist(numbers, bins=bins, alpha=0.5, label=f"{legend}")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.get_major_locator().set_params(integer=whole)
    axes.grid(alpha=0.3)
    if len(groups) > 1:
        legend_above(figure, axes)
    save(figure, path)


def save_curve(path, curve, *, mark, xlabel, ylabel, title=""):
    """Draw a curve over 1, 2, … with a line at the entry with index `mark`, and write the PNG `path`."""
    figure, (axes,) = canvas()
    axes.plot(range(1, len(curve) + 1), curve, marker=".")
    axes.axvline(mark + 1, color="grey", linestyle="--")
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    save(figure, path)


def save_matrix(path, matrix, *, label, xlabel, title=""):
    """Draw a square matrix of numbers from 0 to 1 and write the PNG `path`."""
    figure, (axes,) = canvas(6.5, 5.5)
    picture = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    axes.set(xlabel=xlabel, ylabel=xlabel, title=title)
    figure.colorbar(picture, ax=axes, label=label)
    save(figure, path)


def save_points(path, groups, *, ylabel):
    """Draw {legend: numbers} as columns of points with their mean, and write the PNG `path`."""
    figure, (axes,) = canvas(5, 5)
    for place, numbers in enumerate(groups.values()):
        axes.plot([place] * len(numbers), numbers, marker="o", linestyle="", alpha=0.6)
        axes.plot([place - 0.2, place + 0.2], [sum(numbers) / len(numbers)] * 2, color="black")
    axes.set(ylabel=ylabel, xlim=(-0.5, len(groups) - 0.5), xticks=range(len(groups)), xticklabels=list(groups))
    axes.grid(alpha=0.3)
    save(figure, path)


def save_boxes(path, panels, *, xlabel, ylabel):
    """Draw {title: {tick: numbers}} as panels of boxes on one scale (quartiles and median) and write the PNG `path`."""
    figure, every = canvas(6, 2.2 * len(panels), panels=len(panels))
    everything = [x for groups in panels.values() for numbers in groups.values() for x in numbers]
    room = 0.05 * (max(everything) - min(everything)) or 0.5
    for axes, (title, groups) in zip(every, panels.items()):
        axes.boxplot(list(groups.values()))
        axes.set(title=title, ylabel=ylabel, ylim=(min(everything) - room, max(everything) + room))
        axes.grid(alpha=0.3)
    every[-1].set(xlabel=xlabel, xticks=range(1, len(groups) + 1), xticklabels=list(groups))
    save(figure, path)


def save_scatter(path, points, *, xlabel, ylabel):
    """Draw {text: (x, y)} as points with their texts, and write the PNG `path`."""
    figure, (axes,) = canvas()
    axes.plot(*zip(*points.values()), marker="o", linestyle="")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(0.08)  # room for the texts
    axes.grid(alpha=0.3)
    settled(figure)
    label_points(axes, list(points.values()), [f"{text}" for text in points])
    save(figure, path)


def save_panels(path, groups, *, xlabel):
    """Draw histograms of {legend: numbers} below each other, on one axis, and write the PNG `path`."""
    everything = [x for numbers in groups.values() for x in numbers if math.isfinite(x)]
    low, high = min(everything), max(everything)
    bins = [low + (high - low) * i / 40 for i in range(41)] if low < high else 1
    figure, panels = canvas(7, max(4, 1.1 * len(groups)), len(groups))
    for axes, (legend, numbers) in zip(panels, groups.items()):
        axes.hist([x for x in numbers if math.isfinite(x)], bins=bins)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(legend, rotation=0, ha="right", va="center", fontsize="small")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel(xlabel)
    save(figure, path)


def save_bounds(path, lines, points):
    """Draw bounds {legend: ([ε], [bound])} and measured {text: (ε, precision)} and write the PNG `path`."""
    figure, (axes,) = canvas()
    for legend, (x, y) in lines.items():
        axes.plot(x, y, label=legend, linestyle="--" if "asymptotic" in legend else "-")
    axes.plot(*zip(*points.values()), marker="o", linestyle="", color="black", label="measured")
    axes.set(xscale="log", xlabel=r"$\epsilon = D/(2L)$", ylabel="precision", ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    legend_above(figure, axes)
    settled(figure)
    label_points(axes, list(points.values()), list(points))
    save(figure, path)
