"""Spectra from the whole Jacobian."""

import torch

from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.method import Method
from latent_plugins.volume.spectrum.products import top_singular_values


class Exact(Method):
    """All singular values of the whole Jacobian, the largest top_k of which are kept.

    Forward mode where the input is the smaller side, reverse mode otherwise.
    """

    name = "exact"
    help = "singular values of the whole Jacobian"

    def compute(self, operator, top_k, rng=None, basis=None):
        """See Method.compute."""
        short, long = sorted((operator.in_dim, operator.out_dim))
        # Reverse mode is counted like forward mode here: the chunks decide the last bits of atlases that are there.
        parts = operator.chunks(short, short * long * BYTES_PER_ENTRY)
        return torch.cat([top_singular_values(part.dense(), top_k) for part in parts])
