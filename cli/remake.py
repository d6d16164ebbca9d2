"""remake: the images of a samples.jsonl again, from their records alone."""

import os

import click
import numpy as np
import PIL.Image

from cli.options import Device, IntRanges, allow_code_option, chosen_device, prepare_folder, reports_errors
from cli.paths import FilePath
from cli.progress import TERMINAL, progress_option
from latent_plugins.files.sample_records import read_lines
from latent_plugins.pictures.files import save_png
from latent_plugins.remaking import remake


@click.command()
@click.argument("samples", type=FilePath())
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
    for line, image in remake(lines, device=chosen_device(device), allow_code=allow_code, watch=TERMINAL):
        name = file_name(line["file"], samples)
        if outdir is not None:
            save_png(image, outdir / name)
        elif not same(image, samples.parent / name):
            different.append(name)
    if outdir is not None:
        click.echo(f"{outdir}: {len(lines)} images")
    elif different:
        raise click.ClickException(f"{samples}: {len(different)} of {len(lines)} images differ, first {different[0]}")
    else:
        click.echo(f"{samples}: {len(lines)} images, all the same to the byte")


def file_name(name, samples):
    """The name of an image in a record. A click error for one that leaves the folder."""
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise click.ClickException(f"{samples}: the record of an image names no plain file")
    return name


def same(image, path):
    """Whether the file holds just this image."""
    with PIL.Image.open(path) as file:
        there = np.asarray(file)
    return np.array_equal(image[:, :, 0] if image.shape[2] == 1 else image, there)


if __name__ == "__main__":
    main()
