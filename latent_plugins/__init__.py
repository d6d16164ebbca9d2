"""Better latents for pre-trained generators, without retraining.

>>> import latent_plugins as lp
>>> G = lp.load("mnist32")
>>> lp.sampler("truncated-normal", G, threshold=1.0).draw(range(4)).z.shape
torch.Size([4, 64])

Names are imported when they are first used.
"""

from __future__ import annotations

import typing

from latent_plugins.lazy_names import lazy_names

if typing.TYPE_CHECKING:
    from dnnlib_compat.loader import load_network as load
    from latent_plugins.any_network import wrap
    from latent_plugins.atlas import Atlas
    from latent_plugins.attaching import attach
    from latent_plugins.metrics.run import evaluate
    from latent_plugins.pictures.rendering import images
    from latent_plugins.remaking import remake
    from latent_plugins.samplers.base import Latents, Sampler
    from latent_plugins.samplers.recipe import sampler
    from latent_plugins.volume import LogVolume

# Where each public name is.
PUBLIC = {
    "Atlas": "latent_plugins.atlas",
    "Latents": "latent_plugins.samplers.base",
    "LogVolume": "latent_plugins.volume",
    "Sampler": "latent_plugins.samplers.base",
    "attach": "latent_plugins.attaching",
    "evaluate": "latent_plugins.metrics.run",
    "images": "latent_plugins.pictures.rendering",
    "load": "dnnlib_compat.loader:load_network",
    "remake": "latent_plugins.remaking",
    "sampler": "latent_plugins.samplers.recipe",
    "wrap": "latent_plugins.any_network",
}

__all__ = [
    "Atlas",
    "Latents",
    "LogVolume",
    "Sampler",
    "attach",
    "evaluate",
    "images",
    "load",
    "remake",
    "sampler",
    "wrap",
]


__getattr__, __dir__ = lazy_names(__name__, PUBLIC)
