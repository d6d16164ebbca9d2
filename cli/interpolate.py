"""interpolate: from seed to seed, straight or along a path of dense images, as frames and an animation."""

import json

import click
import numpy as np
import PIL.features
import torch

from cli.atlas_options import online_options
from cli.binding import MethodCommand, check_method_options, given, setting_option
from cli.labels import class_number
from cli.options import (
    IntRanges,
    check_folder,
    check_psi,
    cutoff_option,
    detector_option,
    network_options,
    open_network,
    prepare_folder,
    reports_errors,
)
from cli.paths import FilePath
from cli.picture_options import cell_option
from cli.polarity_strip import check_out
from cli.progress import TERMINAL, progress_option, with_progress
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas.settings import one_hot
from latent_plugins.interpolation.coordinates import coordinates_of
from latent_plugins.interpolation.density import PathDensity, check_path_space, path_volumes
from latent_plugins.interpolation.paths import (
    KINDS,
    DenseFrames,
    check_keys,
    curve_frames,
    dense_frames,
    number_of_frames,
)
from latent_plugins.interpolation.search import SearchSettings
from latent_plugins.interpolation.strip import path_strip
from latent_plugins.pictures.animations import save_animation
from latent_plugins.pictures.files import save_png
from latent_plugins.pictures.rendering import usual_batch
from latent_plugins.samplers.options import method_keyword, own_settings

SEARCH = SearchSettings.described()
LARGEST = 100_000  # frames of an interpolation
STRIP = "strip.png"


class InterpolateCommand(MethodCommand):
    """A MethodCommand with the settings of the search for a path among its options."""

    def get_params(self, ctx):
        *fixed, help = click.Command.get_params(self, ctx)
        return [*fixed, *map(setting_option, SEARCH.values()), *self.method_options(ctx, SEARCH), help]


@click.command(cls=InterpolateCommand)
@network_options
@click.option("--seeds", type=IntRanges(), default="0-3", show_default=True, help="Key frames, e.g. 0,5,9.")
@click.option("--loop", is_flag=True, help="Go on from the last seed to the first one.")
@click.option(
    "--frames",
    type=click.IntRange(1, LARGEST),
    default=30,
    show_default=True,
    metavar="N",
    help="Frames from each key frame to the next one.",
)
@click.option(
    "--path",
    "kind",
    type=click.Choice(KINDS),
    default="density",
    show_default=True,
    help="Straight lines, great circles (slerp), or paths through dense images.",
)
@click.option(
    "--in",
    "start",
    type=click.Choice(["z", "w"]),
    default="z",
    show_default=True,
    help="Where the path runs: latents, or styles, by their normal law.",
)
@click.option("--trunc", "psi", type=float, default=1, show_default=True, help="Truncation psi of images and volumes.")
@cutoff_option
@click.option("--class", "class_name", help="Class of a conditional network: its number, or its ImageNet name.")
@click.option("--outdir", type=FilePath(), default="out", show_default=True, metavar="DIR", help="Where the frames go.")
@click.option(
    "--video",
    type=FilePath(),
    metavar="FILE",
    help="The animation, a .webp, .gif or .png.  [default: path.webp in --outdir]",
)
@click.option(
    "--duration",
    type=click.IntRange(10, 10_000),
    default=50,
    show_default=True,
    metavar="MS",
    help="Milliseconds that the animation shows each frame.",
)
@click.option(
    "--space",
    help="Whose volume counts: style, pixel, vgg, inception, features; with --in=w w:pixel, w:vgg and so on.  "
    "[default: recommended, or style; w:pixel]",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    metavar="K",
    help="Singular values that make the volume.  [default: recommended]",
)
@detector_option
@online_options
@cell_option
@progress_option
@reports_errors
def main(
    network, device, allow_code, seeds, loop, frames, kind, start, psi, cutoff, class_name, outdir, video, duration,
    cell, **options,
):  # fmt: skip
    """Interpolate between seeds, by default along paths through dense images.

    Writes frame0000.png and so on, an animation (there and back, or with --loop round and round), path.jsonl with a
    line for each frame, and strip.png with some of them. A path of --path=density has the least E - W * h that the
    search finds: E is its energy (1 for the shortest path), h the mean of log p(z) + rho * log-volume along it, in
    nats. With rho -1 that is the log-density of the images; path.jsonl has it, and that of the shortest path.

    \b
    interpolate --seeds=0,5,9 --frames=60 --outdir=video
    interpolate --network=ffhq.pkl --space=pixel --seeds=0-3 --loop --trunc=0.7
    interpolate --network=ffhq.pkl --in=w --path=linear --seeds=0-3
    """
    check_psi(psi)
    search = SearchSettings(**{name: options.pop(name) for name in SEARCH})
    check_options(kind, start, options)
    check_keys(len(seeds))
    n = number_of_frames(len(seeds), frames, loop)
    if n > LARGEST:
        raise click.ClickException(f"{n} frames are more than {LARGEST}; take fewer --frames or --seeds")
    video = video or outdir / ("path.webp" if PIL.features.check("webp") else "path.gif")
    check_out(video)
    if video.suffix == ".png" and video.resolve() in {(outdir / name).resolve() for name in own_pictures(n)}:
        raise click.ClickException(f"{video}: another picture goes there; give another --video")
    check_stale(outdir, n)
    outdir, _ = prepare_folder(outdir), prepare_folder(video.parent)

    generator, source, entry = open_network(network, device, allow_code)
    label = class_number(class_name, generator.c_dim)
    generator.check_psi(psi)
    c = torch.zeros(1, 0) if label is None else one_hot([label], generator.c_dim)
    record = {"network": source, "path": kind, "in": start, "trunc": psi, "loop": loop}
    record |= {} if cutoff is None else dict(trunc_cutoff=cutoff)
    record |= {} if label is None else {"class": label}
    if kind == "density":
        made = dict(psi=psi, cutoff=cutoff, classes=None if label is None else (label,), **options)
        volumes = path_volumes(generator, start, advice=entry.get("recommended"), **renamed(made))
        record |= search.record() | volumes.record()
        coordinates = coordinates_of(generator, start, c, volumes.settings.domain)
        density = PathDensity(coordinates, TERMINAL.counted(volumes(label).at, "volumes"))
        keys, about = coordinates.of_seeds(seeds), dict(frames=frames, loop=loop, segments=progress)
        found = dense_frames(keys, coordinates.prior, density, search, **about)
        say_gain(found, search.rho)
    else:
        coordinates = coordinates_of(generator, start, c)
        found = curve_frames(kind, coordinates.of_seeds(seeds), coordinates.prior, frames=frames, loop=loop)

    batch = usual_batch(generator)
    synthesis = dict(psi=psi, cutoff=cutoff, batch=batch)
    images = write_frames(coordinates.images(found.points, **synthesis), len(found), outdir, batch)
    save_animation(list(images), video, duration, back=not loop)
    write_lines(found, seeds, outdir, record)
    straight = lambda rows: np.concatenate(list(coordinates.images(found.straight[rows], **synthesis)))  # noqa: E731
    save_png(path_strip(found, images, seeds, straight, cell=cell), outdir / STRIP)
    click.echo(f"{outdir}: {len(found)} frames, path.jsonl, {STRIP}; {video}")


def check_options(kind, start, options):
    """Raise an error, before any work, for options that this kind of path would ignore, or that do not fit."""
    if kind != "density":
        for name in (*SEARCH, *options):
            if given(name):
                text = f"--{name.replace('_', '-')} has no effect with --path={kind}; leave it out, or take density"
                raise click.ClickException(text)
    if given("domain") and start == "w":
        raise click.ClickException("--domain has no effect with --in=w, whose paths run in styles; leave it out")
    check_method_options(options["method"])
    check_path_space(start, options["space"], options["method"])


def check_stale(outdir, n):
    """A click error for a folder with frames of a longer interpolation, which would look like this one's."""
    check_folder(outdir)
    if (outdir / frame_name(n)).exists():
        raise click.ClickException(f"{outdir}: has frames of a longer interpolation; give another --outdir")


def renamed(options):
    """Options by the names that `path_volumes` has for them: those of the method have their own."""
    theirs = {method_keyword(name, SEARCH): name for name in own_settings(options["method"])}
    return {theirs.get(name, name): value for name, value in options.items()}


def progress(segments):
    """Iterate over segments and show how far it is."""
    segments = list(segments)
    return with_progress(segments, [1] * len(segments), "paths")


def say_gain(found, rho):
    """Print what the paths have gained over the straight ones."""
    usable = np.isfinite(found.found.log_volume) & np.isfinite(found.before.log_volume)
    if not usable.all():
        click.echo(f"{(~usable).sum()} of {len(usable)} frames have no usable spectrum; they are left out of the means")
    figures = {"log-density": "log_density", "log-volume": "log_volume"}
    for title, name in figures.items():
        before, after = (float(getattr(each, name)[usable].mean()) for each in (found.before, found.found))
        click.echo(f"mean {title} {before:.3f} on the straight path, {after:.3f} on this one: {after - before:+.3f}")
    energies = ", ".join(f"{energy:.2f}" for energy in found.energies[:20])
    click.echo(f"energy by segment, straight 1: {energies}" + (", ..." if len(found.energies) > 20 else ""))


def frame_name(i):
    """The file name of a frame."""
    return f"frame{i:04d}.png"


def own_pictures(n):
    """The names of all pictures of an interpolation of n frames beside its animation."""
    return [STRIP, *map(frame_name, range(n))]


def write_frames(batches, n, outdir, batch):
    """Write frameNNNN.png of batches of n images; the images uint8 [n, H, W, C]."""
    sizes, images = [min(batch, n - first) for first in range(0, n, batch)], []
    for part in with_progress(batches, sizes, "frames"):
        for image in part:
            save_png(image, outdir / frame_name(len(images)))
            images.append(image)
    return np.stack(images)


def write_lines(found, seeds, outdir, record):
    """Write path.jsonl: for each frame its place, its figures, those of the straight path, and all settings."""
    dense = isinstance(found, DenseFrames)
    after, before = (found.found.lines(), found.before.lines()) if dense else ([{}] * len(found), None)
    lines = []
    for i, (segment, t) in enumerate(zip(found.segment.tolist(), found.t.tolist())):
        line = dict(file=frame_name(i), seeds=[seeds[segment], seeds[(segment + 1) % len(seeds)]], t=t, **after[i])
        line |= {} if before is None else dict(straight=before[i])
        lines.append(json.dumps(line | record, allow_nan=False) + "\n")
    with atomic_output(outdir / "path.jsonl") as tmp:
        tmp.write_text("".join(lines))


if __name__ == "__main__":
    main()
