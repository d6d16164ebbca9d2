"""Log-volumes: singular values by the methods in `spectrum`, predictions by those in `predictor`."""

from __future__ import annotations

import typing

from latent_plugins.lazy_names import lazy_names

if typing.TYPE_CHECKING:
    from latent_plugins.volume.log_volume import LogVolume

__all__ = ["LogVolume"]

__getattr__, __dir__ = lazy_names(__name__, {"LogVolume": "latent_plugins.volume.log_volume"})
