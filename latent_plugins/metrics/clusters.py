"""k-means in mini-batches over two sets of features together, several runs side by side."""

import math

import numpy as np
import torch

from latent_plugins.metrics.neighbours import check_features, unwatched
from latent_plugins.randomness import Stream, uniforms
from latent_plugins.volume.spectrum.precision import full_precision

STARTS = 10  # of a run, the best of which is taken
SUBSET = 3072  # features that starts are made from, and as many others that they are judged by
BATCH = 1024  # features of a step
STEPS = 100
ROWS = 8192  # that are compared with the centres at once
SUBSETS, TRIALS, BATCHES = range(3)  # what a run's random numbers are for


def cluster_shares(what, real, generated, *, clusters, runs, seed=0, progress=unwatched):
    """(shares of real, shares of generated features), each [runs, clusters] float64, in clusters of their union.

    real [N, D], generated [M, D]: tensors or arrays; `what` starts messages. Each run is a k-means in mini-batches
    (Sculley 2010, "Web-scale k-means clustering") from the best of STARTS greedy k-means++ starts (Arthur and
    Vassilvitskii 2007). Half of each batch comes from either set, so that a larger one does not draw the clusters to
    itself; in the end all features count. Run r depends on the features and on (seed, r) alone.
    progress(counts, total, label) wraps the runs. Raises ValueError for fewer features than clusters in a set, or
    features that are not finite.
    """
    union, found = _Union(check_features(what, clusters - 1, real, generated)), []

    def counts():
        with full_precision(union.device):
            for run in range(runs):
                found.append(_run(union, clusters, lambda n, use, run=run: _numbers(n, use, seed, run)))
                yield 1

    for _ in progress(counts(), runs, "clusterings"):
        pass
    return tuple(np.stack(shares) for shares in zip(*found))


class _Union:
    """Two sets of features, as seen from their common centre: far from the origin products lose small differences."""

    def __init__(self, sets):
        self.sets, self.device = sets, sets[0].device
        self.dtype = torch.float64 if any(x.dtype == torch.float64 for x in sets) else torch.float32
        centre = sum(sum(rows.double().sum(dim=0) for rows in x.split(ROWS)) / len(x) for x in sets) / 2
        self._centre = centre.to(self.dtype)

    def picked(self, u):
        """Rows [n, D] that uniform numbers [n] pick with replacement, one half from either set."""
        parts = zip(self.sets, np.array_split(u, 2))
        picked = [x[torch.from_numpy((part * len(x)).astype(np.int64)).to(x.device)] for x, part in parts]
        return torch.cat([self._moved(rows) for rows in picked])

    def shares(self, centres):
        """[shares [K] of either set] that are nearest to each of the centres [K, D]."""
        found = []
        for x in self.sets:
            counts = sum(_members(self._moved(rows), centres).double().sum(dim=0) for rows in x.split(ROWS))
            found.append(counts.cpu().numpy() / len(x))
        return found

    def _moved(self, rows):
        return rows.to(self.dtype) - self._centre


def _numbers(shape, use, seed, run):
    """Uniform numbers of a shape [n, m], for one use of a run."""
    return uniforms(np.arange(shape[0]), shape[1], seed=seed, stream=Stream.CLUSTERS, substream=3 * run + use)


def _run(union, clusters, numbers):
    """[shares of the first set, shares of the second] [K] of one clustering; numbers(shape, use): uniform ones."""
    subsets = np.split(numbers((2 * SUBSET, 1), SUBSETS)[:, 0], 2)
    trials = STARTS * (2 + int(math.log(clusters)))  # as many for each centre as greedy starts are known to need
    centres = _best_start(*map(union.picked, subsets), numbers((clusters, trials), TRIALS))
    seen = torch.zeros(clusters, 1, dtype=centres.dtype, device=centres.device)
    for u in np.split(numbers((STEPS * BATCH, 1), BATCHES)[:, 0], STEPS):
        rows = union.picked(u)
        member = _members(rows, centres)
        count = member.sum(dim=0)[:, None]
        seen += count
        centres = centres + (member.T @ rows - count * centres) / seen.clamp(min=1)  # the mean of all seen so far
    return union.shares(centres)


def _squared(rows, centres):
    """Squared distances [n, K] from rows to centres."""
    products = rows @ centres.T
    return (rows.square().sum(dim=1, keepdim=True) - 2 * products + centres.square().sum(dim=1)).clamp(min=0)


def _members(rows, centres):
    """Which of the centres [K, D] is nearest to each of the rows: [n, K] of 0 and 1."""
    nearest = torch.addmm(centres.square().sum(dim=1) / 2, rows, centres.T, alpha=-1).argmin(dim=1, keepdim=True)
    return torch.zeros(len(rows), len(centres), dtype=rows.dtype, device=rows.device).scatter_(1, nearest, 1)


def _best_start(rows, judges, u):
    """The centres [K, D], among `rows`, of the start that leaves other rows, `judges`, nearest to them.

    u: uniform numbers [K, STARTS · trials].
    """
    u = torch.from_numpy(u).to(rows.device).unflatten(1, (STARTS, -1))
    nearest = torch.ones(len(rows), STARTS, dtype=torch.float64, device=rows.device)  # the first ones by chance alone
    chosen = []
    for k in range(len(u)):
        # Where nothing is left that is no centre already, anything may be one again.
        summed = torch.where(nearest.sum(dim=0) > 0, nearest, 1).cumsum(dim=0).T.contiguous()
        tried = torch.searchsorted(summed, u[k] * summed[:, -1:], right=True).clamp(max=len(rows) - 1)
        squared = _squared(rows, rows[tried.flatten()]).double().unflatten(1, tried.shape)
        left = squared if k == 0 else torch.minimum(squared, nearest[:, :, None])
        best = left.sum(dim=0).argmin(dim=1, keepdim=True)
        chosen.append(tried.gather(1, best)[:, 0])
        nearest = left.gather(2, best.expand(len(rows), -1, -1))[:, :, 0]
    starts = rows[torch.stack(chosen, dim=1)]
    error = torch.stack([_squared(judges, each).min(dim=1).values.double().mean() for each in starts])
    return starts[error.argmin()]
