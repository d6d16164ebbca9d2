"""The charts of a sweep, from the rows of its table and the files of details beside it."""

import warnings

import numpy as np

from dnnlib_compat.arguments import is_number
from latent_plugins.metrics.details import metric_of, read_details
from latent_plugins.pictures import charts

AXES = {"rho": "polarity rho", "mix": "share of the sampler"}
PARTS = {"prd": ("recall", "precision"), "ppl": ("distances",)}  # of details, by what a metric's name begins with


def draw_charts(rows, outdir):
    """Draw what the rows have figures for; the names of the files."""
    written = []
    for axis in dict.fromkeys(name for row in rows for name in varied_of(row)):
        for key in figures_of(rows, ""):
            lines = grouped(rows, key, axis)
            if any(len({point[axis] for point in points}) > 1 for points in lines.values()):
                name = f"{key}-{axis}.png"
                charts.save_lines(outdir / name, lines, x=axis, y="figure", xlabel=axis, ylabel=key, logx=True)
                written.append(name)
    for axis, label in AXES.items():
        for key in figures_of(rows, "fid"):
            lines = grouped(rows, key, axis)
            if any(len({point[axis] for point in points}) > 1 for points in lines.values()):
                name = f"fid-{axis}.png" if len(figures_of(rows, "fid")) == 1 else f"{key}-{axis}.png"
                mixed = axis == "mix"
                drawing = dict(x=axis, y="figure", xlabel=label, ylabel=key, panels=mixed, logx=mixed)
                charts.save_lines(outdir / name, lines, **drawing)
                written.append(name)
    pairs = [key.removesuffix("_precision") for key in figures_of(rows, "pr") if key.endswith("_precision")]
    pairs = [base for base in pairs if any(base + "_recall" in row for row in rows)]
    for base in pairs:
        name = "pareto.png" if len(pairs) == 1 else f"{base}-pareto.png"
        charts.save_pareto(outdir / name, pareto_lines(rows, base), title=base)
        written.append(name)
    return written + draw_details(rows, outdir)


def draw_details(rows, outdir):
    """Draw curves of precision and recall and distributions of path lengths; the names of the files."""
    from latent_plugins.metrics.path_length import trimmed_mean  # which needs torch

    written, found = [], details_of(rows, outdir)
    curves = [metric for metric in found if kind_of(metric) == "prd"]
    for metric, groups in found.items():
        name = "prd.png" if curves == [metric] else f"{metric}.png"
        if metric in curves:
            mean = {text: np.mean(each, axis=0) for text, each in groups.items()}
            charts.save_curves(outdir / name, mean, title=metric)
        else:
            values = {text: np.concatenate(each, axis=1)[0] for text, each in groups.items()}
            means = {text: trimmed_mean(each) for text, each in values.items()}
            charts.save_distributions(outdir / name, values, means, xlabel=metric, ylabel="share of the paths")
        written.append(name)
    return written


def kind_of(metric):
    """Which of PARTS the details of a metric have, or None."""
    return next((kind for kind in PARTS if metric.startswith(kind)), None)


def details_of(rows, outdir):
    """{metric: {legend: [numbers [parts, n] of a repeat, …]}} of the rows' files in the folder, parts as in PARTS.

    Files that are damaged or missing are warned of.
    """
    found = {}
    for row in rows:
        names = row["details"].split() if isinstance(row.get("details"), str) else ()
        for name in names:
            metric = metric_of(name)
            if metric is None or kind_of(metric) is None:
                continue
            group = found.setdefault(metric, {}).setdefault(legend(row), [])
            try:
                group.append(numbers_of(outdir, name, PARTS[kind_of(metric)], group))
            except (ValueError, OSError) as error:
                warnings.warn(f"left out of the charts: {error}", stacklevel=2)
    found = {metric: {text: each for text, each in groups.items() if each} for metric, groups in found.items()}
    return {metric: groups for metric, groups in found.items() if groups}


def numbers_of(outdir, name, parts, others):
    """The parts [parts, n] float64 of a file of details; of curves as many points as `others` have.

    Raises ValueError where it has none.
    """
    details = read_details(outdir, name)
    arrays = [details[part] for part in parts if part in details]
    if len(arrays) == len(parts) and all(each.dtype.kind == "f" and each.ndim == 1 for each in arrays):
        if len({len(each) for each in arrays}) == 1 and len(arrays[0]) and np.isfinite(arrays).all():
            if len(parts) == 1 or not others or others[0].shape[1] == len(arrays[0]):
                return np.asarray(arrays, dtype=np.float64)
    raise ValueError(f"{outdir / name}: no {' and '.join(parts)} as the metric has them; calculate it again")


def varied_of(row):
    """The options of the sampler that a row's sweep varied."""
    names = row.get("varied")
    return [name for name in (names.split() if isinstance(names, str) else ()) if is_number(row.get(name))]


def figures_of(rows, prefix):
    """The columns of figures whose names begin with `prefix`."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(prefix))
    return [key for key in keys if f"{key}_low" in keys]


def grouped(rows, key, axis):
    """{legend: [point, …]} of a figure over `axis`; all other settings make the legend."""
    lines = {}
    for row in rows:
        needed = (key, f"{key}_low", f"{key}_high", axis)
        if all(row.get(name) is not None for name in needed):
            point = {axis: row[axis], "figure": (row[key], row[f"{key}_low"], row[f"{key}_high"])}
            lines.setdefault(legend(row, leave_out=axis), []).append(point)
    return lines


def pareto_lines(rows, base):
    """{sampler and space: [point, …]} of precision and recall; what else a point differs in is its name."""
    lines = {}
    for row in rows:
        ends = [f"{base}_{part}{end}" for part in ("precision", "recall") for end in ("", "_low", "_high")]
        if any(row.get(name) is None for name in ends):
            continue
        point = {
            part: tuple(row[f"{base}_{part}{end}"] for end in ("", "_low", "_high")) for part in ("precision", "recall")
        }
        parts = [f"ρ {row['rho']:g}"] if row.get("rho") is not None and row["sampler"] != "magnet" else []
        parts += [f"ψ {row['trunc']:g}"] if row["trunc"] != 1 else []
        parts += [f"{100 * row['mix']:g} %"] if row["mix"] != 1 else []
        parts += [f"{name} {row[name]:g}" for name in varied_of(row)]
        lines.setdefault(" ".join(filter(None, (row["sampler"], row.get("space")))), []).append(
            dict(point, name=", ".join(parts))
        )
    return lines


def legend(row, leave_out=None):
    parts = [row["sampler"], row.get("space")]
    if leave_out != "rho" and row.get("rho") is not None and row["sampler"] != "magnet":
        parts.append(f"ρ {row['rho']:g}")
    if leave_out != "mix" and row["mix"] != 1:
        parts.append(f"mix {row['mix']:g}")
    parts += [f"{name} {row[name]:g}" for name in varied_of(row) if name != leave_out]
    return " ".join(filter(None, [*parts, f"ψ {row['trunc']:g}"]))
