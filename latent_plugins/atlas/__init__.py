"""The atlas: candidates, their singular values on disk, and what is read off them."""

from __future__ import annotations

import typing

from latent_plugins.lazy_names import lazy_names

if typing.TYPE_CHECKING:
    from latent_plugins.atlas.table import Atlas, AtlasError, open_atlas

__all__ = ["Atlas", "AtlasError", "open_atlas"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "latent_plugins.atlas.table"))
