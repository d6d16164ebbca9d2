"""Pareto smoothing against tails of known shape; the correction for the base measure."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from latent_plugins.importance.psis import fit_generalized_pareto, generalized_pareto_quantile, pareto_smooth
from latent_plugins.importance.weights import base_correction, log_weights

REPEATS, N = 40, 10_000
TAIL = 300  # 3 √N


def pareto_log_weights(shape, seed):
    return -shape * np.log1p(-np.random.RandomState(seed).rand(N))


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8, 1.2])
def test_pareto_tails_have_their_shape(shape):
    """The mean of 40 estimates, at level 1e-3, against the truth as the prior shrinks it; one estimate errs by
    (1 + k)/√300."""
    found = [pareto_smooth(pareto_log_weights(shape, seed))[1] for seed in range(REPEATS)]
    expected = (TAIL * shape + 5) / (TAIL + 10)
    assert scipy.stats.ttest_1samp(found, expected).pvalue > 1e-3
    assert np.std(found) == pytest.approx((1 + shape) / np.sqrt(TAIL), rel=0.5)


def test_lighter_tails_have_smaller_shapes():
    random = np.random.RandomState(0)
    bounded = pareto_smooth(np.log(random.rand(N)))[1]  # uniform: shape −1
    exponential = pareto_smooth(np.log(random.exponential(size=N)))[1]  # shape 0
    assert -1.3 < bounded < -0.7 and abs(exponential) < 0.25


def test_the_fit_recovers_shape_and_scale():
    excess = generalized_pareto_quantile((np.arange(2000) + 0.5) / 2000, 0.4, 3.0)
    shape, scale = fit_generalized_pareto(excess)
    assert shape == pytest.approx(0.4, abs=0.03) and scale == pytest.approx(3, rel=0.03)
    p = np.array([0.1, 0.5, 0.99])
    for k in (-0.5, 0.0, 0.7):
        ours = generalized_pareto_quantile(p, k, 2.0)
        np.testing.assert_allclose(ours, scipy.stats.genpareto.ppf(p, k, scale=2.0))


def test_smoothing_tames_the_tail_and_keeps_the_rest():
    raw = pareto_log_weights(0.9, 3)
    smooth, shape = pareto_smooth(raw)
    assert 0.7 < shape < 1.2 and np.exp(smooth).sum() == pytest.approx(1)
    order = np.argsort(raw)
    assert (np.diff(smooth[order]) >= 0).all()
    differences = (smooth - raw)[order]
    np.testing.assert_allclose(differences[:-TAIL], differences[0])
    assert np.ptp(differences[-TAIL:]) > 0.01
    assert smooth.max() - smooth[order[0]] <= raw.max() - raw.min() + 1e-12


def test_smoothing_lowers_the_error_of_heavy_tailed_estimates():
    """E of a bounded function under weights with k = 0.8; the truth is 0.5, both estimates are consistent."""
    errors = {"raw": [], "smooth": []}
    for seed in range(200):
        random = np.random.RandomState(seed)
        logw = -0.8 * np.log1p(-random.rand(1000))
        value = random.rand(1000)
        errors["raw"].append(np.exp(log_weights(logw, 1.0)) @ value - 0.5)
        errors["smooth"].append(np.exp(pareto_smooth(logw)[0]) @ value - 0.5)
    assert np.square(errors["smooth"]).mean() < np.square(errors["raw"]).mean()


def test_equal_weights_stay_and_have_the_lightest_tail():
    for level in (0.0, -700.0, 1e4):
        smooth, shape = pareto_smooth(np.full(1000, level))
        np.testing.assert_allclose(smooth, -np.log(1000))
        assert shape == -np.inf


@pytest.mark.parametrize("n", [1, 2, 10, 20])
def test_short_tails_are_left_alone(n):
    logw = np.random.RandomState(n).randn(n)
    smooth, shape = pareto_smooth(logw)
    np.testing.assert_allclose(smooth, log_weights(logw, 1.0))
    assert np.isnan(shape)


@given(
    logw=st.lists(st.sampled_from([-np.inf, -1000.0, -1.0, 0.0, 0.5, 0.5 + 1e-9, 3.0, 700.0]), min_size=1, max_size=80)
)
def test_smoothed_weights_are_weights(logw):
    if not np.isfinite(logw).any():
        logw[0] = 0.0
    smooth, shape = pareto_smooth(logw)
    assert np.exp(smooth).sum() == pytest.approx(1)
    assert np.array_equal(np.isfinite(smooth), np.isfinite(logw))
    assert np.isnan(shape) or shape < np.inf


def test_weights_without_weight_are_left_out():
    raw = pareto_log_weights(0.5, 0)[:1000]
    mixed = np.full(2000, -np.inf)
    mixed[::2] = raw
    smooth, shape = pareto_smooth(mixed)
    alone, expected = pareto_smooth(raw)
    np.testing.assert_allclose(smooth[::2], alone)
    assert shape == expected and np.isneginf(smooth[1::2]).all()


@pytest.mark.parametrize("logw", [[], [np.nan, 0.0], [-np.inf], [np.inf, 0.0], [[0.0, 1.0]]])
def test_lists_that_hold_no_weights_are_refused(logw):
    with pytest.raises(ValueError, match="log-weights are a list"):
        pareto_smooth(np.array(logw))


def test_the_correction_takes_the_prior_out():
    """Candidates of N(0, 1) weighted by 1/p are uniform where they lie; half of it is N(0, 2)."""
    z = np.random.RandomState(0).randn(200_000)
    log_prior = -(z**2) / 2
    inside = np.abs(z) < 2
    weights = np.exp(log_weights(base_correction(log_prior, 1.0)[inside], 1.0))
    counts = np.histogram(z[inside], bins=8, range=(-2, 2), weights=weights)[0]
    np.testing.assert_allclose(counts, 1 / 8, rtol=0.03)
    half = np.exp(base_correction(log_prior, 0.5)[inside])
    expected = scipy.stats.norm(scale=np.sqrt(2))
    ratio = np.average(np.abs(z[inside]) < 1, weights=half)
    assert ratio == pytest.approx((expected.cdf(1) - 0.5) / (expected.cdf(2) - 0.5), rel=0.02)
    assert not base_correction(log_prior, 0.0).any()


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan])
def test_corrections_out_of_range_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha lies between 0"):
        base_correction(np.zeros(3), alpha)
