"""Independence Metropolis–Hastings: every proposal a fresh draw of the prior."""

import numpy as np

from latent_plugins.chains.diagnostics import Chains
from latent_plugins.chains.moves import check_rho, evaluate, log_ratio, step_noise
from latent_plugins.chains.pcn import Kernel, matrix
from latent_plugins.priors import as_prior

BATCH = 1024  # proposals whose volumes are computed together, about


def independence(log_volume, z0, *, rho, steps, prior, seed=0, thin=1, numbers=None):
    """Chains with the stationary law π(z) ∝ p(z)·volume(z)^ρ from z0 [chains, d], as Chains with β = 1.

    A proposal of the prior p is accepted with probability min(1, (volume'/volume)^ρ). The draws are those of `pcn` with
    β = 1 and neither warm-up nor spread; but here proposals do not wait for their chain, so that volumes of several
    steps are computed together. For small |ρ|: a chain stays at a latent of large weight for about as many steps as the
    weight is large. Every proposal counts as an evaluation. prior, seed, thin and numbers: as for `pcn`.

    Raises ValueError for values out of range.
    """
    check_rho(rho)
    if not 1 <= thin <= steps:
        raise ValueError(f"thin {thin} lies between 1 and the steps, {steps}")
    z0 = matrix(z0)
    n, d = z0.shape
    prior = as_prior(prior, d)
    kernel = Kernel(log_volume, prior, seed)
    state = kernel.enter(z0)
    chains = np.arange(n) if numbers is None else np.asarray(numbers)
    z, volume = np.empty((n, steps // thin, d), dtype=np.float32), np.empty((n, steps // thin))
    acceptance = np.zeros(n)
    block = max(1, BATCH // n)
    for begin in range(0, steps, block):
        noises = [step_noise(chains, step, d, seed=seed) for step in range(begin, min(begin + block, steps))]
        proposals = prior.from_normal(np.concatenate([noise.xi for noise in noises]))
        volumes = evaluate(log_volume, proposals)
        for i, noise in enumerate(noises):
            here = slice(i * n, (i + 1) * n)
            ratio = log_ratio(rho, volumes[here], state.volume)
            accepted = np.log(noise.accept) < ratio
            state.z[accepted], state.volume[accepted] = proposals[here][accepted], volumes[here][accepted]
            acceptance += np.exp(np.minimum(ratio, 0.0)) / steps
            step = begin + i
            if (step + 1) % thin == 0:
                z[:, step // thin], volume[:, step // thin] = state.z, state.volume
    return Chains(z, volume, acceptance, np.ones(n), n * (steps + 1))
