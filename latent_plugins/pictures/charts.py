"""Charts of a sweep over samplers' settings. Needs matplotlib, the optional extra `plots`."""

from dnnlib_compat.util import atomic_output


def available():
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def save_lines(path, lines, *, x, y, xlabel, ylabel, panels=False, logx=False):
    """Draw figures over a parameter and write the PNG `path`.

    lines: {legend: [point, …]}; a point is a dict with the number under `x` and (mean, low, high) under `y`; intervals
    are drawn as bars. panels: every line in a panel of its own, where small changes at different heights matter. logx:
    a logarithmic axis that is linear around zero, for values that go over magnitudes.
    """
    figure, axes = _axes(len(lines) if panels else 1)
    for number, (legend, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: point[x])
        mean, low, high = zip(*(point[y] for point in points))
        bars = [[m - a for m, a in zip(mean, low)], [b - m for m, b in zip(mean, high)]]
        place, style = axes[number if panels else 0], dict(marker="o", capsize=3, color=f"C{number}", label=legend)
        place.errorbar([point[x] for point in points], mean, yerr=bars, **style)
    smallest = min((abs(point[x]) for points in lines.values() for point in points if point[x]), default=1)
    for place in axes:
        place.set_ylabel(ylabel)
        place.legend()
        if logx:
            place.set_xscale("symlog", linthresh=smallest)
    axes[-1].set_xlabel(xlabel)
    _save(figure, path)


def save_pareto(path, lines, *, title=""):
    """Draw recall over precision and write the PNG `path`: up and to the right is better.

    lines: {legend: [dict with `precision` and `recall`, each (mean, low, high), and `name`, the point's text, …]}.
    Points that no other one beats in both are joined by a grey line.
    """
    figure, (axes,) = _axes()
    everything = []
    for legend, points in lines.items():
        places = [(point["precision"][0], point["recall"][0]) for point in points]
        axes.plot(*zip(*places), marker="o", linestyle="", label=legend)
        for point, place in zip(points, places):
            axes.annotate(point["name"], place, textcoords="offset points", xytext=(5, 4), fontsize=8)
        everything += places
    axes.plot(*zip(*pareto_front(everything)), color="grey", linewidth=1, zorder=0)
    axes.set(xlabel="precision", ylabel="recall", title=title)
    axes.legend()
    _save(figure, path)


def pareto_front(places):
    """The (x, y) that no other one beats in both, by falling x."""
    front = []
    for place in sorted(places, reverse=True):
        if not front or place[1] > front[-1][1]:
            front.append(place)
    return front


def _axes(panels=1):
    # The object interface draws without a screen and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, max(5, 2.6 * panels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(panels, sharex=True, squeeze=False)[:, 0]
    for place in axes:
        place.grid(alpha=0.3)
    return figure, axes


def _save(figure, path):
    with atomic_output(path) as tmp:
        figure.savefig(tmp, format="png", dpi=120)
