"""What decides the numbers of an atlas, its candidates, and the files that it is divided into."""

import dataclasses
import functools
from pathlib import Path

import torch

from dnnlib_compat.arguments import is_number, is_whole
from dnnlib_compat.budgets import MAX_CANDIDATES, MAX_CLASSES, MAX_JSON, MAX_SHARDS, MAX_SIZE, MORE
from dnnlib_compat.checksums import unsealed_json
from dnnlib_compat.detectors import file_digest, load_detector
from dnnlib_compat.errors import check_regular, quoted, reading, shown
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.pretrained import detectors
from latent_plugins.candidates import candidate_latents
from latent_plugins.defaults import (
    OVERSAMPLE,
    STORED,
    STORED_BY_ITERATION,
    default_candidates,
    default_method,
    paper_top_k,
)
from latent_plugins.fingerprint import fingerprint
from latent_plugins.priors import BASES, SpherePrior, base_measure
from latent_plugins.spaces import (
    DOMAINS,
    MAPS,
    check_space,
    default_detector,
    default_domain,
    default_space,
    get_space,
    is_feature_space,
)
from latent_plugins.spectrum import METHODS
from latent_plugins.spectrum.compiled import CompiledMap
from latent_plugins.spectrum.precision import PRECISIONS

FORMAT = 2  # 1 was without checksums
READABLE = (1, FORMAT)
# Rows of a shard: what an interruption loses at most. Pixels cost a thousand times what styles and predictions do. Part
# of the format.
CHEAP_SHARD_ROWS, SHARD_ROWS = 1000, 50

# Settings that say how numbers are computed and kept, not which.
HOW = ("max_memory", "compile", "detector", "format")
PREDICTED = ("hybrid", "amortized")  # methods whose volumes a predictor gives
WITH_BASIS = ("shared", "hybrid")
WITH_RADIUS = ("uniform", "ball")  # base measures
BASIS_LABELS = 256  # latents that a basis is learned from
HYBRID_DIRECTIONS = 8
PREDICTOR_LABELS, FEWEST_LABELS = 5000, 100


class AtlasError(ValueError):
    """An atlas that cannot be used: unfinished, damaged, or made with another network or other settings."""


@dataclasses.dataclass(frozen=True)
class AtlasSettings:
    """Everything that decides an atlas's numbers. `classes` is None for unconditional networks; `candidates` counts
    per class. `max_memory` (bytes, None: automatic) is part of it: it decides which rows are computed together.
    `detector` is where a feature space's detector comes from, `features` the digest of its content."""

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
    precision: str | None = None
    compile: bool | None = None
    detector: str | None = None
    features: str | None = None
    layer: str | None = None

    @property
    def prior(self):
        """The Prior that the candidates follow, where the network sees them: on the sphere, if that is the domain."""
        return SpherePrior(self.z_dim) if self.domain == "sphere" else base_measure(self.base, self.z_dim, self.radius)

    @property
    def predicted(self):
        """Whether the volumes are a predictor's."""
        return self.method in PREDICTED

    def differences(self, other):
        """The names of the settings in which two atlases differ in substance (how they are computed aside)."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [name for name in mine if name not in HOW and mine[name] != theirs[name]]


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
    method=None,
    projection=256,
    oversample=OVERSAMPLE,
    iterations=1,
    basis=None,
    labels=None,
    precision="float32",
    compile=False,
    detector=None,
    layer=None,
    classes=None,
    max_memory=None,
):
    """AtlasSettings for a generator, with its defaults filled in and every value checked.

    top_k: singular values stored per candidate, by default all up to 128, of the methods subspace and shared up to 40;
    of hybrid and amortized, whose volumes are those of one top_k, the papers' number. method: one of spectrum's,
    `hybrid` or `amortized`; by default the cheaper one of exact and subspace. projection, oversample and iterations,
    basis (its directions, by default 6 more than top_k, of hybrid 8) and labels (latents that a basis is learned from,
    by default 256; spectra that a predictor learns from, by default 5,000) are for the methods that take them.
    precision: of the products (`spectrum`); compile: whether they go through torch.compile. detector: source (file or
    short name) of the feature detector of a feature space; layer: its layer. classes: class indices of a conditional
    network, by default all. Raises ValueError with the offending value and what would be right.
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
    if base not in BASES:
        raise ValueError(f"unknown base measure {base!r}; known ones: {', '.join(BASES)}")
    if base in WITH_RADIUS and domain == "sphere":
        raise ValueError("on the sphere the prior is the uniform measure: use base prior, or domain gaussian")
    if not radius > 0:
        raise ValueError(f"the radius of a uniform base measure must be positive, not {radius}")
    known = [*METHODS, *PREDICTED]
    if method is not None and method not in known:
        raise ValueError(f"unknown spectrum method {method!r}; known methods: {', '.join(known)}")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known ones: {', '.join(PRECISIONS)}")
    label = None if generator.c_dim == 0 else one_hot([0], generator.c_dim)
    if is_feature_space(name):
        detector = detector or default_detector(name)
    opened = detector and opened_detector(detector, next(generator.parameters()).device)
    space_map = get_space(generator, name, c=label, domain=domain, detector=opened, layer=layer)
    method = method or default_method(space_map, top_k)
    limit = min(space_map.max_rank, projection) if method == "projected" else space_map.max_rank
    if top_k is None and method in PREDICTED:
        top_k = min(limit, paper_top_k(name, generator.family))
    elif top_k is None:
        top_k = min(limit, STORED_BY_ITERATION if method in ("subspace", "shared") else STORED)
    if not 1 <= top_k <= limit:
        raise ValueError(f"top-k {top_k} is outside 1 to {limit}, the rank of the space {name} here")
    if basis is None:
        basis = min(HYBRID_DIRECTIONS if method == "hybrid" else top_k + 6, space_map.in_dim)
    if method == "shared" and not top_k <= basis <= space_map.in_dim:
        raise ValueError(f"a basis of {basis} directions is outside {top_k} (top-k) to {space_map.in_dim}")
    if method == "hybrid" and not 1 <= basis <= space_map.in_dim:
        raise ValueError(f"a basis of {basis} directions is outside 1 to {space_map.in_dim}, the inputs of the space")
    if method in PREDICTED and labels is None:
        labels = PREDICTOR_LABELS
    if method in PREDICTED and labels < FEWEST_LABELS:
        raise ValueError(f"{labels} labels are too few to learn from: give at least {FEWEST_LABELS}")
    if name == "z:w":
        psi, cutoff = 1, None  # truncation scales every volume by the same factor, which no weight sees
    candidates = default_candidates(name) if candidates is None else candidates
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
        radius=float(radius) if base in WITH_RADIUS else 1.0,
        seed=seed,
        psi=float(psi),
        cutoff=cutoff,
        method=method,
        projection=projection if method == "projected" else None,
        oversample=oversample if method == "subspace" else None,
        iterations=iterations if method == "subspace" else None,
        basis=basis if method in WITH_BASIS else None,
        labels=(labels or BASIS_LABELS) if method in (*WITH_BASIS, *PREDICTED) else None,
        precision=None if precision == "float32" else precision,
        compile=compile or None,
        detector=detector and named_source(detector),
        features=opened and opened.digest,
        layer=layer,
        classes=classes,
        max_memory=max_memory,
    )


def one_hot(indices, n):
    """Float32 labels [len(indices), n]."""
    return torch.eye(n)[list(indices)]


def shard_rows(settings):
    """How many rows a full shard of an atlas has."""
    return CHEAP_SHARD_ROWS if settings.space == "z:w" or settings.predicted else SHARD_ROWS


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


def read_settings(path):
    """AtlasSettings of the folder `path`. Raises AtlasError when it is no atlas."""
    header = Path(path) / "atlas.json"
    try:
        with reading(header, AtlasError):
            check_regular(header)
            with open(header, "rb") as file:
                return parse_settings(file.read(MAX_JSON), path)
    except (FileNotFoundError, NotADirectoryError):
        raise AtlasError(f"{path}: no atlas (there is no atlas.json in it)") from None


def parse_settings(data, path):
    """AtlasSettings of the bytes of an atlas.json, every value checked. Raises AtlasError or ValueError."""
    fields = parse_json(data)
    if not isinstance(fields, dict):
        raise AtlasError(f"damaged (it holds a {type(fields).__name__}, not settings)")
    if fields.get("format") not in READABLE:
        raise AtlasError(f"{path}: an atlas of format {quoted(fields.get('format'))}, this version reads {FORMAT}")
    fields = unsealed_json(fields, required=fields["format"] == FORMAT)
    known = {field.name: field for field in dataclasses.fields(AtlasSettings)}
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise AtlasError(f"damaged (it has an unknown setting {quoted(unknown[0])})")
    for name, field in known.items():
        if name not in fields and field.default is dataclasses.MISSING:
            raise AtlasError(f"damaged (it does not say its {name})")
        if name in fields and not CHECKS[name](fields[name]):
            raise AtlasError(f"damaged (its {name} is {quoted(fields[name])}, which no atlas has)")
    if fields["classes"] is not None:
        fields["classes"] = tuple(fields["classes"])
    settings = AtlasSettings(**fields)
    if settings.classes and max(settings.classes) >= settings.c_dim:
        raise AtlasError(f"damaged (it has a class {max(settings.classes)} of {settings.c_dim})")
    shards = number_of_shards(settings)
    if shards > MAX_SHARDS:
        raise AtlasError(f"damaged (it says that it has {shards} shards, more than {MAX_SHARDS}; {MORE})")
    return settings


def _whole(low, high=MAX_SIZE, optional=False):
    return lambda value: optional and value is None or is_whole(value, low, high)


def _text(value):
    return value is None or isinstance(value, str)


def _among(choices):
    return lambda value: isinstance(value, str) and value in choices


def _classes(value):
    if value is None:
        return True
    found = isinstance(value, list) and 0 < len(value) <= MAX_CLASSES and all(type(each) is int for each in value)
    return found and min(value) >= 0 and sorted(set(value)) == value


# What each setting in an atlas.json can be.
CHECKS = dict(
    network=lambda value: isinstance(value, str),
    z_dim=_whole(1),
    c_dim=_whole(0, MAX_CLASSES),
    space=_among(MAPS),
    domain=_among(DOMAINS),
    candidates=_whole(1, MAX_CANDIDATES),
    top_k=_whole(1),
    base=_among(BASES),
    radius=lambda value: is_number(value, 0) and value > 0,
    seed=_whole(-(2**64), 2**64),
    psi=lambda value: is_number(value),
    cutoff=_whole(0, optional=True),
    method=_among((*METHODS, *PREDICTED)),
    projection=_whole(1, 1 << 30, optional=True),
    classes=_classes,
    max_memory=_whole(0, 1 << 60, optional=True),
    format=_whole(0),
    oversample=_whole(0, optional=True),
    iterations=_whole(0, optional=True),
    basis=_whole(1, optional=True),
    labels=_whole(1, MAX_CANDIDATES, optional=True),
    precision=lambda value: value is None or _among(PRECISIONS)(value),
    compile=lambda value: value is None or type(value) is bool,
    detector=_text,
    features=_text,
    layer=_text,
)


def candidates(settings, indices, label):
    """The latents [len(indices), z_dim] of candidates of a class."""
    return candidate_latents(
        indices, settings.z_dim, seed=settings.seed, base=settings.base, radius=settings.radius, label=label
    )
