"""Atlas: candidates and the singular values of the map at each of them, on disk.

An atlas is a folder: `atlas.json` (what was computed, of which network) and one `.npy` file of float32 singular values
[rows, top_k] a shard, with a checksum behind it; of the methods `hybrid` and `amortized` [rows, 2], the predicted
log-volume and its standard deviation, with the predictor (`predictor.npz`) and the spectra that it learned from
(`labels-….npy`) beside them. Latents are not stored: candidate i is a pure function of the atlas seed and i.
"""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dnnlib_compat.array_archives import open_arrays
from latent_plugins.atlas import build as atlas_build
from latent_plugins.atlas.record import settings_record
from latent_plugins.atlas.settings import (
    AtlasError,
    candidates,
    make_settings,
    number_of_shards,
    read_settings,
    shard_files,
)
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.importance.weights import log_volume as log_volumes

if TYPE_CHECKING:
    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.atlas.record import AtlasSettings

KNOWN = ("damaged", "not an atlas", "refused", "its ")  # how messages on published files begin


# Of the settings of an atlas, what its record holds.
RECORDED = ("space", "domain", "candidates", "base", "radius", "method", "projection", "oversample", "iterations")
RECORDED += ("basis", "labels", "precision", "compile", "detector", "layer", "max_memory")


class Atlas:
    """A finished table of candidates and spectra; per class for conditional networks.

    Attributes: `settings` (AtlasSettings, or None for a published `.npz` file), `z_dim`, `top_k` (singular values
    stored), `classes` (tuple or None). Every method takes `label`, a class index, for conditional atlases.

    >>> import tempfile, latent_plugins as lp
    >>> atlas = lp.Atlas.build(lp.load("mnist32"), tempfile.mkdtemp(), space="style", candidates=20)
    >>> atlas.spectra().shape, atlas.log_volume(15).shape, atlas.latents([3, 7]).shape
    ((20, 63), (20,), torch.Size([2, 64]))
    """

    def __init__(
        self,
        path: str | os.PathLike,
        tables: dict[int | None, np.ndarray],
        *,
        settings: AtlasSettings | None = None,
        latents: dict[int | None, np.ndarray] | None = None,
    ) -> None:
        self.path = path
        self.settings = settings
        self._tables = tables  # {label or None: float32 [N, k]}; of predicted volumes [N, 2]
        self._latents = latents  # {label or None: float32 [N, z_dim]}, or None when a function of the settings
        self.top_k = settings.top_k if settings else next(iter(tables.values())).shape[1]
        self.z_dim = settings.z_dim if settings else next(iter(latents.values())).shape[1]
        self.classes = None if None in tables else tuple(tables)

    @staticmethod
    def build(
        generator: Generator,
        path: str | os.PathLike,
        *,
        min_spearman: float = atlas_build.MIN_SPEARMAN,
        **settings: Any,
    ) -> Atlas:
        """`make_settings` and `build` in one call."""
        return build_alone(generator, path, make_settings(generator, **settings), min_spearman=min_spearman)

    @staticmethod
    def open(path: str | os.PathLike) -> Atlas:
        """`open_atlas`."""
        return open_atlas(path)

    def first(self, n: int) -> Atlas:
        """The Atlas of its first n candidates (of each class): what a build of n gives, but for rounding.

        Candidates are functions of the seed and their number. The method and its settings stay this atlas's, though a
        build of n may choose others where nobody names one. Raises ValueError where there are not so many.
        """
        if n == min(map(len, self._tables.values())):
            return self
        if not 0 < n < min(map(len, self._tables.values())):
            raise ValueError(f"the atlas has {min(map(len, self._tables.values()))} candidates, not {n}")
        tables = {label: table[:n] for label, table in self._tables.items()}
        latents = self._latents and {label: rows[:n] for label, rows in self._latents.items()}
        settings = self.settings and dataclasses.replace(self.settings, candidates=n)
        return Atlas(self.path, tables, settings=settings, latents=latents)

    def record(self) -> dict[str, Any]:
        """{name: value} of what decides the candidates and their volumes; of a published file nothing is known."""
        if self.settings is None:
            return {}
        found = settings_record(self.settings, RECORDED)
        return dict(found, atlas_seed=self.settings.seed)

    @property
    def predicted(self) -> bool:
        """Whether the volumes are a predictor's, known for one top_k alone."""
        return self.settings is not None and self.settings.predicted

    def spectra(self, label: int | None = None) -> np.ndarray:
        """Singular values float32 [N, top_k], descending, candidate by candidate. ValueError of predicted volumes."""
        if self.predicted:
            raise ValueError(f"{self.path}: an atlas of predicted volumes, it holds no singular values")
        return self._tables[self._check(label)]

    def uncertainty(self, label: int | None = None) -> np.ndarray:
        """Standard deviations float64 [N] in nats of predicted log-volumes; zeros where they were computed."""
        table = self._tables[self._check(label)]
        return table[:, 1].astype(np.float64) if self.predicted else np.zeros(len(table))

    def latents(self, indices: Sequence[int] | np.ndarray, label: int | None = None) -> torch.Tensor:
        """The z of candidates: float32 tensor [len(indices), z_dim]."""
        label = self._check(label)
        indices = np.asarray(indices, dtype=np.int64)
        if self._latents is not None:
            return torch.tensor(self._latents[label][indices])
        return candidates(self.settings, indices, label)

    def log_volume(self, top_k: int | None = None, label: int | None = None) -> np.ndarray:
        """Σ log(σ_i + ε) over the `top_k` largest singular values, computed or predicted: float64 [N].

        NaN marks candidates whose spectrum is zero or not finite; how many there are is warned about. Raises
        ValueError when the atlas stores fewer singular values, or predicted the volumes of another top_k.
        """
        top_k = self.top_k if top_k is None else top_k
        if self.predicted and top_k != self.top_k:
            raise ValueError(f"top-k {top_k}: the predicted volumes of the atlas are those of top-k {self.top_k}")
        if not 1 <= top_k <= self.top_k:
            raise ValueError(f"top-k {top_k} is outside 1 to {self.top_k}, the singular values that the atlas stores")
        if self.predicted:
            volume = self._tables[self._check(label)][:, 0].astype(np.float64)
        else:
            volume = log_volumes(self.spectra(label)[:, :top_k])
        dropped = int(np.isnan(volume).sum())
        if dropped:
            text = f"{dropped} of {len(volume)} candidates have a zero or non-finite spectrum and are dropped"
            warnings.warn(text, stacklevel=2)
        return volume

    def check_network(self, generator: Generator) -> None:
        """Raise AtlasError when the atlas was made with another network."""
        if self.settings is not None and self.settings.network != fingerprint(generator):
            raise AtlasError(f"{self.path}: an atlas of another network, build one for this network")
        if self.z_dim != generator.z_dim:
            raise AtlasError(f"{self.path}: latents of {self.z_dim} dimensions, the network takes {generator.z_dim}")
        if (self.classes is None) != (generator.c_dim == 0):
            kind = "an unconditional" if self.classes is None else "a conditional"
            raise AtlasError(f"{self.path}: an atlas of {kind} network, the network given is not")

    def _check(self, label):
        if self.classes is None and label is not None:
            raise ValueError(f"class {label} was asked for, but the atlas is of an unconditional network")
        if label not in self._tables:
            known = ", ".join(map(str, self.classes))
            raise ValueError(f"the atlas has no class {label}; its classes: {known}")
        return label


def build_alone(generator, path, settings, *, min_spearman=atlas_build.MIN_SPEARMAN):
    """Compute what is missing of the atlas at `path` and return it opened.

    Goes on where an interrupted build stopped, computes anew what is damaged, and waits while another process builds
    there. min_spearman: the least rank correlation on held-out latents that a
    predictor must reach. Raises AtlasError when the folder holds an atlas with other settings, or the predictor is too
    poor.
    """
    with atlas_build.building(path, settings) as settings:
        atlas_build.remove_damaged(generator, path, settings)
        atlas_build.write_basis(generator, path, settings)
        for shard in atlas_build.missing_labels(generator, path, settings):
            atlas_build.write_labels(generator, path, settings, shard)
        atlas_build.write_predictor(generator, path, settings)
        atlas_build.check_predictor(path, settings, min_spearman)
        for shard in atlas_build.missing_shards(path, settings):
            atlas_build.write_shard(generator, path, settings, shard)
        return open_atlas(path)


def open_atlas(path):
    """The atlas in a folder, or in a `.npz` file of the papers' authors.

    Raises AtlasError when it is unfinished, damaged, or no atlas; OSError when it cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return _open_published(path)
    settings = read_settings(path)
    total, there = number_of_shards(settings), sum(1 for _ in path.glob("*shard*.npy"))
    if there < total:  # before so many names are made
        raise AtlasError(f"{path}: unfinished ({there} of {total} shards); run build_atlas again to go on")
    shards = shard_files(settings)
    missing = atlas_build.missing_shards(path, settings)
    if missing:
        done = len(shards) - len(missing)
        raise AtlasError(f"{path}: unfinished ({done} of {len(shards)} shards); run build_atlas again to go on")
    parts = {label: [] for label in settings.classes or (None,)}
    for shard in shards:
        parts[shard[1]].append(atlas_build.read_shard(path, settings, shard))
    return Atlas(path, {label: np.concatenate(rows) for label, rows in parts.items()}, settings=settings)


def _open_published(path):
    """An `.npz` with `latents` [..., N, z_dim], `svds` [..., N, k] and, sometimes, one-hot `labels` [..., N, classes].

    Extra leading axes are flattened; rows of zeros are unfinished work and are left out.
    """
    try:
        with open_arrays(path, error=AtlasError) as file:
            missing = [name for name in ("latents", "svds") if name not in file]
            if missing:
                raise AtlasError(f"{path}: not an atlas, it has no array {' and '.join(map(repr, missing))}")
            names = [name for name in ("latents", "svds", "labels") if name in file]
            for name in names:
                shape, dtype = file.shapes[name]
                if len(shape) < 2 or dtype.kind not in "fiub" or not math.prod(shape):
                    raise AtlasError(f"{path}: damaged, its {name} are {list(shape)} of {dtype}, not rows of numbers")
            arrays = {name: file.read(name) for name in names}
    except AtlasError as error:
        text = str(error).removeprefix(f"{path}: ")
        raise AtlasError(
            f"{path}: {text if text.startswith(KNOWN) else f'not an atlas, or damaged ({text})'}"
        ) from None
    flat = {name: array.reshape(-1, array.shape[-1]).astype(np.float32) for name, array in arrays.items()}
    if len({len(array) for array in flat.values()}) > 1:
        sizes = ", ".join(f"{len(array)} {name}" for name, array in flat.items())
        raise AtlasError(f"{path}: its arrays have different lengths ({sizes})")
    finished = flat["svds"].any(axis=1)
    if not finished.any():
        raise AtlasError(f"{path}: every row of its svds is zero, nothing was computed")
    latents, sigma = flat["latents"][finished], -np.sort(-flat["svds"][finished], axis=1)
    if "labels" not in flat:
        return Atlas(path, {None: sigma}, latents={None: latents})
    label = flat["labels"][finished].argmax(axis=1)
    return Atlas(
        path,
        {int(k): sigma[label == k] for k in np.unique(label)},
        latents={int(k): latents[label == k] for k in np.unique(label)},
    )
