"""Simplicial truncation of any sampler's latents."""

import numpy as np
import torch

from latent_plugins.samplers.filtered import Filter
from latent_plugins.samplers.simplicial import SimplexSettings, simplex
from latent_plugins.spaces import DOMAINS, default_domain


class SimplicialFilter(Filter):
    """Keeps latents z of d dimensions with max_i z·u_i > τ, u_1 … u_m the corners of a regular simplex.

    As SimplicialSampler does with the prior (Issenhuth et al. 2023). rotation: seed of the simplex's orientation.
    domain: `sphere` brings z to the length √d first, for networks that normalise it. Raises ValueError for m or τ out
    of range, or an unknown domain.
    """

    name = "simplicial"
    Settings = SimplexSettings

    @classmethod
    def make(cls, generator, **settings):
        """See Filter.make."""
        found = cls.Settings(**settings)
        return cls(found.corners, found.tau, found.rotation, generator.z_dim, default_domain(generator))

    def __init__(self, m, tau, rotation, d, domain="gaussian"):
        if not tau < np.inf:
            raise ValueError(f"tau must be a number or −inf, not {tau}")
        if domain not in DOMAINS:
            raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
        self.corners, self.tau, self.domain = simplex(m, d, rotation), tau, domain
        self.settings = self.Settings(corners=m, tau=tau, rotation=rotation)

    def accept(self, z, c, u):
        """See Filter.accept. u is not used."""
        z = z.numpy().astype(np.float64)
        largest = (z @ self.corners.T).max(axis=1)
        if self.domain == "sphere":
            largest *= np.sqrt(z.shape[1]) / np.linalg.norm(z, axis=1)
        return torch.from_numpy(largest > self.tau)
