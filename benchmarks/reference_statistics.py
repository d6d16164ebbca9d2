"""Features and moments of a data set as one file, for runs without the images.

python -m benchmarks.reference_statistics --data=mnist32-test.zip --out=mnist32-test-statistics.npz
"""

import click

from dnnlib_compat.detectors import load_detector
from latent_plugins.metrics.real import RealImages, write_reference


@click.command()
@click.option("--data", required=True, metavar="ZIP|DIR", help="The images.")
@click.option("--detector", default="mnist-classifier", show_default=True, help="Feature detector.")
@click.option("--out", required=True, metavar="FILE", help="The file to write.")
def main(data, detector, out):
    """Write the reference statistics of a data set."""
    found = load_detector(detector)
    real = RealImages(data, resolution=found.resolution, channels=found.channels)
    write_reference(out, real, found)


if __name__ == "__main__":
    main()
