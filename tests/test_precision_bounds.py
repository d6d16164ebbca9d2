"""Published bounds of precision: worked values, and that generators which they are about keep to them."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from latent_plugins.geometry.balance import class_balance, separation
from latent_plugins.geometry.precision_bounds import (
    balanced_modes,
    equal_modes,
    half_width,
    many_modes,
    simplicial_cluster,
    two_modes,
    two_modes_isoperimetric,
    two_modes_lambert,
    unequal_modes,
)
from latent_plugins.samplers.simplex import simplex


@pytest.mark.parametrize("epsilon, implicit, lambert, isoperimetric", [
    (0.05, 0.9602, 0.9980, 0.9601), (0.2, 0.8435, 0.9693, 0.8415), (1.0, 0.4220, 0.5475, 0.3173),
])  # fmt: skip
def test_two_modes(epsilon, implicit, lambert, isoperimetric):
    """The paper's example is ε = 1: W(1) = 0.5671, precision below 0.5475."""
    assert two_modes(epsilon) == pytest.approx(implicit, abs=5e-5)
    assert two_modes_lambert(epsilon) == pytest.approx(lambert, abs=5e-5)
    assert two_modes_isoperimetric(epsilon) == pytest.approx(isoperimetric, abs=5e-5)


@pytest.mark.parametrize("epsilon", [1e-4, 0.01, 0.3, 1.0, 3.0, 30.0])
def test_the_implicit_bound_solves_its_equation(epsilon):
    alpha = two_modes(epsilon)
    left = alpha + epsilon * math.sqrt(2 / math.pi) * math.exp(-(scipy.stats.norm.ppf(alpha / 2) ** 2) / 2)
    assert left == pytest.approx(1, abs=1e-9) and two_modes_isoperimetric(epsilon) <= alpha <= 1


def test_the_printed_lambert_form_lacks_a_root():
    """With the root it is the equation's solution to the order that the proof states."""
    for epsilon in (0.01, 0.05, 0.15):
        rooted = 1 - math.sqrt(2 / math.pi * scipy.special.lambertw(epsilon**2).real)
        assert rooted == pytest.approx(two_modes(epsilon), abs=5e-4)
        assert two_modes_lambert(epsilon) - two_modes(epsilon) > 0.007


@pytest.mark.parametrize("epsilon, modes, recall, expected", [
    (0.5, 10, 1.0, 0.7481), (1.0, 1000, 1.0, 0.0305), (1.0, 2000, 0.5, 0.0305), (0.05, 10, 1.0, 1.0),
])  # fmt: skip
def test_equal_modes(epsilon, modes, recall, expected):
    assert equal_modes(epsilon, modes, recall) == pytest.approx(expected, abs=5e-5)


def test_unequal_modes_are_equal_modes_where_they_are():
    """And by hand: x = Φ⁻¹(0.8) = 0.8416 gives 2.4118 · e^(−0.5 − 0.8416) = 0.6305, less what is in no mode."""
    assert unequal_modes(0.5, 0.1) == pytest.approx(equal_modes(0.5, 10))
    assert unequal_modes(1.0, 0.2, 0.1) == pytest.approx(0.5305, abs=1e-4)
    assert unequal_modes(1.0, 0.1, 0.2) == pytest.approx(0.4305, abs=1e-4)


def test_many_modes_are_where_equal_modes_tend():
    """By hand: e^(−1/8 − √(2 ln 10)/2) = 0.3018, below Theorem 3.2.3's value; their ratio tends to 1."""
    assert many_modes(0.5, 10) == pytest.approx(0.3018, abs=5e-5)
    assert many_modes(0.25, 100, 0.5) == many_modes(0.25, 50)
    ratios = [many_modes(0.1, 10**k) / equal_modes(0.1, 10**k) for k in (2, 10, 100)]
    assert ratios == sorted(ratios) and 0.96 < ratios[-1] < 1
    modes, epsilon_min = 30, 0.4  # (3.3.5) in its own terms
    assert many_modes(epsilon_min / 2, modes) == pytest.approx(
        math.exp(-(epsilon_min**2) / 8) * math.exp(-epsilon_min * math.sqrt(math.log(modes) / 2))
    )


@pytest.mark.parametrize("epsilon_min, modes, expected", [(0.1, 10, 0.9661), (0.2, 100, 0.9042)])
def test_balanced_modes(epsilon_min, modes, expected):
    assert balanced_modes(epsilon_min, modes) == pytest.approx(expected, abs=5e-5)
    assert balanced_modes(epsilon_min, modes, 1 / modes) == balanced_modes(epsilon_min, modes)
    assert balanced_modes(epsilon_min, modes, 0.5 / modes) > balanced_modes(epsilon_min, modes)


def test_modes_of_unequal_measure():
    """By hand: m w_min = 1/2, √(ln 20) = 1.7308, so 1 − 0.1 · 0.5 · 1.7308 · 0.22313 = 0.98069."""
    assert balanced_modes(0.1, 10, 0.05) == pytest.approx(0.98069, abs=1e-5)


def test_a_simplicial_cluster():
    """By hand: 1 − 0.01 √(10 ln 20) = 1 − 0.01 · 5.4733."""
    assert simplicial_cluster(0.01, 10, 2.0) == pytest.approx(0.945267, abs=1e-6)


def test_generators_with_the_cells_of_a_simplex_keep_to_the_bounds():
    """Of 10 cells of N(0, I) in 12 dimensions, what lies nearer than ε to another cell is out of every mode.

    Measured on 40,000 latents: the distance to another cell is that to the nearest bisecting hyperplane.
    """
    m, z = 10, np.random.RandomState(0).randn(40_000, 12)
    projections = np.sort(z @ simplex(m, 12).T, axis=1)
    apart = (projections[:, -1] - projections[:, -2]) / math.sqrt(2 * m / (m - 1))
    for epsilon_min in (0.1, 0.3, 0.6):
        within = (apart > epsilon_min / 2).mean()  # each cell gives half of the way from one mode to the other
        assert within < min(equal_modes(epsilon_min / 2, m), balanced_modes(epsilon_min, m))
    assert (apart > 0.02).mean() > simplicial_cluster(0.02, m, 2.0)


def test_two_half_spaces_reach_the_isoperimetric_bound():
    assert two_modes_isoperimetric(half_width(3.0, 5.0)) == pytest.approx(1 - 2 * (scipy.stats.norm.cdf(0.3) - 0.5))


def test_balance_by_hand():
    """Shares of 20, 30 and 50 %: mean 100/3, variance (400 + 900 + 2500)/3 − 10000/9 = 155.56, ratio 4.667."""
    found = class_balance([0] * 2 + [1] * 3 + [2] * 5, 3)
    assert found.shares.tolist() == pytest.approx([20, 30, 50])
    assert found.variance_to_mean == pytest.approx(14 / 3)
    assert class_balance(torch.arange(40) % 4, 4).variance_to_mean == 0
    assert class_balance([0, 0, 0], 2).shares.tolist() == [100, 0]
    with pytest.raises(ValueError, match="whole numbers from 0 to 1"):
        class_balance([0, 2], 2)


def test_separation_by_hand():
    """Means at (0, 0), (4, 0) and (8, 1): the middle one lies between the others, and no two others have one between.

    Radii 1, 1 and 3 with half ways of 2, 2 and √17/2 = 2.06.
    """
    means, radii = torch.tensor([[0.0, 0], [4, 0], [8, 1]]), (1, 1, 3)
    up = torch.tensor([0.0, 1])
    found = separation([torch.stack([mean + r * up, mean - r * up]) for mean, r in zip(means, radii)])
    assert found.radii.tolist() == [1, 1, 3] and found.room.tolist() == pytest.approx([2, 2, 17**0.5 / 2])
    assert found.seen.tolist() == [True, False, True]  # of (1, 0), (2, 0), (2, 1)
    far = separation([3 * mean[None] for mean in torch.eye(4)])
    assert far.seen.all() and (far.radii < far.room).all()
    with pytest.raises(ValueError, match="at least two modes, not 1"):
        separation([means])


@pytest.mark.parametrize("call, message", [
    (lambda: half_width(1, 0), "finite and positive, not D = 1, L = 0"),
    (lambda: two_modes(-0.1), "ε must be a finite number from 0 on, not -0.1"),
    (lambda: two_modes_lambert(math.nan), "ε must be a finite number from 0 on, not nan"),
    (lambda: equal_modes(0.5, 3), "for 4 covered modes or more; 3 modes with recall 1 are 3"),
    (lambda: equal_modes(0.5, 10, 0.1), "more than one mode must be covered"),
    (lambda: unequal_modes(0.5, 0.3), "at most 1/4 of the latents, not 0.3 and 0"),
    (lambda: balanced_modes(0.9, 10), "ε_min 0.9 is above 0.659"),
    (lambda: balanced_modes(0.1, 10, 0.2), "the smallest of 10 weights is above 0 and at most 1/10, not 0.2"),
    (lambda: simplicial_cluster(0.2, 10, 2.0), "ε_max 0.2 is above 0.103"),
    (lambda: simplicial_cluster(0.01, 10, 0.1), "C must be large enough"),
])  # fmt: skip
def test_what_no_theorem_is_about_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
