"""Building atlases from commands, with progress; the cache of the small ones."""

import hashlib
import json

import click

from cli.progress import with_progress
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
