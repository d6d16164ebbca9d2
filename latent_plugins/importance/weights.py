"""Sampling weights from log-volumes, in log space: |ρ| of any size neither overflows nor divides by zero."""

import dataclasses

import numpy as np
import scipy.special

from latent_plugins.importance.psis import pareto_smooth

LOG_EPSILON = 1e-12  # keeps the log of a vanishing singular value finite


def log_volume(sigma):
    """Σ log(σ_i + ε) over the singular values [N, k] of each row: float64 [N], NaN where all are zero or one is not
    finite."""
    sigma = np.asarray(sigma, dtype=np.float64)
    usable = np.isfinite(sigma).all(axis=1) & (sigma > 0).any(axis=1)
    volume = np.full(len(sigma), np.nan)
    volume[usable] = np.log(sigma[usable] + LOG_EPSILON).sum(axis=1)
    return volume


def log_weights(log_volume, rho):
    """Normalised log-weights ρ·log-volume − log Σ exp(…): float64 [N]; −inf for candidates whose volume is NaN.

    Weight ∝ volume^ρ ("Polarity Sampling", Eq. 3; ρ = 1 is MaGNET). In the limits ρ = −∞ and ∞ the most contracted and
    the most expanded candidate have all the weight; those that tie share it. Raises ValueError when no candidate is
    usable or ρ is NaN.
    """
    if np.isnan(rho):
        raise ValueError(f"rho must be a finite number, −inf or inf, not {rho}")
    usable = np.isfinite(log_volume)
    if not usable.any():
        raise ValueError("no candidate has a usable spectrum")
    if np.isinf(rho):
        height = np.where(usable, np.sign(rho) * log_volume, -np.inf)
        first = height == height.max()
        return np.where(first, -np.log(first.sum()), -np.inf)
    logits = np.where(usable, rho * np.where(usable, log_volume, 0.0), -np.inf)
    return normalized(logits)


def normalized(logits):
    """Log-weights [N] shifted so that the weights sum to one."""
    logits = logits - logits.max()
    return logits - scipy.special.logsumexp(logits)


def rho_for_json(rho):
    """ρ as JSON can hold it: infinite ones as the text "-inf" or "inf", others (and None) as they are."""
    return str(rho) if rho is not None and np.isinf(rho) else rho


def rho_from_json(rho):
    """The ρ of `rho_for_json`: float. Raises ValueError for what is none."""
    return float(rho)


def base_correction(log_prior, alpha):
    """−α·log p(z), to be added to ρ·log-volume: takes the prior's own density out of the sampled law. float64 [N].

    log_prior: log-density of the base measure at each candidate [N], up to a constant. Candidates come from p, so that
    their weights volume^ρ give the law p·volume^ρ: with α = 0 MaGNET is uniform on the manifold only where p is flat.
    (Both papers' texts take candidates that are uniform on the latent domain: the bases `uniform` and `ball`.) With
    α = 1 p cancels: uniform over what the candidates cover, their typical set. On the sphere p is constant and there is
    nothing to correct. Raises ValueError for an α outside 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 (as published) and 1 (the prior cancels), not at {alpha}")
    return -alpha * np.asarray(log_prior, dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Degeneracy:
    """How uneven a set of weights is: number of usable `candidates`, effective sample size 1/Σw̄², `largest` weight,
    and `khat`, the Pareto shape of the largest ones (above 0.7 they are no base for estimates; see `pareto_smooth`)."""

    candidates: int
    effective_sample_size: float
    largest: float
    khat: float

    def __str__(self):
        shape = f", Pareto k {self.khat:.2f}" if np.isfinite(self.khat) else ""
        return (
            f"{self.candidates} candidates, effective sample size {self.effective_sample_size:.1f}, "
            f"largest weight {100 * self.largest:.3g} %{shape}"
        )


def degeneracy(logw):
    """The Degeneracy of normalised log-weights [N]."""
    ess = float(np.exp(-scipy.special.logsumexp(2 * logw)))
    return Degeneracy(int(np.isfinite(logw).sum()), ess, float(np.exp(logw.max())), pareto_smooth(logw)[1])
