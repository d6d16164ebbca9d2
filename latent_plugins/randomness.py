"""Counter-based random numbers, and the one list of what they are for.

Number i of a stream is a pure function of (seed, stream, substream, i): no state, no dependence on batches, processes
or devices. The bits come from Philox, the transforms are our own, so the numbers do not change with library versions.
"""

import enum

import numpy as np
import torch

BLOCK = 1024  # rows that share one counter block; part of the definition of every stream
KEY_STREAMS = 16  # streams that the key tells apart; the counter tells the others


@enum.unique
class Stream(enum.IntEnum):
    """What random numbers are for. Two streams never share bits, whatever their seeds; a number is never reused."""

    CANDIDATES = 0  # of an atlas; substream: class + 1
    GUMBEL = 1  # noise of weighted orders without replacement; substream: class + 1
    PLACES = 2  # of a bulk draw: where its rows lie in the weights (0) and how they are shuffled (1), per class
    PROJECTION = 3  # directions of random projections and subspaces
    MIXTURE = 4  # which rows or seeds come from the sampler, and the key of the sampler's own numbers
    LABELS = 5  # drawn from a data set
    MOTION = 6  # transforms of the equivariance metrics
    POOL = 7  # candidates whose true volumes are computed
    MOVES = 8  # of chains; substream: step
    START = 9  # of chains and particles
    RESAMPLING = 10  # of particles
    PROPOSALS = 11  # of rejection from the prior
    CHANCES = 12  # of acceptance of these
    DIRECTIONS = 13  # that diagnostics of chains look along
    SIMPLICIAL = 14  # corners, proposals, acceptance of simplicial truncation
    TRUNCATED = 15  # coordinates that are redrawn
    DRS = 16
    MH = 17
    SIR = 18
    DOT = 19
    WEIGHT_PROPOSALS = 20  # of latent reweighting
    ORDER = 21  # in which the candidates of an atlas are laid out for draws by seed, and their shift
    PARTICLES = 22  # the order of a population
    TRAINING = 23  # of importance weights; substream: purpose
    GEOMETRY = 24  # reports; number: section
    NOISE_INPUTS = 25  # of networks in metrics; substream: kind of metric
    PATHS = 26  # places along paths
    STRIP = 27  # noise of a seed in a polarity strip
    CLASSES = 28  # seeds of the classes of a bulk draw
    BASELINE = 29  # latents of other laws than the generator's
    CLUSTERS = 30  # starts of k-means; substream: run
    REAL_IMAGES = 31  # a random choice of the real images
    INTERPOLATION = 32  # directions that the search for a path looks in; substream: search
    STYLES = 33  # latents whose styles tell the law of styles


def philox(seed, stream, substream=0, block=0):
    """A NumPy bit generator at block `block` of a stream. seed: any integer, taken modulo 2⁶⁴."""
    high, low = divmod(int(stream), KEY_STREAMS)
    key = [seed & (2**64 - 1), low + KEY_STREAMS * substream]
    return np.random.Philox(key=key, counter=[0, 0, high, block])


def to_uniform(bits):
    """64-bit integers as numbers in (0, 1), float64, of the same shape."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def uniforms(indices, width, *, seed, stream, substream=0):
    """Rows `indices` (any order) of a table of uniform numbers in (0, 1): float64 [len(indices), width]."""
    indices = np.asarray(indices, dtype=np.int64)
    rows = np.empty((len(indices), width))
    blocks = indices // BLOCK
    for block in np.unique(blocks):
        here = blocks == block
        table = to_uniform(philox(seed, stream, substream, int(block)).random_raw(BLOCK * width)).reshape(BLOCK, width)
        rows[here] = table[indices[here] % BLOCK]
    return rows


def integer_key(index, *, seed, stream, substream=0):
    """Number `index` of a stream as an integer below 2⁵³: a seed for a generator of another make."""
    return int(uniforms([index], 1, seed=seed, stream=stream, substream=substream)[0, 0] * 2**53)


def gumbels(n, *, seed, stream=Stream.GUMBEL, substream=0):
    """The first n numbers of a stream of standard Gumbel noise: float64 [n]."""
    return -np.log(-np.log(uniforms(np.arange(n), 1, seed=seed, stream=stream, substream=substream)[:, 0]))


def permutation(n, *, seed, stream, substream=0):
    """A random order of n things, each as likely as any other: int64 [n]."""
    return np.argsort(uniforms(np.arange(n), 1, seed=seed, stream=stream, substream=substream)[:, 0], kind="stable")


def class_substream(label):
    """The substream of a class index; that of None, without classes, comes before all of them."""
    return 0 if label is None else label + 1


def torch_seed(generator):
    """A 62-bit seed for counter-based streams, drawn from a torch.Generator."""
    return int(torch.randint(2**62, (), generator=generator))
