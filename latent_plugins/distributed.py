"""Several processes of one command, started by torchrun: who this one is, and how they share what they computed.

Only small Python objects and CPU arrays travel (features, figures, yes or no), so the backend is gloo on every machine.
"""

import datetime
import importlib
import os

import torch

# One process may compute a figure for long while the others wait for it.
TIMEOUT = datetime.timedelta(hours=24)


def start():
    """Join the other processes, if torchrun (or whoever sets its variables) started several. Returns (rank, world)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        # This module takes the group that there is at its import for a default argument. Imported later (by a first
        # derivative), it would keep the group and its threads beyond `stop`, and a thread that still wants the
        # interpreter at its end aborts the process.
        importlib.import_module("torch.distributed.nn.functional")
        torch.distributed.init_process_group("gloo", timeout=TIMEOUT)
    return rank(), world()


def stop():
    """Leave the group of processes, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def rank():
    """The number of this process, 0 where there is one alone."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world():
    """How many processes there are."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def local_rank():
    """The number of this process on its machine: which GPU it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def gather(value):
    """[value of rank 0, value of rank 1, …] in every process. All processes must call this."""
    if world() == 1:
        return [value]
    values = [None] * world()
    torch.distributed.all_gather_object(values, value)
    return values


def from_leader(value):
    """The value that rank 0 gave, in every process. All processes must call this."""
    if world() == 1:
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def leader_first(function):
    """function() in rank 0, and in the others once it is done there: what it leaves in a cache is made once."""
    result = function() if rank() == 0 else None
    from_leader(None)  # everybody waits here for rank 0
    return result if rank() == 0 else function()
