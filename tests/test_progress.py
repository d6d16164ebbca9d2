"""Progress: a bar on a terminal, silence elsewhere, lines with --progress."""

import importlib
import io
import itertools
import sys

import click
import pytest
from click.testing import CliRunner
from conftest import small_stylegan2, write_network

from cli import progress
from cli.gen_images import main as gen_images
from cli.progress import count_progress, progress_option, with_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@click.command()
@progress_option
def command():
    """Three rounds of ten things, and nine of the same function."""
    click.echo(list(with_progress("abc", [5, 10, 15], "letters", note=lambda item: f"at {item}")))
    click.echo(list(count_progress([10, 10, 10], 30, "numbers")))
    counted = progress.Counted(lambda rows: len(rows), "rows")
    click.echo([counted("xyz") for _ in range(3)])


RESULTS = ["['a', 'b', 'c']", "[10, 10, 10]", "[3, 3, 3]"]


@pytest.fixture
def slow(monkeypatch):
    """A clock on which half a minute goes by between two looks."""
    clock = itertools.count(step=30)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))


def test_nothing_is_shown_where_there_is_no_terminal(slow):
    assert CliRunner().invoke(command, []).output.splitlines() == RESULTS


def test_lines_are_printed_where_they_are_asked_for(slow):
    lines = CliRunner().invoke(command, ["--progress"]).output.splitlines()
    assert [line for line in lines if line in RESULTS] == RESULTS
    assert lines[0].startswith("5 of 30 letters, at a, ") and lines[0].endswith(" s left")
    assert lines[1].startswith("15 of 30 letters, at b, ") and "/s, " in lines[1]
    assert lines[2].startswith("30 of 30 letters, at c, ") and lines[2].endswith("/s")
    assert [line.split(",")[0] for line in lines[4:7]] == [f"{n} of 30 numbers" for n in (10, 20, 30)]
    assert lines[8:11] == [f"{n} rows, {rate}/s" for n, rate in ((3, 0.1), (6, 0.1), (9, 0.1))]


def test_lines_come_not_more_often_than_every_so_many_seconds(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    lines = CliRunner().invoke(command, ["--progress"]).output.splitlines()
    assert [line.split(",")[0] for line in lines if " of " in line] == ["30 of 30 letters", "30 of 30 numbers"]


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert list(with_progress("abc", [5, 10, 15], "letters", note=lambda item: f"at {item}")) == ["a", "b", "c"]
    shown = sys.stdout.getvalue()
    assert "letters" in shown and "30/30" in shown and "at c" in shown


def test_a_loop_that_breaks_off_says_nothing_of_its_end(monkeypatch):
    def broken():
        yield 1
        raise ValueError("broken")

    @click.command()
    @progress_option
    def breaks():
        list(count_progress(broken(), 9, "things"))

    result = CliRunner().invoke(breaks, ["--progress"])
    assert str(result.exception) == "broken" and "9 things" not in result.output


def test_a_command_shows_its_progress_when_it_is_told_to(tmp_path):
    options = [f"--network={write_network(tmp_path / 'net.npz', small_stylegan2())}", "--seeds=0-2", "--device=cpu"]
    outputs = [
        CliRunner().invoke(gen_images, [*options, f"--outdir={tmp_path / 'out'}", *extra]).output.splitlines()
        for extra in ([], ["--progress"])
    ]
    assert len(outputs[0]) == 2 and outputs[0][1].endswith("3 images")  # what is loaded, and what was written
    assert [line.split(",")[0] for line in outputs[1] if line not in outputs[0]] == ["3 of 3 images"]


@pytest.mark.parametrize(
    "name",
    ["build_atlas", "calc_metrics", "gen_images", "inspect_geometry", "modes", "polarity_strip", "remake", "sweep"]
    + ["interpolate", "train_critic", "train_weights"],
)
def test_every_command_of_long_loops_has_the_option(name):
    result = CliRunner().invoke(importlib.import_module(f"cli.{name}").main, ["--help"])
    assert result.exit_code == 0 and result.output.count("--progress") == 1
