"""Jacobian norms and the spread of their maxima."""

import math

import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.maps import FunctionMap, bent_map, seeded
from helpers.splines import SLOPES, SplineGenerator, volume

from dnnlib_compat.loader import load_network
from latent_plugins.geometry.lipschitz import (
    frobenius_norms,
    lipschitz_estimate,
    maxima_over_samples,
    repeated_maxima,
    variance_ratio,
)
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum

LEVEL = 1e-3  # of every statistical test here


@pytest.mark.parametrize("n_in, n_out", [(5, 9), (9, 5), (1, 4), (4, 1)])
@pytest.mark.parametrize("max_memory", [None, 3000])
def test_norms_are_those_of_autograd_whatever_the_chunks(n_in, n_out, max_memory):
    space_map, x = bent_map(n_in, n_out), torch.randn(7, n_in, generator=seeded())
    rows = [torch.autograd.functional.jacobian(lambda r: space_map(r[None])[0], row) for row in x]
    found = frobenius_norms(space_map, x, max_memory=max_memory)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.stack(rows).double().norm(dim=(1, 2)), rtol=1e-5, atol=0)


def test_the_norm_of_an_affine_map_is_that_of_its_matrix():
    matrix = torch.randn(30, 8, generator=seeded())
    found = frobenius_norms(FunctionMap(lambda x: x @ matrix.T + 2, 8, 30), torch.zeros(3, 8))
    torch.testing.assert_close(found, matrix.double().norm().expand(3), rtol=1e-6, atol=0)


def test_norms_are_the_roots_of_summed_squares_of_singular_values():
    space_map = get_space(small_stylegan2(), "pixel")
    x = space_map.enter(torch.randn(4, 8, generator=seeded()))
    values = spectrum(space_map, x, top_k=space_map.max_rank)
    torch.testing.assert_close(frobenius_norms(space_map, x), values.double().norm(dim=1), rtol=1e-5, atol=0)
    embedded = get_space(load_network("mnist32"), "style")
    x = embedded.enter(torch.randn(3, 64, generator=seeded()))
    assert (frobenius_norms(embedded, x) >= spectrum(embedded, x, top_k=1)[:, 0] * (1 - 1e-6)).all()


def test_the_estimate_of_a_known_generator():
    """Slopes of at most 4 along both coordinates: ‖J‖_F is 4√2 in the steepest region and smaller elsewhere."""
    space_map = get_space(SplineGenerator(), "pixel")
    z = torch.randn(2000, 2, generator=seeded())
    norms = frobenius_norms(space_map, z)
    assert lipschitz_estimate(norms) == pytest.approx(4 * math.sqrt(2), rel=1e-5)
    assert torch.equal(norms > 5.6, volume(z) == SLOPES.max() ** 2)
    assert lipschitz_estimate(norms[norms < 5]) < 5


def test_maxima_by_hand():
    found = repeated_maxima(torch.tensor([[1.0, 5, 2], [3, 0, 1]]))
    assert found.dtype == torch.float64 and found.tolist() == [5, 3]
    assert lipschitz_estimate([2.0, 7.0, 1.0]) == 7


def test_equal_variances_have_the_ratio_one():
    a = torch.tensor([1.0, 2, 3, 4, 5])
    found = variance_ratio(a, 10 - a)
    assert found.ratio == pytest.approx(1)
    assert found.high == pytest.approx(scipy.stats.f(4, 4).ppf(0.975)) and found.low * found.high == pytest.approx(1)
    assert "not told apart" in str(found) and "95 %" in str(found) and "if both are normal" in str(found)


def test_the_interval_turns_with_its_sides():
    a, b = torch.randn(12, generator=seeded()), 3 * torch.randn(9, generator=seeded(1))
    one, other = variance_ratio(a, b, level=0.9), variance_ratio(b, a, level=0.9)
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.low == pytest.approx(1 / other.high) and one.high == pytest.approx(1 / other.low)
    assert variance_ratio(a, b, level=0.99).low < one.low < one.ratio < one.high < variance_ratio(a, b, level=0.99).high
    assert "larger" in str(variance_ratio(100 * a, b)) and "smaller" in str(variance_ratio(a, 100 * b))


def test_the_interval_covers_as_often_as_it_says():
    """Normal numbers of standard deviations 2 and 1: the ratio is 4 in 90 % of intervals."""
    normal, repeats = torch.randn(2, 2000, 15, generator=seeded(), dtype=torch.float64), 2000
    found = [variance_ratio(2 * a, b[:10], level=0.9) for a, b in zip(*normal)]
    covered = sum(r.low <= 4 <= r.high for r in found)
    assert scipy.stats.binomtest(covered, repeats, 0.9).pvalue > LEVEL


def test_maxima_over_rare_steep_places_vary_more():
    """MaGNET's Fig. 8 in small: the steepest of nine regions is rare under the prior, and frequent by volume.

    A prior centred on (−1, −1) is in it with probability 0.0112, so that 12 samples meet it in one of eight repeats;
    weighted by volume the probability is 0.238, and 12 samples miss it in one of 26.
    """
    space_map, repeats, n = get_space(SplineGenerator(), "pixel"), 60, 12
    z = torch.randn(repeats * n, 2, generator=seeded(2)) - 1
    prior = repeated_maxima(frobenius_norms(space_map, z).reshape(repeats, n))
    pool = torch.randn(20_000, 2, generator=seeded(3)) - 1
    chosen = torch.multinomial(volume(pool), repeats * n, generator=seeded(4))
    magnet = repeated_maxima(frobenius_norms(space_map, pool[chosen]).reshape(repeats, n))
    found = variance_ratio(prior, magnet)
    assert found.low > 1 and prior.mean() < magnet.mean()


def test_bad_input():
    space_map = bent_map(3, 4)
    for wrong in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match=r"\[N, 3\]"):
            frobenius_norms(space_map, wrong)
    with pytest.raises(ValueError, match="max-memory"):
        frobenius_norms(space_map, torch.zeros(2, 3), max_memory=10)
    for wrong in (torch.ones(3), torch.ones(0, 3), torch.ones(3, 0)):
        with pytest.raises(ValueError, match="repeats"):
            repeated_maxima(wrong)
    with pytest.raises(ValueError, match="1 of the norms"):
        lipschitz_estimate([1.0, float("nan")])
    with pytest.raises(ValueError, match="at least one"):
        lipschitz_estimate([])
    for level in (0, 1, float("nan")):
        with pytest.raises(ValueError, match="level"):
            variance_ratio([1.0, 2], [1.0, 3], level)
    for a in ([1.0], [1.0, float("inf")]):
        with pytest.raises(ValueError, match="two finite numbers"):
            variance_ratio(a, [1.0, 2])
    with pytest.raises(ValueError, match="does not vary"):
        variance_ratio([1.0, 2], [3.0, 3])


def test_maxima_over_the_number_of_samples():
    """By hand: runs 1, 3, 2 and 5, 4, 7 have the running maxima 1, 3, 3 and 5, 5, 7."""
    mean, deviation = maxima_over_samples(torch.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 7.0]]))
    assert mean.tolist() == [3, 4, 5]
    assert deviation.tolist() == pytest.approx([8**0.5, 2**0.5, 8**0.5])
    for norms in (torch.ones(1, 3), torch.ones(3), torch.tensor([[1.0], [float("nan")]])):
        with pytest.raises(ValueError, match="two repeats or more"):
            maxima_over_samples(norms)
