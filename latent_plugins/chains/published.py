"""The online rule of the papers on MaGNET and Polarity, as they print it."""

import numpy as np
import scipy.special

from latent_plugins.chains.moves import check_rho, log_weight
from latent_plugins.chains.rejection import Draws, check_number, proposals


def online_rejection(log_volume, n, d, *, rho, scalars, prior, seed=0, limit=1_000_000):
    """n draws in d dimensions by the online rejection rule of "Polarity Sampling" (Humayun et al. 2022), as Draws.

    Its appendix, "Online Algorithm": given volumes σ_1 … σ_N of earlier latents, a fresh latent z is accepted with
    probability σ_z^ρ / (σ_z^ρ + Σ_i σ_i^ρ). scalars: the log-volumes of those N latents, float64 [N]; NaN are left out.
    At ρ = 1 it is MaGNET's own online rule (its Algorithm 2). prior: where fresh latents come from, as for `pcn`; in
    the papers that is a uniform law on the latent domain, a BoxPrior.

    It is approximate. With S = Σ_i σ_i^ρ the draws have the density ∝ p·σ^ρ/(σ^ρ + S) exactly, which flattens weights
    that are not small against S. The target is its limit for N → ∞, and the acceptance is about 1/(N + 1): a draw
    costs as many volumes as there are scalars, so that little bias and a low price exclude each other.

    Raises ValueError when no scalar is usable, when `limit` draws of the prior do not give n, or for values out of
    range.
    """
    check_number(n)
    check_rho(rho)
    logw = log_weight(rho, np.asarray(scalars, dtype=np.float64))
    if not np.isfinite(logw).any():
        raise ValueError("none of the volumes of earlier latents is usable")
    total, evaluations = scipy.special.logsumexp(logw), 0
    z, volume = np.empty((0, d)), np.empty(0)
    for batch in proposals(log_volume, d, rho=rho, prior=prior, seed=seed, limit=limit):
        accepted = batch.log_chance < batch.logw - np.logaddexp(batch.logw, total)
        z, volume = np.concatenate([z, batch.z[accepted]]), np.concatenate([volume, batch.log_volume[accepted]])
        evaluations += len(batch.z)
        if len(z) >= n:
            return Draws(z[:n].astype(np.float32), volume[:n], evaluations, len(z) / evaluations)
