"""How well chains mixed: split R̂, effective sample size, autocorrelation time.

Vehtari, Gelman, Simpson, Carpenter and Bürkner, "Rank-normalization, folding, and localization: an improved R̂ for
assessing convergence of MCMC", 2021. All of it in float64, over arrays [chains, draws].
"""

import dataclasses

import numpy as np
import scipy.special
import scipy.stats

from latent_plugins.randomness import Stream, uniforms

PROJECTIONS = 4  # fixed random directions of z that are looked at beside the log-volume


@dataclasses.dataclass
class Chains:
    """Draws of Markov chains and how they came about.

    z: float32 [chains, kept, d]; log_volume: float64 [chains, kept]; acceptance: mean chance of acceptance after the
    warm-up, [chains]; beta: step sizes after the warm-up, [chains]; evaluations: latents whose true volume was
    computed; corrected: mean chance of acceptance by true volumes after inner moves, NaN without any. rhat, ess: split
    R̂ and effective sample size of the log-volume and of PROJECTIONS fixed random projections of z, [1 + PROJECTIONS];
    NaN below four draws a chain.
    """

    z: np.ndarray
    log_volume: np.ndarray
    acceptance: np.ndarray
    beta: np.ndarray
    evaluations: int
    corrected: float = np.nan
    rhat: np.ndarray = dataclasses.field(init=False)
    ess: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self):
        watched = [self.log_volume, *np.moveaxis(self.z.astype(np.float64) @ directions(self.z.shape[2]), 2, 0)]
        enough = self.log_volume.shape[1] >= 4
        self.rhat = np.array([split_rhat(x) if enough else np.nan for x in watched])
        self.ess = np.array([effective_sample_size(x) if enough else np.nan for x in watched])

    def __str__(self):
        return (
            f"{self.log_volume.shape[0]} chains of {self.log_volume.shape[1]} draws, acceptance "
            f"{self.acceptance.mean():.2f}, beta {np.median(self.beta):.3g}, {self.evaluations} volumes computed, "
            f"largest R-hat {self.rhat.max():.3f}, smallest effective sample size {self.ess.min():.0f}"
        )


def directions(d):
    """PROJECTIONS unit vectors as columns [d, PROJECTIONS], a function of d alone."""
    gaussian = scipy.special.ndtri(uniforms(np.arange(PROJECTIONS), d, seed=0, stream=Stream.DIRECTIONS))
    return (gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)).T


def split_rhat(x):
    """The rank-normalised split R̂ of x [chains, draws]: the larger one of x and of |x − median|.

    Close to 1 when the chains agree. NaN when all numbers are equal or one is not finite, since that shows nothing; ∞
    for chains that stand still at different places. Raises ValueError below four draws a chain.
    """
    x = split(x)
    if uninformative(x):
        return np.nan
    folded = np.abs(x - np.median(x))
    return max(potential_scale_reduction(rank_normalised(y)) for y in (x, folded) if not uninformative(y))


def effective_sample_size(x):
    """The bulk effective sample size of x [chains, draws]: number of draws over their autocorrelation time.

    After rank normalisation and splitting; ArviZ's figure. NaN, where ArviZ may give a number, when all numbers are
    equal or one is not finite. Raises ValueError below four draws a chain.
    """
    x = split(x)
    return np.nan if uninformative(x) else x.size / geyer_time(rank_normalised(x))


def autocorrelation_time(x):
    """The integrated autocorrelation time 1 + 2 Σ_t ρ_t of x [chains, draws], in draws.

    ρ_t pools the chains, so that chains at different places count as slow ones. NaN when all numbers are equal or one
    is not finite. Raises ValueError below four draws a chain.
    """
    x = checked(x)
    return np.nan if uninformative(x) else geyer_time(x)


def checked(x):
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 4:
        raise ValueError(f"draws of shape {list(x.shape)} where [chains, draws] with at least 4 draws is needed")
    return x


def split(x):
    """Each chain as two halves, so that a drift within it shows; of an odd number the middle draw is left out."""
    x = checked(x)
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, -half:]])


def uninformative(x):
    return not np.isfinite(x).all() or np.ptp(x) == 0


def rank_normalised(x):
    """Normal scores of the ranks over all chains; equal numbers share their mean rank (Blom's offset 3/8)."""
    ranks = scipy.stats.rankdata(x, method="average").reshape(x.shape)
    return scipy.special.ndtri((ranks - 0.375) / (x.size + 0.25))


def variances(x):
    """(within, total) of x [chains, draws]: mean variance of the chains, and the estimate that their means add to."""
    n = x.shape[1]
    within = x.var(axis=1, ddof=1).mean()
    between = x.mean(axis=1).var(ddof=1) if len(x) > 1 else 0.0
    return within, within * (n - 1) / n + between


def potential_scale_reduction(x):
    if not np.ptp(x, axis=1).any():
        return np.inf
    within, total = variances(x)
    return np.sqrt(total / within)


def geyer_time(x):
    """1 + 2 Σ ρ_t by Geyer's initial monotone sequence: sums of neighbouring pairs while positive, made to fall.

    What the paper leaves open is as in ArviZ: the last lag, which a single product estimates, is in no pair; of the
    pair that ends the sequence (the first whose sum is not positive, or the last one) only the even lag counts, once,
    and not where both it and the sum are negative. The time is at least 1/log10 of the number of draws, since
    antithetic chains would else claim any size; below five draws a chain it is just that.
    """
    n = x.shape[1]
    within, total = variances(x)
    rho = 1 - (within - autocovariance(x).mean(axis=0)) / total
    rho[0] = 1
    usable = max((n - 1) // 2, 1)
    even, pairs = rho[: 2 * usable : 2], rho[: 2 * usable].reshape(-1, 2).sum(axis=1)
    end = next(iter(np.flatnonzero(pairs <= 0)), usable - 1)
    last = even[end] if pairs[end] >= 0 else max(even[end], 0)
    return max(2 * np.minimum.accumulate(pairs[:end]).sum() + last - 1, 1 / np.log10(x.size))


def autocovariance(x):
    """Autocovariances [chains, lags] by Fourier transform, each divided by the number of draws."""
    n = x.shape[1]
    padded = np.fft.rfft(x - x.mean(axis=1, keepdims=True), 2 * n, axis=1)
    return np.fft.irfft(np.abs(padded) ** 2, 2 * n, axis=1)[:, :n] / n
