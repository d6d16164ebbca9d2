"""Online sampling: latents from π(z) ∝ p(z)·volume(z)^ρ without an atlas.

p is a Prior (`latent_plugins.priors`), or by the name of a domain N(0, I) (`gaussian`) or the uniform measure on the
sphere of radius √d (`sphere`). Every sampler takes the log-volume as a callable z, float32 tensor [N, d] → [N], NaN
where there is none (then π is zero); see `latent_plugins.volume.LogVolume`.
"""

from latent_plugins.chains.diagnostics import Chains, autocorrelation_time, effective_sample_size, split_rhat
from latent_plugins.chains.independence import independence
from latent_plugins.chains.moves import prior_latents, start
from latent_plugins.chains.pcn import pcn
from latent_plugins.chains.published import online_rejection
from latent_plugins.chains.rejection import rejection
from latent_plugins.chains.smc import smc
from latent_plugins.chains.taught import learned_surrogate, lesson

__all__ = [
    "Chains",
    "autocorrelation_time",
    "effective_sample_size",
    "independence",
    "learned_surrogate",
    "lesson",
    "online_rejection",
    "pcn",
    "prior_latents",
    "rejection",
    "smc",
    "split_rhat",
    "start",
]
