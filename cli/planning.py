"""What an atlas would take, from a short calibration."""

import math
import time

import torch

from cli.report import format_time
from latent_plugins.atlas import SHARD_ROWS, compute_shard, shard_map
from latent_plugins.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks

DEVICES = (1, 8, 64)
CALIBRATION_SECONDS = 3


def plan_lines(generator, settings):
    """Lines that tell rows, time and memory of an atlas with these settings, for several numbers of devices."""
    classes = settings.classes or (None,)
    shard = min(SHARD_ROWS[settings.space], settings.candidates)
    shards = math.ceil(settings.candidates / shard) * len(classes)
    seconds, rows = seconds_per_row(generator, settings, classes[0], shard)
    total = settings.candidates * len(classes)
    disk = total * settings.top_k * 4
    yield f"{total} candidates in space {settings.space} by {settings.method}: {shards} shards of {shard} rows"
    yield f"{1000 * seconds:.3g} ms a row on this device (measured on {rows} rows)"
    for devices in DEVICES:
        turns = math.ceil(shards / devices)
        yield f"{devices:3} device{'s' if devices > 1 else ' '}  {format_time(turns * shard * seconds)}"
    memory = planned_memory(generator, settings, classes[0], shard)
    yield f"memory: about {memory / 1e6:.0f} MB a device for the Jacobians; disk: {disk / 1e6:.0f} MB"


def seconds_per_row(generator, settings, label, most):
    """(seconds, rows): the time of a row, measured on as many rows as a few seconds allow, `most` at most."""
    rows, basis = 1, None
    if settings.method == "shared":  # any basis costs the same
        basis = torch.eye(shard_map(generator, settings, label).in_dim)[:, : settings.basis]
    compute_shard(generator, settings, label, 0, 1, basis)  # what only the first call takes
    while True:
        start = time.perf_counter()
        compute_shard(generator, settings, label, 0, rows, basis)
        seconds = time.perf_counter() - start
        if rows == most or seconds > CALIBRATION_SECONDS / 2:
            return seconds / rows, rows
        rows = min(most, rows * 4)


@torch.no_grad()
def planned_memory(generator, settings, label, rows):
    """Bytes that the products and Jacobians of the rows computed together take."""
    space_map = shard_map(generator, settings, label)
    device = next(generator.parameters()).device
    x = space_map.enter(generator.sample_prior(1, torch.Generator().manual_seed(0)).to(device))
    n_in, n_out = space_map.in_dim, space_map.out_dim
    directions, other_side = {
        "exact": (min(n_in, n_out), max(n_in, n_out)),
        "projected": (settings.projection, n_in),
        "subspace": (settings.top_k + (settings.oversample or 0), n_out),
        "shared": (settings.basis, n_out),
    }[settings.method]
    reverse = settings.method in ("projected", "subspace")
    row = bytes_per_row(space_map, x) * (2 if reverse else 1)  # reverse mode keeps gradients too
    jacobian = BYTES_PER_ENTRY * directions * other_side
    n, m = plan_chunks(rows, directions, row, jacobian, settings.max_memory, device)
    return n * (jacobian + m * row)
