"""The log-volume of a map at any latent, computed when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latent_plugins.importance.weights import log_volume
from latent_plugins.randomness import Stream, integer_key
from latent_plugins.spaces import get_space
from latent_plugins.volume.defaults import default_method, paper_top_k
from latent_plugins.volume.predictor import predictor_inputs
from latent_plugins.volume.spectrum import spectrum

if TYPE_CHECKING:
    import numpy as np

    from dnnlib_compat.detectors import Detector
    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.spaces import SpaceMap
    from latent_plugins.volume.spectrum.method import Method


class LogVolume:
    """Callable z [N, z_dim] → log-volume Σ log(σ_i + ε) over the top_k singular values, in nats: float64 [N].

    It is what an atlas holds for its candidates, at any latent ("MaGNET", Humayun et al. 2022). network: a Generator,
    with `space` and the other arguments of `get_space` (c, psi, cutoff, domain, detector, layer), or a SpaceMap as it
    is. top_k: by default the papers' for the space; method, max_memory and `options` as for `spectrum`; of a Generator
    the method is by default the cheaper one of exact and subspace. Random directions of a method come from `seed` and
    are the same in every call, so that volumes compare; they are those of an atlas with this seed. NaN marks latents
    whose spectrum is zero or not finite. `evaluations` counts the latents computed so far.

    Raises ValueError for what `get_space` refuses and, when called, for what `spectrum` refuses.

    >>> import torch, latent_plugins as lp
    >>> volume = lp.LogVolume(lp.load("mnist32"), space="style", top_k=15)
    >>> volume(torch.randn(2, 64)).shape
    (2,)
    """

    def __init__(
        self,
        network: Generator | SpaceMap,
        top_k: int | None = None,
        method: str | Method | None = None,
        max_memory: int | None = None,
        *,
        space: str | None = None,
        c: torch.Tensor | None = None,
        psi: float = 1,
        cutoff: int | None = None,
        domain: str | None = None,
        detector: Detector | None = None,
        layer: str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if not hasattr(network, "enter"):  # what a SpaceMap has
            about = dict(c=c, psi=psi, cutoff=cutoff, domain=domain, detector=detector, layer=layer)
            space_map = get_space(network, space or "pixel", **about)
            top_k = top_k or min(paper_top_k(space_map.name, network.family), space_map.max_rank)
            method = method or default_method(space_map, top_k)
        else:
            space_map = network
            if top_k is None:
                raise ValueError("a map of its own has no top_k that is usual: give one")
        self.space_map, self.top_k, self.method = space_map, top_k, method or "exact"
        self.options = dict(max_memory=max_memory, **options)
        self.key = integer_key(0, seed=seed, stream=Stream.PROJECTION)
        self.evaluations = 0

    def __call__(self, z: torch.Tensor) -> np.ndarray:
        z = torch.as_tensor(z, dtype=torch.float32, device=self.space_map.c.device)
        with torch.no_grad():
            x = self.space_map.enter(z)
        return self.at(x)

    def at(self, x: torch.Tensor) -> np.ndarray:
        """The log-volume [N] at inputs x [N, in] of the map itself, which are styles where it starts at w."""
        x = torch.as_tensor(x, dtype=torch.float32, device=self.space_map.c.device)
        directions = torch.Generator().manual_seed(self.key)
        sigma = spectrum(self.space_map, x, top_k=self.top_k, method=self.method, generator=directions, **self.options)
        self.evaluations += len(x)
        return log_volume(sigma.cpu().numpy())

    def inputs(self, z: torch.Tensor) -> torch.Tensor:
        """What a predictor of this volume sees of z [N, z_dim]: float32 [N, F]."""
        with torch.no_grad():
            x = self.space_map.enter(torch.as_tensor(z, dtype=torch.float32, device=self.space_map.c.device))
        return predictor_inputs(self.space_map, x, max_memory=self.options["max_memory"])
