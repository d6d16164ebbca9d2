"""Simplicial truncation of any sampler's latents."""

import warnings

import numpy as np
import torch

from latent_plugins.samplers.filtered import Filter
from latent_plugins.samplers.simplex import MAX
from latent_plugins.samplers.simplicial import SimplexSettings
from latent_plugins.spaces import DOMAINS, default_domain


class SimplicialFilter(Filter):
    """Keeps latents z of d dimensions near one of the m corners of a regular simplex: their score is above τ.

    As SimplicialSampler does with the prior, by the same rules (Issenhuth et al. 2023). rotation: seed of the simplex's
    orientation. domain: `sphere` brings z to the length √d first, for networks that normalise it. Raises ValueError for
    m or τ out of range, a τ that all latents pass (but −∞) or none, or an unknown domain; warns of one that practically
    all or none of the prior's pass, which those of another sampler may not.
    """

    name = "simplicial"
    Settings = SimplexSettings

    @classmethod
    def make(cls, generator, **settings):
        """See Filter.make."""
        found = cls.Settings(**settings)
        about = dict(rule=found.rule, corner_radius=found.corner_radius)
        return cls(found.corners, found.tau, found.rotation, generator.z_dim, default_domain(generator), **about)

    def __init__(self, m, tau, rotation, d, domain="gaussian", *, rule=MAX, corner_radius=1.0):
        if not tau < np.inf:
            raise ValueError(f"tau must be a number or −inf, not {tau}")
        if domain not in DOMAINS:
            raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
        self.settings = self.Settings(corners=m, tau=tau, rotation=rotation, rule=rule, corner_radius=corner_radius)
        self.region = self.settings.region(d, domain)
        ordered = self.region.prior_scores()
        self.region.check(ordered, certain=True)
        try:
            self.region.check(ordered)
        except ValueError as error:
            warnings.warn(str(error).replace("`", ""), stacklevel=3)

    def accept(self, z, c, u):
        """See Filter.accept. u is not used."""
        return torch.from_numpy(self.region.passes(z.numpy()))
