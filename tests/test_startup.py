"""Help and errors of usage come without torch; the proxies that make it so behave like what they stand for."""

import subprocess
import sys

import pytest
from conftest import ROOT

COMMANDS = ["gen_images", "build_atlas", "calc_metrics", "sweep", "describe", "convert", "inspect_geometry", "modes"]
COMMANDS += ["polarity_strip", "interpolate", "train_weights", "train_critic", "remake"]

# Runs a command in a process of its own, then says which heavy packages came.
PROBE = """
import sys
from importlib import import_module
main = import_module("cli." + sys.argv[1]).main
try:
    main(sys.argv[2:], prog_name=sys.argv[1])
except SystemExit as end:
    from cli.lazy_imports import HEAVY, is_loaded
    print("LOADED", *[name for name in HEAVY if is_loaded(name)])
    print("STATUS", end.code)
"""


def probe(*arguments):
    result = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    *output, loaded, status = result.stdout.splitlines()
    return output, loaded.split()[1:], status.split()[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_no_torch(command):
    output, loaded, status = probe(command, "--help")
    assert output[0].startswith(f"Usage: {command}") and status == "0"
    assert loaded == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["gen_images", "--sampler=pcn", "--help"],
        ["gen_images", "--sampler=nosuch"],
        ["gen_images", "--sampler=magnet", "--rho=1"],
        ["gen_images", "--tau=1"],
        ["gen_images", "--seeds=a"],
        ["gen_images", "--sampler=simplicial"],
        ["gen_images", "--device=tpu"],
        ["gen_images", "--space=nowhere", "--sampler=magnet"],
        ["gen_images", "--network=nosuch"],
        ["gen_images", "--network=nosuch.py:make"],
        ["gen_images", "--smooth=7"],
        ["build_atlas"],
        ["build_atlas", "--outdir=a", "--space=nowhere"],
        ["build_atlas", "--outdir=a", "--method=exact", "--basis=3"],
        ["calc_metrics", "--metrics=nosuch"],
        ["sweep", "--sampler=pcn", "--tau=1"],
        ["train_weights", "--outdir=a"],
        ["train_critic", "--outdir=a"],
        ["inspect_geometry", "--outdir=a", "--sections=nosuch"],
        ["modes", "--outdir=a", "--data=nowhere.zip"],
        ["polarity_strip", "--network=nosuch"],
        ["interpolate", "--seeds=3"],
        ["interpolate", "--in=w", "--space=pixel"],
        ["interpolate", "--method=shared"],
        ["interpolate", "--video=a.mp4"],
        ["gen_images", "--strips"],
        ["describe", "nosuch"],
        ["convert", "nosuch"],
        ["convert"],
        ["remake"],
        ["remake", "nowhere.jsonl", "--check"],
        ["gen_images", "--projected-w=nowhere.npz"],
        ["gen_images", "--sampler=latentrs", "--weights=nowhere.npz"],
        ["gen_images", "--sampler=magnet", "--atlas=nowhere"],
        ["gen_images", "--sampler=magnet", "--space=features", "--detector=nowhere.pt"],
        ["calc_metrics", "--detector=inception=nowhere.pt"],
        ["calc_metrics", "--metrics=ppl2_wend", "--lpips-heads=nowhere.pt"],
        ["polarity_strip", "--atlas=nowhere"],
    ],
)
def test_errors_of_usage_import_no_torch(arguments):
    output, loaded, status = probe(*arguments)
    assert loaded == [] and (status == "0") == ("--help" in arguments)


@pytest.mark.parametrize(
    "command", ["gen_images", "build_atlas", "calc_metrics", "sweep", "inspect_geometry", "modes", "interpolate"]
)
def test_an_output_folder_that_cannot_be_is_told_before_torch_comes(command):
    output, loaded, status = probe(command, f"--outdir={ROOT / 'README.md' / 'out'}")
    assert loaded == [] and status == "1"


def test_a_package_that_was_put_off_is_the_package():
    code = """
import cli, sys
from cli.lazy_imports import is_loaded
import torch, scipy.special, inspect
assert not is_loaded("torch") and not is_loaded("scipy.special")
inspect.getmodule(sys._getframe(0))  # asks every module for its file
assert not is_loaded("torch")
assert torch.ones(2).sum() == 2 and is_loaded("torch")
import torch as again
assert again.nn is torch.nn and again.Tensor is torch.Tensor
from torch.nn import functional
assert functional is torch.nn.functional
torch.set_default_dtype(torch.float64)
assert again.zeros(1).dtype == torch.float64
assert scipy.special.ndtri(0.5) == 0 and torch.__version__ == again.__version__
from torch.utils.data import DataLoader
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "first",
    [
        "from torch.overrides import TorchFunctionMode",
        "import torch.nn.functional as F",
        "from torch import nn",
        "from scipy.stats import norm",
        "import scipy.special._ufuncs",
        "from requests.adapters import HTTPAdapter",
    ],
)
def test_a_part_of_a_package_may_be_its_first_use(first):
    code = f"""
import cli, sys
{first}
import torch, torch.overrides, torch.nn.functional, scipy.stats, requests.adapters
assert sys.modules["torch.overrides"] is torch.overrides and torch.overrides.__spec__.name == "torch.overrides"
assert type(torch.overrides.__spec__.loader).__name__ == "SourceFileLoader"
assert torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape == (1, 3) and scipy.stats.norm.cdf(0) == 0.5
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_threads_may_use_it_first():
    code = """
import cli, threading, torch
found = []
workers = [threading.Thread(target=lambda: found.append(torch.ones(1).item())) for _ in range(8)]
[each.start() for each in workers], [each.join() for each in workers]
assert found == [1.0] * 8
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_damaged_package_is_told_at_every_use(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart is not there')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import cli, torch
for _ in range(2):
    try:
        torch.ones
    except ImportError as error:
        assert str(error) == "libcudart is not there"
    else:
        raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_threads_do_not_wait_for_each_other(tmp_path):
    """Of two packages put off, one wants a module in its import that another thread imports, which uses the other."""
    files = dict(
        state="import threading\nin_part, in_first = threading.Event(), threading.Event()",
        part="import second, state\nstate.in_part.set()\nstate.in_first.wait()\nvalue = second.value",
        first="import state\nstate.in_first.set()\nimport part\nvalue = part.value",
        second="value = 1",
    )
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    code = f"""
import sys, threading
sys.path.insert(0, {str(tmp_path)!r})
from cli.lazy_imports import put_off
put_off(("first", "second"))
import first, state
worker = threading.Thread(target=lambda: __import__("part"))
worker.start()
state.in_part.wait()
assert first.value == 1
worker.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
