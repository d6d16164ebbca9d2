"""What comes with a network of the catalogue besides its own file: its discriminator, and trained importance weights.

An entry of pretrained.json names them under `discriminator` and `weights`, as it names the network under `url`.
"""

import os

from dnnlib_compat.pretrained import EMBEDDED, catalogue, resolve

KINDS = ("discriminator", "weights")


def companion(network, kind):
    """What pretrained.json names as the companion of a network, such as `embedded:FILE`; None where there is none.

    network: a short name of the catalogue; of anything else (a file, an address, None) nothing is known. kind: one of
    KINDS. Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of companion {kind!r}; known kinds: {', '.join(KINDS)}")
    entry = catalogue().get(network) if isinstance(network, str) else None
    return None if entry is None else entry.get(kind)


def companion_path(source):
    """The path of a file that may be named as `companion` names it; every other path as it is."""
    text = os.fspath(source)
    return resolve(text).url_or_path if text.startswith(EMBEDDED) else source
