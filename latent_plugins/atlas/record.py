"""The record of what decides the numbers of an atlas."""

from __future__ import annotations

import dataclasses

from latent_plugins.priors import SpherePrior, base_measure
from latent_plugins.volume.methods import PREDICTED, method_class
from latent_plugins.volume.spectrum.method import NUMBERS

FORMAT = 2  # 1 was without checksums
READABLE = (1, FORMAT)
# Settings that say how numbers are computed and kept, not which.
HOW = ("max_memory", "compile", "detector", "format")


class AtlasError(ValueError):
    """An atlas that cannot be used: unfinished, damaged, or made with another network or other settings."""


@dataclasses.dataclass(frozen=True)
class AtlasSettings:
    """Everything that decides an atlas's numbers. `classes` is None for unconditional networks; `candidates` counts
    per class. `max_memory` (bytes, None: automatic) is part of it: it decides which rows are computed together.
    `detector` is where a feature space's detector comes from, `features` the digest of its content. The settings of a
    method stand in `projection` to `labels` where they have these names; others, of methods that were registered, are
    `method_settings`: (name, value) pairs in order, None without any."""

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
    method_settings: tuple | None = None

    def __post_init__(self):
        if self.method_settings is None:
            vars(self).pop("method_settings")  # what is not there leaves no trace; the class has the default

    @property
    def prior(self):
        """The Prior that the candidates follow, where the network sees them: on the sphere, if that is the domain."""
        return SpherePrior(self.z_dim) if self.domain == "sphere" else base_measure(self.base, self.z_dim, self.radius)

    @property
    def predicted(self):
        """Whether the volumes are a predictor's."""
        return self.method in PREDICTED

    @property
    def made_by(self):
        """The Method, with its settings. Raises ValueError for a method that is not known here, or such settings."""
        method, values = method_class(self.method), dict(self.method_settings or ())
        values |= {name: getattr(self, name) for name in NUMBERS if getattr(self, name) is not None}
        known = method.Settings.described()
        return method(**{name: restored(known[name], values[name]) for name in recorded(method) if name in values})

    def by(self, method):
        """The same record of another Method."""
        return dataclasses.replace(self, method=method.name, **method_fields(method))

    def values(self):
        """{name: value} of everything, the settings of the method among the others."""
        values = dataclasses.asdict(self)
        return values | dict(values.pop("method_settings") or ())

    def fields(self):
        """{name: value} as they stand in atlas.json."""
        fields = dataclasses.asdict(self)
        own = fields.pop("method_settings")
        return fields if own is None else fields | dict(method_settings=dict(own))

    def differences(self, other):
        """The names of the settings in which two atlases differ in substance (how they are computed aside)."""
        mine, theirs = self.values(), other.values()
        names = [name for name in (mine | theirs) if name not in HOW]
        return [name for name in names if mine.get(name) != theirs.get(name)]


def recorded(method):
    """The names of the settings of a method class that decide numbers."""
    return [name for name in method.Settings.described() if name not in method.unrecorded]


def restored(setting, value):
    """A value of a setting from its record, in which infinite numbers are texts."""
    return float(value) if setting.kind is float and isinstance(value, str) else value


def method_fields(method):
    """The fields of an AtlasSettings that belong to a Method with its settings."""
    values = {name: value for name, value in method.settings.record().items() if name in recorded(type(method))}
    own = tuple((name, value) for name, value in values.items() if name not in NUMBERS)
    return {name: values.get(name) for name in NUMBERS} | dict(method_settings=own or None)


def settings_record(settings, names):
    """{name: value} of AtlasSettings for records, with the method's own in `method_settings`; without what is None."""
    values = {name: getattr(settings, name) for name in names}
    values["method_settings"] = dict(settings.method_settings) if settings.method_settings else None
    return {name: value for name, value in values.items() if value is not None}
