"""Weighted draws that change as little as they can while the polarity moves."""

import numpy as np

from latent_plugins.importance.weights import log_weights
from latent_plugins.randomness import Stream, gumbels
from latent_plugins.samplers.keys import hashed


def coherent_choices(volume, rhos, seeds, atlas, label=None):
    """The candidate of every seed at every ρ: int64 [rhos, seeds], for log-volumes [N] of an atlas.

    Each is a weighted draw by itself, argmax over the candidates of log-weight + Gumbel noise. A seed has noise of its
    own, which is the same for all ρ, so that its candidate stays until another one overtakes it. (In the order that
    PolaritySampler draws from, all seeds share one noise: a candidate that enters near the top moves all behind it.)
    The noise's keys are BLAKE2b hashes of the atlas seed, the class and the seed.
    """
    atlas_seed = atlas.settings.seed if atlas.settings else 0
    choices = np.empty((len(rhos), len(seeds)), dtype=np.int64)
    weights = [log_weights(volume, rho) for rho in rhos]
    for column, seed in enumerate(seeds):
        noise = gumbels(len(volume), seed=hashed(8, "strip", atlas_seed, label, seed), stream=Stream.STRIP)
        choices[:, column] = [np.argmax(logw + noise) for logw in weights]
    return choices
