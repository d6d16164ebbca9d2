"""The arithmetic that Jacobian products are computed in."""

import contextlib

import torch

# float32: all its digits, on GPUs too. tf32: GPUs may round factors to 10 bits. bf16: convolutions and matrix products
# in bfloat16, which keeps 8 bits.
PRECISIONS = ("float32", "tf32", "bf16")


@contextlib.contextmanager
def arithmetic(precision, device):
    """Compute in one of PRECISIONS for a while; TF32 is off but for `tf32`. Raises ValueError for another name."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known ones: {', '.join(PRECISIONS)}")
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def full_precision(device):
    """`arithmetic` with all of float32's digits."""
    return arithmetic("float32", device)
