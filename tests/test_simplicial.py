"""Truncations of z: what passes, how much of the prior that is, and that seeds mean latents."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.splines import SplineGenerator

from latent_plugins.samplers.simplex import TRIALS, acceptance_rate, limits, prior_scores, simplex
from latent_plugins.samplers.simplicial import SimplicialSampler
from latent_plugins.samplers.simplicial_filter import SimplicialFilter
from latent_plugins.samplers.truncated import TruncatedNormalSampler

LEVEL = 1e-3  # of every statistical test here
SAMPLERS = [
    (SimplicialSampler, dict(corners=4, tau=1.2)),
    (SimplicialSampler, dict(corners=4, tau=0.5, rule="softmax", corner_radius=2.0)),
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
    assert error == pytest.approx(np.sqrt(expected * (1 - expected) / TRIALS))
    assert abs(found - expected) < 3.5 * np.hypot(error, np.sqrt(expected * (1 - expected) / 20_000))


def test_two_corners_are_two_tails():
    """max(x, −x) > τ has a closed form."""
    for tau in (0.5, 1.5):
        rate, error = acceptance_rate(2, tau, 10)
        assert rate == pytest.approx(2 * scipy.stats.norm.sf(tau), abs=4 * error)
    assert acceptance_rate(2, -1.0, 10)[0] == 1 and acceptance_rate(2, np.inf, 10) == (0.0, 0.0)


def hyperboloid(tau, radius, d):
    """The share of N(0, I) that the softmax rule of two corners keeps, by quadrature.

    |‖z − ru‖ − ‖z + ru‖| > log(τ/(1 − τ)) = 2a is x²/a² − ρ²/(r² − a²) > 1 for x = z·u and the norm ρ of the rest.
    """
    a = scipy.special.logit(tau) / 2
    tails = lambda rho: 2 * scipy.stats.norm.sf(a * np.sqrt(1 + rho**2 / (radius**2 - a**2)))  # noqa: E731
    return scipy.integrate.quad(lambda rho: tails(rho) * scipy.stats.chi.pdf(rho, d - 1), 0, np.inf)[0]


@pytest.mark.parametrize("tau, radius, d", [(0.6, 1.0, 2), (0.55, 1.0, 64), (0.8, 3.0, 10)])
def test_two_corners_by_the_softmax_are_a_hyperboloid(tau, radius, d):
    rate, error = acceptance_rate(2, tau, d, rule="softmax", radius=radius)
    assert rate == pytest.approx(hyperboloid(tau, radius, d), abs=4 * error) and 0.01 < rate < 0.9


@pytest.mark.parametrize("tau, radius", [(0.5, 1.0), (1.0, 1.0), (3.0, 2.0)])
def test_three_corners_leave_out_a_triangle(tau, radius):
    """In the plane: that of inradius τ/r, whose mass is an integral over its directions."""
    inside = lambda angle: -np.expm1(-((tau / radius / np.cos(angle)) ** 2) / 2) / (2 * np.pi)  # noqa: E731
    mass = 3 * scipy.integrate.quad(inside, -np.pi / 3, np.pi / 3)[0]
    rate, error = acceptance_rate(3, tau, 2, radius=radius)
    assert rate == pytest.approx(1 - mass, abs=4 * error)


@pytest.mark.parametrize("tau, m, d, radius, low, high", [
    (0.135, 10, 64, 1.0, 0.037, 0.065), (0.14, 10, 64, 1.0, 0.014, 0.026), (0.1445, 10, 64, 1.0, 0.005, 0.011),
    (0.08, 100, 128, 1.0, 0.0, 0.0), (0.08, 100, 128, 128**0.5, 0.05, 0.1),
])  # fmt: skip
def test_published_thresholds_belong_to_the_softmax(tau, m, d, radius, low, high):
    """Of 10 corners and 64 dimensions, 100 and 128 (App. B.2.3): by the projection practically everything passes."""
    assert low <= acceptance_rate(m, tau, d, rule="softmax", radius=radius)[0] <= high
    assert acceptance_rate(m, tau, d)[0] > 0.999


@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
@pytest.mark.parametrize("m, d, tau, radius", [(3, 12, 0.45, 1.0), (10, 64, 0.13, 1.0), (9, 8, 0.25, 2.0)])
def test_the_softmax_s_acceptance_is_that_of_the_prior(m, d, tau, radius, domain):
    """Against the rule as it is printed, of independent draws in all d dimensions, within 3.5 standard errors."""
    z = np.random.RandomState(0).randn(20_000, d)
    if domain == "sphere":
        z *= np.sqrt(d) / np.linalg.norm(z, axis=1, keepdims=True)
    distances = np.stack([np.linalg.norm(z - radius * corner, axis=1) for corner in simplex(m, d)], axis=1)
    found = (scipy.special.softmax(-distances, axis=1).max(axis=1) > tau).mean()
    expected, error = acceptance_rate(m, tau, d, domain, "softmax", radius)
    assert 0.01 < expected < 0.99
    assert abs(found - expected) < 3.5 * np.hypot(error, np.sqrt(expected * (1 - expected) / 20_000))


def test_limits_of_the_scores():
    """By hand: the centre has every chance 1/m, a corner of two, one apart from it by 2r, 1/(1 + e^{−2r})."""
    assert limits(2, "softmax", 1.5) == (0.5, pytest.approx(1 / (1 + np.exp(-3))))
    scores = prior_scores(3, 2, rule="softmax", radius=0.7)
    assert 1 / 3 <= scores.min() < 0.334 and scores.max() < limits(3, "softmax", 0.7)[1] < 1.02 * scores.max()
    assert limits(5, "max", 1.0) == (0, np.inf) and prior_scores(5, 9).min() > 0


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
    with pytest.raises(ValueError, match=r"`tau`=6 lets 0 % of the prior pass.*any from \S+ to \S+ would do") as error:
        SimplicialSampler(generator, corners=10, tau=6)
    largest = float(str(error.value).split()[-3])
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


@pytest.mark.parametrize("rule, radius, bad, hint", [
    ("max", 1.0, (0.135, 0.0, -3.0), "the published ones, 0.08 to 0.2, are for `rule`=softmax"),
    ("softmax", 1.0, (0.05, 0.1), "any from 0.1062 to 0.1547 would do"),
    ("softmax", 1.0, (0.2, 0.5), "any from 0.1062 to 0.1547 would do, or a larger `corner_radius`"),
])  # fmt: skip
def test_a_tau_that_all_latents_pass_or_none_is_refused_with_what_would_do(rule, radius, bad, hint):
    generator, about = FreeLatents(64), dict(corners=10, rule=rule, corner_radius=radius)
    for tau in bad:
        with pytest.raises(ValueError, match=rf"^`tau`={tau:g} lets (0|100) % of the prior pass.*would do") as error:
            SimplicialSampler(generator, tau=tau, **about)
        assert "\n" not in str(error.value) and (hint in str(error.value) or tau <= 0)
    low, high = (float(each) for each in str(error.value).partition("from ")[2].split(" would")[0].split(" to "))
    assert 0.99 < SimplicialSampler(generator, tau=low, **about).acceptance <= 0.999
    assert 0.001 <= SimplicialSampler(generator, tau=high, **about).acceptance < 0.01


def test_a_filter_refuses_only_what_no_law_could_pass():
    """Another sampler's latents may pass where the prior's do not: there it warns."""
    for tau, message in [(0.0, "`tau`=0 lets 100 %"), (-1.0, "`tau`=-1 lets 100 %")]:
        with pytest.raises(ValueError, match=message):
            SimplicialFilter(10, tau, 0, 64)
    for tau in (0.1, limits(10, "softmax", 1.0)[1]):
        with pytest.raises(ValueError, match="by `rule`=softmax"):
            SimplicialFilter(10, tau, 0, 64, rule="softmax")
    with pytest.warns(UserWarning, match="^tau=0.2 lets 0 % of the prior pass by rule=softmax"):
        far = SimplicialFilter(10, 0.2, 0, 64, rule="softmax")
    corner = torch.from_numpy(simplex(10, 64)[:1]).float()
    assert far.accept(corner, None, None).all() and not far.accept(-corner, None, None).any()
    assert far.record() == dict(corners=10, tau=0.2, rule="softmax", corner_radius=1.0, rotation=0)
    assert SimplicialFilter(10, -np.inf, 0, 64).accept(-corner, None, None).all()


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
def test_thresholds_that_leave_nothing_are_refused(tiny, threshold):
    with pytest.raises(ValueError, match="threshold must be (above 0|a number), not"):
        TruncatedNormalSampler(tiny, threshold=threshold)
