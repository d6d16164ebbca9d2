"""Random noise inputs of networks, which come from torch's global generator, as functions of seeds."""

import contextlib

import torch

from latent_plugins.randomness import Stream, integer_key


@contextlib.contextmanager
def seeded_noise(seed, batch, device):
    """While this lasts, the noise inputs of networks, which come from torch's global generator, depend on this alone.

    The global generators are put back afterwards: nobody else's random numbers change.
    """
    key = integer_key(batch, seed=seed, stream=Stream.NOISE_INPUTS)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(key)
        yield
