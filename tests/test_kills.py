"""Killed commands, full disks, folders that go away: nothing is lost, and the same command goes on."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
from click.testing import CliRunner
from conftest import ROOT, small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from helpers.killing import assert_killed, kill_at

from cli import gen_images as gen_images_module
from cli.build_atlas import main as build_atlas
from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from cli.inspect_geometry import main as inspect_geometry
from cli.sweep import main as sweep
from dnnlib_compat.line_files import append_lines
from dnnlib_compat.util import atomic_output, remove_leftovers


def run(command, options):
    result = CliRunner().invoke(command, [str(option) for option in options])
    assert result.exit_code == 0, result.output
    return result.output


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def lines(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "net.npz", small_stylegan2())


@pytest.fixture
def evaluation(tmp_path, network, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    data = write_zip(tmp_path / "real.zip", random_images(60))
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--data={data}", f"--detector={detector}", "--allow-code", "--device=cpu"]
    return [*options, "--metrics=fid50_full,is50", f"--outdir={tmp_path / 'out'}"]


@pytest.mark.bitwise
@pytest.mark.parametrize("kind, number", [(signal.SIGKILL, 1), (signal.SIGTERM, 3)])
def test_a_killed_build_goes_on(tmp_path, network, kind, number):
    """Before the first file of the folder is there, and between shards."""
    options = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=4000", "--device=cpu"]
    assert_killed(*kill_at(tmp_path, "os:replace", number, "cli.build_atlas", options, kind=kind), kind)
    assert len(leftovers(tmp_path / "a")) == 1 and not (tmp_path / "a" / "shard00003.npy").exists()
    assert (tmp_path / "a" / "atlas.json").exists() == (number > 1)
    run(build_atlas, options)
    run(build_atlas, [options[0], f"--outdir={tmp_path / 'b'}", *options[2:]])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.bitwise
@pytest.mark.long
def test_one_killed_process_of_several_is_made_up_for(tmp_path, network):
    options = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=6000", "--device=cpu"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    code, output = kill_at(tmp_path, "os:replace", 2, "cli.build_atlas", options, rank=1, launcher=launcher)
    assert code == 1 and "Signal 9 (SIGKILL)" in output
    assert len(list((tmp_path / "a").glob("shard*.npy"))) < 6
    run(build_atlas, options)
    run(build_atlas, [options[0], f"--outdir={tmp_path / 'b'}", *options[2:]])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_killed_process_of_gpus_is_told(tmp_path, network):
    options = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=6000", "--device=cpu", "--gpus=2"]
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); import dying; dying.main()"
    (tmp_path / "dying.py").write_text(DYING)
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    command = [sys.executable, "-c", script, str(tmp_path), *options]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Error: process 2 of 2 was ended by SIGKILL; give the same command again to go on" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "a" / "shard00005.npy").exists()


DYING = """
import os, signal
from cli import build_atlas, launch

def run_one(rank, *args):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    launch.run_one(rank, *args)

def main():
    original = launch.torch.multiprocessing.spawn
    launch.torch.multiprocessing.spawn = lambda function, args, nprocs: original(run_one, args, nprocs=nprocs)
    build_atlas.main()
"""


def test_killed_metrics_keep_what_was_finished(tmp_path, evaluation):
    """Killed while the second metric's line is on its way: the first one's is there, and the command goes on."""
    code, output = kill_at(tmp_path, "cli.calc_metrics:append_line", 2, "cli.calc_metrics", evaluation)
    assert_killed(code, output)
    assert len(lines(tmp_path / "out" / "metric-fid50_full.jsonl")) == 1
    assert not (tmp_path / "out" / "metric-is50.jsonl").exists()
    run(calc_metrics, evaluation)
    first, again = lines(tmp_path / "out" / "metric-fid50_full.jsonl")
    assert first["results"] == pytest.approx(again["results"], rel=1e-6)
    assert len(lines(tmp_path / "out" / "metric-is50.jsonl")) == 1


def test_metrics_killed_while_they_fill_the_cache_go_on(tmp_path, evaluation):
    assert_killed(*kill_at(tmp_path, "os:replace", 1, "cli.calc_metrics", evaluation, kind=signal.SIGTERM), 15)
    assert not list((tmp_path / "cache").rglob("*.npz")) and list((tmp_path / "cache").rglob(".*.tmp"))
    run(calc_metrics, evaluation)
    assert list((tmp_path / "cache").rglob("*.npz")) and not list((tmp_path / "cache").rglob(".*.tmp"))


def test_a_killed_sweep_goes_on(tmp_path, evaluation):
    options = [*evaluation, "--trunc=0.5,0.7,1"]
    assert_killed(*kill_at(tmp_path, "cli.sweep:measure", 3, "cli.sweep", options))
    assert [row["trunc"] for row in lines(tmp_path / "out" / "sweep.jsonl")] == [0.5, 0.7]
    output = run(sweep, options)
    assert output.count("there already") == 2
    assert [row["trunc"] for row in lines(tmp_path / "out" / "sweep.jsonl")] == [0.5, 0.7, 1]
    assert not leftovers(tmp_path / "out")


def test_killed_images_have_their_lines(tmp_path, network):
    """Every image that is there has its line, and the same command leaves one line an image and no debris."""
    options = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--seeds=0-7", "--device=cpu"]
    assert_killed(*kill_at(tmp_path, "os:replace", 6, "cli.gen_images", options))
    assert [line["seed"] for line in lines(tmp_path / "out" / "samples.jsonl")] == [0, 1, 2, 3, 4]
    assert len(list((tmp_path / "out").glob("*.png"))) == 5 and len(leftovers(tmp_path / "out")) == 1
    run(gen_images, options)
    assert [line["seed"] for line in lines(tmp_path / "out" / "samples.jsonl")] == list(range(8))
    assert len(list((tmp_path / "out").glob("*.png"))) == 8 and not leftovers(tmp_path / "out")


def test_a_killed_inspection_goes_on(tmp_path, network):
    options = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--sections=entropy,angularity", "--quick"]
    options.append("--device=cpu")
    code, output = kill_at(tmp_path, "cli.inspect_geometry:headline", 1, "cli.inspect_geometry", options)
    assert_killed(code, output)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["complete"] is False
    run(inspect_geometry, options)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["complete"] is True
    assert not leftovers(tmp_path / "out")


def test_only_what_nobody_is_at_work_on_counts_as_left_behind(tmp_path):
    with atomic_output(tmp_path / "result.txt") as busy:
        dead = tmp_path / ".result.txt.abcd_123.tmp"
        other = tmp_path / ".notes.tmp"
        for path in (busy, dead, other):
            path.write_text("x")
        remove_leftovers(tmp_path)
        assert busy.exists() and not dead.exists() and other.exists()
    assert (tmp_path / "result.txt").read_text() == "x"


def test_a_folder_that_goes_away_is_named_and_the_command_goes_on(tmp_path, network, monkeypatch):
    options = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--seeds=0-3", "--batch=1"]
    original, calls = gen_images_module.save_png, []

    def save_png(image, path):
        calls.append(path)
        if len(calls) == 3:
            shutil.rmtree(tmp_path / "out")
        original(image, path)

    monkeypatch.setattr(gen_images_module, "save_png", save_png)
    result = CliRunner().invoke(gen_images, options)
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'out'}" in result.output and "No such file or directory" in result.output
    run(gen_images, options)
    assert len(lines(tmp_path / "out" / "samples.jsonl")) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path, network, monkeypatch):
    def refuse(*args, dir=None, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    result = CliRunner().invoke(gen_images, [f"--network={network}", f"--outdir={tmp_path / 'out'}"])
    assert result.exit_code == 1 and f"Error: {tmp_path / 'out'}: Read-only file system" in result.output


@pytest.mark.parametrize(
    "module, options, file",
    [
        ("build_atlas", ["--candidates=3000"], "shard00000.npy"),
        ("gen_images", ["--seeds=0-3"], "seed0000.png"),
    ],
)
def test_a_full_disk_is_named_with_the_file(tmp_path, network, module, options, file):
    """A bound on the size of files stands for the disk: the system refuses to write on, in the middle of a file."""
    out = tmp_path / "out"
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from cli.{1} import main; main()"
    code = code.format(900 if module == "build_atlas" else 90, module)
    options = [f"--network={network}", f"--outdir={out}", "--device=cpu", *options]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [sys.executable, "-c", code, *options], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert f"Error: {out / file}: File too large" in done.stderr
    assert file not in os.listdir(out) and not leftovers(out)
    run(dict(build_atlas=build_atlas, gen_images=gen_images)[module], options)
    assert (out / file).exists()


def test_a_line_that_the_disk_did_not_take_leaves_no_half(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_lines(path, [dict(a=1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=f"{path}"):
            append_lines(path, [dict(b="x" * 200)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    append_lines(path, [dict(c=3)])
    assert lines(path) == [dict(a=1), dict(c=3)]
