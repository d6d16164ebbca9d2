"""Reading an atlas.json, which may be anybody's: every value is checked."""

import dataclasses
from pathlib import Path

from dnnlib_compat.arguments import is_number, is_whole
from dnnlib_compat.budgets import MAX_CANDIDATES, MAX_CLASSES, MAX_JSON, MAX_SHARDS, MAX_SIZE, MORE
from dnnlib_compat.checksums import unsealed_json
from dnnlib_compat.errors import check_regular, quoted, reading
from dnnlib_compat.json_text import parse_json
from latent_plugins.atlas.record import FORMAT, READABLE, AtlasError, AtlasSettings, recorded
from latent_plugins.atlas.shards import number_of_shards
from latent_plugins.priors import BASES, DOMAINS
from latent_plugins.spaces import MAPS
from latent_plugins.volume.methods import is_method, method_class
from latent_plugins.volume.spectrum.method import NUMBERS
from latent_plugins.volume.spectrum.precision import PRECISIONS


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
    if not is_method(fields["method"]):
        raise AtlasError(
            f"its method is {quoted(fields['method'])}, which is not known here: damaged, or of a package to install"
        )
    if fields["classes"] is not None:
        fields["classes"] = tuple(fields["classes"])
    own = fields.get("method_settings")
    fields["method_settings"] = None if own is None else tuple(own.items())
    settings = AtlasSettings(**fields)
    check_method_settings(settings, own)
    if settings.classes and max(settings.classes) >= settings.c_dim:
        raise AtlasError(f"damaged (it has a class {max(settings.classes)} of {settings.c_dim})")
    shards = number_of_shards(settings)
    if shards > MAX_SHARDS:
        raise AtlasError(f"damaged (it says that it has {shards} shards, more than {MAX_SHARDS}; {MORE})")
    return settings


def check_method_settings(settings, own):
    """Raise AtlasError unless `own`, a dict or None, are the settings that the method keeps in method_settings."""
    wanted = [name for name in recorded(method_class(settings.method)) if name not in NUMBERS]
    if sorted(own or ()) != sorted(wanted):
        text = f"are {', '.join(map(quoted, own or ())) or 'missing'}, not {', '.join(wanted) or 'none'}"
        raise AtlasError(f"damaged (its settings of the method {settings.method} {text})")
    if own is None:
        return
    try:
        kept = {name: settings.made_by.settings.record()[name] for name in wanted}
    except ValueError as error:
        raise AtlasError(f"damaged ({error})") from None
    if kept != own:
        raise AtlasError(f"damaged (its settings of the method {settings.method} are {quoted(str(own))})")


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
    method=lambda value: isinstance(value, str),
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
    method_settings=lambda value: value is None or isinstance(value, dict),
)
