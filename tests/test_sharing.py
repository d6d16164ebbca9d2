"""Several processes at once on one file or one folder: no line is lost, and work is not done twice."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT, small_stylegan2, write_network

from cli.build_atlas import main as build_atlas
from cli.gen_images import write_samples
from cli.sweep import add_row, read_rows
from dnnlib_compat import locks
from dnnlib_compat.line_files import append_lines, merge_lines
from dnnlib_compat.locks import folder_locked, locked
from latent_plugins.atlas import Atlas
from latent_plugins.atlas import build as atlas_build
from latent_plugins.atlas.true_volumes import read_known, write_known

PROCESSES, LINES = 4, 25


def lines(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def append(path, who):
    for i in range(LINES):
        append_lines(path, [dict(file=f"{who}-{i}.png", text="x" * 5000)])


def rewrite(path, who):
    for i in range(LINES):
        write_samples(path, [dict(file=f"{who}-{i}.png"), dict(file="shared.png", who=who, i=i)])


def sweep_rows(path, who):
    for i in range(LINES):
        add_row(path, dict(sampler="prior", trunc=1, mix=1, rho=None, identity=dict(who=who, i=i)))
        add_row(path, dict(sampler="prior", trunc=0.5, mix=1, rho=None, identity="shared"))


def volumes(path, who):
    for i in range(LINES):
        write_known(path, {100 * who + i: float(i)})


def append_without_flock(path, who):
    locks.fcntl = None
    append(path, who)


def rewrite_without_flock(path, who):
    locks.fcntl = None
    rewrite(path, who)


def together(work, path):
    """Run work(path, number) in several processes that start at once."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    processes = [context.Process(target=work, args=(path, who)) for who in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


@pytest.mark.parametrize("work", [append, append_without_flock])
def test_lines_that_several_processes_append_are_all_there(tmp_path, work):
    together(work, tmp_path / "samples.jsonl")
    found = sorted(line["file"] for line in lines(tmp_path / "samples.jsonl"))
    assert found == sorted(f"{who}-{i}.png" for who in range(PROCESSES) for i in range(LINES))
    assert os.listdir(tmp_path) == ["samples.jsonl"]


@pytest.mark.parametrize("work", [rewrite, rewrite_without_flock])
def test_lines_that_several_processes_merge_are_all_there_once(tmp_path, work):
    together(work, tmp_path / "samples.jsonl")
    found = sorted(line["file"] for line in lines(tmp_path / "samples.jsonl"))
    expected = [f"{who}-{i}.png" for who in range(PROCESSES) for i in range(LINES)]
    assert found == sorted([*expected, "shared.png"])
    assert os.listdir(tmp_path) == ["samples.jsonl"]


def test_rows_of_several_sweeps_are_all_there_once(tmp_path):
    together(sweep_rows, tmp_path / "sweep.jsonl")
    assert len(read_rows(tmp_path / "sweep.jsonl")) == PROCESSES * LINES + 1


def test_true_volumes_of_several_processes_are_all_there(tmp_path):
    together(volumes, tmp_path / "true-volumes.npz")
    assert len(read_known(tmp_path / "true-volumes.npz")) == PROCESSES * LINES


def test_merging_keeps_the_last_line_of_a_key_and_what_is_not_ours(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"file": "a", "n": 1}\nnot ours \xff\n[1]\n{"file": "b", "n": 2}\n{"file": "a", "n": 3}\n{"half')
    merge_lines(path, [dict(file="b", n=4)], lambda line: line["file"])
    expected = [b"not ours \xff", b"[1]", b'{"file": "a", "n": 3}', b'{"half', b'{"file": "b", "n": 4}']
    assert path.read_bytes().splitlines() == expected


def test_a_lock_file_that_a_dead_process_left_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    left = tmp_path / ".a.jsonl.lock"
    left.write_text("")
    os.utime(left, (1, 1))
    append_lines(tmp_path / "a.jsonl", [dict(a=1)])
    assert lines(tmp_path / "a.jsonl") == [dict(a=1)] and not left.exists()


def test_a_file_that_was_replaced_while_its_lock_was_waited_for_is_locked_anew(tmp_path):
    """The lock of a file that is not at the path any more protects nothing."""
    path, order = tmp_path / "a.jsonl", []

    def second():
        with locked(path):
            order.append(path.read_text())

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        (tmp_path / "new").write_text("new")
        os.replace(tmp_path / "new", path)
        order.append("first")
    thread.join(10)
    assert order == ["first", "new"]


def test_identical_builds_share_the_work(tmp_path, monkeypatch):
    """The second one waits, says so, and finds everything there."""
    generator, computed, waiting, errors = small_stylegan2(), [], [], []
    original, release = atlas_build.compute_shard, threading.Event()

    def compute_shard(*args):
        computed.append(args[3])
        assert release.wait(30)
        return original(*args)

    def build():
        try:
            Atlas.build(generator, tmp_path / "a", candidates=3000)
        except Exception as error:
            errors.append(error)

    real = atlas_build.folder_locked

    def noticed(path, waiting_callback=None):
        return real(path, lambda: (waiting.append(path), release.set()))

    monkeypatch.setattr(atlas_build, "compute_shard", compute_shard)
    monkeypatch.setattr(atlas_build, "folder_locked", noticed)
    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and len(waiting) == 1
    assert sorted(computed) == [0, 1000, 2000]  # each shard once


def test_a_build_that_waits_says_so(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    options = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=2000", "--device=cpu"]
    (tmp_path / "a").mkdir()
    command = [sys.executable, "-m", "cli.build_atlas", *options]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    with folder_locked(tmp_path / "a"):
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        first = [process.stdout.readline() for _ in range(3)]
        assert f"Another process is building {tmp_path / 'a'}" in first[-1]
        assert not (tmp_path / "a" / "atlas.json").exists()
    assert process.wait(120) == 0
    process.stdout.close()
    other = [options[0], f"--outdir={tmp_path / 'b'}", *options[2:]]
    assert CliRunner().invoke(build_atlas, other).exit_code == 0
    first, second = (np.load(tmp_path / name / "shard00001.npy") for name in "ab")
    assert np.allclose(first, second)
