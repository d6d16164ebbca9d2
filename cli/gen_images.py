"""gen_images: images of a generator, with latents from any sampler."""

import json
import warnings
from pathlib import Path

import click
import numpy as np

from cli.atlases import PAPER_TOP_K, cached_atlas, with_progress
from cli.options import (
    IntRanges,
    Vector2,
    atlas_options,
    check_psi,
    network_options,
    open_network,
    prepare_folder,
    reports_errors,
    truncation_options,
)
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas import AtlasError, make_settings, one_hot, open_atlas
from latent_plugins.images import inverse_transform, render
from latent_plugins.plotting import image_grid, save_png
from latent_plugins.samplers import available_samplers, create_sampler
from latent_plugins.spaces import canonical_space

DEFAULTS = dict(method="exact", projection=256)  # of the atlas options that have one


@click.command()
@network_options
@click.option("--seeds", type=IntRanges(), default="0-15", show_default=True, help="Random seeds, e.g. 0,1,4-6.")
@truncation_options
@click.option("--class", "class_idx", type=int, help="Class label, for conditional networks.")
@click.option("--noise-mode", type=click.Choice(["const", "random", "none"]), default="const", show_default=True)
@click.option("--translate", type=Vector2(), default="0,0", show_default=True, metavar="VEC2", help="StyleGAN3 only.")
@click.option("--rotate", type=float, default=0, show_default=True, metavar="ANGLE", help="Degrees; StyleGAN3 only.")
@click.option("--outdir", type=Path, default="out", show_default=True, metavar="DIR", help="Where the images go.")
@click.option("--sampler", "sampler_name", default="prior", show_default=True, help="Or magnet, polarity, …")
@click.option("--space", help="Whose volume counts: style, pixel or w:pixel.  [default: recommended, or style]")
@click.option("--rho", type=float, help="Polarity: below 0 to modes, above 0 to anti-modes.")
@click.option("--top-k", type=click.IntRange(min=1), help="Singular values that make the volume.")
@click.option("--atlas", "atlas_path", type=Path, metavar="PATH", help="Atlas folder or .npz; by default a cached one.")
@click.option("--replacement", is_flag=True, help="Draw candidates with replacement.")
@atlas_options
@click.option("--grid", is_flag=True, help="Write one contact sheet, grid.png, too.")
@click.option("--batch", type=click.IntRange(min=1), help="Images at once; by resolution.")
@reports_errors
def main(
    network, device, allow_code, seeds, psi, cutoff, class_idx, noise_mode, translate, rotate, outdir, sampler_name,
    space, rho, top_k, atlas_path, replacement, grid, batch, **atlas_settings,
):  # fmt: skip
    """Generate images with latents from the prior, MaGNET, Polarity or any other sampler.

    \b
    gen_images --sampler=magnet --space=style --seeds=0-63 --grid
    gen_images --network=stylegan3-t-ffhq-1024 --seeds=0-15 --trunc=0.7 --outdir=out
    gen_images --network=ffhq.pkl --sampler=polarity --rho=-0.5 --space=pixel --atlas=atlas
    """
    check_psi(psi)
    transform = inverse_transform(translate, rotate)
    samplers = available_samplers()
    if sampler_name not in samplers:
        raise ValueError(f"unknown sampler {sampler_name!r}; known samplers: {', '.join(sorted(samplers))}")
    if space is not None:
        canonical_space(space)
    given = dict(space=space, rho=rho, top_k=top_k, atlas=atlas_path, replacement=replacement or None, **atlas_settings)
    refuse_idle_options(samplers[sampler_name], given)
    outdir = prepare_folder(outdir)
    generator, source, entry = open_network(network, device, allow_code)
    label = check_class(class_idx, generator.c_dim)
    if psi is None:
        psi = getattr(samplers[sampler_name], "default_psi", 1)

    options = {}
    record = dict(network=source, sampler=sampler_name, trunc=psi, noise_mode=noise_mode)
    if cutoff is not None:
        record["trunc_cutoff"] = cutoff
    if samplers[sampler_name].needs_atlas:
        recommended = entry.get("recommended", {})
        atlas, space = find_atlas(
            generator, atlas_path, space, recommended_space(recommended), psi, cutoff, label, atlas_settings
        )
        if top_k is None:
            top_k = default_top_k(atlas, space, recommended)
        options = dict(atlas=atlas, top_k=top_k, replacement=replacement)
        if sampler_name == "polarity":
            options["rho"] = choose_rho(rho, recommended)
        record.update(space=space, top_k=top_k)
    sampler = create_sampler(sampler_name, generator, **options)
    if samplers[sampler_name].needs_atlas:
        record.update(rho=sampler.rho, replacement=replacement)
        click.echo(f"{sampler_name}, rho {sampler.rho:g}, top-k {top_k}: {sampler.degeneracy(label)}")

    c = None if label is None else one_hot([label] * len(seeds), generator.c_dim)
    latents = sampler.draw(seeds, c)
    apply_transform(generator, transform)
    if label is not None:
        record["class"] = label
    if batch is None:
        batch = max(1, min(16, 16 * 256**2 // generator.img_resolution**2))
    synthesis = dict(psi=psi, cutoff=cutoff, noise_mode=noise_mode, batch=batch)
    write_images(generator, latents, seeds, outdir, record, grid, **synthesis)


def check_class(class_idx, c_dim):
    """The class index, or None for an unconditional network; a click error when it does not fit the network."""
    if c_dim == 0:
        if class_idx is not None:
            raise click.ClickException("--class was given, but this network is unconditional; leave it out")
        return None
    if class_idx is None:
        raise click.ClickException(f"this network is conditional: give --class, a number from 0 to {c_dim - 1}")
    if not 0 <= class_idx < c_dim:
        raise click.ClickException(f"class {class_idx} is out of range, this network has classes 0 to {c_dim - 1}")
    return class_idx


def recommended_space(recommended):
    """The recommended space where it is one that needs no feature detector, else `style`."""
    space = recommended.get("space")
    try:
        canonical_space(space)
    except ValueError:
        return "style"
    return space


def refuse_idle_options(sampler, given):
    """A click error for options (name → value, None when not given) that the sampler would ignore."""
    idle = set() if sampler.needs_atlas else set(given)
    if sampler.name == "magnet":
        idle.add("rho")  # it is 1
    if given["atlas"] is not None:
        idle |= {"candidates", "domain"}  # the atlas has its own
    for name in sorted(idle & {name for name, value in given.items() if value not in (None, DEFAULTS.get(name))}):
        where = "--atlas" if name in ("candidates", "domain") and sampler.needs_atlas else f"--sampler={sampler.name}"
        raise click.ClickException(f"--{name.replace('_', '-')} has no effect with {where}; leave it out")


def find_atlas(generator, path, space, default_space, psi, cutoff, label, atlas_settings):
    """(atlas, its space): the one at `path`, or a cached one that is built on first use.

    Raises AtlasError when the atlas at `path` is of another space than the one asked for.
    """
    if path is None:
        settings = make_settings(
            generator,
            space=space or default_space,
            psi=psi,
            cutoff=cutoff,
            classes=None if label is None else (label,),
            **atlas_settings,
        )
        return cached_atlas(generator, settings), settings.space
    atlas = open_atlas(path)
    if atlas.settings is None:
        return atlas, canonical_space(space or default_space)
    if space is not None and canonical_space(space) != atlas.settings.space:
        raise AtlasError(f"{path}: an atlas of the space {atlas.settings.space}, not {canonical_space(space)}")
    if atlas.settings.space != "z:w" and (atlas.settings.psi, atlas.settings.cutoff) != (psi, cutoff):
        built = f"psi {atlas.settings.psi:g}, cutoff {atlas.settings.cutoff}"
        warnings.warn(
            f"the volumes of {path} were computed with truncation {built}; the images have other", stacklevel=2
        )
    return atlas, atlas.settings.space


def default_top_k(atlas, space, recommended):
    """Singular values that make the volume: the recommended number for the space, or the papers', as far as stored."""
    if canonical_space(recommended_space(recommended)) == space and "top_k" in recommended:
        return min(recommended["top_k"], atlas.top_k)
    return min(PAPER_TOP_K[space], atlas.top_k)


def choose_rho(rho, recommended):
    if rho is None:
        rho = recommended.get("rho") if recommended.get("sampler") == "polarity" else None
    if rho is None:
        raise click.ClickException(
            "--sampler=polarity needs --rho: below 0 to modes, above 0 to anti-modes, e.g. --rho=0.1"
        )
    return rho


def apply_transform(generator, transform):
    """Set the user's transform where the network has one (StyleGAN3), as the official command does."""
    if generator.input_transform is not None:
        generator.input_transform.copy_(transform)
    elif not np.allclose(transform, np.eye(3)):
        warnings.warn("this network has no input transform; --translate and --rotate change nothing", stacklevel=2)


def write_images(generator, latents, seeds, outdir, record, grid, *, batch, **synthesis):
    """Write seedNNNN.png for every seed, samples.jsonl and, with `grid`, grid.png."""
    lines, sheet = [], []
    try:
        sizes = [min(batch, len(seeds) - first) for first in range(0, len(seeds), batch)]
        batches = render(generator, latents.z, latents.c, batch=batch, **synthesis)
        for images in with_progress(batches, sizes, "images"):
            for image in images:
                i = len(lines)
                name = f"seed{seeds[i]:04d}.png"
                save_png(image, outdir / name)
                lines.append(sample_line(name, seeds[i], latents, i, record))
            if grid:
                sheet.append(images)
    finally:
        write_samples(outdir / "samples.jsonl", lines)
    if grid:
        save_png(image_grid(np.concatenate(sheet)), outdir / "grid.png")
    click.echo(f"{outdir}: {len(lines)} images" + (", grid.png" if grid else ""))


def sample_line(name, seed, latents, i, record):
    line = dict(file=name, seed=seed, **record)
    if latents.index is not None:
        line.update(candidate=int(latents.index[i]), log_volume=float(latents.log_volume[i]))
    return line


def write_samples(path, lines):
    """Merge `lines` into samples.jsonl: the lines of images that were written anew are replaced, others stay."""
    written = {line["file"] for line in lines}
    kept = []
    if path.exists():
        for text in path.read_text().splitlines():
            try:
                if json.loads(text)["file"] in written:
                    continue
            except (ValueError, KeyError, TypeError):
                pass  # not one of ours: leave it as it is
            kept.append(text)
    with atomic_output(path) as tmp:
        tmp.write_text("".join(text + "\n" for text in [*kept, *map(json.dumps, lines)]))


if __name__ == "__main__":
    main()
