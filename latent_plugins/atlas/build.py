"""Computing an atlas, shard by shard.

Every file is written under a temporary name and renamed, so that a build can stop anywhere and go on later; since the
shards and the rows computed together are fixed at the start, the result is the same to the last byte. Every file
carries a checksum: a build computes anew what is damaged, everybody else names it.
"""

import contextlib
import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import torch

from dnnlib_compat.checksums import ChecksumError, read_npy, sealed_json, write_npy
from dnnlib_compat.errors import reading, what
from dnnlib_compat.locks import folder_locked
from dnnlib_compat.util import atomic_output, is_leftover, remove_leftovers
from latent_plugins.atlas.settings import (
    BASIS_LABELS,
    FORMAT,
    WITH_BASIS,
    AtlasError,
    candidates,
    read_settings,
    shard_files,
    shard_map,
)
from latent_plugins.atlas.shards import computed_rows
from latent_plugins.importance.weights import log_volume
from latent_plugins.randomness import Stream, integer_key
from latent_plugins.volume.defaults import default_method
from latent_plugins.volume.predictor import PredictorError, fit, load_predictor
from latent_plugins.volume.predictor.methods import MIN_SPEARMAN as MIN_SPEARMAN  # commands know it from here
from latent_plugins.volume.spectrum import METHODS, spectrum
from latent_plugins.volume.spectrum.shared import basis_of, mean_metric

BASIS_FILE = "basis.npy"
PREDICTOR_FILE = "predictor.npz"
BESIDE = 1 << 60  # turns the seed of the candidates into that of the latents that something is learned from
AGAIN = "run build_atlas again, which computes it anew"


def missing_shards(path, settings):
    """The entries of `shard_files` that are not there yet."""
    return [shard for shard in shard_files(settings) if not (Path(path) / shard[0]).exists()]


def read_rows(path, settings, rows=None, columns=None):
    """The array float32 [rows, columns] in a file of an atlas; None: any number of them.

    Raises AtlasError when it is damaged, OSError when it cannot be read.
    """
    with reading(path, AtlasError):
        try:
            found = read_npy(path, required=settings.format == FORMAT)
        except FileNotFoundError:
            raise
        except Exception as error:  # NumPy raises many kinds on damaged files
            text = str(error) if isinstance(error, ChecksumError) else what(error)
            raise AtlasError(f"{path}: damaged ({text}); {AGAIN}") from None
        wanted = (rows or len(found), columns or found.shape[-1]) if found.ndim == 2 else None
        if found.dtype != np.float32 or found.shape != wanted:
            raise AtlasError(f"{path}: damaged (its shape is {found.shape}); {AGAIN}")
        return found


def read_shard(path, settings, shard):
    """The rows of an entry of `shard_files`. Raises AtlasError when it is damaged, OSError when it is not there."""
    name, _, start, stop = shard
    return read_rows(Path(path) / name, settings, stop - start, 2 if settings.predicted else settings.top_k)


def remove_damaged(generator, path, settings):
    """Remove what is damaged in the folder of an atlas, with a warning, so that a build computes it anew."""
    path = Path(path)
    if settings.method in WITH_BASIS:
        _remove_if(AtlasError, path / BASIS_FILE, lambda: read_basis(path, settings))
    if settings.predicted:
        _remove_if(PredictorError, path / PREDICTOR_FILE, lambda: load_predictor(path / PREDICTOR_FILE))
    if settings.predicted and not (path / PREDICTOR_FILE).exists():
        labels = label_settings(generator, settings)
        for shard in label_shards(generator, settings):
            _remove_if(AtlasError, path / shard[0], lambda shard=shard: read_shard(path, labels, shard))
    for shard in shard_files(settings):
        _remove_if(AtlasError, path / shard[0], lambda shard=shard: read_shard(path, settings, shard))


def _remove_if(error, file, read):
    try:
        if file.exists():
            read()
    except error as problem:
        warnings.warn(f"{str(problem).removesuffix(AGAIN)} it is computed anew", stacklevel=3)
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def building(path, settings, waiting=None):
    """Hold the folder of an atlas for a build; yields its settings, as `claim`.

    Another build of the same folder goes first, and `waiting()` is called; what it has computed is there then.
    """
    check_claim(path, settings)
    Path(path).mkdir(parents=True, exist_ok=True)
    with folder_locked(path, waiting):
        remove_leftovers(path)
        yield claim(path, settings)


def label_settings(generator, settings):
    """AtlasSettings of the spectra that a predictor learns from: at latents beside the atlas's candidates."""
    classes = settings.classes or (None,)
    method = default_method(shard_map(generator, settings, classes[0]), settings.top_k)
    beside = dict(seed=settings.seed ^ BESIDE, candidates=-(-settings.labels // len(classes)))
    return dataclasses.replace(settings, **beside).by(METHODS[method]())


def label_shards(generator, settings):
    """The files of the spectra that a predictor learns from, as entries of `shard_files`; none for other methods."""
    if not settings.predicted:
        return []
    shards = shard_files(label_settings(generator, settings))
    return [(f"labels-{name}", *rest) for name, *rest in shards]


def missing_labels(generator, path, settings):
    """The entries of `label_shards` that are needed and not there yet."""
    if (Path(path) / PREDICTOR_FILE).exists():
        return []
    return [shard for shard in label_shards(generator, settings) if not (Path(path) / shard[0]).exists()]


def write_labels(generator, path, settings, shard):
    """Compute one entry of `label_shards` and write it."""
    name, label, start, stop = shard
    save_array(Path(path) / name, compute_shard(generator, label_settings(generator, settings), label, start, stop))


def write_predictor(generator, path, settings, *, watch=iter):
    """Train and write the predictor of an atlas, if its method needs one and it is not there yet.

    Raises ValueError when too few of the labels are usable.
    """
    target = Path(path) / PREDICTOR_FILE
    if not settings.predicted or target.exists():
        return
    labels, basis = label_settings(generator, settings), read_basis(path, settings)
    inputs, volumes = [], []
    for name, label, start, stop in label_shards(generator, settings):
        inputs.append(inputs_of(generator, settings, labels, label, start, stop, basis))
        volumes.append(log_volume(read_shard(path, labels, (name, label, start, stop))))
    # Classes take turns, so that each has its part of what is held out.
    order = np.argsort(np.concatenate([np.arange(len(part)) for part in volumes]), kind="stable")
    predictor, found = fit(torch.cat(inputs)[order], np.concatenate(volumes)[order], seed=settings.seed, watch=watch)
    predictor.save(target, found)


def inputs_of(generator, settings, labels, label, start, stop, basis):
    """`predictor_inputs` of candidates of the settings `labels`."""
    space_map = shard_map(generator, settings, label)
    x = entered(space_map, labels, label, np.arange(start, stop))
    return settings.made_by.inputs(space_map, x, basis=basis, max_memory=settings.max_memory)


def check_predictor(path, settings, min_spearman):
    """The Agreement of an atlas's predictor, or None where its method has none.

    Raises AtlasError when its rank correlation with held-out volumes is below `min_spearman`.
    """
    if not settings.predicted:
        return None
    _, found = load_predictor(Path(path) / PREDICTOR_FILE)
    if not found.spearman >= min_spearman:
        raise AtlasError(
            f"{path}: the predictor's rank correlation with {found.rows} held-out volumes is {found.spearman:.3f}, "
            f"below --min-spearman={min_spearman:g}: give more --labels (those there are kept), "
            f"{settings.made_by.remedy}, or --method=subspace"
        )
    return found


def predict_shard(generator, path, settings, label, start, stop):
    """Predicted log-volumes and their standard deviations, float32 [stop − start, 2], of candidates of a class."""
    predictor, _ = load_predictor(Path(path) / PREDICTOR_FILE)
    inputs = inputs_of(generator, settings, settings, label, start, stop, read_basis(path, settings))
    return torch.stack(predictor(inputs), dim=1).float().numpy()


def computed_volumes(generator, settings, label, indices):
    """Log-volumes float64 [len(indices)], computed as those that a predictor learns from, of candidates of a class."""
    labels = dataclasses.replace(label_settings(generator, settings), seed=settings.seed)
    return log_volume(spectra_of(generator, labels, label, np.asarray(indices)))


def entered(space_map, settings, label, indices):
    """The map's input at candidates of a class."""
    z = candidates(settings, indices, label)
    with torch.no_grad():
        return space_map.enter(z.to(next(space_map.generator.parameters()).device))


def compute_shard(generator, settings, label, start, stop, basis=None):
    """Singular values float32 [stop − start, top_k] of the candidates `start` to `stop` of a class.

    basis: for methods that learn one.
    """
    return spectra_of(generator, settings, label, np.arange(start, stop), basis)


def spectra_of(generator, settings, label, indices, basis=None):
    """Singular values float32 [len(indices), top_k] of candidates of a class, as `compute_shard`."""
    space_map = shard_map(generator, settings, label)
    x = entered(space_map, settings, label, indices)
    # The same random directions for the whole atlas: volumes of different candidates must be comparable.
    rng = torch.Generator().manual_seed(integer_key(0, seed=settings.seed, stream=Stream.PROJECTION))
    options = dict(generator=rng, basis=basis, max_memory=settings.max_memory)
    options["precision"] = settings.precision or "float32"
    sigma = spectrum(space_map, x, top_k=settings.top_k, method=settings.made_by, **options)
    return sigma.cpu().numpy()


def learn_basis(generator, settings):
    """The basis of an atlas (see `shared_basis`), float32: of latents beside its candidates, of all its classes."""
    beside = dataclasses.replace(settings, seed=settings.seed ^ BESIDE)
    classes = settings.classes or (None,)
    learned_from = min(settings.labels, BASIS_LABELS) if settings.predicted else settings.labels
    each = -(-learned_from // len(classes))
    total = 0
    for label in classes:
        space_map = shard_map(generator, settings, label)
        x = entered(space_map, beside, label, np.arange(each))
        total = total + mean_metric(space_map, x, settings.basis, max_memory=settings.max_memory)
    return basis_of(space_map, total, settings.basis).cpu().numpy()


def write_shard(generator, path, settings, shard):
    """Compute one entry of `shard_files` and write it."""
    name, label, start, stop = shard
    if settings.predicted:
        rows = predict_shard(generator, path, settings, label, start, stop)
    else:
        rows = compute_shard(generator, settings, label, start, stop, read_basis(path, settings))
    save_array(Path(path) / name, rows)


def read_basis(path, settings):
    """The basis of an atlas, or None where its method has none."""
    if settings.method not in WITH_BASIS:
        return None
    return torch.tensor(read_rows(Path(path) / BASIS_FILE, settings))


def write_basis(generator, path, settings):
    """Learn and write what all shards of an atlas share, if its method needs that and it is not there yet."""
    if settings.method in WITH_BASIS and not (Path(path) / BASIS_FILE).exists():
        save_array(Path(path) / BASIS_FILE, learn_basis(generator, settings))


def save_array(path, array):
    """Write an array as `.npy` with its checksum, atomically."""
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        write_npy(file, array)


def claim(path, settings):
    """Make `path` the folder of an atlas with these settings, or check that it already is; the settings to go on with.

    Raises AtlasError when the folder holds an atlas with other settings, or other files.
    """
    path = Path(path)
    existing = check_claim(path, settings)
    if existing is None:
        path.mkdir(parents=True, exist_ok=True)
        write_settings(path, settings)
        return settings
    if existing.differences(settings):
        return more_labels(path, existing, settings)
    # Where the detector comes from is the user's to say, not the folder's.
    return dataclasses.replace(existing, detector=settings.detector)


def check_claim(path, settings):
    """The settings of the atlas that is in a folder already, None where there is none. Raises AtlasError as `claim`."""
    path = Path(path)
    if (path / "atlas.json").exists():
        existing = read_settings(path)
        differing = existing.differences(settings)
        if differing and not (differing == ["labels"] and extensible(path, existing, settings)):
            name = differing[0]
            raise AtlasError(
                f"{path} holds an atlas with another {name} ({existing.values().get(name)}, wanted "
                f"{settings.values().get(name)}): choose another folder, or remove this one"
            )
        return existing
    if path.exists() and any(not is_leftover(file.name) for file in path.iterdir()):
        raise AtlasError(f"{path} is a folder with other files in it: choose an empty or a new one")
    return None


def write_settings(path, settings):
    fields = settings.fields()
    fields = sealed_json(fields) if settings.format == FORMAT else fields
    with atomic_output(Path(path) / "atlas.json") as tmp:
        tmp.write_text(json.dumps(fields, indent=1) + "\n")


def extensible(path, existing, settings):
    """Whether a predictor's atlas can go on with more labels: none of its volumes has been predicted."""
    fresh = len(missing_shards(path, settings)) == len(shard_files(settings))
    return settings.predicted and fresh and existing.labels < settings.labels


def more_labels(path, existing, settings):
    """Go on with more labels, where no volume has been predicted yet: what is complete stays."""
    settings = dataclasses.replace(settings, format=existing.format)
    full = computed_rows(settings)
    stale = []
    for file in Path(path).glob("labels-*.npy"):
        try:
            if len(read_rows(file, settings, None, settings.top_k)) < full:
                stale.append(file)
        except AtlasError:  # it is computed anew
            stale.append(file)
    stale.append(Path(path) / PREDICTOR_FILE)
    if existing.labels < BASIS_LABELS:
        stale.append(Path(path) / BASIS_FILE)
    for file in stale:
        file.unlink(missing_ok=True)
    write_settings(path, settings)
    return settings
