"""Result lines of metrics as the ecosystem writes them, and intervals over repeats."""

import os
import time
from pathlib import Path

import numpy as np
import scipy.stats

from dnnlib_compat.line_files import append_lines

LEVEL = 0.95  # of intervals where nobody says
DRAWN = ("distinct", "law_log_volume", "drawn_log_volume", "effective_rho")  # of a draw's report, in every line


QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def quantiles(values):
    """{name: number} of the QUANTILES of numbers [N], linear between the nearest two of them."""
    found = np.quantile(np.asarray(values, dtype=np.float64), list(QUANTILES.values()))
    return dict(zip(QUANTILES, found.tolist()))


def format_time(seconds):
    """`9s`, `2m 05s`, `1h 02m 05s`, `1d 02h 03m`, as the official commands write durations."""
    s = int(np.rint(seconds))
    if s < 60:
        return f"{s}s"
    if s < 60 * 60:
        return f"{s // 60}m {s % 60:02}s"
    if s < 24 * 60 * 60:
        return f"{s // 3600}h {s // 60 % 60:02}m {s % 60:02}s"
    return f"{s // 86400}d {s // 3600 % 24:02}h {s // 60 % 60:02}m"


def result_line(metric, figures, seconds, processes, source, folder, extra):
    """The record of one figure: the official keys, then `extra`. The network's path is relative to `folder`."""
    if folder is not None and os.path.isfile(source):
        source = os.path.relpath(source, folder)
    return dict(
        results=figures,
        metric=metric,
        total_time=seconds,
        total_time_str=format_time(seconds),
        num_gpus=processes,
        snapshot_pkl=str(source),
        timestamp=time.time(),
        **extra,
    )


def append_line(folder, line):
    """Append a record to `metric-NAME.jsonl` in `folder`, as a line of its own whatever a crash may have left there."""
    append_lines(Path(folder) / f"metric-{line['metric']}.jsonl", [line])


def mean_and_interval(values, level=LEVEL):
    """(mean, [low, high]): the interval of the mean of independent repeats by Student's t distribution."""
    values = np.asarray(values, dtype=np.float64)
    half = scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return mean, [mean - float(half), mean + float(half)]


def interval_key(level):
    """What intervals of a level are called in records: `interval95`."""
    return f"interval{100 * level:g}"


def summary_line(lines, level=LEVEL):
    """The record of the repeats of one setting: mean figures, and under `interval_key` the interval of each.

    Quantiles are means of the repeats', too; `details` names the files of all of them.
    """
    drawn = {key: np.mean([line[key] for line in lines]) for key in ("ess", *DRAWN) if lines[0].get(key) is not None}
    keys = lines[0]["results"]
    summed = {key: mean_and_interval([line["results"][key] for line in lines], level) for key in keys}
    line = {key: value for key, value in lines[0].items() if key not in ("seed", "repeat")}
    seconds = sum(each["total_time"] for each in lines)
    line.update(
        **{key: float(mean) for key, mean in drawn.items()},
        results={key: mean for key, (mean, _) in summed.items()},
        total_time=seconds,
        total_time_str=format_time(seconds),
        timestamp=time.time(),
        repeats=len(lines),
        seeds=[each["seed"] for each in lines],
    )
    if "quantiles" in line:
        line["quantiles"] = {
            name: float(np.mean([each["quantiles"][name] for each in lines])) for name in line["quantiles"]
        }
    if "details" in line:
        line["details"] = [each["details"] for each in lines]
    line[interval_key(level)] = {key: interval for key, (_, interval) in summed.items()}
    return line
