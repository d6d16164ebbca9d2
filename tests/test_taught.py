"""Surrogates learn where chains on them go."""

import numpy as np
import pytest
import torch

from benchmarks.chains import LEAST_ESS, joined, thinned
from latent_plugins.chains import learned_surrogate, lesson, pcn, prior_latents

D, RHO = 4, 1.0
SETTINGS = dict(rho=RHO, prior="gaussian", chains=16, steps=80, labels=200)


def identity(z):
    return z.float()


def hill(z):
    """Log-volume: with ρ = 1 the law is normal with mean (3, 0, …), where the prior hardly comes."""
    return 3 * torch.as_tensor(z)[:, 0].double()


def bent(z):
    """A log-volume whose slope changes between the prior and where it leads."""
    x = torch.as_tensor(z)[:, 0].double()
    return 3 * x - 2 * (x - 1.5).clamp(min=0)


def prior(volume, n=150):
    z = prior_latents(np.arange(n), D, seed=3, prior="gaussian").astype(np.float32)
    return dict(z=z, volumes=volume(z).numpy())


def taught(known, found):
    return dict(z=np.concatenate([known["z"], found.z]), volumes=np.concatenate([known["volumes"], found.volumes]))


def test_a_second_lesson_finds_a_better_surrogate():
    known = prior(bent)
    first = lesson(bent, learned_surrogate(identity, **known), D, **SETTINGS, seed=1)
    assert first.z.shape == (200, D) and first.ends.shape == (16, D)
    np.testing.assert_allclose(first.volumes, bent(first.z))
    second = lesson(bent, learned_surrogate(identity, **taught(known, first)), D, **SETTINGS, seed=2)
    assert first.z[:, 0].mean() > 1  # the prior's mean is 0
    assert second.error < first.error / 1.5
    assert f"200 labels, mean log-volume {second.volumes.mean():.2f}" in str(second)


@pytest.mark.bitwise
def test_lessons_are_a_function_of_the_seed():
    surrogate = learned_surrogate(identity, **prior(hill), seed=4)
    a, b, c = (lesson(hill, surrogate, D, **SETTINGS, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.z, b.z)
    assert not np.isin(a.z, c.z).any()


def test_corrected_chains_have_the_law_of_the_true_volume():
    """Mean of N(3, 1) from the last draws of 400 chains: a z-test at 0.001 that the surrogate alone would fail."""
    off = dict(prior(hill), volumes=prior(hill)["volumes"] * 0.5)  # learned from wrong labels: slope 1.5
    surrogate = learned_surrogate(identity, **off)
    z0 = prior_latents(np.arange(400), D, seed=5, prior="gaussian") + [3, 0, 0, 0]
    options = dict(rho=RHO, steps=40, prior="gaussian", warmup=40, seed=6)
    alone = pcn(surrogate, z0, **options).z[:, -1, 0].mean()
    corrected = pcn(hill, z0, surrogate=surrogate, inner=5, **options).z[:, -1, 0].mean()
    assert abs(corrected - 3) < 3.3 / np.sqrt(400) < abs(alone - 3)


def test_more_labels_than_draws_are_refused():
    with pytest.raises(ValueError, match="641 labels of chains that have 640 draws"):
        lesson(hill, hill, D, **dict(SETTINGS, labels=641))


def test_draws_are_thinned_until_enough_of_them_are_independent():
    """Autoregressive chains in two blocks: an autocorrelation time of (1 + 0.9) / (1 − 0.9) = 19 draws."""
    random = np.random.RandomState(0)
    z = random.randn(8, 600, D).astype(np.float32)
    for t in range(1, z.shape[1]):
        z[:, t] = 0.9 * z[:, t - 1] + (1 - 0.9**2) ** 0.5 * z[:, t]
    known = dict(acceptance=np.full(8, 0.3), beta=np.full(8, 0.2), corrected=0.5, evaluations=5)
    chains = joined([dict(z=part, volumes=part[:, :, 0], **known) for part in (z[:, :200], z[:, 200:])])
    assert chains.z.shape == z.shape and chains.evaluations == 10
    assert chains.ess.min() < LEAST_ESS * 8 * 600
    kept, every = thinned(chains)
    assert 2 <= every <= 8 and kept.ess.min() >= LEAST_ESS * kept.log_volume.size
    np.testing.assert_array_equal(kept.z, z[:, every - 1 :: every])
