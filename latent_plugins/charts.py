"""Charts of a sweep over samplers' settings. Needs matplotlib, the optional extra `plots`."""

from dnnlib_compat.util import atomic_output


def available():
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def save_lines(path, lines, *, x, y, xlabel, ylabel, title="", logx=False):
    """Draw figures over a parameter and write the PNG `path`.

    lines: {legend: [point, …]}; a point is a dict with the number under `x` and (mean, low, high) under `y`; intervals
    are drawn as bars. logx: a logarithmic axis that is linear around zero, for values that go over magnitudes.
    """
    figure, axes = _axes(xlabel, ylabel, title)
    for legend, points in lines.items():
        points = sorted(points, key=lambda point: point[x])
        mean, low, high = zip(*(point[y] for point in points))
        bars = [[m - a for m, a in zip(mean, low)], [b - m for m, b in zip(mean, high)]]
        axes.errorbar([point[x] for point in points], mean, yerr=bars, marker="o", capsize=3, label=legend)
    if logx:
        smallest = min((abs(point[x]) for points in lines.values() for point in points if point[x]), default=1)
        axes.set_xscale("symlog", linthresh=smallest)
    _save(figure, axes, path)


def save_pareto(path, lines, *, title=""):
    """Draw recall over precision and write the PNG `path`: up and to the right is better.

    lines: {legend: [dict with `precision` and `recall`, each (mean, low, high), and `name`, the point's text, …]}.
    Points that no other one beats in both are joined by a grey line.
    """
    figure, axes = _axes("precision", "recall", title)
    everything = []
    for legend, points in lines.items():
        places = [(point["precision"][0], point["recall"][0]) for point in points]
        axes.plot(*zip(*places), marker="o", linestyle="", label=legend)
        for point, place in zip(points, places):
            axes.annotate(point["name"], place, textcoords="offset points", xytext=(5, 4), fontsize=8)
        everything += places
    front = pareto_front(everything)
    axes.plot(*zip(*front), color="grey", linewidth=1, zorder=0)
    _save(figure, axes, path)


def pareto_front(places):
    """The (x, y) that no other one beats in both, by falling x."""
    front = []
    for place in sorted(places, reverse=True):
        if not front or place[1] > front[-1][1]:
            front.append(place)
    return front


def _axes(xlabel, ylabel, title):
    # The object interface draws without a screen and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure, axes, path):
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend()
    with atomic_output(path) as tmp:
        figure.savefig(tmp, format="png", dpi=120)
