"""Charts of a sweep over samplers' settings. Needs matplotlib, the optional extra `plots`."""

import numpy as np

from latent_plugins.pictures.canvas import available, canvas, legend_above, save, settled  # noqa: F401
from latent_plugins.pictures.labels import label_points, ticks_at

BINS = 50  # of a distribution


def save_lines(path, lines, **drawing):
    """Draw figures over a parameter and write the PNG `path`; the arguments are those of `lines_chart`."""
    save(lines_chart(lines, **drawing), path)


def lines_chart(lines, *, x, y, xlabel, ylabel, panels=False, logx=False, bands=False):
    """The matplotlib figure of figures over a parameter.

    lines: {legend: [point, …]}; a point is a dict with the number under `x` and (mean, low, high) under `y`; intervals
    are drawn as bars, or with `bands` as bands around the line. panels: every line in a panel of its own, where small
    changes at different heights matter. logx: a logarithmic axis that is linear around zero, for values that go over
    magnitudes, with ticks at the values.
    """
    count = len(lines) if panels else 1
    figure, axes = canvas(7, max(5, 2.6 * count), count)
    for number, (legend, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: point[x])
        mean, low, high = zip(*(point[y] for point in points))
        bars = [[m - a for m, a in zip(mean, low)], [b - m for m, b in zip(mean, high)]]
        place, style = axes[number if panels else 0], dict(marker="o", color=f"C{number}", label=legend)
        places = [point[x] for point in points]
        if bands:
            place.plot(places, mean, **style)
            place.fill_between(places, low, high, color=style["color"], alpha=0.2, linewidth=0)
        else:
            place.errorbar(places, mean, yerr=bars, capsize=3, **style)
        if panels:
            place.set_title(legend, loc="left", fontsize="small")
    for place in axes:
        place.grid(alpha=0.3)
        place.set_ylabel(ylabel)
    axes[-1].set_xlabel(xlabel)
    if not panels:
        legend_above(figure, axes[0])
    values = [point[x] for points in lines.values() for point in points]
    if logx:
        for place in axes:
            place.set_xscale("symlog", linthresh=min((abs(value) for value in values if value), default=1))
        ticks_at(settled(figure).axes[-1], values)
    return figure


def save_curves(path, curves, *, title=""):
    """Draw curves {legend: (recall [A], precision [A])} of numbers from 0 to 1 and write the PNG `path`."""
    figure, (axes,) = canvas(5.5, 5.5)
    for text, (recall, precision) in curves.items():
        axes.plot(recall, precision, label=text)
    axes.set(xlabel="recall", ylabel="precision", title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    legend_above(figure, axes)
    save(figure, path)


def save_distributions(path, groups, means, *, xlabel, ylabel):
    """Draw the distributions of positive {legend: numbers [N]} and write the PNG `path`.

    Shares of each one's numbers in the same bins of a logarithmic axis; what is beyond its ends, half a percent of all
    numbers at most on either side and zeros, is counted in the last bin there. means: {legend: number} for the markers
    on the horizontal axis.
    """
    save(distributions_chart(groups, means, xlabel=xlabel, ylabel=ylabel), path)


def distributions_chart(groups, means, *, xlabel, ylabel):
    """The matplotlib figure of `save_distributions`."""
    everything = np.concatenate(list(groups.values()))
    low, high = np.quantile(everything[everything > 0], [0.005, 0.995]) if (everything > 0).any() else (0.5, 2)
    edges = np.geomspace(low, high * 1.001 if high > low else low * 2, BINS + 1)
    figure, (axes,) = canvas()
    for number, (text, values) in enumerate(groups.items()):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        axes.stairs(counts / len(values), edges, color=f"C{number}", label=f"{text}, mean {means[text]:.4g}")
        place = float(np.clip(means[text], edges[0], edges[-1]))
        marker = dict(marker="^", markersize=9, clip_on=False, zorder=3, transform=axes.get_xaxis_transform())
        axes.plot([place], [0], color=f"C{number}", **marker)
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    legend_above(figure, axes)
    return figure


def save_pareto(path, lines, *, title=""):
    """Draw recall over precision and write the PNG `path`; the arguments are those of `pareto_chart`."""
    save(pareto_chart(lines, title=title), path)


def pareto_chart(lines, *, title=""):
    """The matplotlib figure of recall over precision: up and to the right is better.

    lines: {legend: [dict with `precision` and `recall`, each (mean, low, high), and `name`, the point's text, …]}.
    Points that no other one beats in both are joined by a grey line.
    """
    figure, (axes,) = canvas()
    places, texts = [], []
    for legend, points in lines.items():
        own = [(point["precision"][0], point["recall"][0]) for point in points]
        axes.plot(*zip(*own), marker="o", linestyle="", label=legend)
        places += own
        texts += [point["name"] for point in points]
    front = pareto_front(places)
    axes.plot(*zip(*front), color="grey", linewidth=1, zorder=0)
    axes.set(xlabel="precision", ylabel="recall", title=title)
    axes.margins(0.12)  # room for the texts
    axes.grid(alpha=0.3)
    legend_above(figure, axes)
    settled(figure)
    label_points(axes, places, texts, line=front)
    return figure


def pareto_front(places):
    """The (x, y) that no other one beats in both, by falling x."""
    front = []
    for place in sorted(places, reverse=True):
        if not front or place[1] > front[-1][1]:
            front.append(place)
    return front
