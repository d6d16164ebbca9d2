"""Truncations of z: what passes, how much of the prior that is, and that seeds mean latents."""

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.splines import SplineGenerator

from latent_plugins.samplers import simplicial as simplicial_module
from latent_plugins.samplers.simplicial import SimplicialSampler, acceptance_rate, simplex
from latent_plugins.samplers.truncated import TruncatedNormalSampler

LEVEL = 1e-3  # of every statistical test here
SAMPLERS = [
    (SimplicialSampler, dict(corners=4, tau=1.2)),
    (TruncatedNormalSampler, dict(threshold=0.7)),
]


class FreeLatents(SplineGenerator):
    """A generator of any number of latent dimensions whose z has a length that counts."""

    def __init__(self, z_dim):
        super().__init__()
        self.z_dim = z_dim


@pytest.mark.parametrize("m, d", [(2, 1), (2, 7), (4, 3), (5, 9), (10, 9)])
def test_corners_are_those_of_a_regular_simplex(m, d):
    corners = simplex(m, d, seed=3)
    expected = np.full((m, m), -1 / (m - 1))
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(corners @ corners.T, expected, atol=1e-12)
    assert corners.shape == (m, d)
    if d > 1:
        assert not np.allclose(corners, simplex(m, d, seed=4))
    np.testing.assert_array_equal(corners, simplex(m, d, seed=3))


def test_orientations_are_uniform():
    """The first corner's coordinates over many rotations are those of a uniform direction in three dimensions."""
    first = np.array([simplex(3, 3, seed)[0] for seed in range(500)])
    for coordinate in first.T:
        assert scipy.stats.kstest(coordinate, "uniform", args=(-1, 2)).pvalue > LEVEL


@pytest.mark.parametrize("m, d", [(1, 5), (0, 5), (7, 5)])
def test_numbers_of_corners_that_no_simplex_has_are_refused(m, d):
    for function in (lambda: simplex(m, d), lambda: acceptance_rate(m, 0.0, d)):
        with pytest.raises(ValueError, match=f"has 2 to 6 corners, not {m}"):
            function()


@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
@pytest.mark.parametrize("m, d, tau", [(2, 2, 1.0), (3, 12, 0.8), (5, 4, 1.5), (10, 30, 2.0)])
def test_the_acceptance_is_that_of_the_prior(m, d, tau, domain):
    """Against independent draws in all d dimensions, within 3.5 standard errors of the difference (level 5e-4)."""
    z = np.random.RandomState(0).randn(20_000, d)
    if domain == "sphere":
        z *= np.sqrt(d) / np.linalg.norm(z, axis=1, keepdims=True)
    found = ((z @ simplex(m, d).T).max(axis=1) > tau).mean()
    expected, error = acceptance_rate(m, tau, d, domain)
    assert error == pytest.approx(np.sqrt(expected * (1 - expected) / simplicial_module.TRIALS))
    assert abs(found - expected) < 3.5 * np.hypot(error, np.sqrt(expected * (1 - expected) / 20_000))


def test_two_corners_are_two_tails():
    """max(x, −x) > τ has a closed form."""
    for tau in (0.5, 1.5):
        rate, error = acceptance_rate(2, tau, 10)
        assert rate == pytest.approx(2 * scipy.stats.norm.sf(tau), abs=4 * error)
    assert acceptance_rate(2, -1.0, 10)[0] == 1 and acceptance_rate(2, np.inf, 10) == (0.0, 0.0)


@pytest.mark.parametrize("how", ["draw", "sample"])
@pytest.mark.parametrize("m, tau", [(2, 1.3), (3, 1.0), (3, 2.4)])
def test_latents_have_the_prior_s_law_where_it_passes(how, m, tau):
    """In two dimensions: all pass, as many as ought to on the first try, and each cell's law is the prior's."""
    generator = FreeLatents(2)
    sampler = SimplicialSampler(generator, corners=m, tau=tau)
    n = 3000
    drawn = sampler.draw(range(n)) if how == "draw" else sampler.sample(n, torch.Generator().manual_seed(0))
    z = drawn.z.numpy().astype(np.float64)
    corners = simplex(m, 2)
    assert ((z @ corners.T).max(axis=1) > tau).all()
    random = np.random.RandomState(1).randn(400_000, 2)
    random = random[(random @ corners.T).max(axis=1) > tau]
    for angle in np.linspace(0, np.pi, 4):
        direction = [np.cos(angle), np.sin(angle)]
        assert scipy.stats.ks_2samp(z @ direction, random @ direction).pvalue > LEVEL
    cells = np.bincount((z @ corners.T).argmax(axis=1), minlength=m)
    assert scipy.stats.chisquare(cells).pvalue > LEVEL
    if how == "draw":
        official = np.concatenate([generator.seed_latent(seed).numpy() for seed in range(n)])
        kept = (z == official).all(axis=1)
        assert np.array_equal(kept, (official @ corners.T).max(axis=1) > tau)
        assert scipy.stats.binomtest(int(kept.sum()), n, sampler.acceptance).pvalue > LEVEL


@pytest.mark.parametrize("threshold", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("how", ["draw", "sample"])
def test_truncated_normals_are(how, threshold):
    generator = FreeLatents(5)
    sampler = TruncatedNormalSampler(generator, threshold=threshold)
    z = (sampler.draw(range(1000)) if how == "draw" else sampler.sample(1000, torch.Generator().manual_seed(0))).z
    assert z.abs().max() <= threshold and z.dtype == torch.float32
    law = scipy.stats.truncnorm(-threshold, threshold)
    assert scipy.stats.kstest(z.numpy().astype(np.float64).ravel(), law.cdf).pvalue > LEVEL
    assert np.abs(np.corrcoef(z.numpy().T) - np.eye(5)).max() < 4.5 / np.sqrt(1000)
    if how == "draw":
        official = torch.cat([generator.seed_latent(seed) for seed in range(1000)])
        inside = official.abs() <= threshold
        assert torch.equal(z[inside], official[inside])


def test_no_truncation_is_the_prior(tiny):
    official = torch.cat([tiny.seed_latent(seed) for seed in (0, 7, 2)])
    assert torch.equal(SimplicialSampler(tiny, corners=9, tau=-np.inf).draw([0, 7, 2]).z, official)
    assert torch.equal(TruncatedNormalSampler(tiny, threshold=np.inf).draw([0, 7, 2]).z, official)


@pytest.mark.bitwise
@pytest.mark.parametrize("cls, options", SAMPLERS)
def test_a_seed_means_the_same_latent_in_every_batch(tiny, cls, options):
    sampler = cls(tiny, **options)
    seeds = [3, 11, 70_000, 2**32 - 1, 4]
    together = sampler.draw(seeds)
    for i, seed in enumerate(seeds):
        assert torch.equal(sampler.draw([seed]).z[0], together.z[i])
    assert len(torch.unique(together.z, dim=0)) == len(seeds)
    first, second, other = (sampler.sample(20, torch.Generator().manual_seed(s)).z for s in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert sampler.draw([]).z.shape == (0, 8)


@pytest.mark.parametrize("cls, options", SAMPLERS)
def test_labels_come_along(tiny_conditional, cls, options):
    sampler = cls(tiny_conditional, **options)
    c = torch.eye(3)[[2, 0]]
    assert torch.equal(sampler.draw([1, 2], c).c, c)
    with pytest.raises(ValueError, match="labels are required"):
        sampler.draw([1, 2])


def test_the_length_of_z_does_not_count_where_the_network_does_not_see_it(tiny):
    """Latents of twice the length pass as well or as badly."""
    sampler = SimplicialSampler(tiny, corners=5, tau=1.5)
    z = np.random.RandomState(0).randn(1000, 8)
    passes = sampler.passes(z)
    assert 0 < passes.mean() < 1 and np.array_equal(passes, sampler.passes(3 * z))
    assert passes.mean() == pytest.approx(sampler.acceptance, abs=0.06)
    free = SimplicialSampler(FreeLatents(8), corners=5, tau=1.5)
    assert not np.array_equal(free.passes(z), free.passes(3 * z))


def test_a_tau_that_hardly_anything_passes_is_refused_before_looping():
    generator = FreeLatents(40)
    with pytest.raises(
        ValueError, match=r"tau 6 lets 0 % of the prior pass.*largest tau that would do is (\d\.\d+)"
    ) as error:
        SimplicialSampler(generator, corners=10, tau=6)
    largest = float(str(error.value).split()[-1])
    sampler = SimplicialSampler(generator, corners=10, tau=largest)
    assert 1e-3 <= sampler.acceptance < 2e-3
    assert sampler.passes(sampler.draw([0]).z).all()
    with pytest.raises(ValueError, match="has 2 to 9 corners, not 10"):
        SimplicialSampler(small_stylegan2(), corners=10, tau=0.0)
    for tau in (np.nan, np.inf):
        with pytest.raises(ValueError, match="tau must be (a number|below inf)"):
            SimplicialSampler(generator, corners=3, tau=tau)
    generator.prior = "truncated"
    with pytest.raises(ValueError, match=r"needs latents of N\(0, I\), not those of spline"):
        SimplicialSampler(generator, corners=3, tau=0.0)


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
def test_thresholds_that_leave_nothing_are_refused(tiny, threshold):
    with pytest.raises(ValueError, match="threshold must be (above 0|a number), not"):
        TruncatedNormalSampler(tiny, threshold=threshold)
