"""Building atlases from commands, with progress; the cache of the small ones."""

import hashlib
import json
import sys
import time

import click

from dnnlib_compat.download import cache_folder
from latent_plugins import atlas as atlases


def build_with_progress(generator, path, settings):
    """`atlas.build` that shows progress, rate and time left."""
    total = settings.candidates * len(settings.classes or (None,))
    click.echo(f"Atlas of {total} candidates in space {settings.space} ({settings.domain} domain): {path}")
    settings = atlases.claim(path, settings)
    missing = atlases.missing_shards(path, settings)
    rows = [stop - start for _, _, start, stop in missing]
    if sum(rows) < total:
        click.echo(f"{total - sum(rows)} candidates are there already")
    for shard in with_progress(missing, rows, "candidates"):
        atlases.write_shard(generator, path, settings, shard)
    return atlases.open_atlas(path)


def with_progress(items, sizes, label, every=20):
    """Iterate over `items` of known `sizes` under a progress bar with rate and time left.

    Where the output is no terminal (a log file), a line every so many seconds takes the bar's place.
    """
    start = last = time.monotonic()
    done, total = 0, sum(sizes)
    bar = click.progressbar(length=total, label=label, show_pos=True, show_eta=True, width=24,
                            item_show_func=lambda rate: rate)  # fmt: skip
    with bar:
        for item, size in zip(items, sizes):
            yield item
            done += size
            now = time.monotonic()
            rate = done / max(now - start, 1e-9)
            bar.update(size, f"{rate:.0f}/s")
            if not sys.stdout.isatty() and now - last > every and done < total:
                last = now
                click.echo(f"{done} of {total} {label}, {rate:.0f}/s, {(total - done) / rate:.0f} s left")


def cached_atlas_path(settings):
    """The folder of the cache for an atlas with these settings."""
    fields = {name: value for name, value in vars(settings).items() if name != "max_memory"}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    space = settings.space.replace(":", "-")
    return cache_folder("atlases") / f"{settings.network}-{space}-{digest}"


def cached_atlas(generator, settings):
    """The atlas with these settings from the cache, built on first use."""
    path = cached_atlas_path(settings)
    try:
        return atlases.open_atlas(path)
    except atlases.AtlasError:
        return build_with_progress(generator, path, settings)
