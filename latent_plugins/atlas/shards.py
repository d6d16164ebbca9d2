"""The files that an atlas is divided into, and the maps and candidates that their rows belong to."""

import functools
from pathlib import Path

import torch

from dnnlib_compat.detectors import file_digest, load_detector
from dnnlib_compat.errors import quoted, shown
from dnnlib_compat.pretrained import detectors
from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.atlas.record import AtlasError
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum.compiled import CompiledMap

# Rows of a shard: what an interruption loses at most. Pixels cost a thousand times what styles and predictions do. Part
# of the format.
CHEAP_SHARD_ROWS, SHARD_ROWS = 1000, 50


def one_hot(indices, n):
    """Float32 labels [len(indices), n]."""
    return torch.eye(n)[list(indices)]


def shard_rows(settings):
    """How many rows a full shard of an atlas has."""
    return CHEAP_SHARD_ROWS if settings.predicted else computed_rows(settings)


def computed_rows(settings):
    """How many rows a full shard of singular values has."""
    return CHEAP_SHARD_ROWS if settings.space == "z:w" else SHARD_ROWS


def number_of_shards(settings):
    """How many files of rows an atlas is divided into."""
    return -(-settings.candidates // shard_rows(settings)) * len(settings.classes or (None,))


def shard_files(settings):
    """[(file name, class index or None, first row, last row + 1)] of an atlas, in order."""
    shards, rows = [], shard_rows(settings)
    for label in settings.classes or (None,):
        prefix = "" if label is None else f"class{label:04d}-"
        for number, start in enumerate(range(0, settings.candidates, rows)):
            stop = min(start + rows, settings.candidates)
            shards.append((f"{prefix}shard{number:05d}.npy", label, start, stop))
    return shards


def shard_map(generator, settings, label):
    """The SpaceMap of a class of an atlas, or its CompiledMap."""
    return compiled_map(generator, settings, label) if settings.compile else plain_map(generator, settings, label)


@functools.lru_cache(maxsize=4)
def compiled_map(generator, settings, label):
    """The CompiledMap of a class of an atlas: one for all shards, since compiling takes long."""
    return CompiledMap(plain_map(generator, settings, label))


def plain_map(generator, settings, label):
    """The SpaceMap of a class of an atlas. Raises AtlasError when the feature detector's file has changed."""
    c = None if label is None else one_hot([label], settings.c_dim)
    options = dict(c=c, psi=settings.psi, cutoff=settings.cutoff, domain=settings.domain)
    if settings.detector is not None:
        detector = recorded_detector(settings, next(generator.parameters()).device)
        if detector.digest != settings.features:
            raise AtlasError(f"{settings.detector}: not the feature detector that the atlas was begun with")
        options.update(detector=detector, layer=settings.layer)
    return get_space(generator, settings.space, **options)


def opened_detector(source, device):
    """The Detector of a feature space that the user has named, read once."""
    ASKED.add(named_source(source))
    return read_once(source, device)


@functools.lru_cache(maxsize=4)
def read_once(source, device):
    return load_detector(source, device=device)


ASKED = set()  # detectors that this process was asked for


def recorded_detector(settings, device):
    """The Detector that an atlas names, which may be somebody else's atlas.

    An address in it is not followed unless the user has named it too, and of files only that with the digest in the
    atlas is read. Raises AtlasError for what is not, and says how to name it.
    """
    source = settings.detector
    if source not in detectors() and source not in ASKED:
        if "://" in source or not Path(source).is_file():
            raise AtlasError(
                f"the atlas names its feature detector {quoted(source)}, which is not on this machine and is not "
                "followed unasked: fetch it and give it with --detector=FILE"
            )
        if file_digest(source) != settings.features:
            raise AtlasError(f"{shown(source)}: not the feature detector that the atlas was begun with")
    return read_once(source, device)


def named_source(source):
    """A short name as it is, a file as its absolute path."""
    return source if source in detectors() or not Path(source).exists() else str(Path(source).resolve())


def candidates(settings, indices, label):
    """The latents [len(indices), z_dim] of candidates of a class."""
    return candidate_latents(
        indices, settings.z_dim, seed=settings.seed, base=settings.base, radius=settings.radius, label=label
    )
