"""convert: any network as a plain, safe file."""

import importlib.util

import click
import torch

from cli.options import allow_code_option, open_network, prepare_folder, reports_errors
from cli.paths import FilePath, NetworkSource

SUFFIXES = (".npz", ".safetensors")


@click.command()
@click.argument("network", type=NetworkSource())
@click.argument("out", type=FilePath())
@click.option("--readjust-bn", is_flag=True, help="NVAE: batch-norm statistics re-adjusted to the temperature --trunc.")
@click.option("--trunc", "psi", type=float, default=1, show_default=True, help="Temperature for --readjust-bn.")
@allow_code_option
@reports_errors
def main(network, out, readjust_bn, psi, allow_code):
    """Write NETWORK (a file, a folder, an address or a short name) to OUT, a file without any code.

    OUT ends in .npz or .safetensors; without an ending it gets .safetensors where that package is installed, else .npz.
    Commands take the file as --network=OUT and compute the same, bit for bit.
    """
    installed = importlib.util.find_spec("safetensors") is not None
    if out.suffix not in SUFFIXES:
        out = out.with_name(out.name + (".safetensors" if installed else ".npz"))
    if out.suffix == ".safetensors" and not installed:
        raise click.ClickException("writing .safetensors needs its package: pip install 'latent-plugins[safetensors]'")
    prepare_folder(out.parent)
    generator, _, _ = open_network(network, "cpu", allow_code)
    if readjust_bn:
        if generator.family != "nvae":
            raise click.ClickException(f"--readjust-bn is for NVAE networks, not {generator.family}")
        from dnnlib_compat.networks.nvae import readjust_batch_norm  # its classes are torch's

        generator = readjust_batch_norm(generator, psi=psi, generator=torch.Generator().manual_seed(0))
    write(generator, out)
    click.echo(f"{out}: {generator.family}, {out.stat().st_size} bytes")


def write(generator, out):
    """Write a network in the format of the file's suffix."""
    from dnnlib_compat.plain_files import write_npz, write_safetensors  # which know all families' classes

    {".npz": write_npz, ".safetensors": write_safetensors}[out.suffix](generator, out)


if __name__ == "__main__":
    main()
