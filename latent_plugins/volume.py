"""The log-volume of a map at any latent, computed when it is asked for."""

import torch

from latent_plugins.importance.weights import log_volume
from latent_plugins.predictor import predictor_inputs
from latent_plugins.randomness import Stream, integer_key
from latent_plugins.spectrum import spectrum


class LogVolume:
    """Callable z [N, z_dim] → log-volume float64 [N]: what an atlas holds for its candidates, at any latent.

    space_map: a SpaceMap; top_k, method, max_memory and `options` as for `spectrum`. Random directions of a method come
    from `seed` and are the same in every call, so that volumes compare; they are those of an atlas with this seed. NaN
    marks latents whose spectrum is zero or not finite. `evaluations` counts the latents computed so far.

    Raises ValueError, when called, for what `spectrum` refuses.
    """

    def __init__(self, space_map, top_k, method="exact", max_memory=None, *, seed=0, **options):
        self.space_map, self.top_k, self.method = space_map, top_k, method
        self.options = dict(max_memory=max_memory, **options)
        self.key = integer_key(0, seed=seed, stream=Stream.PROJECTION)
        self.evaluations = 0

    def __call__(self, z):
        z = torch.as_tensor(z, dtype=torch.float32, device=self.space_map.c.device)
        with torch.no_grad():
            x = self.space_map.enter(z)
        directions = torch.Generator().manual_seed(self.key)
        sigma = spectrum(self.space_map, x, top_k=self.top_k, method=self.method, generator=directions, **self.options)
        self.evaluations += len(z)
        return log_volume(sigma.cpu().numpy())

    def inputs(self, z):
        """What a predictor of this volume sees of z [N, z_dim]: float32 [N, F]."""
        with torch.no_grad():
            x = self.space_map.enter(torch.as_tensor(z, dtype=torch.float32, device=self.space_map.c.device))
        return predictor_inputs(self.space_map, x, max_memory=self.options["max_memory"])
