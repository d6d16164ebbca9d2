"""Several processes of one command: starting them, joining them, and who speaks."""

import contextlib
import importlib
import io
import os
import socket
import sys

import click
import torch

from cli.options import chosen_device
from latent_plugins import distributed


def relaunch(module, gpus, device):
    """Run the `main` command of a module with this process's arguments in `gpus` new processes, one GPU each.

    True when that was done.

    False where there is nothing to do: one process is asked for, or torchrun has started several already. With
    device `cpu` the processes share the CPU. A click error when there are too few GPUs, or cores.
    """
    if gpus == 1 or "WORLD_SIZE" in os.environ:
        return False
    if chosen_device(device).type == "cuda":
        if torch.cuda.device_count() < gpus:
            raise click.ClickException(f"--gpus={gpus}, but this machine has {torch.cuda.device_count()}")
    elif gpus > max(2, os.cpu_count() or 1):  # each takes memory of its own, and gains nothing
        raise click.ClickException(f"--gpus={gpus}, but on this machine {os.cpu_count()} cores are shared")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        torch.multiprocessing.spawn(run_one, (module, sys.argv[1:], gpus, port), nprocs=gpus)
    except torch.multiprocessing.ProcessExitedException as error:
        if error.signal_name is not None:
            text = f"process {error.error_index + 1} of {gpus} was ended by {error.signal_name}"
            raise click.ClickException(f"{text}; give the same command again to go on") from None
        raise SystemExit(error.exit_code or 1) from None  # the process has said why
    return True


def run_one(rank, module, arguments, world, port):
    """One of the processes that `relaunch` starts."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    importlib.import_module(module).main.main(args=arguments, prog_name=module)


def own_device(device):
    """The device of this process: of several with GPUs, each takes the one of its local rank."""
    device = chosen_device(device)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and device.type == "cuda":
        device = torch.device("cuda", distributed.local_rank())
        torch.cuda.set_device(device)
    return device


@contextlib.contextmanager
def joined(verbose):
    """Join the other processes of the command for a while, if there are any, and yield `leader_speaks`'s print."""
    distributed.start()
    try:
        with leader_speaks(verbose) as say:
            yield say
    finally:
        distributed.stop()


@contextlib.contextmanager
def leader_speaks(verbose):
    """Yield print(text) for result lines; everything else is printed by the first process alone, if `verbose`."""
    out = sys.stdout
    quiet = distributed.rank() > 0 or not verbose

    def say(text):
        if distributed.rank() == 0:
            click.echo(text, file=out)

    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        yield say
