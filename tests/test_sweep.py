"""sweep: the table, the charts, and going on after an interruption."""

import csv
import json

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from hypothesis import given
from hypothesis import strategies as st

from cli import sweep as module
from cli.sweep import main as sweep
from latent_plugins.pictures import charts


@pytest.fixture
def world(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(60))
    detector = write_torchscript(tmp_path / "small.pt")
    out = f"--outdir={tmp_path / 'out'}"
    return [f"--network={network}", f"--data={data}", f"--detector={detector}", out, "--metrics=fid50_full,pr1k3_full"]


def run(*args):
    result = CliRunner().invoke(sweep, [str(arg) for arg in args] + ["--allow-code"])
    assert result.exit_code == 0, result.output
    return result.output


def rows(folder):
    with open(folder / "out" / "sweep.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_table_and_charts(tmp_path, world):
    grid = ["--sampler=polarity", "--rho=-1,0,1", "--trunc=0.7,1", "--repeats=2", "--candidates=4000"]
    run(*world, *grid)
    table = rows(tmp_path)
    assert [(float(r["rho"]), float(r["trunc"])) for r in table] == [(r, t) for r in (-1, 0, 1) for t in (0.7, 1)]
    for row in table:
        for key in ("fid50_full", "pr1k3_full_precision", "pr1k3_full_recall"):
            assert float(row[f"{key}_low"]) <= float(row[key]) <= float(row[f"{key}_high"])
    lines = [json.loads(line) for line in (tmp_path / "out" / "sweep.jsonl").read_text().splitlines()]
    assert [line["fid50_full"] for line in lines] == [float(row["fid50_full"]) for row in table]
    for name in ("pareto.png", "fid-rho.png"):
        assert np.asarray(PIL.Image.open(tmp_path / "out" / name).convert("L")).std() > 5, name
    single = (tmp_path / "out" / "metric-fid50_full.jsonl").read_text().splitlines()
    assert len(single) == 6 * 3  # two repeats and their summary


def test_a_mixture_is_swept_too(tmp_path, world):
    run(*world[:4], "--metrics=fid50_full", "--sampler=magnet", "--mix=0,0.1,1", "--candidates=500")
    assert [float(row["mix"]) for row in rows(tmp_path)] == [0, 0.1, 1]
    assert (tmp_path / "out" / "fid-mix.png").exists() and not (tmp_path / "out" / "pareto.png").exists()


def test_an_interrupted_sweep_goes_on(tmp_path, world, monkeypatch):
    grid = [*world[:4], "--metrics=fid50_full", "--trunc=0.5,0.7,1"]
    measured = []
    original = module.measure

    def measure(run, setting, outdir):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(setting.psi)
        return original(run, setting, outdir)

    monkeypatch.setattr(module, "measure", measure)
    assert CliRunner().invoke(sweep, [*grid, "--allow-code"]).exit_code == 1
    assert len(rows(tmp_path)) == 2
    with open(tmp_path / "out" / "sweep.jsonl", "a") as file:
        file.write('{"half a li')  # what a crash leaves
    monkeypatch.setattr(module, "measure", lambda *a: measured.append(a[1].psi) or original(*a))
    output = run(*grid)
    assert measured == [0.5, 0.7, 1] and output.count("there already") == 2
    assert [float(row["trunc"]) for row in rows(tmp_path)] == [0.5, 0.7, 1]
    run(*grid[:-1], "--trunc=1", "--seed=1")  # other seeds are another row
    assert measured == [0.5, 0.7, 1, 1]


def test_without_matplotlib_the_table_is_written_and_a_line_says_so(tmp_path, world, monkeypatch):
    monkeypatch.setattr(charts, "available", lambda: False)
    output = run(*world, "--trunc=0.7,1")
    assert "matplotlib is missing; pip install 'latent-plugins[plots]'" in output
    assert len(rows(tmp_path)) == 2 and not list((tmp_path / "out").glob("*.png"))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_pareto_front_is_what_nobody_beats(places):
    front = charts.pareto_front(places)
    assert set(front) == {
        p for p in places if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in places)
    } and len(set(front)) == len(front)


def test_candidates_and_top_k_are_axes_of_one_atlas(tmp_path, world):
    """Every combination gives what a sweep of it alone gives, from one atlas; charts over both."""
    more = ["--sampler=magnet", "--space=style", "--metrics=fid50_full"]
    run(*world[:4], *more, "--candidates=300,60,1000", "--top-k=2,4")
    table = {(int(row["candidates"]), int(row["top_k"])): row for row in rows(tmp_path)}
    assert set(table) == {(n, k) for n in (60, 300, 1000) for k in (2, 4)}
    assert len({row["fid50_full"] for row in table.values()}) == 6
    for name in ("fid50_full-candidates.png", "fid50_full-top_k.png"):
        assert (tmp_path / "out" / name).exists()
    alone = [*world[:3], f"--outdir={tmp_path / 'alone'}", *more, "--candidates=300", "--top-k=4"]
    run(*alone)
    with open(tmp_path / "alone" / "sweep.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["fid50_full"]) == pytest.approx(float(table[300, 4]["fid50_full"]), rel=1e-5)
    # What is there already stays; a further value is added.
    said = run(*world[:4], *more, "--candidates=60,300,1000,1200", "--top-k=2")
    assert said.count("there already") == 3 and len(rows(tmp_path)) == 7


def test_numbers_of_a_sampler_are_axes(tmp_path, world):
    run(*world[:4], "--metrics=fid50_full", "--sampler=truncated-normal", "--threshold", "0.5,1,2")
    assert [float(row["threshold"]) for row in rows(tmp_path)] == [0.5, 1, 2]
    assert (tmp_path / "out" / "fid50_full-threshold.png").exists()
    failed = CliRunner().invoke(sweep, [*world, "--sampler=truncated-normal", "--threshold=1,x"])
    assert failed.exit_code == 2 and "'x' is not a valid" in failed.output
    failed = CliRunner().invoke(sweep, [*world, "--sampler=magnet", "--candidates=100,0"])
    assert failed.exit_code == 2 and "0 is not in the range" in failed.output


ROW = dict(sampler="polarity", space="z:w", rho=0.5, trunc=1, mix=1, fid50_full=3.5, fid50_full_low=3.0)
ROW |= dict(fid50_full_high=4.0)


@pytest.mark.parametrize(
    "change",
    [
        {"fid/../../x": 1, "fid/../../x_low": 1, "fid/../../x_high": 1},
        {"sampler": "$\\frac{"},
        {"space": "$x_{"},
        {"sampler": "x" * 10_000},
        {"sampler": "\ud800"},
        {"sampler": "two\nlines"},
        {"rho": 10**400},
    ],
)
def test_rows_that_charts_cannot_show_are_no_rows(tmp_path, change, monkeypatch):
    """A sweep.jsonl may be anybody's, and a crash may have left anything in it."""
    monkeypatch.setattr(module, "command_line", lambda: "sweep")
    folder = tmp_path / "in" / "sweep"
    folder.mkdir(parents=True)
    (folder / "fid").mkdir()
    texts = [json.dumps(each) for each in (ROW, ROW | change | {"rho": change.get("rho", -3)}, ROW | {"rho": 1.0})]
    (folder / "sweep.jsonl").write_text("\n".join(texts) + "\n")
    written = module.write_results(folder)
    assert written == ["fid-rho.png", "report.html"] and list((tmp_path / "in").iterdir()) == [folder]
    assert len((folder / "sweep.csv").read_text().splitlines()) == 1 + 2


def test_text_of_rows_is_escaped_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "command_line", lambda: "sweep")
    row = ROW | {"<b>column": "<script>alert(1)</script>", "sampler": "<i>polarity"}
    (tmp_path / "sweep.jsonl").write_text(json.dumps(row) + "\n")
    module.write_results(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;" in page and not any(tag in page for tag in ("<script", "<b>", "<i>"))
