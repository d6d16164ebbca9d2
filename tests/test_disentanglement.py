"""Cosines between columns, and angles between tangent spaces, where they are known."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from helpers.maps import FunctionMap, bent_map, normal, seeded
from helpers.splines import SplineGenerator
from hypothesis import given
from hypothesis import strategies as st

from dnnlib_compat.loader import load_network
from latent_plugins.geometry.angularity import neighbour_pairs, principal_angles, tangent_angles
from latent_plugins.geometry.disentanglement import (
    column_cosines,
    column_images,
    disentanglement,
    jacobians,
    over_networks,
)
from latent_plugins.spaces import get_space, to_sphere

LEVEL = 1e-3  # of every statistical test here


def affine_map(matrix):
    return FunctionMap(lambda x: x @ matrix.T + 1, matrix.shape[1], matrix.shape[0])


# ---------------------------------------------------------------------------------------------------------------------
# Disentanglement


@pytest.mark.parametrize("n_in, n_out", [(5, 9), (9, 5), (6, 6)])
def test_jacobians_are_those_of_autograd_whatever_the_chunks(n_in, n_out):
    space_map, x = bent_map(n_in, n_out), normal(7, n_in).float()
    rows = [torch.autograd.functional.jacobian(lambda r: space_map(r[None])[0], row) for row in x]
    for max_memory, several in ((None, False), (4000, True)):
        parts = list(jacobians(space_map, x, max_memory=max_memory))
        assert (len(parts) > 1) == several
        torch.testing.assert_close(torch.cat(parts), torch.stack(rows), rtol=1e-4, atol=1e-5)


def test_settings_end_with_each_jacobian():
    for _ in jacobians(bent_map(3, 4), torch.zeros(2, 3)):
        assert torch.is_grad_enabled()


def test_cosines_by_hand():
    """Columns e₁, −3 e₁, e₁ + e₂, 0."""
    matrix = torch.tensor([[1.0, -3, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    half = math.sqrt(0.5)
    expected = [[1, 1, half, 0], [1, 1, half, 0], [half, half, 1, 0], [0, 0, 0, 1]]
    found = column_cosines(matrix[None])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found[0], torch.tensor(expected, dtype=torch.float64))


def test_broken_jacobians_give_nan_and_leave_the_others_alone():
    jacobian = torch.eye(3).repeat(2, 1, 1)
    jacobian[0, 1, 1] = torch.nan
    found = column_cosines(jacobian)
    assert found[0].isnan().all() and torch.equal(found[1], torch.eye(3, dtype=torch.float64))


def test_disentanglement_of_affine_maps():
    orthogonal = torch.linalg.qr(normal(9, 4)).Q.float() * torch.tensor([1.0, 5, 0.1, 2])
    found = disentanglement(affine_map(orthogonal), torch.zeros(3, 4))
    assert found.cosine_max < 1e-6 and found.distance_max < 1e-5
    assert (found.latents, found.left_out, found.zero_columns) == (3, 0, 0)
    # All columns parallel: cosines 1, and ‖Q − I‖_F = √(n (n − 1)).
    found = disentanglement(affine_map(torch.ones(6, 4)), torch.zeros(2, 4))
    assert found.cosine_mean == pytest.approx(1) and found.distance_mean == pytest.approx(math.sqrt(12))
    assert found.pair_sum_max == pytest.approx(6) and found.spectral_mean == pytest.approx(3)


def test_the_figures_of_table_1_by_hand():
    """Columns e₁, −3 e₁, e₁ + e₂ and 0: cosines 1, √½, √½ and zeros.

    Q − I has the eigenvalues −1 and (1 ± √5) / 2 in the first three columns: with h² = ½, the determinant of
    [[−λ, 1, h], [1, −λ, h], [h, h, −λ]] is −(λ + 1)(λ² − λ − 1).
    """
    matrix = torch.tensor([[1.0, -3, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    found = disentanglement(affine_map(matrix), torch.zeros(2, 4))
    assert found.pair_sum_mean == pytest.approx(1 + math.sqrt(2)) == found.pair_sum_max
    assert found.spectral_mean == pytest.approx((1 + math.sqrt(5)) / 2)
    assert found.distance_mean == pytest.approx(2)
    wide = affine_map(normal(9, 5).float())
    q = column_cosines(normal(9, 5).float()[None])[0].numpy() - np.eye(5)
    assert disentanglement(wide, torch.zeros(1, 5)).spectral_mean == pytest.approx(np.linalg.norm(q, 2), rel=1e-6)


def test_a_column_of_table_1_is_over_networks():
    """Two columns at cosine ½, and two at cosine 0: means ¼, deviations √2 / 4."""
    found = [
        disentanglement(affine_map(torch.tensor(columns).T), torch.zeros(1, 2))
        for columns in ([[1.0, 0.0], [0.5, math.sqrt(0.75)]], [[1.0, 0.0], [0.0, 2.0]])
    ]
    table = over_networks(found)
    for name in ("cosine_mean", "pair_sum_max", "spectral_mean", "spectral_max"):
        assert table[name] == pytest.approx((0.25, math.sqrt(0.125)), abs=1e-6)
    assert table["distance_mean"][0] == pytest.approx(math.sqrt(0.5) / 2)
    with pytest.raises(ValueError, match="at least 2"):
        over_networks(found[:1])


def test_zero_columns_are_counted_and_left_out_of_the_mean():
    matrix = torch.tensor([[1.0, 1, 0], [0, 1, 0]])
    found = disentanglement(affine_map(matrix), torch.zeros(5, 3))
    assert found.cosine_mean == pytest.approx(math.sqrt(0.5)) and found.distance_max == pytest.approx(1)
    assert found.zero_columns == 5


def test_mean_and_largest_are_over_latents():
    """G(x) = (x₁⁺, x₁⁺ + x₂⁺): cosine √½ in the first quadrant, no pair elsewhere."""
    space_map = FunctionMap(lambda x: torch.relu(x) @ torch.tensor([[1.0, 1], [0, 1]]), 2, 2)
    found = disentanglement(space_map, torch.tensor([[1.0, 1], [1, -1], [-1, -1]]))
    assert (found.latents, found.left_out, found.zero_columns) == (1, 2, 0)
    bent = FunctionMap(lambda x: torch.cat([x[:, :1], x[:, 1:], x[:, :1] * x[:, 1:]], dim=1), 2, 3)
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])  # columns e₁ and e₂; then (1, 0, 1) and (0, 1, 1) with cosine 1/2
    found = disentanglement(bent, x)
    assert found.cosine_mean == pytest.approx(0.25) and found.cosine_max == pytest.approx(0.5)
    assert found.distance_mean == pytest.approx(math.sqrt(0.5) / 2)
    assert found.distance_max == pytest.approx(math.sqrt(0.5))


def test_chunks_change_nothing():
    space_map, x = bent_map(6, 40), normal(9, 6).float()
    whole, apart = disentanglement(space_map, x), disentanglement(space_map, x, max_memory=60_000)
    assert apart.cosine_mean == pytest.approx(whole.cosine_mean, rel=1e-6)
    assert apart.distance_max == pytest.approx(whole.distance_max, rel=1e-6)


def test_column_images_are_scaled_columns():
    matrix = torch.tensor([[1.0, 0, 4], [2, 0, -8], [0, 0, 2], [-1, 0, 0]])
    images = column_images(affine_map(matrix), torch.zeros(1, 3), [2, 0, 1], (1, 2, 2))
    assert images.shape == (3, 1, 2, 2)
    expected = [[0.5, -1, 0.25, 0], [0.5, 1, 0, -0.5], [0, 0, 0, 0]]
    torch.testing.assert_close(images.flatten(1), torch.tensor(expected))


def test_bad_input_to_disentanglement():
    space_map, x = affine_map(torch.ones(4, 3)), torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        disentanglement(space_map, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="no latent has"):
        disentanglement(affine_map(torch.zeros(4, 3)), x)
    with pytest.raises(ValueError, match="one latent, not of 2"):
        column_images(space_map, x.repeat(2, 1), [0], (1, 2, 2))
    for shape in ((1, 2, 3), (4,)):
        with pytest.raises(ValueError, match="no image of shape"):
            column_images(space_map, x, [0], shape)
    for columns in ([], [3], [-1]):
        with pytest.raises(ValueError, match="indices from 0 to 2"):
            column_images(space_map, x, columns, (1, 2, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Angularity


def planes(angles, n_out, seed=0):
    """Bases [1, n_out, k] of two spaces with the given principal angles, neither orthonormal."""
    angles = torch.tensor(angles, dtype=torch.float64)
    k = len(angles)
    frame = torch.linalg.qr(normal(n_out, 2 * k, seed=seed)).Q
    a = frame[:, :k]
    b = a * angles.cos() + frame[:, k:] * angles.sin()
    mix = [normal(k, k, seed=seed + s) + 3 * torch.eye(k) for s in (1, 2)]
    return (a @ mix[0])[None], (b @ mix[1])[None]


@pytest.mark.parametrize("angles", [[0.3], [0.0, math.pi / 2], [0.1, 0.7, 0.8, 1.5], [0.0, 0.0, 0.0]])
def test_principal_angles_by_construction(angles):
    found = principal_angles(*planes(angles, 11))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found[0], torch.tensor(angles, dtype=torch.float64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("angle", [1e-4, 1e-8, 1e-12])
def test_small_angles_are_accurate(angle):
    a, b = torch.eye(3, 1, dtype=torch.float64)[None], torch.eye(3, 1, dtype=torch.float64)[None]
    b[0, :, 0] = torch.tensor([math.cos(angle), math.sin(angle), 0], dtype=torch.float64)
    assert principal_angles(a, b).item() == pytest.approx(angle, rel=1e-9)


@given(p=st.integers(1, 4), q=st.integers(1, 4), n_out=st.integers(4, 9), seed=st.integers(0, 1000))
def test_principal_angles_equal_scipys(p, q, n_out, seed):
    a, b = normal(1, n_out, p, seed=seed), normal(1, n_out, q, seed=seed + 5000)
    expected = np.sort(scipy.linalg.subspace_angles(a[0].numpy(), b[0].numpy()))
    # Where large and small angles meet, SciPy takes small ones from cosines, which are good to 1e-8 only.
    np.testing.assert_allclose(principal_angles(a, b)[0].numpy(), expected, atol=1e-7)
    torch.testing.assert_close(principal_angles(a, b), principal_angles(b, a), rtol=0, atol=1e-12)


def test_bases_that_are_no_bases():
    a, b = normal(2, 5, 2), normal(2, 5, 2, seed=1)
    dependent = a.clone()
    dependent[1, :, 1] = -2 * dependent[1, :, 0]
    for wrong in (dependent, torch.zeros(2, 5, 2), normal(2, 5, 6)):
        with pytest.raises(ValueError, match="linearly dependent"):
            principal_angles(wrong, b)
    for wrong in (normal(2, 4, 2), normal(1, 5, 2), normal(5, 2), torch.zeros(2, 5, 0)):
        with pytest.raises(ValueError, match="bases must be"):
            principal_angles(wrong, b)
    a[0, 0, 0] = torch.nan
    found = principal_angles(a, b)
    assert found[0].isnan().all() and found[1].isfinite().all()


def relu_surface(seed):
    """(map R² → R³, W [h, 2], b [h], V [3, h]): V (W x + b)⁺, a surface of flat pieces that meet along lines."""
    w, b, v = (normal(*shape, seed=seed + k) for k, shape in enumerate([(6, 2), (6,), (3, 6)]))
    network = FunctionMap(lambda x: torch.relu(x @ w.T.float() + b.float()) @ v.T.float(), 2, 3)
    return network, w, b, v


def kink(w, b, v, unit, x):
    """The angle between the planes on either side of the line where `unit` switches, at its point x [2].

    Both slopes send the line's direction to the same p. Across the line they send the unit normal to q and to
    q + |w| v, v the unit's column of V: the planes share p, so the angle is that between the parts of q and q + |w| v
    that are orthogonal to p, taken as lines.
    """
    active = (w @ x + b > 0).double()
    active[unit] = 0
    slope = (v * active) @ w
    length = w[unit].norm()
    across = w[unit] / length
    along = torch.stack([-across[1], across[0]])
    p, q = slope @ along, slope @ across
    p = p / p.norm()
    sides = [side - (side @ p) * p for side in (q, q + length * v[:, unit])]
    cosine = (sides[0] @ sides[1]).abs() / (sides[0].norm() * sides[1].norm())
    return torch.acos(cosine.clamp(max=1))


def test_the_kink_between_adjacent_regions():
    checked = 0
    for seed in range(0, 60, 10):
        space_map, w, b, v = relu_surface(seed)
        for unit in range(6):
            across = w[unit] / w[unit].square().sum()
            x = -b[unit] * across + 0.3 * torch.stack([-across[1], across[0]])  # a point on the unit's line
            others = torch.cat([w[:unit] @ x + b[:unit], w[unit + 1 :] @ x + b[unit + 1 :]])
            if others.abs().min() < 0.05 or (others > 0).sum() < 2:
                continue  # another line is near, or one side is no plane
            pair = [(x + side * 1e-3 * across)[None].float() for side in (-1, 1)]
            found = tangent_angles(space_map, *pair, rank=2)
            torch.testing.assert_close(found[0], kink(w, b, v, unit, x), rtol=1e-4, atol=1e-5)
            checked += 1
    assert checked >= 15


def test_affine_maps_have_no_kinks_and_planes_embedded_flat_neither():
    x, y = normal(6, 4).float(), normal(6, 4, seed=1).float()
    assert (tangent_angles(affine_map(normal(9, 4).float()), x, y, rank=4) < 1e-6).all()
    space_map = get_space(SplineGenerator(), "pixel")  # bends within one plane
    assert (tangent_angles(space_map, x[:, :2], y[:, :2], rank=2) < 1e-5).all()


def test_a_rotating_curve():
    """G(t) = (cos t, sin t): the tangents at s and t are |s − t| apart."""
    circle = FunctionMap(lambda t: torch.cat([t.cos(), t.sin()], dim=1), 1, 2)
    s, t = torch.tensor([[0.0], [1.0], [0.2]]), torch.tensor([[0.5], [1.0], [1.7]])
    torch.testing.assert_close(tangent_angles(circle, s, t, rank=1).float(), (s - t).abs()[:, 0], rtol=1e-5, atol=1e-6)


def test_chunks_and_wide_maps():
    for n_in, n_out in ((4, 30), (30, 4)):
        space_map, x, y = bent_map(n_in, n_out), normal(5, n_in).float(), normal(5, n_in, seed=1).float()
        whole = tangent_angles(space_map, x, y, rank=3)
        small = tangent_angles(space_map, x, y, rank=3, max_memory=40_000)
        torch.testing.assert_close(small, whole, rtol=1e-4, atol=1e-6)
        assert (whole > 0.01).all() and (whole <= math.pi / 2).all()


def test_points_without_a_tangent_space_give_nan():
    """x ↦ x⁺: the second point lies where the rank is 1; and the square root's has no finite slope."""
    x, y = torch.tensor([[1.0, 1], [1, 1]]), torch.tensor([[2.0, 1], [1, -1]])
    found = tangent_angles(FunctionMap(torch.relu, 2, 2), x, y, rank=2)
    assert found[0] < 1e-6 and found[1].isnan()
    assert tangent_angles(FunctionMap(torch.sqrt, 2, 2), x, -y, rank=1).isnan().all()


@pytest.mark.bitwise
@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
@pytest.mark.parametrize("distance", [1e-3, 1.0, 4.0])
def test_pairs_have_their_distance(domain, distance):
    z = normal(500, 6)
    x, y = neighbour_pairs(z, distance, seeded(3), domain)
    if domain == "gaussian":
        assert torch.equal(x, z)
        found = (x - y).norm(dim=1)
    else:
        torch.testing.assert_close(x, to_sphere(z))
        torch.testing.assert_close(y, to_sphere(y))
        found = math.sqrt(6) * 2 * torch.atan2((x - y).norm(dim=1), (x + y).norm(dim=1))
    torch.testing.assert_close(found, torch.full_like(found, distance), rtol=1e-8, atol=0)
    x_, y_ = neighbour_pairs(z, distance, seeded(3), domain)
    assert torch.equal(y, y_)


def test_directions_are_uniform():
    x, y = neighbour_pairs(torch.zeros(4000, 2, dtype=torch.float64), 1.0, seeded(0))
    angle = torch.atan2(*(y - x).T) / (2 * math.pi) + 0.5
    assert scipy.stats.kstest(angle.numpy(), "uniform").pvalue > LEVEL


def test_the_embedded_network():
    """A smooth network seen nearby: the nearer the pairs, the smaller their angles."""
    space_map = get_space(load_network("mnist32"), "pixel")
    z = torch.randn(4, 64, generator=seeded())
    near, far = (
        tangent_angles(space_map, *neighbour_pairs(z, d, seeded(1), space_map.domain), rank=5).mean() for d in (1e-3, 1)
    )
    assert 0 < near < 0.1 < far <= math.pi / 2
    found = disentanglement(space_map, space_map.enter(z))
    assert 0 < found.cosine_mean <= found.cosine_max < 1 and found.zero_columns == 0
    images = column_images(space_map, z[:1], [0, 5], (1, 32, 32))
    assert images.shape == (2, 1, 32, 32) and images.abs().amax(dim=(1, 2, 3)).tolist() == [1, 1]


def test_bad_input_to_angularity():
    space_map, x = affine_map(normal(5, 3).float()), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="as many points on either side"):
        tangent_angles(space_map, x, x[:1], rank=1)
    for rank in (0, 4):
        with pytest.raises(ValueError, match="outside 1 to 3"):
            tangent_angles(space_map, x, x, rank=rank)
    with pytest.raises(ValueError, match="unknown domain 'torus'"):
        neighbour_pairs(x, 1.0, seeded(), "torus")
    for distance, domain in ((0, "gaussian"), (-1, "sphere"), (5.5, "sphere"), (float("nan"), "gaussian")):
        with pytest.raises(ValueError, match="distance must lie"):
            neighbour_pairs(x + 1, distance, seeded(), domain)


def test_norms_and_sums_by_hand():
    """Columns at 60 degrees to each other in a plane, and the norms of a random matrix by numpy."""
    turned = torch.tensor([[1.0, 0.5], [0.0, 3**0.5 / 2]])
    found = disentanglement(FunctionMap(lambda x: x @ turned.T, 2, 2), torch.randn(3, 2))
    assert found.spectral_mean == pytest.approx(0.5, abs=1e-6) and found.pair_sum_max == pytest.approx(0.5, abs=1e-6)
    assert found.distance_mean == pytest.approx(0.5 * 2**0.5, abs=1e-6)
    matrix = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    found = disentanglement(FunctionMap(lambda x: x @ matrix.T, 5, 9), torch.randn(2, 5))
    columns = (matrix / matrix.norm(dim=0)).double().numpy()
    off = np.abs(columns.T @ columns) - np.eye(5)
    assert found.spectral_max == pytest.approx(np.linalg.norm(off, 2), rel=1e-5)
    assert found.distance_max == pytest.approx(np.linalg.norm(off), rel=1e-5)
    assert found.pair_sum_mean == pytest.approx(np.triu(off, 1).sum(), rel=1e-5)
