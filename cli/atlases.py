"""Building atlases from commands, with progress; the cache of the small ones."""

import hashlib
import json

import click

from cli.progress import with_progress
from dnnlib_compat.download import cache_folder
from latent_plugins import atlas as atlases
from latent_plugins import distributed


def build_with_progress(generator, path, settings):
    """`atlas.build` that shows progress, rate and time left, by all processes of the command together.

    They take turns with the missing shards, each written by the process that computed it: what a dead process leaves
    undone is done by the next start, by however many there are then. The result is that of a single process.
    """
    total = settings.candidates * len(settings.classes or (None,))
    click.echo(f"Atlas of {total} candidates in space {settings.space} ({settings.domain} domain): {path}")

    def prepare():
        claimed = atlases.claim(path, settings)
        if claimed.method == "shared":
            click.echo(f"Learning a basis of {claimed.basis} directions from {claimed.labels} latents...")
        atlases.write_basis(generator, path, claimed)
        return claimed

    claimed = distributed.leader_first(prepare)
    missing = distributed.from_leader(atlases.missing_shards(path, claimed))
    rows = sum(stop - start for _, _, start, stop in missing)
    if rows < total:
        click.echo(f"{total - rows} candidates are there already")
    mine = missing[distributed.rank() :: distributed.world()]
    sizes = [stop - start for _, _, start, stop in mine]
    of = f" of process 1 of {distributed.world()}" if distributed.world() > 1 else ""
    for shard in with_progress(mine, sizes, f"candidates{of}"):
        atlases.write_shard(generator, path, claimed, shard)
    distributed.gather(None)  # everybody has written
    return atlases.open_atlas(path)


def cached_atlas_path(settings):
    """The folder of the cache for an atlas with these settings."""
    fields = {name: value for name, value in vars(settings).items() if name != "max_memory"}
    for name in ("oversample", "iterations", "basis", "labels"):  # what other methods do not have leaves no trace
        if fields[name] is None:
            del fields[name]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    space = settings.space.replace(":", "-")
    return cache_folder("atlases") / f"{settings.network}-{space}-{digest}"


def cached_atlas(generator, settings):
    """The atlas with these settings from the cache, built on first use, by all processes of the command together."""
    path = cached_atlas_path(settings)

    def finished():
        try:
            return atlases.open_atlas(path)
        except atlases.AtlasError:
            return None

    found = finished()
    together = distributed.from_leader(found is not None)  # one answer for everybody, whoever writes meanwhile
    return (found or finished()) if together else build_with_progress(generator, path, settings)
