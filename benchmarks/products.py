"""What a product with the Jacobian in pixel space costs, in images of the same network.

    python -m benchmarks.products
    python -m benchmarks.products --network=dcgan-faces-64.pth
    python -m benchmarks.products --random=256 --directions=6 --latents=1

The reference is torch.func: jvp under vmap, as the papers' recipe is usually written. `ours` is what the project's
spectra use, forward (`columns`) and reverse (`rows`). An image is the fastest of batches of 1 to 16. Times are medians;
with --memory the forward products of many latents are timed under several bounds of memory instead. The last line is
one JSON object.
"""

import contextlib
import json
import statistics
import time

import click
import torch

from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import JacobianOperator, products

BOUNDS = (128, 256, 384, 512, 1024)  # MiB


@contextlib.contextmanager
def torch_alone():
    """Without the networks' own products."""
    own, products._own_products = products._own_products, lambda *args: None
    try:
        yield
    finally:
        products._own_products = own


def seconds(function, repeats):
    """Median seconds of a call, after one that nobody counts."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def best_image(space_map, repeats):
    """Seconds of an image in the batch where it is cheapest."""
    found = []
    for n in (1, 2, 4, 8, 16):
        x = torch.randn(n, space_map.in_dim, generator=torch.Generator().manual_seed(n))
        found.append(seconds(lambda x=x: space_map(x), repeats) / n)
    return min(found)


def compare(space_map, latents, directions, repeats):
    """{figure: value} of products."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(latents, space_map.in_dim, generator=rng)
    v = torch.randn(latents, space_map.in_dim, directions, generator=rng)
    u = torch.randn(latents, directions, space_map.out_dim, generator=rng)
    many, operator = latents * directions, JacobianOperator(space_map, x, at_once=directions)
    assert operator.first is not None or space_map.parts is None  # computed once for all products: not counted
    found = dict(image=best_image(space_map, repeats))
    ours = operator.columns(v)
    found["columns"] = seconds(lambda: operator.columns(v), repeats) / many
    with torch_alone():
        reference = operator.columns(v)
        found["columns_torch"] = seconds(lambda: operator.columns(v), repeats) / many
    found["rows"] = seconds(lambda: operator.rows(u), repeats) / many
    found["difference"] = ((ours - reference).abs().max() / reference.abs().max()).item()
    return found


@click.command(help=__doc__)
@click.option("--network", default="mnist32", show_default=True)
@click.option("--random", "resolution", type=int, help="A StyleGAN2 of this size with random weights, z = w = 512.")
@click.option("--latents", type=int, default=8, show_default=True)
@click.option("--directions", type=int, default=18, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
@click.option("--memory", is_flag=True, help="Times under several bounds of memory.")
def main(network, resolution, latents, directions, repeats, memory):
    if resolution:
        torch.manual_seed(0)
        network, generator = f"StyleGAN2 {resolution}", StyleGAN2Generator(512, 0, 512, resolution, 3).eval()
        generator.requires_grad_(False)
    else:
        generator = load_network(network, device="cpu")
    space_map = get_space(generator, "pixel")
    with torch.no_grad():
        if memory:
            x = torch.randn(latents, space_map.in_dim, generator=torch.Generator().manual_seed(0))
            v = torch.randn(latents, space_map.in_dim, directions, generator=torch.Generator().manual_seed(1))
            found = {}
            for bound in BOUNDS:
                operator = JacobianOperator(space_map, x, max_memory=bound << 20)
                found[f"{bound} MiB"] = seconds(lambda operator=operator: operator.columns(v), repeats)
                print(f"{bound:5} MiB {found[f'{bound} MiB'] / latents / directions * 1e3:8.3f} ms a product")
        else:
            found = compare(space_map, latents, directions, repeats)
            print(f"{network}: an image {found['image'] * 1e3:.3f} ms")
            for name in ("columns", "columns_torch", "rows"):
                print(f"{name:15} {found[name] * 1e3:9.3f} ms a product, {found[name] / found['image']:.2f} images")
            print(f"ratio to torch.func {found['columns_torch'] / found['columns']:.2f}, ", end="")
            print(f"largest difference {found['difference']:.1e} of the largest entry")
    print(json.dumps(dict(network=network, threads=torch.get_num_threads(), **found)))


if __name__ == "__main__":
    main()
