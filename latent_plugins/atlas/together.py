"""Building an atlas by all processes of a command together, and the cache of the small ones."""

import contextlib
import hashlib
import json

from dnnlib_compat.download import cache_folder
from latent_plugins import distributed
from latent_plugins.atlas import build as atlas_build
from latent_plugins.atlas import open_atlas
from latent_plugins.atlas.settings import HOW, WITH_BASIS, AtlasError
from latent_plugins.watching import SILENT

WAITING = "Another process is building {}; this one goes on when that has ended..."
# Settings that only some methods have: what a method does not have leaves no trace in the name of a cached atlas.
OPTIONAL = ("oversample", "iterations", "basis", "labels", "precision")


def build_together(generator, path, settings, min_spearman, watch=SILENT):
    """`Atlas.build` by all processes of a command together, which a Watch listens to.

    They take turns with the missing shards, each written by the process that computed it: what a dead process leaves
    undone is done by the next start, by however many there are then. The result is that of a single process.
    """
    total = settings.candidates * len(settings.classes or (None,))
    watch.say(f"Atlas of {total} candidates in space {settings.space} ({settings.domain} domain): {path}")

    with contextlib.ExitStack() as held:
        if distributed.rank() == 0:
            waiting = lambda: watch.say(WAITING.format(path))  # noqa: E731
            held.enter_context(atlas_build.building(path, settings, waiting=waiting))
        distributed.gather(None)
        return _build_held(generator, path, settings, min_spearman, watch)


def _build_held(generator, path, settings, min_spearman, watch):
    """What `build_together` does while the folder is held."""

    def prepare():
        claimed = atlas_build.claim(path, settings)
        if distributed.rank() == 0:
            atlas_build.remove_damaged(generator, path, claimed)
        if claimed.method in WITH_BASIS:
            watch.say(f"Learning a basis for {claimed.basis} directions...")
        atlas_build.write_basis(generator, path, claimed)
        return claimed

    claimed = distributed.leader_first(prepare)

    def write_all(missing, shards, things, write):
        _write_shards(missing, shards, things, lambda shard: write(generator, path, claimed, shard), watch)

    if claimed.predicted:
        labels, missing = (
            atlas_build.label_shards(generator, claimed),
            atlas_build.missing_labels(generator, path, claimed),
        )
        write_all(missing, labels, "labels", atlas_build.write_labels)
        _learn(generator, path, claimed, min_spearman, watch)
    shards, missing = atlas_build.shard_files(claimed), atlas_build.missing_shards(path, claimed)
    write_all(missing, shards, "candidates", atlas_build.write_shard)
    return open_atlas(path)


def _write_shards(missing, shards, things, write, watch):
    """Each process writes its part of the missing shards; back when all are there."""
    missing = distributed.from_leader(missing)
    rows, total = (sum(stop - start for _, _, start, stop in part) for part in (missing, shards))
    if 0 < rows < total:
        watch.say(f"{total - rows} {things} are there already")
    mine = missing[distributed.rank() :: distributed.world()]
    sizes = [stop - start for _, _, start, stop in mine]
    of = f" of process 1 of {distributed.world()}" if distributed.world() > 1 else ""
    for shard in watch.items(mine, sizes, things + of):
        write(shard)
    distributed.gather(None)  # everybody has written


def _learn(generator, path, settings, min_spearman, watch):
    """The first process trains the predictor; all refuse it when it is too poor."""
    if distributed.rank() == 0:
        show = lambda steps: watch.items(steps, [1] * len(steps), "training steps")  # noqa: E731
        atlas_build.write_predictor(generator, path, settings, watch=show)
    distributed.gather(None)
    watch.say(f"predictor: {atlas_build.check_predictor(path, settings, min_spearman)}")


def cached_atlas_path(settings):
    """The folder of the cache for an atlas with these settings."""
    fields = {name: value for name, value in vars(settings).items() if name not in HOW}
    fields["format"] = 1  # as in the names of folders that are there already
    for name in OPTIONAL:
        if fields[name] is None:
            del fields[name]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    space = settings.space.replace(":", "-")
    return cache_folder("atlases") / f"{settings.network}-{space}-{digest}"


def cached_atlas(generator, settings, min_spearman, watch=SILENT):
    """The atlas with these settings from the cache, built on first use, by all processes of the command together."""
    path = cached_atlas_path(settings)

    def finished():
        try:
            return open_atlas(path)
        except AtlasError:
            return None

    found = finished()
    together = distributed.from_leader(found is not None)  # one answer for everybody, whoever writes meanwhile
    return (found or finished()) if together else build_together(generator, path, settings, min_spearman, watch)
