"""Store trained importance weights as float16, which load as float32 like all others.

train_weights --data=mnist32-train.zip --preset=small-discriminator --outdir=runs/weights
python -m benchmarks.embed_weights --weights=runs/weights/weights.npz --out=mnist32-weights.npz
"""

from pathlib import Path

import click

from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.reweighting.weight_files import FORMAT, WHAT, WeightsError, load_weights


@click.command(help=__doc__)
@click.option("--weights", type=Path, required=True, help="What train_weights wrote.")
@click.option("--out", type=Path, required=True, help="The file to write.")
def main(weights, out):
    header, parts = read_arrays(weights, FORMAT, error=WeightsError, what=WHAT, remedy="train them again")
    halves = {part: {name: tensor.half() for name, tensor in tensors.items()} for part, tensors in parts.items()}
    write_arrays(out, header, halves)
    found = load_weights(out)
    print(f"{out}: {out.stat().st_size} bytes, E[w] {found.mean_weight:.3f}, accepts {found.acceptance:.3f}")


if __name__ == "__main__":
    main()
