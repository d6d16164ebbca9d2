"""Commands that are killed at a chosen moment: at the n-th call of a function, in a process of their own.

Nothing is timed, so a test cannot pass without having killed; and none waits for ever, since every wait has an end.
"""

import os
import signal
import subprocess
import sys

from conftest import ROOT

SCRIPT = """
import importlib, os, sys, time
target, number, kind, rank, module, *arguments = sys.argv[1:]
where, _, name = target.partition(":")
holder = importlib.import_module(where)
function, calls = getattr(holder, name), 0

def last(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(number):
        os.kill(os.getpid(), int(kind))
        time.sleep(60)
    return function(*args, **kwargs)

if os.environ.get("RANK", rank) == rank:
    setattr(holder, name, last)
importlib.import_module(module).main.main(args=arguments, prog_name=module)
"""
SECONDS = 120


def kill_at(folder, target, number, module, arguments, *, kind=signal.SIGKILL, rank=0, launcher=()):
    """(exit code, all that was printed) of a command that is killed at the `number`-th call of "module:function".

    launcher: arguments of Python in front of the script, for torchrun; then the process of that rank alone is killed.
    """
    script = folder / "killed.py"
    script.write_text(SCRIPT)
    chosen = [target, str(number), str(int(kind)), str(rank), module, *map(str, arguments)]
    process = subprocess.Popen(
        [sys.executable, *launcher, str(script), *chosen],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output


def assert_killed(code, output, kind=signal.SIGKILL):
    assert code == -kind, output
