"""Draws that are independent whatever asks for them: keys for latents, and samplers without a common order."""

import copy
import hashlib

import torch

from latent_plugins.samplers.base import Sampler

KEY_BYTES = 4  # NumPy's seeds, and with them official latents, end at 32 bits


def latent_keys(z):
    """A 32-bit number for every row of z [N, d]: a hash of its float32 bytes, so that equal rows have equal numbers.

    Among 50,000 different latents about 0.3 pairs share a number.
    """
    rows = z.detach().to("cpu", torch.float32).contiguous().numpy()
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest(), "little") for row in rows]


def independent(sampler):
    """A twin of a sampler whose draws for different seeds are independent, whatever the seeds.

    A sampler with the attribute `replacement` draws with replacement from now on; so do samplers that it is made of.
    """
    twin = copy.copy(sampler)
    if hasattr(twin, "replacement"):
        twin.replacement = True
    for name, part in vars(twin).items():
        if isinstance(part, Sampler):
            setattr(twin, name, independent(part))
    return twin
