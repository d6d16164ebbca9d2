"""Charts of a sweep over samplers' settings. Needs matplotlib, the optional extra `plots`."""

from latent_plugins.pictures.canvas import available, canvas, legend_above, save, settled  # noqa: F401
from latent_plugins.pictures.labels import label_points, ticks_at


def save_lines(path, lines, *, x, y, xlabel, ylabel, panels=False, logx=False):
    """Draw figures over a parameter and write the PNG `path`; the arguments are those of `lines_chart`."""
    save(lines_chart(lines, x=x, y=y, xlabel=xlabel, ylabel=ylabel, panels=panels, logx=logx), path)


def lines_chart(lines, *, x, y, xlabel, ylabel, panels=False, logx=False):
    """The matplotlib figure of figures over a parameter.

    lines: {legend: [point, …]}; a point is a dict with the number under `x` and (mean, low, high) under `y`; intervals
    are drawn as bars. panels: every line in a panel of its own, where small changes at different heights matter. logx:
    a logarithmic axis that is linear around zero, for values that go over magnitudes, with ticks at the values.
    """
    count = len(lines) if panels else 1
    figure, axes = canvas(7, max(5, 2.6 * count), count)
    for number, (legend, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: point[x])
        mean, low, high = zip(*(point[y] for point in points))
        bars = [[m - a for m, a in zip(mean, low)], [b - m for m, b in zip(mean, high)]]
        place, style = axes[number if panels else 0], dict(marker="o", capsize=3, color=f"C{number}", label=legend)
        place.errorbar([point[x] for point in points], mean, yerr=bars, **style)
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
