"""Atlases built by several processes: the bytes of one, also after one of them was killed."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from conftest import ROOT, small_stylegan2
from helpers.pickles import write_official

from cli.build_atlas import main as build_atlas

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "cli.build_atlas"]


def start(*command):
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """(exit code, standard output, standard error)."""
    out, error = process.communicate(timeout=240)
    return process.returncode, out, error


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture
def options(tmp_path):
    network = write_official(tmp_path / "net.pkl", small_stylegan2())
    return [f"--network={network}", "--device=cpu", "--space=pixel", "--candidates=700"]


@pytest.mark.bitwise
@pytest.mark.long
def test_two_processes_write_the_bytes_of_one_and_a_killed_one_is_made_up_for(tmp_path, options):
    run(*options, f"--outdir={tmp_path / 'one'}")
    code, out, error = finish(start(*TORCHRUN, *options, f"--outdir={tmp_path / 'two'}"))
    assert code == 0, error
    assert out.count("Atlas of 700 candidates") == 1  # one process speaks
    assert content(tmp_path / "one") == content(tmp_path / "two")

    killed = start(*TORCHRUN, *options, f"--outdir={tmp_path / 'killed'}")
    while killed.poll() is None and len(list((tmp_path / "killed").glob("shard*.npy"))) < 3:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    for path in (tmp_path / "killed").glob("shard*.npy"):  # another loss: a shard that went with its machine
        path.unlink()
        break
    code, out, error = finish(start(*TORCHRUN, *options, f"--outdir={tmp_path / 'killed'}"))
    assert code == 0, error
    kept = {name: digest for name, digest in content(tmp_path / "killed").items() if not name.endswith(".tmp")}
    assert kept == content(tmp_path / "one")


@pytest.mark.bitwise
@pytest.mark.long
def test_two_processes_share_labels_and_one_predictor(tmp_path, options):
    hybrid = ["--method=hybrid", "--basis=3", "--top-k=4", "--labels=120", "--min-spearman=-1"]
    run(*options, *hybrid, f"--outdir={tmp_path / 'one'}")
    code, out, error = finish(start(*TORCHRUN, *options, *hybrid, f"--outdir={tmp_path / 'two'}"))
    assert code == 0, error
    assert out.count("predictor: R²") == 1
    assert content(tmp_path / "one") == content(tmp_path / "two")
    # Refused by all, and nothing is lost.
    code, out, error = finish(start(*TORCHRUN, *options, *hybrid, "--min-spearman=1", f"--outdir={tmp_path / 'two'}"))
    assert code != 0 and "below --min-spearman=1" in error and "Traceback" not in error.partition("elastic")[0]
    assert content(tmp_path / "one") == content(tmp_path / "two")


def run(*args):
    result = CliRunner().invoke(build_atlas, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_plan_tells_and_does_nothing(tmp_path, options):
    lines = run(*options, "--plan", f"--outdir={tmp_path / 'plan'}").splitlines()
    assert any("700 candidates in space z:pixel by exact: 14 shards of 50 rows" in line for line in lines)
    assert [line.split()[0] for line in lines if "device" in line and "row on" not in line][:3] == ["1", "8", "64"]
    assert any(line.startswith("memory: about") for line in lines)
    assert not (tmp_path / "plan").exists()
    for method in ("projected", "subspace", "shared"):
        assert f"by {method}" in run(*options, "--plan", f"--method={method}", f"--outdir={tmp_path / 'plan'}")
