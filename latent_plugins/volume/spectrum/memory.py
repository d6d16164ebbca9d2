"""How much a differentiated map keeps alive, and how many rows fit a memory bound."""

import os
import weakref

import torch

# On a CPU larger chunks are no faster: they leave the caches, and above 32 MiB a tensor's pages come from the kernel
# each time (`benchmarks/products.py` has the times).
PREFERRED_CPU_MEMORY = 384 << 20
# A Jacobian's entry: in its chunk, in their concatenation, and in float64.
BYTES_PER_ENTRY = 4 + 4 + 8

# What was measured, by map; a map's chunks are planned for every batch, and measuring takes longer than evaluating one.
_measured = weakref.WeakKeyDictionary()


def bytes_per_row(space_map, x):
    """Bytes that one evaluation of one row of x [N, in] produces in all: bounds what a product with it keeps alive.

    Measured on two rows and one, so that what does not grow with the batch (weights, filters) is left out; once for a
    map and kind of row, if the map can be hashed.
    """
    try:
        known = _measured.setdefault(space_map, {})
    except TypeError:
        known = {}
    kind = (x.shape[1], x.dtype, x.device)
    if kind not in known:
        known[kind] = _measure_row(space_map, x)
    return known[kind]


def _measure_row(space_map, x):
    from latent_plugins.volume.spectrum.output_bytes import OutputBytes  # its class is torch's when it is imported

    totals = []
    for n in (1, 2):
        with OutputBytes() as counter:
            space_map(x[:1].expand(n, -1).contiguous())
        totals.append(counter.total)
    return max(totals[1] - totals[0], 1)


def automatic_memory(device, needed):
    """The bound in bytes when none is given; `needed` is what a single product takes.

    Half of a GPU's memory; on a CPU 384 MiB, or what is needed up to half of the machine's memory. It depends on the
    machine alone, so that an interrupted atlas goes on with the same chunks.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 2
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 << 30
    return max(PREFERRED_CPU_MEMORY, min(needed, physical // 2))


def plan_chunks(n, directions, row_bytes, jacobian_bytes, max_memory, device=None):
    """(latents, directions) to push through the map at once so that products and Jacobians stay under `max_memory`.

    row_bytes: for one latent in one direction; jacobian_bytes: for one latent's whole Jacobian; max_memory None: the
    automatic bound of `device`. Raises ValueError when not even one latent in one direction fits, and tells the bound
    that would do.
    """
    needed = jacobian_bytes + row_bytes
    if max_memory is None:
        max_memory = automatic_memory(device, needed)
    if needed > max_memory:
        raise ValueError(
            f"one latent needs {needed / 2**20:.0f} MB, more than the bound of {max_memory / 2**20:.0f} MB: raise "
            "--max-memory, or use --method=projected with a smaller --projection"
        )
    per_latent = jacobian_bytes + directions * row_bytes
    if per_latent <= max_memory:
        return min(n, max_memory // per_latent), directions
    return 1, min(directions, (max_memory - jacobian_bytes) // row_bytes)


def in_chunks(tensors, directions, row_bytes, block_bytes, max_memory, device=None):
    """Yield (rows of each tensor [N, …], …, how many directions at once): the chunks of `plan_chunks`, in order.

    The only place where rows are divided by memory. row_bytes, block_bytes (beside them, for one row) and max_memory:
    as for `plan_chunks`; device: where the map is, by default that of the first tensor. Raises ValueError as it does.
    """
    first = tensors[0]
    n, m = plan_chunks(len(first), directions, row_bytes, block_bytes, max_memory, device or first.device)
    for parts in zip(*(tensor.split(n) for tensor in tensors)):
        yield *parts, m
