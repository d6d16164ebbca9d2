"""remake: the images of a samples.jsonl again, from their records alone."""

import click
import numpy as np

from cli.options import Device, IntRanges, allow_code_option, chosen_device, prepare_folder, reports_errors
from cli.paths import ExistingPath, FilePath
from cli.progress import TERMINAL, progress_option
from dnnlib_compat.errors import naming
from latent_plugins.files.sample_records import read_lines
from latent_plugins.pictures.files import read_png, save_png
from latent_plugins.remaking import remake


@click.command()
@click.argument("samples", type=ExistingPath())
@click.option("--outdir", type=FilePath(), metavar="DIR", help="Where the images go.")
@click.option("--check", is_flag=True, help="Compare with the images beside the records, and write none.")
@click.option("--seeds", type=IntRanges(), help="Only these.  [default: all]")
@click.option("--device", type=Device(), help="cpu, cuda or cuda:N.  [default: a GPU if any]")
@allow_code_option
@progress_option
@reports_errors
def main(samples, outdir, check, seeds, device, allow_code):
    """Make images again from their records in a samples.jsonl, byte for byte on the same kind of machine.

    Networks, atlases and weights are those that the records name; a cached atlas that is gone is built anew.

    \b
    gen_images --sampler=magnet --seeds=0-7 --outdir=out
    remake out/samples.jsonl --check
    remake out/samples.jsonl --seeds=3 --outdir=again
    """
    if check == (outdir is not None):
        raise click.ClickException("give either --outdir, to write images, or --check, to compare them")
    lines = read_lines(samples)
    if seeds is not None:
        lines = [line for line in lines if line.get("seed") in set(seeds)]
    if not lines:
        raise click.ClickException(f"{samples}: has no record {'of these seeds' if seeds else 'at all'}")
    if outdir is not None:
        prepare_folder(outdir)
    different = []
    images = remake(lines, device=chosen_device(device), allow_code=allow_code, watch=TERMINAL)
    with naming(samples):
        for line, image in images:
            if outdir is not None:
                save_png(image, outdir / line["file"])
            elif not np.array_equal(image, read_png(samples.parent / line["file"])):
                different.append(line["file"])
    if outdir is not None:
        click.echo(f"{outdir}: {len(lines)} images")
    elif different:
        raise click.ClickException(f"{samples}: {len(different)} of {len(lines)} images differ, first {different[0]}")
    else:
        click.echo(f"{samples}: {len(lines)} images, all the same to the byte")


if __name__ == "__main__":
    main()
