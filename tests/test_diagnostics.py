"""Diagnostics of chains against processes whose autocorrelation time is known, and against ArviZ."""

import json

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from conftest import GOLDENS

from latent_plugins.chains import autocorrelation_time, effective_sample_size, split_rhat
from latent_plugins.chains.diagnostics import Chains, directions, geyer_time, rank_normalised

CHAINS, DRAWS = 4, 50_000
PHI = {0.9: 19.0, 0.5: 3.0, 0.0: 1.0}  # autocorrelation times (1 + φ)/(1 − φ)


def autoregressive(phi, chains=CHAINS, draws=DRAWS, seed=0):
    """Stationary chains x_t = φ x_{t−1} + noise of variance 1."""
    noise = np.random.RandomState(seed).randn(chains, draws + 400)
    return scipy.signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=1)[:, 400:]


def relative_error(tau, draws):
    """Standard error of an estimated autocorrelation time, relative: √(2 (2M + 1)/n) with a window M of 5 τ (Sokal)."""
    return np.sqrt(2 * (2 * 5 * tau + 1) / draws)


@pytest.mark.parametrize("phi, tau", PHI.items())
def test_autocorrelation_times_of_autoregressions_are_found(phi, tau):
    """Within four standard errors: 20 % for the slowest."""
    x = autoregressive(phi)
    tolerance = 4 * relative_error(tau, x.size)
    assert tolerance < 0.2
    assert autocorrelation_time(x) == pytest.approx(tau, rel=tolerance)
    assert effective_sample_size(x) == pytest.approx(x.size / tau, rel=tolerance)
    assert split_rhat(x) == pytest.approx(1, abs=0.003)


def watched_chains(kind, chains, draws, seed):
    """Chains [chains, draws] of a kind: autoregressions, and what is done to independent draws."""
    noise = np.random.RandomState(seed).randn(chains, draws + 50)
    phi = dict(white=0, slow=0.9, mild=0.5, antithetic=-0.6, apart=0.3).get(kind, 0)
    for t in range(1, noise.shape[1]):
        noise[:, t] += phi * noise[:, t - 1]
    x = noise[:, 50:]
    if kind == "trend":
        return x + np.linspace(0, 3, draws)
    if kind == "apart":
        return x + np.arange(chains)[:, None]
    return np.round(x) if kind == "ties" else x


def test_sizes_and_rhats_are_those_of_arviz():
    """Its bulk effective sample size and rank-normalised R-hat, for few and many chains, short, odd and long ones."""
    for case in json.loads((GOLDENS / "arviz-0.23.4.json").read_text()):
        x = watched_chains(case["kind"], case["chains"], case["draws"], case["seed"])
        assert effective_sample_size(x) == pytest.approx(case["ess"], rel=1e-9), case
        if case["rhat"] is not None:  # which ArviZ does not give for one chain
            assert split_rhat(x) == pytest.approx(case["rhat"], rel=1e-9), case


def test_antithetic_chains_count_for_more_but_not_for_anything():
    assert autocorrelation_time(autoregressive(-0.5)) == pytest.approx(1 / 3, rel=0.1)
    assert effective_sample_size(np.tile([1.0, -1.0], (4, 500))) == pytest.approx(4000 * np.log10(4000))


def test_chains_at_different_places_are_told():
    x = autoregressive(0.5, draws=1000)
    assert split_rhat(x) < 1.01
    assert split_rhat(x + np.arange(CHAINS)[:, None]) > 1.1
    assert effective_sample_size(x + np.arange(CHAINS)[:, None]) < 20
    assert autocorrelation_time(x + np.arange(CHAINS)[:, None]) > 100


def test_folding_and_splitting_see_what_means_do_not():
    x = autoregressive(0.0, draws=1000)
    wide = x * np.array([1, 1, 1, 3])[:, None]  # another variance, the same mean
    assert split_rhat(wide) > 1.1
    drift = x + np.linspace(-2, 2, 1000)  # every chain wanders the same way
    assert split_rhat(drift) > 1.1


def test_heavy_tails_do_not_hide_a_chain_at_another_place():
    """Ranks have a variance where the numbers have none."""
    x = np.random.RandomState(0).standard_cauchy((4, 1000))
    assert split_rhat(x) < 1.01
    assert split_rhat(x + np.array([0, 0, 0, 3])[:, None]) > 1.1
    assert split_rhat(np.exp(5 * x.clip(-50, 50))) == pytest.approx(split_rhat(x.clip(-50, 50)), abs=0.02)


def test_ranks_become_normal():
    x = np.random.RandomState(0).exponential(size=(2, 500))
    assert scipy.stats.kstest(rank_normalised(x).ravel(), "norm").pvalue > 0.99
    assert np.array_equal(rank_normalised(np.array([[1.0, 1.0, 2.0, 2.0]]))[0, ::2] > 0, [False, True])


def test_draws_that_show_nothing_give_nan():
    still = np.ones((4, 100))
    broken = autoregressive(0.5, draws=100)
    broken[2, 3] = np.nan
    for x in (still, broken):
        assert all(np.isnan(f(x)) for f in (split_rhat, effective_sample_size, autocorrelation_time))
    stuck = np.arange(4.0)[:, None] * np.ones((4, 100))
    assert split_rhat(stuck) == np.inf
    assert effective_sample_size(stuck) <= 8
    assert np.isfinite(split_rhat(autoregressive(0.5, chains=1, draws=100)))


@pytest.mark.parametrize("shape", [(4, 3), (100,), (2, 3, 4)])
def test_shapes_that_are_no_chains_are_refused(shape):
    for function in (split_rhat, effective_sample_size, autocorrelation_time):
        with pytest.raises(ValueError, match="at least 4 draws"):
            function(np.zeros(shape))


def test_geyers_sequence_stops_before_the_noise():
    """Independent draws: the noise of thousands of lags must not add up."""
    x = autoregressive(0.0, chains=1, draws=20_000)
    assert geyer_time(x) == pytest.approx(1, rel=0.1)


def test_chains_are_judged_by_volume_and_projections():
    z = np.random.RandomState(0).randn(4, 500, 6).astype(np.float32)
    z[0] += 5 * directions(6)[:, 2]
    run = Chains(z, np.random.RandomState(1).randn(4, 500), np.full(4, 0.3), np.full(4, 0.2), 2000)
    assert run.rhat.shape == run.ess.shape == (5,)
    assert run.rhat[3] > 1.5 and run.rhat[0] < 1.02 and run.ess[3] < 20 < 1000 < run.ess[0]
    assert "largest R-hat" in str(run) and "2000 volumes" in str(run)
    short = Chains(z[:, :3], run.log_volume[:, :3], run.acceptance, run.beta, 12)
    assert np.isnan(short.rhat).all() and np.isnan(short.ess).all()
    np.testing.assert_allclose(np.linalg.norm(directions(6), axis=0), 1)
