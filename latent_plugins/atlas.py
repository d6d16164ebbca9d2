"""Atlas: candidates and the singular values of the map at each of them, on disk.

An atlas is a folder: `atlas.json` (what was computed, of which network) and one `.npy` file of float32 singular values
[rows, top_k] a shard. Latents are not stored: candidate i is a pure function of the atlas seed and i. Every file is
written under a temporary name and renamed, so that a build can stop anywhere and go on later; since the shards and the
rows computed together are fixed at the start, the result is the same to the last byte.
"""

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import torch

from dnnlib_compat.util import atomic_output
from latent_plugins.candidates import PROJECTION, candidate_latents, integer_key
from latent_plugins.fingerprint import fingerprint
from latent_plugins.spaces import check_space, default_domain, default_space, get_space
from latent_plugins.spectrum import METHODS, spectrum
from latent_plugins.spectrum.shared import basis_of, mean_metric

FORMAT = 1
# Rows of a shard: what an interruption loses at most. Images cost a thousand times what styles do. Part of the format.
SHARD_ROWS = {"z:w": 1000, "z:pixel": 50, "w:pixel": 50}
BASIS_FILE = "basis.npy"
BESIDE = 1 << 60  # turns the seed of the candidates into that of the latents that a basis is learned from
LOG_EPSILON = 1e-12  # keeps the log of a vanishing singular value finite

# Candidates of an atlas that nobody gave a number for: what a couple of minutes on a small machine allow.
DEFAULT_CANDIDATES = {"z:w": 20_000, "z:pixel": 2_000, "w:pixel": 2_000}


class AtlasError(ValueError):
    """An atlas that cannot be used: unfinished, damaged, or made with another network or other settings."""


@dataclasses.dataclass(frozen=True)
class AtlasSettings:
    """Everything that decides an atlas's numbers. `classes` is None for unconditional networks; `candidates` counts
    per class. `max_memory` (bytes, None: automatic) is part of it: it decides which rows are computed together."""

    network: str
    z_dim: int
    c_dim: int
    space: str
    domain: str
    candidates: int
    top_k: int
    base: str
    radius: float
    seed: int
    psi: float
    cutoff: int | None
    method: str
    projection: int | None
    classes: tuple | None
    max_memory: int | None
    format: int = FORMAT
    oversample: int | None = None
    iterations: int | None = None
    basis: int | None = None
    labels: int | None = None

    def differences(self, other):
        """The names of the settings in which two atlases differ in substance (the memory bound aside)."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [name for name in mine if name != "max_memory" and mine[name] != theirs[name]]


def make_settings(
    generator,
    *,
    space=None,
    candidates=None,
    top_k=None,
    domain=None,
    base="prior",
    radius=1.0,
    seed=0,
    psi=1,
    cutoff=None,
    method="exact",
    projection=256,
    oversample=8,
    iterations=1,
    basis=None,
    labels=256,
    classes=None,
    max_memory=None,
):
    """AtlasSettings for a generator, with its defaults filled in and every value checked.

    top_k: singular values stored per candidate, by default all up to 128, of the methods subspace and shared up to 40.
    projection, oversample and iterations, basis (its size, by default 6 more than top_k) and labels (latents that it is
    learned from) are for the methods projected, subspace and shared. classes: class indices of a conditional network,
    by default all. Raises ValueError with the offending value and what would be right.
    """
    name = check_space(generator, space or default_space(generator))
    domain = domain or default_domain(generator)
    if generator.c_dim == 0 and classes is not None:
        raise ValueError("classes were given, but the network is unconditional")
    if generator.c_dim > 0:
        classes = tuple(range(generator.c_dim)) if classes is None else tuple(sorted(set(classes)))
        bad = [k for k in classes if not 0 <= k < generator.c_dim]
        if bad:
            raise ValueError(f"class {bad[0]} is out of range, the network has classes 0 to {generator.c_dim - 1}")
    base = generator.prior if base == "prior" else base
    if base == "uniform" and domain == "sphere":
        raise ValueError("on the sphere the prior is the uniform measure: use base prior, or domain gaussian")
    if not radius > 0:
        raise ValueError(f"the radius of the uniform base measure must be positive, not {radius}")
    if method not in METHODS:
        raise ValueError(f"unknown spectrum method {method!r}; known methods: {', '.join(METHODS)}")
    label = None if generator.c_dim == 0 else one_hot([0], generator.c_dim)
    space_map = get_space(generator, name, c=label, domain=domain)
    limit = min(space_map.max_rank, projection) if method == "projected" else space_map.max_rank
    if top_k is None:
        top_k = min(limit, 40 if method in ("subspace", "shared") else 128)
    if not 1 <= top_k <= limit:
        raise ValueError(f"top-k {top_k} is outside 1 to {limit}, the rank of the space {name} here")
    basis = min(top_k + 6, space_map.in_dim) if basis is None else basis
    if method == "shared" and not top_k <= basis <= space_map.in_dim:
        raise ValueError(f"a basis of {basis} directions is outside {top_k} (top-k) to {space_map.in_dim}")
    if name == "z:w":
        psi, cutoff = 1, None  # truncation scales every volume by the same factor, which no weight sees
    candidates = DEFAULT_CANDIDATES[name] if candidates is None else candidates
    if candidates < 1:
        raise ValueError(f"the number of candidates must be positive, not {candidates}")
    return AtlasSettings(
        network=fingerprint(generator),
        z_dim=generator.z_dim,
        c_dim=generator.c_dim,
        space=name,
        domain=domain,
        candidates=candidates,
        top_k=top_k,
        base=base,
        radius=float(radius) if base == "uniform" else 1.0,
        seed=seed,
        psi=float(psi),
        cutoff=cutoff,
        method=method,
        projection=projection if method == "projected" else None,
        oversample=oversample if method == "subspace" else None,
        iterations=iterations if method == "subspace" else None,
        basis=basis if method == "shared" else None,
        labels=labels if method == "shared" else None,
        classes=classes,
        max_memory=max_memory,
    )


def one_hot(indices, n):
    """Float32 labels [len(indices), n]."""
    return torch.eye(n)[list(indices)]


def shard_files(settings):
    """[(file name, class index or None, first row, last row + 1)] of an atlas, in order."""
    shards, rows = [], SHARD_ROWS[settings.space]
    for label in settings.classes or (None,):
        prefix = "" if label is None else f"class{label:04d}-"
        for number, start in enumerate(range(0, settings.candidates, rows)):
            stop = min(start + rows, settings.candidates)
            shards.append((f"{prefix}shard{number:05d}.npy", label, start, stop))
    return shards


def shard_map(generator, settings, label):
    """The SpaceMap of a class of an atlas."""
    c = None if label is None else one_hot([label], settings.c_dim)
    return get_space(generator, settings.space, c=c, psi=settings.psi, cutoff=settings.cutoff, domain=settings.domain)


def compute_shard(generator, settings, label, start, stop, basis=None):
    """Singular values float32 [stop − start, top_k] of the candidates `start` to `stop` of a class.

    basis: for the method shared.
    """
    device = next(generator.parameters()).device
    space_map = shard_map(generator, settings, label)
    z = _candidates(settings, np.arange(start, stop), label).to(device)
    options = dict(basis=basis, directions=settings.basis) if settings.method == "shared" else {}
    options |= {
        name: getattr(settings, name)
        for name in ("projection", "oversample", "iterations")
        if getattr(settings, name) is not None
    }
    if settings.method in ("projected", "subspace"):
        # The same random directions for the whole atlas: volumes of different candidates must be comparable.
        key = integer_key(0, seed=settings.seed, stream=PROJECTION)
        options["generator"] = torch.Generator().manual_seed(key)
    with torch.no_grad():
        x = space_map.enter(z)
    sigma = spectrum(
        space_map, x, top_k=settings.top_k, method=settings.method, max_memory=settings.max_memory, **options
    )
    return sigma.cpu().numpy()


def learn_basis(generator, settings):
    """The basis of an atlas (see `shared_basis`), float32: of latents beside its candidates, of all its classes."""
    device = next(generator.parameters()).device
    beside = dataclasses.replace(settings, seed=settings.seed ^ BESIDE)
    classes = settings.classes or (None,)
    each = -(-settings.labels // len(classes))
    total = 0
    for label in classes:
        space_map = shard_map(generator, settings, label)
        with torch.no_grad():
            x = space_map.enter(_candidates(beside, np.arange(each), label).to(device))
        total = total + mean_metric(space_map, x, settings.basis, max_memory=settings.max_memory)
    return basis_of(shard_map(generator, settings, classes[0]), total, settings.basis).cpu().numpy()


def build(generator, path, settings):
    """Compute what is missing of the atlas at `path` and return it opened.

    Goes on where an interrupted build stopped. Raises AtlasError when the folder holds an atlas with other settings.
    """
    settings = claim(path, settings)
    write_basis(generator, path, settings)
    for shard in missing_shards(path, settings):
        write_shard(generator, path, settings, shard)
    return open_atlas(path)


def missing_shards(path, settings):
    """The entries of `shard_files` that are not there yet."""
    return [shard for shard in shard_files(settings) if not (Path(path) / shard[0]).exists()]


def write_shard(generator, path, settings, shard):
    """Compute one entry of `shard_files` and write it."""
    name, label, start, stop = shard
    basis = torch.from_numpy(np.load(Path(path) / BASIS_FILE)) if settings.method == "shared" else None
    save_array(Path(path) / name, compute_shard(generator, settings, label, start, stop, basis))


def write_basis(generator, path, settings):
    """Learn and write what all shards of an atlas share, if its method needs that and it is not there yet."""
    if settings.method == "shared" and not (Path(path) / BASIS_FILE).exists():
        save_array(Path(path) / BASIS_FILE, learn_basis(generator, settings))


def save_array(path, array):
    """Write an array as `.npy`, atomically."""
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        np.save(file, array)


def claim(path, settings):
    """Make `path` the folder of an atlas with these settings, or check that it already is; the settings to go on with.

    Raises AtlasError when the folder holds an atlas with other settings, or other files.
    """
    path = Path(path)
    header = path / "atlas.json"
    if header.exists():
        existing = read_settings(path)
        differing = existing.differences(settings)
        if differing:
            name = differing[0]
            raise AtlasError(
                f"{path} holds an atlas with another {name} ({getattr(existing, name)}, wanted "
                f"{getattr(settings, name)}): choose another folder, or remove this one"
            )
        return existing
    if path.exists() and any(path.iterdir()):
        raise AtlasError(f"{path} is a folder with other files in it: choose an empty or a new one")
    path.mkdir(parents=True, exist_ok=True)
    with atomic_output(header) as tmp:
        tmp.write_text(json.dumps(dataclasses.asdict(settings), indent=1) + "\n")
    return settings


def read_settings(path):
    """AtlasSettings of the folder `path`. Raises AtlasError when it is no atlas."""
    header = Path(path) / "atlas.json"
    try:
        fields = json.loads(header.read_text())
        if fields.get("classes") is not None:
            fields["classes"] = tuple(fields["classes"])
        if fields.get("format") != FORMAT:
            raise AtlasError(f"{path}: an atlas of format {fields.get('format')}, this version reads {FORMAT}")
        return AtlasSettings(**fields)
    except FileNotFoundError:
        raise AtlasError(f"{path}: no atlas (there is no atlas.json in it)") from None
    except (AttributeError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AtlasError(f"{header}: damaged ({error})") from None


def _candidates(settings, indices, label):
    return candidate_latents(
        indices, settings.z_dim, seed=settings.seed, base=settings.base, radius=settings.radius, label=label
    )


class Atlas:
    """A finished table of candidates and spectra; per class for conditional networks.

    Attributes: `settings` (AtlasSettings, or None for a published `.npz` file), `z_dim`, `top_k` (singular values
    stored), `classes` (tuple or None). Every method takes `label`, a class index, for conditional atlases.
    """

    def __init__(self, path, tables, *, settings=None, latents=None):
        self.path = path
        self.settings = settings
        self._tables = tables  # {label or None: float32 [N, k]}
        self._latents = latents  # {label or None: float32 [N, z_dim]}, or None when a function of the settings
        self.top_k = next(iter(tables.values())).shape[1]
        self.z_dim = settings.z_dim if settings else next(iter(latents.values())).shape[1]
        self.classes = None if None in tables else tuple(tables)

    @staticmethod
    def build(generator, path, **settings):
        """`make_settings` and `build` in one call."""
        return build(generator, path, make_settings(generator, **settings))

    @staticmethod
    def open(path):
        """`open_atlas`."""
        return open_atlas(path)

    def spectra(self, label=None):
        """Singular values float32 [N, top_k], descending, candidate by candidate."""
        return self._tables[self._check(label)]

    def latents(self, indices, label=None):
        """The z of candidates: float32 tensor [len(indices), z_dim]."""
        label = self._check(label)
        indices = np.asarray(indices, dtype=np.int64)
        if self._latents is not None:
            return torch.from_numpy(self._latents[label][indices])
        return _candidates(self.settings, indices, label)

    def log_volume(self, top_k=None, label=None):
        """Σ log(σ_i + ε) over the `top_k` largest singular values: float64 [N].

        NaN marks candidates whose spectrum is zero or not finite; how many there are is warned about. Raises
        ValueError when the atlas stores fewer singular values.
        """
        top_k = self.top_k if top_k is None else top_k
        if not 1 <= top_k <= self.top_k:
            raise ValueError(f"top-k {top_k} is outside 1 to {self.top_k}, the singular values that the atlas stores")
        sigma = self.spectra(label)[:, :top_k].astype(np.float64)
        usable = np.isfinite(sigma).all(axis=1) & (sigma > 0).any(axis=1)
        volume = np.full(len(sigma), np.nan)
        volume[usable] = np.log(sigma[usable] + LOG_EPSILON).sum(axis=1)
        dropped = len(sigma) - int(usable.sum())
        if dropped:
            text = f"{dropped} of {len(sigma)} candidates have a zero or non-finite spectrum and are dropped"
            warnings.warn(text, stacklevel=2)
        return volume

    def check_network(self, generator):
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


def open_atlas(path):
    """The atlas in a folder, or in a `.npz` file of the papers' authors.

    Raises AtlasError when it is unfinished, damaged, or no atlas; OSError when it cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return _open_published(path)
    settings = read_settings(path)
    shards = shard_files(settings)
    missing = missing_shards(path, settings)
    if missing:
        done = len(shards) - len(missing)
        raise AtlasError(f"{path}: unfinished ({done} of {len(shards)} shards); run build_atlas again to go on")
    parts = {label: [] for label in settings.classes or (None,)}
    for name, label, start, stop in shards:
        try:
            rows = np.load(path / name, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise AtlasError(f"{path / name}: damaged ({error}); remove it and run build_atlas again") from None
        if rows.shape != (stop - start, settings.top_k) or rows.dtype != np.float32:
            raise AtlasError(f"{path / name}: damaged (its shape is {rows.shape}); remove it and run build_atlas again")
        parts[label].append(rows)
    return Atlas(path, {label: np.concatenate(rows) for label, rows in parts.items()}, settings=settings)


def _open_published(path):
    """An `.npz` with `latents` [..., N, z_dim], `svds` [..., N, k] and, sometimes, one-hot `labels` [..., N, classes].

    Extra leading axes are flattened; rows of zeros are unfinished work and are left out.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in ("latents", "svds", "labels") if name in file.files}
    except Exception as error:  # numpy raises many kinds on files that are no archives
        raise AtlasError(f"{path}: not an atlas ({type(error).__name__}: {error})") from None
    missing = [name for name in ("latents", "svds") if name not in arrays]
    if missing:
        raise AtlasError(f"{path}: not an atlas, it has no array {' and '.join(map(repr, missing))}")
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
