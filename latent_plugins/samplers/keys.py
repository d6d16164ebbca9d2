"""Numbers that are functions of other things: of latents, of names and integers."""

import hashlib

import torch

KEY_BYTES = 4  # NumPy's seeds, and with them official latents, end at 32 bits


def hashed(size, *parts):
    """A number of `size` bytes that is a function of `parts` (names and integers): BLAKE2b of their text."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=size).digest(), "little")


def latent_keys(z):
    """A 32-bit number for every row of z [N, d]: a hash of its float32 bytes, so that equal rows have equal numbers.

    Among 50,000 different latents about 0.3 pairs share a number.
    """
    rows = z.detach().to("cpu", torch.float32).contiguous().numpy()
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest(), "little") for row in rows]
