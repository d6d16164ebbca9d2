"""Building atlases from commands, with progress; the cache of the small ones."""

import contextlib
import hashlib
import json

import click

from cli.progress import with_progress
from dnnlib_compat.download import cache_folder
from latent_plugins import atlas_build, distributed
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas_settings import HOW, WITH_BASIS, AtlasError

WAITING = "Another process is building {}; this one goes on when that has ended..."


def build_with_progress(generator, path, settings, min_spearman):
    """`atlas_build.build` that shows progress, rate and time left, by all processes of the command together.

    They take turns with the missing shards, each written by the process that computed it: what a dead process leaves
    undone is done by the next start, by however many there are then. The result is that of a single process.
    """
    total = settings.candidates * len(settings.classes or (None,))
    click.echo(f"Atlas of {total} candidates in space {settings.space} ({settings.domain} domain): {path}")

    with contextlib.ExitStack() as held:
        if distributed.rank() == 0:
            held.enter_context(atlas_build.building(path, settings, waiting=lambda: click.echo(WAITING.format(path))))
        distributed.gather(None)
        return build_together(generator, path, settings, min_spearman)


def build_together(generator, path, settings, min_spearman):
    """What `build_with_progress` does while the folder is held."""

    def prepare():
        claimed = atlas_build.claim(path, settings)
        if distributed.rank() == 0:
            atlas_build.remove_damaged(generator, path, claimed)
        if claimed.method in WITH_BASIS:
            click.echo(f"Learning a basis for {claimed.basis} directions...")
        atlas_build.write_basis(generator, path, claimed)
        return claimed

    claimed = distributed.leader_first(prepare)
    if claimed.predicted:
        labels = atlas_build.label_shards(generator, claimed)
        missing = atlas_build.missing_labels(generator, path, claimed)
        write_together(missing, labels, "labels", lambda each: atlas_build.write_labels(generator, path, claimed, each))
        learn_together(generator, path, claimed, min_spearman)
    shards, missing = atlas_build.shard_files(claimed), atlas_build.missing_shards(path, claimed)
    write_together(missing, shards, "candidates", lambda each: atlas_build.write_shard(generator, path, claimed, each))
    return open_atlas(path)


def write_together(missing, shards, things, write):
    """Each process writes its part of the missing shards; back when all are there."""
    missing = distributed.from_leader(missing)
    rows, total = (sum(stop - start for _, _, start, stop in part) for part in (missing, shards))
    if 0 < rows < total:
        click.echo(f"{total - rows} {things} are there already")
    mine = missing[distributed.rank() :: distributed.world()]
    sizes = [stop - start for _, _, start, stop in mine]
    of = f" of process 1 of {distributed.world()}" if distributed.world() > 1 else ""
    for shard in with_progress(mine, sizes, things + of):
        write(shard)
    distributed.gather(None)  # everybody has written


def learn_together(generator, path, settings, min_spearman):
    """The first process trains the predictor; all refuse it when it is too poor."""

    def watch(steps):
        return with_progress(steps, [1] * len(steps), "training steps")

    if distributed.rank() == 0:
        atlas_build.write_predictor(generator, path, settings, watch=watch)
    distributed.gather(None)
    click.echo(f"predictor: {atlas_build.check_predictor(path, settings, min_spearman)}")


def cached_atlas_path(settings):
    """The folder of the cache for an atlas with these settings."""
    fields = {name: value for name, value in vars(settings).items() if name not in HOW}
    fields["format"] = 1  # as in the names of folders that are there already
    for name in (
        "oversample",
        "iterations",
        "basis",
        "labels",
        "precision",
    ):  # what other methods do not have leaves no trace
        if fields[name] is None:
            del fields[name]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    space = settings.space.replace(":", "-")
    return cache_folder("atlases") / f"{settings.network}-{space}-{digest}"


def cached_atlas(generator, settings, min_spearman):
    """The atlas with these settings from the cache, built on first use, by all processes of the command together."""
    path = cached_atlas_path(settings)

    def finished():
        try:
            return open_atlas(path)
        except AtlasError:
            return None

    found = finished()
    together = distributed.from_leader(found is not None)  # one answer for everybody, whoever writes meanwhile
    return (found or finished()) if together else build_with_progress(generator, path, settings, min_spearman)
