"""Weighted draws: every row and every seed follows the weights, and no candidate comes more often than it must."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from latent_plugins.importance.report import mean_log_volume, tilt_to, together, weighted_draw
from latent_plugins.importance.resampling import bulk, by_seed, gumbel_order, places, systematic
from latent_plugins.importance.weights import degeneracy, log_weights, normalized
from latent_plugins.randomness import gumbels

LEVEL = 1e-3
logits = st.lists(st.one_of(st.floats(-30, 30), st.just(-np.inf)), min_size=1, max_size=60)


def weights_of(logits):
    logits = np.array(logits)
    return normalized(logits) if np.isfinite(logits).any() else None


@given(logits, st.integers(1, 200), st.floats(0.001, 0.999))
def test_systematic_counts_are_the_expected_ones_rounded_up_or_down(logits, n, u):
    logw = weights_of(logits)
    if logw is None:
        return
    counts = np.bincount(systematic(logw, n, u), minlength=len(logw))
    expected = n * np.exp(logw)
    assert counts.sum() == n and (np.abs(counts - expected) < 1 + 1e-9).all()
    assert not counts[np.isneginf(logw)].any()
    assert (counts[expected <= 1 - 1e-9] <= 1).all()


def test_the_expected_count_of_a_candidate_is_n_times_its_weight():
    logw = normalized(np.random.RandomState(0).randn(40) * 1.5)
    counts = np.mean(
        [np.bincount(systematic(logw, 25, u), minlength=40) for u in (np.arange(4000) + 0.5) / 4000], axis=0
    )
    np.testing.assert_allclose(counts, 25 * np.exp(logw), atol=25 / 4000)


def test_each_row_of_a_bulk_draw_follows_the_weights():
    """Rows are shuffled: the first one over many seeds, as the last one, is a draw by the weights."""
    logw = normalized(np.random.RandomState(1).randn(12))
    rows = np.stack([bulk(logw, 7, seed=seed) for seed in range(3000)])
    for row in (0, 6):
        counts = np.bincount(rows[:, row], minlength=12)
        assert scipy.stats.chisquare(counts, 3000 * np.exp(logw)).pvalue > LEVEL
    assert not np.array_equal(bulk(logw, 7, seed=0, label=1), bulk(logw, 7, seed=0, label=2))


def test_each_seed_follows_the_weights_over_atlases():
    """A seed's candidate over many atlas seeds, which decide shift and layout, is a draw by the weights."""
    logw = normalized(np.random.RandomState(2).randn(12))
    for seed in (0, 5, 2**40):
        counts = np.bincount([by_seed(logw, [seed], seed=atlas)[0] for atlas in range(3000)], minlength=12)
        assert scipy.stats.chisquare(counts, 3000 * np.exp(logw)).pvalue > LEVEL


@given(st.integers(0, 2**32), st.integers(2, 3000), st.floats(0, 0.999))
def test_any_range_of_seeds_is_spread_evenly(first, m, shift):
    found = np.sort(places(np.arange(first, first + m), shift))
    gaps = np.diff(found)
    assert gaps.min() >= 0.38 / m and gaps.max() <= 2.7 / m and 0 < found[0] and found[-1] < 1


def test_seeds_do_not_depend_on_each_other_and_rarely_share_a_candidate():
    logw = normalized(np.random.RandomState(3).randn(20_000) * 0.5)
    together_ = by_seed(logw, range(5000), seed=0)
    assert by_seed(logw, [4321], seed=0)[0] == together_[4321]
    assert len(np.unique(together_)) > 4900
    counts = np.bincount(by_seed(logw, range(200_000), seed=0), minlength=20_000)
    assert scipy.stats.chisquare(*merged(counts, 200_000 * np.exp(logw))).pvalue > LEVEL


def merged(counts, expected):
    """Counts and expectations in 50 groups."""
    groups = np.arange(len(counts)) % 50
    return np.bincount(groups, counts), np.bincount(groups, expected)


def toy(n, seed=0):
    """Log-volumes of candidates: Σ of two normal coordinates."""
    return np.random.RandomState(seed).randn(n, 2) @ [0.7, 0.1]


@pytest.mark.parametrize("rho", [-0.2, 1.0])
@pytest.mark.parametrize("how", ["draw", "sample"])
def test_a_quarter_of_the_candidates_still_follows_the_law(rho, how):
    """n = 5,000 of N = 20,000: the drawn mean log-volume is the law's, within three of its standard errors."""
    volume = toy(20_000)
    logw = log_weights(volume, rho)
    index = by_seed(logw, range(5000), seed=0) if how == "draw" else bulk(logw, 5000, seed=1)
    found = weighted_draw(volume, logw, index, ess=degeneracy(logw).effective_sample_size)
    spread = np.sqrt(np.exp(logw) @ volume**2 - found.law_log_volume**2)
    assert abs(found.drawn_log_volume - found.law_log_volume) < 3 * spread / np.sqrt(5000)
    assert found.effective_rho is None and found.distinct <= 5000


def test_without_replacement_the_effective_rho_is_told():
    volume = toy(20_000)
    logw = log_weights(volume, 1.0)
    index = gumbel_order(logw, gumbels(len(logw), seed=0))[:5000]
    found = weighted_draw(volume, logw, index, ess=degeneracy(logw).effective_sample_size, ordered=True, rho=1.0)
    assert 0.6 < found.effective_rho < 0.95 and found.distinct == 5000
    assert mean_log_volume(volume, log_weights(volume, found.effective_rho)) == pytest.approx(found.drawn_log_volume)
    few = weighted_draw(volume, logw, index[:100], ess=1.0, ordered=True, rho=1.0)
    assert few.effective_rho == pytest.approx(1.0, abs=0.5)


def test_tilts_beyond_all_candidates_are_infinite():
    volume = np.array([0.0, 1.0, 2.0])
    logw = log_weights(volume, 0.0)
    assert tilt_to(1.0, volume, logw) == pytest.approx(0, abs=1e-9)
    assert tilt_to(2.5, volume, logw) == np.inf and tilt_to(-1.0, volume, logw) == -np.inf


def test_classes_are_told_together():
    volume = toy(100)
    logw = log_weights(volume, 1.0)
    one, two = weighted_draw(volume, logw, np.array([1, 1, 2]), ess=5.0), weighted_draw(volume, logw, [3], ess=4.0)
    both = together([one, two])
    assert (both.drawn, both.distinct, both.ess) == (4, 3, 4.0)
    assert both.drawn_log_volume == pytest.approx(volume[[1, 1, 2, 3]].mean())
    assert "effective_rho" not in both.record() and together([]) is None
