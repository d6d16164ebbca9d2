"""True volumes of a few candidates of an atlas whose volumes were predicted."""

from pathlib import Path

import numpy as np

from dnnlib_compat.util import atomic_output
from latent_plugins.atlas_build import computed_volumes
from latent_plugins.weights import gumbel_order, log_weights

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


def corrected(generator, atlas, volume, rho, n, gumbel, label=None):
    """(log-volumes, log-weights) float64 [N] that draw from the true volumes: NaN and −inf outside a pool.

    The pool are the first n candidates in the weighted random order of the predicted `volume` [N] and noise `gumbel`
    [N]; within it, weights are exp(ρ (true − predicted)): importance resampling, so that the result follows the true
    volumes as far as the pool reaches. Raises ValueError when n exceeds the usable candidates.
    """
    order = gumbel_order(log_weights(volume, rho), gumbel)
    if n > len(order):
        raise ValueError(f"{n} true volumes are more than the {len(order)} usable candidates of the atlas")
    pool = order[:n]
    true, difference = np.full(len(volume), np.nan), np.full(len(volume), np.nan)
    true[pool] = true_volumes(generator, atlas, pool, label)
    difference[pool] = true[pool] - volume[pool]
    return true, log_weights(difference, rho)


def read_known(path):
    """{candidate: log-volume} of the cache; empty when there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(zip(file["index"].tolist(), file["volume"].tolist()))
    except Exception:  # whatever is wrong with a cache, its content can be computed again
        return {}


def write_known(path, known):
    """Write the cache, unless the folder is not ours to write."""
    index = sorted(known)
    try:
        with atomic_output(path) as tmp, open(tmp, "wb") as file:
            np.savez(file, index=np.array(index), volume=np.array([known[i] for i in index]))
    except PermissionError:
        pass
