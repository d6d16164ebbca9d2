"""Memory and time of loading a large checkpoint.

    python -m benchmarks.loading

Writes a BigGAN of the official layout (256 pixels, 112 channels; some 440 MB) with random weights in both formats of
torch.save, loads each in a process of its own, and prints seconds, and how much the peak of memory exceeds the process
that has only imported, as a multiple of the file's size.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import torch

from dnnlib_compat.networks.biggan import BigGANGenerator
from dnnlib_compat.networks.biggan_files import biggan_name

CHANNELS = [1792, 1792, 896, 896, 448, 224, 112]
MEASURE = """
import sys, time
from dnnlib_compat.loader import load_network
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, start = peak(), time.time()
network = load_network(sys.argv[1])
print(time.time() - start, (peak() - before) * 1024, sum(t.numel() * 4 for t in network.state_dict().values()))
"""


def official_state(seed=0):
    """{official name: tensor} of a random BigGAN with spectral norms."""
    torch.manual_seed(seed)
    network = BigGANGenerator(
        z_dim=119, n_classes=1000, channels=CHANNELS, hierarchical=True, shared_dim=128, attention=[4]
    )
    state = {biggan_name(name): tensor.detach() for name, tensor in network.state_dict().items()}
    state |= {name: tensor[0] for name, tensor in state.items() if ".stored_" in name}  # one of many truncations
    for name in [name for name in state if name.endswith(".weight") and name != "shared.weight"]:
        layer = name.removesuffix(".weight")
        state |= {f"{layer}.u0": torch.randn(1, len(state[name])), f"{layer}.sv0": torch.ones(1)}
    return state


@click.command()
def main():
    """Print seconds and peak memory of loading."""
    with tempfile.TemporaryDirectory() as folder:
        for name, zipped in (("zip", True), ("legacy", False)):
            path = Path(folder) / f"G_ema_{name}.pth"
            torch.save(official_state(), path, _use_new_zipfile_serialization=zipped)
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, str(path)], stdout=subprocess.PIPE, text=True, check=True
            )
            seconds, memory, weights = map(float, done.stdout.split())
            size = path.stat().st_size
            click.echo(
                f"{name:6}  file {size / 1e6:.0f} MB  network {weights / 1e6:.0f} MB  {seconds:.1f} s  "
                f"peak {memory / 1e6:.0f} MB = {memory / size:.2f} x the file"
            )


if __name__ == "__main__":
    main()
