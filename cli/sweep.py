"""sweep: metrics over a grid of rho, psi and mixtures, as a table and as charts."""

import csv
import dataclasses
import io
import json
import warnings

import click
import numpy as np

from cli.atlas_options import atlas_options
from cli.command_line import command_line
from cli.evaluation import open_run, plan
from cli.launch import joined, relaunch
from cli.metric_options import evaluation_options
from cli.options import Numbers, network_options, prepare_folder, reports_errors
from cli.paths import FilePath
from cli.progress import progress_option
from cli.sampling import sampler_choice_options
from cli.sweep_charts import draw_charts
from cli.varying import VaryingCommand, axes
from dnnlib_compat.arguments import is_number
from dnnlib_compat.budgets import MAX_SHOWN
from dnnlib_compat.errors import check_regular
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.line_files import merge_lines
from dnnlib_compat.util import atomic_output
from latent_plugins import distributed
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.metrics.lines import DRAWN, LEVEL, append_line, interval_key
from latent_plugins.pictures import charts
from latent_plugins.pictures.report import Report

PAGE = "report.html"
LARGEST = 10**300  # of a whole number, which charts make a float


@click.command(cls=VaryingCommand)
@network_options
@click.option(
    "--metrics", "names", default="fid5k_full,pr5k3_full", show_default=True, metavar="A,B,C", help="Metrics."
)
@click.option(
    "--outdir", type=FilePath(), default="sweep", show_default=True, metavar="DIR", help="Where everything goes."
)
@evaluation_options
@sampler_choice_options(rho=Numbers())
@atlas_options
@progress_option
@reports_errors
def main(names, outdir, rho, psis, mixes, gpus, verbose, **options):
    """Calculate metrics for every combination of the numbers given to --rho, --trunc and --mix.

    Every number of the sampler may be a list, too, and so may --candidates and --top-k, for which the largest atlas
    serves all.

    Writes sweep.jsonl and sweep.csv, a line a setting, charts: pareto.png (precision and recall), fid-rho.png,
    fid-mix.png and those over other numbers, prd.png (curves of prd metrics), ppl_wend.png (distributions of path
    lengths) and its like, and report.html, which shows them all in one file. A sweep that was interrupted goes on when
    the command is given again.

    \b
    sweep --sampler=polarity --rho=-1,-0.5,-0.1,0,0.1,0.5,1 --trunc=0.7,0.9,1 --repeats=5
    sweep --sampler=magnet --mix=0,0.04,0.16,1 --metrics=fid5k_full
    sweep --sampler=magnet --candidates=1000,5000,20000 --top-k=10,20,40 --metrics=pr5k3_full
    sweep --sampler=dot --steps=2,5,10,50 --rate=0.01,0.05,0.1 --metrics=emd1024
    sweep --network=ffhq.pkl --sampler=polarity --rho=-1,-0.2,0,0.2,1 --metrics=ppl_zend_2k,ppl_wend_2k
    """
    metrics, settings = plan(names, options, rho, psis, mixes, axes())
    if np.isinf(rho or []).any():
        raise click.BadParameter("charts have no place for an infinite rho; leave it out")
    prepare_folder(outdir)
    if not charts.available():
        warnings.warn("no charts: matplotlib is missing; pip install 'latent-plugins[plots]' brings it", stacklevel=2)
    if relaunch("cli.sweep", gpus, options["device"]):
        return
    with joined(verbose) as say:
        run = open_run(metrics, settings, outdir=outdir, **options)
        common = identity_of(run, names)
        for setting in settings:
            identity = dict(common, setting=dataclasses.replace(setting, varied=()).slug)
            identity["options"] = common["options"] | {name: str(value) for name, value in setting.varied}
            finished = distributed.from_leader(find_row(outdir / "sweep.jsonl", identity))
            if finished is not None:
                say(f"{setting.slug}: there already")
                continue
            row = measure(run, setting, outdir)
            say(json.dumps(row))
            if distributed.rank() == 0:
                add_row(outdir / "sweep.jsonl", dict(row, identity=identity))
                write_results(outdir)
        if distributed.rank() == 0:
            say(", ".join(["sweep.csv", *write_results(outdir)]) + f" in {outdir}")


def measure(run, setting, outdir):
    """The row of a Setting: what describes it, and mean and interval of every figure."""
    row, single, interval, details = {}, len(run.seeds) == 1, interval_key(run.confidence), []
    for line in run.lines(setting):
        if distributed.rank() == 0:
            append_line(outdir, line)
        if "seed" in line and "details" in line:  # that of a repeat, and no summary
            details.append(line["details"])
        if single or interval in line:
            for key in ("sampler", "space", "rho", "top_k", "trunc", "mix", "ess", "candidates", *DRAWN):
                row[key] = line.get(key)
            for key, mean in line["results"].items():
                row[key] = mean
                row[f"{key}_low"], row[f"{key}_high"] = (mean, mean) if single else line[interval][key]
            row["repeats"] = len(run.seeds)
            row.update(setting.varied, varied=" ".join(name for name, _ in setting.varied) or None)
    row["details"] = " ".join(details) or None
    return row


def identity_of(run, names):
    """Everything but the Setting that decides a row's figures, to tell whether it is there already."""
    real = None if run.real is None else run.real.identity()
    return dict(
        network=fingerprint(run.generator),
        data=real,
        detectors={part: detector.digest for part, detector in run.detectors.items()},
        metrics=names,
        seeds=list(run.seeds),
        sampler=run.sampler_name,
        options={key: str(value) for key, value in run.options.items()},
        rendering=run.rendering,
        **({} if run.confidence == LEVEL else dict(confidence=run.confidence)),
        fresh_atlas=run.fresh_atlas,
    )


def read_rows(path):
    """The rows of sweep.jsonl; a line that was cut short, or is no row of a sweep, is left out."""
    rows = []
    if path.exists():
        check_regular(path, ValueError)
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else ():
        try:
            row = parse_json(text)
        except ValueError:
            continue
        if is_row(row):
            rows.append(row)
    return rows


def is_row(row):
    """Whether a line of sweep.jsonl has what the charts need, of the right kinds.

    Names become parts of charts' texts and of their files' names.
    """
    if not isinstance(row, dict) or not all(map(is_name, [row.get("sampler"), row.get("space") or "", *row])):
        return False
    figures = [row[key] for key in row if key == "rho" or key.startswith(("fid", "pr"))]
    return all(value is None or is_figure(value) for value in figures) and all(
        is_number(row.get(key)) for key in ("trunc", "mix")
    )


def is_name(value):
    """Whether a value is a short text that no folder, no formula and no line end is in."""
    return isinstance(value, str) and len(value) <= MAX_SHOWN and value.isprintable() and not set(value) & set("/\\$")


def is_figure(value):
    return type(value) is float and value == value or is_number(value, -LARGEST, LARGEST)  # NaN is not


def add_row(path, row):
    """Add a row to sweep.jsonl, in place of one of its identity; what a crash may have left of another one goes."""
    merge_lines(path, [row], row_key, keep_others=False)


def row_key(row):
    """What two rows of one measurement have in common. Raises TypeError for what is no row."""
    if not is_row(row):
        raise TypeError("no row of a sweep")
    return json.dumps(row.get("identity", row), sort_keys=True)


def find_row(path, identity):
    """The row with this identity, or None."""
    return next((row for row in read_rows(path) if row.get("identity") == identity), None)


def write_results(outdir):
    """Write sweep.csv and the charts from sweep.jsonl; the names of the charts."""
    rows = read_rows(outdir / "sweep.jsonl")
    for row in rows:
        row.pop("identity", None)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    with atomic_output(outdir / "sweep.csv") as tmp:
        tmp.write_text(text.getvalue(), encoding="utf-8", errors="replace")
    drawn = draw_charts(rows, outdir) if charts.available() and rows else []
    write_page(rows, drawn, outdir)
    return [*drawn, PAGE]


def write_page(rows, drawn, outdir):
    """Write report.html: the command, the charts and the table."""
    page = Report(f"Sweep: {', '.join(dict.fromkeys(row['sampler'] for row in rows))}", command_line())
    for name in drawn:
        page.picture(outdir / name)
    page.table(rows)
    page.save(outdir / PAGE)


if __name__ == "__main__":
    main()
