"""How much a differentiated map keeps alive, and how many rows fit a memory bound."""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEFAULT_CPU_MEMORY = 1 << 30


class _OutputBytes(TorchDispatchMode):
    """Adds up the bytes of every tensor that operations produce (views count too: an upper bound)."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        outputs = out if isinstance(out, (tuple, list)) else [out]
        self.total += sum(t.numel() * t.element_size() for t in outputs if isinstance(t, torch.Tensor))
        return out


def bytes_per_row(space_map, x):
    """Bytes that one evaluation of one row of x [N, in] produces in all: bounds what a product with it keeps alive.

    Measured on two rows and one, so that what does not grow with the batch (weights, filters) is left out.
    """
    totals = []
    for n in (1, 2):
        with _OutputBytes() as counter:
            space_map(x[:1].expand(n, -1).contiguous())
        totals.append(counter.total)
    return max(totals[1] - totals[0], 1)


def default_memory(device):
    """The automatic bound in bytes: half of a GPU's free memory, 1 GiB on a CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return DEFAULT_CPU_MEMORY


def plan_chunks(n, directions, row_bytes, jacobian_bytes, max_memory):
    """(latents, directions) to push through the map at once so that products and Jacobians stay under `max_memory`.

    row_bytes: for one latent in one direction; jacobian_bytes: for one latent's whole Jacobian. Raises ValueError when
    not even one latent in one direction fits, and tells the bound that would do.
    """
    needed = jacobian_bytes + row_bytes
    if needed > max_memory:
        raise ValueError(
            f"one latent needs {needed / 2**20:.0f} MB, more than the bound of {max_memory / 2**20:.0f} MB: raise "
            "--max-memory, or use the projected method with a smaller projection"
        )
    per_latent = jacobian_bytes + directions * row_bytes
    if per_latent <= max_memory:
        return min(n, max_memory // per_latent), directions
    return 1, min(directions, (max_memory - jacobian_bytes) // row_bytes)


@contextlib.contextmanager
def full_precision():
    """TF32 off: spectra need all of float32's digits."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
