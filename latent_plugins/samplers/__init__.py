"""Samplers: where latents come from."""

from latent_plugins.samplers.base import Latents, Sampler
from latent_plugins.samplers.registry import available_samplers, create_sampler

__all__ = ["Latents", "Sampler", "available_samplers", "create_sampler"]
