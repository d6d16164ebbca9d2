"""Latents of targets that a generator made, or could not have made."""

import math

import pytest
import torch
from conftest import small_stylegan2
from helpers.maps import FunctionMap, seeded
from helpers.splines import SplineGenerator, bend

from dnnlib_compat.loader import load_network
from latent_plugins.geometry.inversion import METHODS, TOLERANCE, Inversion, compare_inversions, invert
from latent_plugins.geometry.smoothing import smoothed
from latent_plugins.spaces import get_space


def affine_map(matrix, shift):
    return FunctionMap(lambda x: x @ matrix.T + shift, matrix.shape[1], matrix.shape[0])


def affine_parts(n_out, n_in, seed=0):
    return torch.randn(n_out, n_in, generator=seeded(seed)), torch.randn(n_out, generator=seeded(seed + 1))


@pytest.fixture(scope="module")
def spline():
    return get_space(SplineGenerator(), "pixel")


def crossing(n):
    """Latents of the spline's corner regions and starts in the opposite ones."""
    z = torch.rand(n, 2, generator=seeded()) + 0.6
    signs = torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]])[torch.arange(n) % 4]
    return z * signs, -z.flip(1) * signs


def test_an_affine_map_is_inverted_in_one_step():
    matrix, shift = affine_parts(9, 4)
    z = torch.randn(5, 4, generator=seeded(7))
    space_map = affine_map(matrix, shift)
    found = invert(space_map, space_map(z), torch.zeros(5, 4), method="regions")
    torch.testing.assert_close(found.z, z, rtol=1e-4, atol=1e-5)
    assert found.success.all() and found.iterations.tolist() == [1] * 5
    assert found.evaluations.tolist() == [1 + 4 + 1] * 5  # the start, four columns, the result


def test_unreachable_targets_end_at_the_least_squares_solution_without_success():
    matrix, shift = affine_parts(9, 4)
    target = torch.randn(5, 9, generator=seeded(7)) + shift
    best = torch.linalg.lstsq(matrix.double(), (target - shift).double().T).solution.T
    error = (best @ matrix.double().T + shift - target).square().mean(dim=1)
    for method in METHODS:
        found = invert(affine_map(matrix, shift), target, torch.zeros(5, 4), method=method)
        torch.testing.assert_close(found.error, error, rtol=1e-3, atol=0)
        torch.testing.assert_close(found.z.double(), best, rtol=0.02, atol=0.02)
        assert not found.success.any()


@pytest.mark.parametrize("n_out, n_in", [(9, 6), (4, 6)])
def test_singular_slopes_take_the_shortest_step(n_out, n_in):
    """Rank 3: of all exact solutions, the one nearest to the start."""
    left, right = affine_parts(n_out, 3)[0], affine_parts(3, n_in, seed=5)[0]
    matrix, start = left @ right, torch.randn(4, n_in, generator=seeded(8))
    space_map = affine_map(matrix, torch.ones(n_out))
    target = space_map(torch.randn(4, n_in, generator=seeded(9)))
    found = invert(space_map, target, start, method="regions")
    step = torch.linalg.pinv(matrix.double(), rtol=1e-5) @ (target - space_map(start)).double().T
    assert found.success.all()
    torch.testing.assert_close(found.z.double(), start + step.T, rtol=1e-3, atol=1e-3)


def test_both_methods_cross_regions_to_latents_that_the_network_saw(spline):
    z, start = crossing(12)
    both = compare_inversions(spline, spline(z), start, learning_rate=0.3)  # regions are some units wide
    assert set(both) == {"descent", "regions"} == set(METHODS)
    for found in both.values():
        assert isinstance(found, Inversion) and found.success.all()
        assert found.error.dtype == torch.float64 and found.z.shape == (12, 2)
        squared = (bend(found.z) - bend(z)).double().square().sum(dim=1)  # the plane of the bent z lies in the output
        torch.testing.assert_close(found.error, squared / 3, rtol=1e-3, atol=1e-8)
    assert both["regions"].iterations.max() <= 5 < both["descent"].iterations.float().mean()
    exact = invert(spline, spline(z), start, tolerance=1e-9)  # once in the right region, one step ends there
    torch.testing.assert_close(exact.z, z, rtol=1e-4, atol=1e-4)
    assert exact.success.all() and exact.iterations.max() <= 5


def test_the_reported_error_is_that_of_the_reported_latent(spline):
    z, start = crossing(4)
    target = spline(z) + 0.3 * torch.randn(4, 3, generator=seeded(3))
    for found in compare_inversions(spline, target, start, iterations=30).values():
        error = (spline(found.z) - target).double().square().mean(dim=1)
        torch.testing.assert_close(found.error, error, rtol=1e-5, atol=0)
        assert torch.equal(found.success, error <= TOLERANCE * target.double().var(dim=1, correction=0))
        assert (error <= (spline(start) - target).square().mean(dim=1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_target_does_not_influence_another(spline, method):
    z, start = crossing(6)
    target = spline(z)
    whole = invert(spline, target, start, method=method)
    small = invert(spline, target, start, method=method, max_memory=3000)
    for k in range(6):
        alone = invert(spline, target[k : k + 1], start[k : k + 1], method=method)
        torch.testing.assert_close(alone.z[0], whole.z[k], rtol=1e-4, atol=1e-5)
        assert alone.iterations == whole.iterations[k] and alone.evaluations == whole.evaluations[k]
    torch.testing.assert_close(small.z, whole.z, rtol=1e-4, atol=1e-5)
    assert torch.equal(small.evaluations, whole.evaluations)


@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_is_good_enough_is_kept(spline, method):
    z, _ = crossing(4)
    found = invert(spline, spline(z), z, method=method)
    assert torch.equal(found.z, z) and found.success.all()
    assert found.iterations.sum() == 0 and found.evaluations.tolist() == [1] * 4


@pytest.mark.parametrize("method", METHODS)
def test_restarts_keep_the_best_and_count_all(method):
    """G(x) = (x³ − 3x, x³ − 3x + 1) turns back at ±1: from below −1, nothing leads to the latent 3."""
    space_map = FunctionMap(lambda x: x**3 - 3 * x + torch.tensor([0.0, 1.0]), 1, 2)
    target = space_map(torch.tensor([[2.5], [2.5]]))
    options = dict(method=method, learning_rate=0.02)
    far = invert(space_map, target, torch.full((2, 1), -1.5), **options)
    near = invert(space_map, target, torch.full((2, 1), 2.0), **options)
    assert near.success.all()
    several = invert(space_map, target, torch.tensor([[[-1.5], [2.0]]] * 2), **options)
    assert several.success.all()
    torch.testing.assert_close(several.z, near.z)
    assert torch.equal(several.evaluations, far.evaluations + near.evaluations)
    assert torch.equal(several.iterations, far.iterations + near.iterations)


@pytest.mark.parametrize("method", METHODS)
def test_latents_stay_on_the_sphere(method):
    space_map = get_space(small_stylegan2(), "pixel")
    z = space_map.enter(torch.randn(3, 8, generator=seeded()))
    start = z + 0.1 * torch.randn(3, 8, generator=seeded(1))
    found = invert(space_map, space_map(z), start, method=method, learning_rate=0.03)
    assert found.success.all()
    torch.testing.assert_close(found.z.norm(dim=1), torch.full((3,), math.sqrt(8)))


def test_styles_are_not_pulled_to_the_sphere():
    space_map = get_space(small_stylegan2(), "w:pixel")
    w = space_map.enter(torch.randn(3, 8, generator=seeded()))
    found = invert(space_map, space_map(w), w + 0.02, method="regions")
    assert space_map.domain == "sphere" and found.success.all()
    assert (found.z.norm(dim=1) - math.sqrt(8)).abs().min() > 1


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_reported(method):
    """The square root is NaN below zero and infinitely steep at zero."""
    space_map = FunctionMap(lambda x: torch.cat([x.sqrt(), x], dim=1), 1, 2)
    target = torch.tensor([[1.0, 1.0], [2.0, 4.0], [torch.nan, 1.0], [2.0, 4.0], [torch.inf, 1.0]])
    start = torch.tensor([[-1.0], [3.0], [1.0], [0.0], [1.0]])
    found = invert(space_map, target, start, method=method)
    assert found.success[1] and not found.success[[0, 2, 4]].any()
    assert found.error[[0, 2, 4]].isinf().all() and found.z.isfinite().all()
    assert torch.equal(found.z[0], start[0])
    assert found.evaluations[[0, 2, 4]].tolist() == [1, 1, 1]  # nothing to go on with


def test_regions_stop_where_no_step_helps():
    """G(x) = |x| never reaches −1: steps jump over the kink at 0 until none of them gains."""
    space_map = FunctionMap(torch.abs, 1, 1)
    found = invert(space_map, torch.tensor([[-1.0]]), torch.tensor([[0.3]]), iterations=1000)
    assert not found.success and found.iterations < 1000 and found.z.abs() < 0.1


def test_a_flat_map_and_a_constant_target_fail_quietly():
    flat = FunctionMap(lambda x: x * 0 + 1, 2, 2)
    for found in compare_inversions(flat, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2), iterations=5).values():
        assert not found.success and found.error.item() == pytest.approx(2)
    assert invert(flat, torch.ones(1, 2), torch.zeros(1, 2)).success  # no variance to allow for, and none needed


def test_soft_networks_can_be_inverted_too():
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 20), torch.nn.ReLU(), torch.nn.Linear(20, 12)
    network = torch.nn.Sequential(*layers).requires_grad_(False)
    for net in (network, smoothed(network, 0.8)):
        space_map = FunctionMap(net, 3, 12)
        z = torch.randn(5, 3, generator=seeded())
        found = invert(space_map, space_map(z), z + 0.3 * torch.randn(5, 3, generator=seeded(1)))
        assert found.success.all()


def test_the_embedded_network():
    space_map = get_space(load_network("mnist32"), "pixel")
    z = space_map.enter(torch.randn(1, 64, generator=seeded()))
    start = z + 0.1 * torch.randn(1, 64, generator=seeded(1))
    both = compare_inversions(space_map, space_map(z), start, learning_rate=0.03)
    assert all(found.success.all() for found in both.values())
    assert both["regions"].iterations.max() < both["descent"].iterations.min()


def test_bad_input(spline):
    target, start = torch.zeros(2, 3), torch.zeros(2, 2)
    with pytest.raises(ValueError, match="unknown inversion method 'magic'; known methods: descent, regions"):
        invert(spline, target, start, method="magic")
    for options in (dict(iterations=0), dict(tolerance=0), dict(tolerance=float("nan")), dict(learning_rate=-1)):
        with pytest.raises(ValueError, match="must be above zero"):
            invert(spline, target, start, **options)
    for wrong in ((target[0], start), (torch.zeros(2, 4), start), (target, start[0]), (target, start[None, None])):
        with pytest.raises(ValueError, match=r"targets must be \[n, 3\]"):
            invert(spline, *wrong)
    for wrong in (start[:1], torch.zeros(2, 0, 2)):
        with pytest.raises(ValueError, match="as many starts"):
            invert(spline, target, wrong)
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        invert(spline, target, torch.zeros(2, 5))
