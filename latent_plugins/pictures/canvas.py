"""Empty charts, and how they become files. Needs matplotlib, which the extras `plots` and `geometry` bring."""

from dnnlib_compat.util import atomic_output

DPI = 120
LEGEND_COLUMNS = 3  # at most, where the figure is wide enough


def available():
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def canvas(width=7, height=5, panels=1):
    """(figure, [axes, …]) of a figure of this size in inches, with panels below each other that share their x axis."""
    # The object interface draws without a screen and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(panels, sharex=True, squeeze=False)[:, 0])


def legend_above(figure, axes):
    """Give a figure the legend of these axes, outside of them, so that it covers nothing; as wide as there is room."""
    handles, texts = axes.get_legend_handles_labels()
    for columns in range(min(LEGEND_COLUMNS, len(texts)), 0, -1):
        legend = figure.legend(handles, texts, loc="outside upper center", ncols=columns, fontsize="small")
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return legend
        legend.remove()
    return None


def settled(figure):
    """The figure with everything at its final place, which what is added from now on does not change."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure, path, kind="png"):
    """Write a figure as PNG or another `kind`, atomically."""
    with atomic_output(path) as tmp:
        figure.savefig(tmp, format=kind)
