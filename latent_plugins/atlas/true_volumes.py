"""True volumes of a few candidates of an atlas whose volumes were predicted."""

import errno
import warnings
from pathlib import Path

import numpy as np

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.checksums import check_npz, write_npz
from dnnlib_compat.errors import reason, without_advice
from dnnlib_compat.locks import folder_locked
from dnnlib_compat.util import atomic_output
from latent_plugins.atlas.build import computed_volumes
from latent_plugins.importance.resampling import systematic
from latent_plugins.importance.weights import log_weights, normalized
from latent_plugins.randomness import Stream, class_substream, uniforms

CACHE = "true-volumes{}.npz"


def true_volumes(generator, atlas, indices, label=None):
    """The computed log-volumes float64 [len(indices)] of candidates of an atlas of predicted ones.

    They are kept in the atlas's folder, where it can be written. Raises ValueError for an atlas of computed volumes.
    """
    if not atlas.predicted:
        raise ValueError("the volumes of this atlas are computed, not predicted: leave out --true-volumes")
    path = Path(atlas.path) / CACHE.format("" if label is None else f"-class{label:04d}")
    known = read_known(path)
    missing = np.array(sorted(set(map(int, indices)) - known.keys()), dtype=np.int64)
    if len(missing):
        known.update(zip(missing.tolist(), computed_volumes(generator, atlas.settings, label, missing)))
        write_known(path, known)
    return np.array([known[int(i)] for i in indices])


def corrected(generator, atlas, volume, rho, n, label=None):
    """(log-volumes, log-weights) float64 [N] that draw from the true volumes: NaN and −inf outside a pool.

    The pool is a systematic draw of n candidates by the predicted `volume` [N]; a candidate that it holds c times has
    the weight c·exp(ρ (true − predicted)): importance resampling, so that the result follows the true volumes as far
    as the pool reaches. Where n is the number of usable candidates all of them are the pool, and the law is that of the
    true volumes. Raises ValueError when n exceeds them.
    """
    logw = log_weights(volume, rho)
    usable = int(np.isfinite(logw).sum())
    if n > usable:
        raise ValueError(f"{n} true volumes are more than the {usable} usable candidates of the atlas")
    if n == usable:
        pool, expected = np.flatnonzero(np.isfinite(logw)), logw[np.isfinite(logw)]
    else:
        options = dict(seed=atlas.settings.seed, stream=Stream.POOL, substream=class_substream(label))
        u = uniforms([0], 1, **options)[0, 0]
        pool, copies = np.unique(systematic(logw, n, u), return_counts=True)
        expected = np.log(copies)
    true, logits = np.full(len(volume), np.nan), np.full(len(volume), -np.inf)
    true[pool] = true_volumes(generator, atlas, pool, label)
    if not np.isfinite(true[pool]).any():
        raise ValueError("no candidate of the pool has a usable spectrum")
    logits[pool] = np.where(np.isfinite(true[pool]), expected + rho * (true[pool] - volume[pool]), -np.inf)
    return true, normalized(logits)


def read_known(path):
    """{candidate: log-volume} of the cache; empty when there is none or, with a warning, when it is damaged."""
    try:
        with open_arrays(path) as file:
            arrays = check_npz({name: file.read(name) for name in file.shapes}, required=True)
        index, volume = arrays["index"], arrays["volume"]
        if index.dtype.kind != "i" or volume.dtype != np.float64 or index.shape != volume.shape or index.ndim != 1:
            raise ValueError("its arrays are no table of candidates")
        return dict(zip(index.tolist(), volume.tolist()))
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever is wrong with a cache, its content can be computed again
        text = without_advice(reason(error).removeprefix(f"{path}: "))
        warnings.warn(f"{path}: damaged, its volumes are computed again ({text})", stacklevel=2)
        return {}


def write_known(path, known):
    """Add to the cache, beside what others have added meanwhile, unless the folder is not ours to write."""
    try:
        with folder_locked(Path(path).parent):
            known = read_known(path) | known if Path(path).exists() else known
            index = sorted(known)
            with atomic_output(path) as tmp, open(tmp, "wb") as file:
                write_npz(file, dict(index=np.array(index), volume=np.array([known[i] for i in index])))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
