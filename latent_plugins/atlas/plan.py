"""What an atlas would take, from a short calibration."""

import math
import time

import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.atlas.build import compute_shard, inputs_of, label_settings
from latent_plugins.atlas.settings import WITH_BASIS, shard_map, shard_rows
from latent_plugins.metrics.lines import format_time
from latent_plugins.volume.spectrum import products_of
from latent_plugins.volume.spectrum.composition import parts_of
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, plan_chunks

DEVICES = (1, 8, 64)
CALIBRATION_SECONDS = 3
TRAINING_SECONDS = 60  # about what a predictor's training takes on a small machine, whatever the network


def plan_lines(generator, settings):
    """Lines that tell rows, time and memory of an atlas with these settings, for several numbers of devices."""
    classes = settings.classes or (None,)
    work = [(settings, "candidates")]
    if settings.predicted:
        labels = label_settings(generator, settings)
        work.insert(0, (labels, f"labels by {labels.method}"))
    seconds = {devices: TRAINING_SECONDS if settings.predicted else 0 for devices in DEVICES}
    for part, things in work:
        shard = min(shard_rows(part), part.candidates)
        shards = math.ceil(part.candidates / shard) * len(classes)
        each, rows = seconds_per_row(generator, part, classes[0], shard)
        for devices in DEVICES:
            seconds[devices] += math.ceil(shards / devices) * shard * each
        total = part.candidates * len(classes)
        yield f"{total} {things} in space {part.space} by {part.method}: {shards} shards of {shard} rows"
        yield f"{1000 * each:.3g} ms a row on this device (measured on {rows} rows)"
    for devices in DEVICES:
        yield f"{devices:3} device{'s' if devices > 1 else ' '}  {format_time(seconds[devices])}"
    memory = max(planned_memory(generator, part, classes[0]) for part, _ in work)
    disk = settings.candidates * len(classes) * 4 * (2 if settings.predicted else settings.top_k)
    yield f"memory: about {memory / 1e6:.0f} MB a device for the Jacobians; disk: {disk / 1e6:.0f} MB"


def seconds_per_row(generator, settings, label, most):
    """(seconds, rows): the time of a row, measured on as many rows as a few seconds allow, `most` at most."""
    rows, basis = 1, None
    if settings.method in WITH_BASIS:  # any basis costs the same
        space_map = shard_map(generator, settings, label)
        parts = parts_of(space_map)
        basis = torch.eye(space_map.in_dim if parts is None else parts[0].out_dim)
        basis = basis[:, : settings.basis * (1 if parts is None else 2)]

    def compute(rows):
        if settings.predicted:  # the predictor itself takes next to nothing
            inputs_of(generator, settings, settings, label, 0, rows, basis)
        else:
            compute_shard(generator, settings, label, 0, rows, basis)

    compute(1)  # what only the first call takes
    while True:
        start = time.perf_counter()
        compute(rows)
        seconds = time.perf_counter() - start
        if rows == most or seconds > CALIBRATION_SECONDS / 2:
            return seconds / rows, rows
        rows = min(most, rows * 4)


@no_grad
def planned_memory(generator, settings, label):
    """Bytes that the products and Jacobians of the rows computed together take."""
    space_map = shard_map(generator, settings, label)
    rows = min(shard_rows(settings), settings.candidates)
    device = next(generator.parameters()).device
    x = space_map.enter(generator.sample_prior(1, torch.Generator().manual_seed(0)).to(device))
    row = bytes_per_row(space_map, x)
    if settings.method == "amortized":
        return rows * row
    options = dict(top_k=settings.top_k, projection=settings.projection, oversample=settings.oversample)
    method = "shared" if settings.method == "hybrid" else settings.method
    directions, other_side, reverse = products_of(method, space_map, directions=settings.basis, **options)
    row *= 2 if reverse else 1  # reverse mode keeps gradients too
    jacobian = BYTES_PER_ENTRY * directions * other_side
    n, m = plan_chunks(rows, directions, row, jacobian, settings.max_memory, device)
    return n * (jacobian + m * row)
