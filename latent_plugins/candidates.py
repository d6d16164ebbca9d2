"""Counter-based random numbers and the candidates of an atlas.

Number i of a stream is a pure function of (key, i): no state, no dependence on batches, processes or devices. The bits
come from Philox, the transforms are our own, so the numbers do not change with library versions.
"""

import numpy as np
import scipy.special
import torch

TAIL = scipy.special.ndtr(-2)  # the part of N(0, 1) below −2

# Base measures: how a uniform number becomes a coordinate of a latent.
BASES = {
    "prior": lambda u, radius: scipy.special.ndtri(u),
    "truncated": lambda u, radius: scipy.special.ndtri(TAIL + u * (1 - 2 * TAIL)),
    "uniform": lambda u, radius: (2 * u - 1) * radius,
}
BLOCK = 1024  # rows that share one counter block; part of the definition of every stream

# Streams that must never share bits, whatever their seeds. (Those from 8 to 15 belong to chains and samplers.)
CANDIDATES, GUMBEL, CHOICE, PROJECTION, MIXTURE, LABELS, MOTION, POOL = range(8)


def _block(key, block, width):
    bits = np.random.Philox(key=key, counter=[0, 0, 0, block]).random_raw(BLOCK * width)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5).reshape(BLOCK, width) * 2.0**-53


def uniforms(indices, width, *, seed, stream, substream=0):
    """Rows `indices` (any order) of a table of uniform numbers in (0, 1): float64 [len(indices), width]."""
    key = [seed & (2**64 - 1), stream + 16 * substream]
    indices = np.asarray(indices, dtype=np.int64)
    rows = np.empty((len(indices), width))
    blocks = indices // BLOCK
    for block in np.unique(blocks):
        here = blocks == block
        rows[here] = _block(key, block, width)[indices[here] % BLOCK]
    return rows


def integer_key(index, *, seed, stream, substream=0):
    """Number `index` of a stream as an integer below 2⁵³: a seed for a generator of another make."""
    return int(uniforms([index], 1, seed=seed, stream=stream, substream=substream)[0, 0] * 2**53)


def gumbels(n, *, seed, stream=GUMBEL, substream=0):
    """The first n numbers of a stream of standard Gumbel noise: float64 [n]."""
    return -np.log(-np.log(uniforms(np.arange(n), 1, seed=seed, stream=stream, substream=substream)[:, 0]))


def candidate_latents(indices, z_dim, *, seed, base="prior", radius=1.0, label=None):
    """The candidates `indices`: float32 [len(indices), z_dim] on the CPU.

    base: `prior`, N(0, I); `truncated`, the same cut to [−2, 2]; or `uniform` on [−radius, radius]^z_dim (MaGNET,
    Algorithm 1). label: class index of a
    conditional network; every class has candidates of its own. Raises ValueError for an unknown base measure.
    """
    if base not in BASES:
        raise ValueError(f"unknown base measure {base!r}; known ones: {', '.join(BASES)}")
    substream = 0 if label is None else label + 1
    u = uniforms(indices, z_dim, seed=seed, stream=CANDIDATES, substream=substream)
    return torch.tensor(BASES[base](u, radius).astype(np.float32))  # in memory of torch's own, as `owned` says
