"""Interpolation in Python: curves, the functional of a path, the search for dense ones, coordinates."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.small_networks import Line
from helpers.splines import SplineGenerator
from helpers.splines import volume as spline_volume
from helpers.toy_laws import ToyGenerator

from latent_plugins.geometry.density import density_at
from latent_plugins.interpolation import search
from latent_plugins.interpolation.coordinates import LatentCoordinates, StyleCoordinates
from latent_plugins.interpolation.curves import Flat, Sphere, along, linear, slerp
from latent_plugins.interpolation.density import Densities, PathDensity, check_path_space, path_volumes
from latent_plugins.interpolation.paths import curve_frames, dense_frames
from latent_plugins.interpolation.search import SearchSettings, best_choice, dense_path, energy, functional
from latent_plugins.pictures.files import to_uint8
from latent_plugins.priors import NormalPrior, SpherePrior, TruncatedNormalPrior, prior_of
from latent_plugins.spaces import get_space
from latent_plugins.volume import LogVolume

RNG = np.random.default_rng(0)
START, END = np.array([-1.2, 1.4]), np.array([1.5, -1.0])  # of the spline: between them its volumes are large


def sphere_points(n, d):
    x = np.random.default_rng(d).normal(size=(n, d))
    return x * np.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True)


# --- curves -----------------------------------------------------------------------------------------------------------


def test_a_line_is_a_line():
    a, b = RNG.normal(size=(2, 5))
    found = linear(a, b, [0, 0.25, 1])
    np.testing.assert_allclose(found, [a, 0.75 * a + 0.25 * b, b], atol=1e-15)


def test_slerp_by_hand():
    """From (3, 0) to (0, 5), a right angle: the weights are sines of 30° and 60°."""
    found = slerp(np.array([3.0, 0]), np.array([0, 5.0]), [0, 1 / 3, 1])
    np.testing.assert_allclose(found, [[3, 0], [3 * math.sqrt(3) / 2, 2.5], [0, 5]], atol=1e-14)


def test_slerp_turns_evenly_on_the_sphere():
    a, b = sphere_points(2, 7)
    found = slerp(a, b, np.arange(11) / 10)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.sqrt(7))
    angles = np.arccos((found[:-1] * found[1:]).sum(axis=1) / 7)
    np.testing.assert_allclose(angles, np.arccos(a @ b / 7) / 10)


def test_slerp_where_there_is_no_angle():
    a = np.array([1.0, 2.0])
    np.testing.assert_allclose(slerp(a, 3 * a, [0.5]), [2 * a])
    with pytest.raises(ValueError, match="opposite each other"):
        slerp(a, -a, [0.5])
    with pytest.raises(ValueError, match="at the origin"):
        slerp(a, 0 * a, [0.5])


@pytest.mark.parametrize("geometry", [Flat(), Sphere(2.0)])
def test_a_polygon_is_run_through_at_an_even_speed(geometry):
    knots = sphere_points(5, 4)  # of radius 2
    found = along(geometry, knots, np.arange(201) / 200)
    assert np.array_equal(found[0], knots[0]) and np.array_equal(found[-1], knots[-1])
    sides = geometry.distances(knots[:-1], knots[1:])
    steps = geometry.distances(found[:-1], found[1:])
    assert np.median(steps) == pytest.approx(sides.sum() / 200) and steps.max() <= sides.sum() / 200 + 1e-9
    for share, knot in zip(np.cumsum(sides) / sides.sum(), knots[1:-1]):
        np.testing.assert_allclose(along(geometry, knots, [share])[0], knot, atol=1e-7)
    if isinstance(geometry, Sphere):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2)
        assert geometry.distances(knots[0], -knots[0]) == pytest.approx(2 * math.pi)


# --- frames -----------------------------------------------------------------------------------------------------------


def test_frames_of_a_line_and_of_a_loop():
    keys = RNG.normal(size=(3, 4))
    found = curve_frames("linear", keys, NormalPrior(4), frames=2)
    expected = [keys[0], (keys[0] + keys[1]) / 2, keys[1], (keys[1] + keys[2]) / 2, keys[2]]
    np.testing.assert_allclose(found.points, expected, atol=1e-15)
    assert found.segment.tolist() == [0, 0, 1, 1, 1] and found.t.tolist() == [0, 0.5, 0, 0.5, 1]
    assert np.array_equal(found.points[[0, 2, 4]], keys)
    loop = curve_frames("linear", keys, NormalPrior(4), frames=2, loop=True)
    np.testing.assert_allclose(loop.points, [*expected, (keys[2] + keys[0]) / 2], atol=1e-15)
    assert loop.segment.tolist() == [0, 0, 1, 1, 2, 2] and loop.t.max() == 0.5


def test_on_the_sphere_frames_stay_there():
    keys = sphere_points(3, 6)
    line = curve_frames("linear", keys, SpherePrior(6), frames=4).points
    circle = curve_frames("slerp", keys, SpherePrior(6), frames=4).points
    np.testing.assert_allclose(np.linalg.norm([line, circle], axis=2), np.sqrt(6))
    chord = 0.75 * keys[0] + 0.25 * keys[1]
    np.testing.assert_allclose(line[1], chord * np.sqrt(6) / np.linalg.norm(chord))
    np.testing.assert_allclose(circle[1], slerp(keys[0], keys[1], [0.25])[0])
    assert not np.allclose(line[1], circle[1]) and np.allclose(line[2], circle[2])  # another speed, the same way


def test_too_few_keys_and_no_way():
    with pytest.raises(ValueError, match="1 key frame: an interpolation needs at least two seeds"):
        curve_frames("linear", np.ones((1, 3)), NormalPrior(3), frames=2)
    a = sphere_points(1, 4)
    with pytest.raises(ValueError, match="meets the origin"):
        curve_frames("linear", np.concatenate([a, -a]), SpherePrior(4), frames=2)
    with pytest.raises(ValueError, match="opposite each other"):
        dense_path(a[0], -a[0], lambda x: np.zeros(len(x)), SpherePrior(4))
    with pytest.raises(ValueError, match="the ends of a path are the same"):
        dense_path(a[0], 2 * a[0], lambda x: np.zeros(len(x)), SpherePrior(4))
    with pytest.raises(ValueError, match="outside the support"):
        dense_path(np.full(4, 3.0), a[0], lambda x: np.zeros(len(x)), TruncatedNormalPrior(4))


# --- the functional and its minimum -----------------------------------------------------------------------------------


def test_the_functional_by_hand():
    """(0, 0), (1, 1), (2, 0) with heights 1, 5, 3: 2 · (2 + 2) / 4 = 2, and ∫h = (1/2 + 5 + 3/2) / 2 = 3.5."""
    knots, heights = np.array([[0.0, 0], [1, 1], [2, 0]]), np.array([1.0, 5, 3])
    assert energy(Flat(), knots) == pytest.approx(2)
    assert functional(Flat(), knots, heights, 0.1) == pytest.approx(2 - 0.35)
    a, b = sphere_points(2, 5)
    assert energy(Sphere(np.sqrt(5)), slerp(a, b, np.arange(9) / 8)) == pytest.approx(1)


def test_dynamic_programming_finds_the_best_of_all_combinations():
    random = np.random.default_rng(1)
    start, end, points = random.normal(size=3), random.normal(size=3), random.normal(size=(3, 4, 3))
    costs = random.normal(size=(3, 4)) * 20
    length = np.linalg.norm(start - end)

    def total(choice):
        way = np.stack([start, *(points[k, i] for i, k in enumerate(choice)), end])
        return 5 * np.square(np.diff(way, axis=0)).sum() / length**2 + sum(costs[k, i] for i, k in enumerate(choice))

    best = min(itertools.product(range(3), repeat=4), key=total)
    assert best_choice(Flat(), start, points, end, costs).tolist() == list(best)
    assert best_choice(Flat(), start, points[[0, 0]], end, np.zeros((2, 4))).tolist() == [0, 0, 0, 0]


def test_the_search_comes_near_a_minimum_that_is_known():
    """With a height that rises along a, the best of 8 pieces solves a linear system: 2n (−x₋ + 2x − x₊) / D² = W a / n.

    (Without pieces it is a parabola, as in a field of constant force.)
    """
    start, end, a, weight, n = np.array([-1.0, 0.5, 0]), np.array([1.0, 0, 0.5]), np.array([0.3, 1, 1.5]), 0.3, 8
    length2 = np.square(end - start).sum()
    laplace = 2 * np.eye(n - 1) - np.eye(n - 1, k=1) - np.eye(n - 1, k=-1)
    bend = np.linalg.solve(2 * n * laplace / length2, np.tile(weight * a / n, (n - 1, 1)))
    straight = linear(start, end, np.arange(n + 1) / n)
    best = straight + np.concatenate([np.zeros((1, 3)), bend, np.zeros((1, 3))])
    low, high = (functional(Flat(), knots, knots @ a, weight) for knots in (best, straight))
    for step in (0.1, 0.5, 1.0):
        settings = SearchSettings(weight=weight, rounds=12, directions=16, step=step)
        path = dense_path(start, end, lambda x: x @ a, NormalPrior(3), settings)
        assert low < path.trace[-1][1] < low + 0.01 * (high - low)
        assert np.linalg.norm(path.knots - best, axis=1).max() < 0.1 * np.linalg.norm(bend, axis=1).max()


def spline_height(rho):
    """Log-density of Polarity's law of the spline, in closed form."""
    prior = NormalPrior(2)
    return lambda x: prior.log_prob(x).numpy() + rho * spline_volume(torch.as_tensor(x).float()).log().double().numpy()


@pytest.mark.parametrize("rho", [-1.0, 1.0])
def test_paths_of_the_spline_run_where_its_density_says(rho):
    """By the known volumes: towards the modes for ρ < 0, towards the anti-modes for ρ > 0; the ends stay."""
    height = spline_height(rho)
    path = dense_path(START, END, height, NormalPrior(2), SearchSettings(rho=rho, weight=0.5))
    t = np.arange(101) / 100
    found, straight = along(Flat(), path.knots, t), linear(START, END, t)
    assert height(found).mean() > height(straight).mean() + 0.2
    volumes = [spline_volume(torch.from_numpy(x).float()).log().mean().item() for x in (straight, found)]
    assert (volumes[1] - volumes[0]) * rho > 0.1
    assert np.array_equal(path.knots[[0, -1]], [START, END]) and len(path.knots) == 9
    again = dense_path(START, END, height, NormalPrior(2), SearchSettings(rho=rho, weight=0.5))
    assert np.array_equal(again.knots, path.knots) and again.trace == path.trace
    for pieces in (2, 4, 8):
        values = [value for n, value in path.trace if n == pieces]
        assert len(values) == 5 and (np.diff(values) <= 0).all() and values[-1] < values[0]


def test_a_path_on_the_sphere_stays_there_and_rises():
    a = np.linspace(-1, 1, 12)
    keys = sphere_points(2, 12)
    path = dense_path(*keys, lambda x: 3 * x @ a, SpherePrior(12))
    np.testing.assert_allclose(np.linalg.norm(path.knots, axis=1), np.sqrt(12))
    np.testing.assert_allclose(path.knots[[0, -1]], keys, atol=1e-14)
    circle = slerp(*keys, np.arange(9) / 8)
    assert (path.knots[1:-1] @ a > circle[1:-1] @ a).all()
    assert energy(Sphere(np.sqrt(12)), path.knots) > 1


def test_a_path_keeps_to_the_support_of_its_prior_and_out_of_what_has_no_height():
    ends = np.full(3, -1.9), np.array([1.9, 1.5, -1.9])
    path = dense_path(*ends, lambda x: 10 * x.sum(axis=1), TruncatedNormalPrior(3))
    assert np.abs(path.knots).max() <= 2 and (path.knots[4] > linear(*ends, [0.5])[0]).all()

    def broken(x):
        return np.where(np.linalg.norm(x, axis=1) < 0.5, np.nan, 0.0)

    path = dense_path(np.array([-1.0, 0]), np.array([1.0, 0.1]), broken, NormalPrior(2))
    assert (np.linalg.norm(path.knots, axis=1) >= 0.5).all()


@pytest.mark.parametrize("options", [{}, dict(halvings=1, rounds=2), dict(halvings=4, rounds=1, directions=3)])
def test_the_cost_of_a_search_is_what_it_says(options):
    asked = []

    def height(x):
        asked.append(len(x))
        return np.zeros(len(x))

    settings = SearchSettings(**options)
    path = dense_path(START, END, height, NormalPrior(2), settings)
    assert sum(asked) == search.evaluations(settings) and len(path.knots) == 2**settings.halvings + 1
    np.testing.assert_allclose(path.knots, linear(START, END, np.arange(len(path.knots)) / (len(path.knots) - 1)))


def test_settings_that_make_no_path():
    for options, message in [
        (dict(rho=float("nan")), "rho must be a finite number"),
        (dict(rho=float("inf")), "rho must be a finite number"),
        (dict(weight=0), "weight must be above 0, not 0"),
        (dict(halvings=11), "halvings must be 1 to 10, not 11"),
        (dict(step=1.5), "step must be above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            SearchSettings(**options)


# --- densities --------------------------------------------------------------------------------------------------------


def test_the_density_along_a_path_is_that_of_the_images():
    generator = SplineGenerator()
    coordinates = LatentCoordinates(generator, torch.zeros(1, 0))
    volumes = path_volumes(generator, "z", space="pixel", top_k=2)
    keys = np.stack([START, END, [0.1, 2.0]])
    settings = SearchSettings(weight=0.5, halvings=2, rounds=3, directions=4)
    found = dense_frames(keys, coordinates.prior, PathDensity(coordinates, volumes(None).at), settings, frames=20)
    assert len(found) == 41 and len(found.energies) == 2 and min(found.energies) > 1
    space_map = get_space(generator, "pixel")
    for figures, points in ((found.found, found.points), (found.before, found.straight)):
        expected = density_at(space_map, torch.from_numpy(points).float(), coordinates.prior).numpy()
        np.testing.assert_allclose(figures.log_density, expected, atol=1e-4)
        np.testing.assert_allclose(figures.height(-1), figures.log_density)
        np.testing.assert_allclose(figures.height(2), figures.log_prior + 2 * figures.log_volume)
    assert found.found.log_density.mean() > found.before.log_density.mean() + 0.2
    np.testing.assert_allclose(found.straight, curve_frames("linear", keys, coordinates.prior, frames=20).points)
    assert np.array_equal(found.points[[0, 20, 40]], keys)
    alone = dense_frames(keys[:2], coordinates.prior, PathDensity(coordinates, volumes(None).at), settings, frames=20)
    np.testing.assert_allclose(alone.points, found.points[:21])  # a segment does not depend on the others


def test_lines_leave_out_what_is_not_finite():
    found = Densities(np.array([-1.0, -2.0]), np.array([3.0, np.nan])).lines()
    assert found == [dict(log_prior=-1, log_volume=3, log_density=-4), dict(log_prior=-2)]


def test_volumes_of_paths_are_those_of_their_start(tiny):
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    volume = path_volumes(tiny, "w", top_k=4)(None)
    w = tiny.style(z, torch.zeros(3, 0)).detach()
    assert volume.space_map.name == "w:pixel" and volume.at(w) == pytest.approx(volume(z), rel=1e-5)
    assert np.array_equal(volume(z), LogVolume(tiny, space="w:pixel", top_k=4, method=volume.method)(z))
    assert path_volumes(tiny, "z")(None).space_map.name == "z:w"
    advised = path_volumes(tiny, "z", advice=dict(space="pixel", top_k=3))
    assert advised(None).space_map.name == "z:pixel" and advised.record()["top_k"] == 3
    assert path_volumes(tiny, "z", space="pixel", psi=0.5)(None).space_map.psi == 0.5


def test_spaces_that_start_elsewhere_and_methods_of_atlases():
    assert check_path_space("w", "w:vgg") == "w:vgg" and check_path_space("z", "style") == "z:w"
    assert check_path_space("z") is None
    for start, space, method, message in [
        ("w", "pixel", None, "starts at z and the path runs in w: take w:pixel"),
        ("w", "style", None, "take w:pixel"),
        ("z", "w:vgg", None, "starts at w and the path runs in z: take z:vgg"),
        ("z", None, "shared", "`method`=shared needs an atlas"),
        ("z", "nowhere", None, "unknown space 'nowhere'"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_path_space(start, space, method)


# --- coordinates ------------------------------------------------------------------------------------------------------


def test_latents_of_seeds_are_theirs():
    for generator, length in ((SplineGenerator(), None), (small_stylegan2(), math.sqrt(8))):
        coordinates = LatentCoordinates(generator, torch.zeros(1, 0))
        expected = torch.cat([generator.seed_latent(seed) for seed in (3, 7)]).double()
        if length:
            expected = expected * length / expected.norm(dim=1, keepdim=True)
        found = coordinates.of_seeds([3, 7])
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert coordinates.inputs(found).dtype == torch.float32
        np.testing.assert_allclose(coordinates.log_prior(found), prior_of(generator).log_prob(expected))


def test_styles_are_whitened():
    generator = small_stylegan2()
    coordinates = StyleCoordinates(generator, torch.zeros(1, 0))
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1))
    w = generator.style(z, torch.zeros(4000, 0)).double().numpy()
    g = (w - coordinates.mean) @ coordinates.axes / coordinates.deviations
    assert np.abs(np.cov(g.T) - np.eye(g.shape[1])).max() < 0.15 and np.abs(g.mean(axis=0)).max() < 0.1
    w_of_seeds = generator.style(torch.cat([generator.seed_latent(s) for s in (0, 5)]), torch.zeros(2, 0))
    keys = coordinates.of_seeds([0, 5])
    np.testing.assert_allclose(coordinates.inputs(keys), w_of_seeds, atol=1e-4)
    middle = coordinates.inputs(linear(*keys, [0.5]))
    np.testing.assert_allclose(middle[0], (w_of_seeds[0] + w_of_seeds[1]) / 2, atol=1e-4)
    covariance = coordinates.axes * coordinates.deviations**2 @ coordinates.axes.T
    normal = scipy.stats.multivariate_normal(coordinates.mean, covariance, allow_singular=True)
    assert coordinates.log_prior(keys) == pytest.approx(normal.logpdf(coordinates.inputs(keys).double()), rel=1e-4)


def test_axes_along_which_styles_do_not_vary_are_left_out():
    """The toy's styles lie in a plane of R³."""
    coordinates = StyleCoordinates(ToyGenerator(), torch.zeros(1, 0))
    assert coordinates.prior.dim == 2 and coordinates.axes.shape == (3, 2)
    keys = coordinates.of_seeds(range(4))
    expected = torch.cat([ToyGenerator().style(ToyGenerator().seed_latent(s), torch.zeros(1, 0)) for s in range(4)])
    np.testing.assert_allclose(coordinates.inputs(keys), expected, atol=1e-5)


def test_each_class_has_styles_of_its_own():
    generator = ToyGenerator(c_dim=3)
    means = [StyleCoordinates(generator, torch.eye(3)[[k]]).mean for k in range(2)]
    assert np.abs(means[0] - means[1]).max() > 0.1


def test_generators_without_styles_have_no_style_coordinates():
    with pytest.raises(ValueError, match="a line network has no styles"):
        StyleCoordinates(Line(), torch.zeros(1, 0))


def test_images_are_those_of_the_points(tiny):
    c = torch.zeros(1, 0)
    for coordinates in (LatentCoordinates(tiny, c), StyleCoordinates(tiny, c)):
        points = coordinates.of_seeds(range(5))
        found = np.concatenate(list(coordinates.images(points, psi=0.7, cutoff=2, batch=2)))
        z = torch.cat([tiny.seed_latent(seed) for seed in range(5)])
        expected = to_uint8(tiny(z, c.expand(5, -1), truncation_psi=0.7, truncation_cutoff=2).detach())
        np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)
