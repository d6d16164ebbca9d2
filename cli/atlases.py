"""Building atlases from commands, with progress; the cache of the small ones."""

import hashlib
import json
import time

import click

from dnnlib_compat.download import cache_folder
from latent_plugins import atlas as atlases

# How many singular values make the volume when nobody says: what the papers used for StyleGAN2.
PAPER_TOP_K = {"z:w": 40, "z:pixel": 30, "w:pixel": 30}


def build_with_progress(generator, path, settings):
    """`atlas.build` with a progress bar that tells rate and time left."""
    total = settings.candidates * len(settings.classes or (None,))
    start = time.monotonic()
    click.echo(f"Atlas of {total} candidates in space {settings.space} ({settings.domain} domain): {path}")
    with click.progressbar(length=total, label="candidates", show_pos=True, show_eta=True, width=24,
                           item_show_func=lambda rate: rate) as bar:  # fmt: skip
        position = 0

        def advance(done, total, found):
            nonlocal position
            if position == 0 and found:
                bar.update(found, f"{found} found")
                position = found
            rate = (done - found) / max(time.monotonic() - start, 1e-9)
            bar.update(done - position, f"{rate:.0f}/s")
            position = done

        atlas = atlases.build(generator, path, settings, on_progress=advance)
        bar.update(total - position)
    return atlas


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
