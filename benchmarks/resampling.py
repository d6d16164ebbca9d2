"""Times the resampling of the networks against the reference recipe: zero insertion and one depthwise convolution.

    python -m benchmarks.resampling

Prints, for the sizes of a 32-pixel and a 256-pixel network, the ratio of the times (above 1: ours is faster) and the
largest difference of the results.
"""

import time

import click
import torch
import torch.nn.functional as F

from dnnlib_compat.networks import ops

TAPS = torch.tensor([1.0, 3, 3, 1]) / 8
SIZES = [(16, 32, 16), (16, 16, 32), (16, 8, 64), (1, 128, 64), (1, 64, 128)]  # batch, input resolution, channels


def reference(x):
    """2× upsampling as the official fallback does it."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)
    kernel = torch.outer(TAPS, TAPS).mul(4).expand(c, 1, 4, 4)
    return F.conv2d(F.pad(x, (2, 1, 2, 1)), kernel, groups=c)


def ours(x):
    return ops.upsample2d(x, TAPS)


def seconds(function, x, repeats):
    """Median seconds of a forward and backward pass."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        y = function(x)
        torch.autograd.grad(y.sum(), x)
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


@click.command(help=__doc__)
@click.option("--repeats", type=int, default=21, show_default=True)
def main(repeats):
    for n, size, channels in SIZES:
        x = torch.randn(n, channels, size, size, requires_grad=True)
        difference = (ours(x) - reference(x)).abs().max().item()
        a, b = seconds(reference, x, repeats), seconds(ours, x, repeats)
        print(f"[{n}, {channels}, {size}, {size}]  ratio {a / b:5.2f}  largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
