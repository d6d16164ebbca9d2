"""Several processes give the figures of one."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from helpers.small_networks import small_stylegan3

METRICS = "--metrics=fid70_full,kid50,pr1k3_full,is50,ppl2_wend_10"


def execute(cwd, *command):
    """(exit code, result lines, everything on stderr) of a command in a process of its own."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.stderr


@pytest.fixture
def options(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(61))
    detector = write_torchscript(tmp_path / "small.pt")
    return [
        f"--network={network}",
        f"--data={data}",
        f"--detector={detector}",
        "--batch=8",
        "--device=cpu",
        "--allow-code",
    ]


def figures(lines):
    return {line["metric"]: line["results"] for line in lines}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == pytest.approx(second[name], rel=1e-6), name


def test_torchrun_gives_the_figures_of_one_process(tmp_path, options):
    """Batches go round the processes and come together in order; a sampler with an atlas, built once."""
    more = [METRICS, "--sampler=magnet", "--candidates=3000", "--mix=0.3", "--no-cache"]
    code, alone, error = execute(tmp_path, "-m", "cli.calc_metrics", *options, *more)
    assert code == 0, error
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "cli.calc_metrics"]
    code, shared, error = execute(tmp_path, *launch, *options, *more, f"--outdir={tmp_path / 'out'}")
    assert code == 0, error
    assert len(shared) == 5  # one process speaks
    assert [line["num_gpus"] for line in shared] == [2] * 5
    assert_same(figures(alone), figures(shared))
    assert len((tmp_path / "out" / "metric-fid70_full.jsonl").read_text().splitlines()) == 1


STOPPED = """
import os
import torch
from latent_plugins import distributed
distributed.start()
distributed.gather(1)
torch.func.jvp(torch.sin, (torch.ones(1),), (torch.ones(1),))
import torch._dynamo  # what some derivatives load
distributed.stop()
threads = [open(f"/proc/self/task/{thread}/comm").read() for thread in os.listdir("/proc/self/task")]
assert not any("gloo" in name for name in threads), threads
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs a /proc that lists threads")
def test_no_thread_of_the_group_outlives_it(tmp_path):
    """One that did would abort the process now and then, when the interpreter ends under it."""
    (tmp_path / "stopped.py").write_text(STOPPED)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(tmp_path / "stopped.py")]
    code, _, error = execute(tmp_path, *launch)
    assert code == 0, error


def test_gpus_starts_the_processes_itself(tmp_path, options):
    network = write_network(tmp_path / "sg3.npz", small_stylegan3())
    options = [f"--network={network}", "--device=cpu"]
    more = ["--metrics=eqt12_frac,eqr12"]
    code, alone, error = execute(tmp_path, "-m", "cli.calc_metrics", *options, *more)
    assert code == 0, error
    code, shared, error = execute(tmp_path, "-m", "cli.calc_metrics", *options, *more, "--gpus=2")
    assert code == 0, error
    assert len(shared) == 2 and shared[0]["num_gpus"] == 2
    assert_same(figures(alone), figures(shared))


def test_a_failure_in_the_processes_ends_the_command(tmp_path, options):
    code, lines, error = execute(
        tmp_path, "-m", "cli.calc_metrics", *options, "--metrics=fid20_full", "--gpus=2", "--no-cache"
    )
    assert code != 0 and not lines
    assert "Error: fid20_full: 20 generated images" in error and "Traceback" not in error


def test_files_of_the_working_folder_are_not_taken_for_the_package(tmp_path):
    """A user's own cli.py beside the data: the console script and the processes that it starts leave it alone."""
    script = tmp_path / "bin" / "build_atlas"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom cli.build_atlas import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("cli", "latent_plugins", "dnnlib_compat"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong file')")
    options = ["--network=mnist32", "--candidates=20", "--top-k=3", "--device=cpu"]
    code, _, error = execute(folder, str(script), "--outdir=first", *options, "--gpus=2")
    assert code == 0, error
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python"]
    code, _, error = execute(folder, *launch, sys.executable, str(script), "--outdir=second", *options)
    assert code == 0, error
    assert sorted(path.name for path in (folder / "first").iterdir()) == sorted(
        path.name for path in (folder / "second").iterdir()
    )


def test_more_processes_than_cores_are_refused_before_any_starts(tmp_path, options):
    code, lines, error = execute(tmp_path, "-m", "cli.calc_metrics", *options, "--metrics=fid30", "--gpus=1000")
    assert code == 1 and not lines and error.startswith("Error: --gpus=1000, but on this machine")
    assert len(error.strip().splitlines()) == 1
