"""Densities and entropies of generated points: by hand, against integrals, and against simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from helpers.pwa_networks import CORNER_REGIONS, corner_network, flat_network, folding_network, random_network
from helpers.splines import KNOTS, SLOPES, SplineGenerator, volume
from torch import nn

from latent_plugins.geometry.density import density_at, entropy, exact_density
from latent_plugins.geometry.partition import Slice, exact_partition, sampled_partition
from latent_plugins.geometry.piecewise import log_volumes
from latent_plugins.priors import BoxPrior, NormalPrior
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum

LEVEL = 1e-3  # of every statistical test here
DEVIATIONS = scipy.stats.norm.isf(LEVEL / 2)
SQUARE = Slice(np.zeros(2), np.eye(2), -1, 1)
UNIFORM, GAUSSIAN = BoxPrior(2, -1.0, 1.0), NormalPrior(2)
PLACES = torch.tensor([place for place, *_ in CORNER_REGIONS.values()], dtype=torch.float64)
AREAS, VOLUMES = (np.array([region[i] for region in CORNER_REGIONS.values()]) for i in (1, 2))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def quadrature(vertices, order=6):
    """(points [P, 2], weights [P]) that integrate over a convex polygon: Gauss–Legendre on triangles around its
    centre, a square folded into each."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    u, v = (a.ravel() for a in np.meshgrid((nodes + 1) / 2, (nodes + 1) / 2))
    w = np.outer(weights, weights).ravel() / 4
    centre = vertices.mean(axis=0)
    points, parts = [], []
    for a, b in zip(vertices, np.roll(vertices, -1, axis=0)):
        edges = np.stack([a - centre, b - centre])
        points.append(centre + np.stack([u * (1 - v), u * v], axis=1) @ edges)
        parts.append(w * u * abs(np.linalg.det(edges)))
    return np.concatenate(points), np.concatenate(parts)


@pytest.mark.parametrize("prior", [UNIFORM, GAUSSIAN])
def test_the_corner_networks_density_by_hand(prior):
    # Injective, so each point has one preimage and p_G = p_z / √det.
    network, partition = corner_network(), exact_partition(corner_network(), SQUARE)
    x = network(PLACES).detach()
    at = {UNIFORM: np.full(5, 1 / 4), GAUSSIAN: np.exp(-(PLACES.numpy() ** 2).sum(axis=1) / 2) / (2 * np.pi)}
    for ours in (exact_density(partition, x, prior), density_at(network, PLACES, prior)):
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours.exp(), at[prior] / VOLUMES, rtol=1e-12)
    off = x + torch.tensor([0.0, 0.0, 1e-3])  # beside the surface
    assert exact_density(partition, off, prior).tolist() == [-math.inf] * 5
    outside = network(torch.tensor([[1.5, -0.5]], dtype=torch.float64)).detach()
    assert exact_density(partition, outside, prior).tolist() == [-math.inf]


def test_a_point_on_an_edge_counts_once():
    # Both regions map it to the same point; either density is right there.
    partition = exact_partition(corner_network(), SQUARE)
    z = torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.0, 0.0]], dtype=torch.float64)
    density = exact_density(partition, corner_network()(z).detach(), UNIFORM).exp() * 4
    one_of = [{1, 2}, {2, 7}, {1, 2, 3, 6}]
    assert all(min(abs(1 / d - v) for v in values) < 1e-9 for d, values in zip(density.tolist(), one_of))


@pytest.mark.parametrize("prior", [UNIFORM, GAUSSIAN])
def test_densities_add_up_where_the_plane_is_folded(prior):
    # x = (|z₀ − 1/4|, 2 z₁) comes from z₀ = 1/4 ± x₀ and z₁ = x₁ / 2, √det = 2.
    network, partition = folding_network(), exact_partition(folding_network(), SQUARE)
    assert len(partition) == 2
    x = torch.tensor([[0.5, 0.4], [1.0, 0.4], [2.0, 0.4], [0.0, 0.4]], dtype=torch.float64)

    def p(*z):
        if prior is UNIFORM:
            return 1 / 4
        return math.exp(-(z[0] ** 2 + z[1] ** 2) / 2) / (2 * math.pi)

    # Twice; once, as 1.25 is off the square; never; once, on the fold itself.
    expected = [(p(0.75, 0.2) + p(-0.25, 0.2)) / 2, p(-0.75, 0.2) / 2, 0, p(0.25, 0.2) / 2]
    np.testing.assert_allclose(exact_density(partition, x, prior).exp(), expected, rtol=1e-9)
    # One region alone gives one of the terms.
    own = density_at(network, torch.tensor([[0.75, 0.2]], dtype=torch.float64), prior)
    assert own.exp().item() == pytest.approx(p(0.75, 0.2) / 2)


@pytest.mark.parametrize("network", [corner_network(), random_network(2, (2, 6, 6, 8), [nn.LeakyReLU(0.3)] * 2)])
def test_the_density_integrates_to_the_priors_mass(network):
    # Σ over regions of ∫ over their image: both networks are injective, so no image is covered twice.
    partition = exact_partition(network, SQUARE)
    assert len(partition) >= 5 and np.isfinite(partition.log_volume).all()
    total = {UNIFORM: 0.0, GAUSSIAN: 0.0}
    for region in partition:
        points, weights = quadrature(region.vertices)
        image = points @ region.slope.T + region.offset
        for prior in total:
            density = exact_density(partition, image, prior).exp().numpy()
            total[prior] += density @ weights * math.exp(region.log_volume)
    one_side = scipy.stats.norm.cdf(1) - scipy.stats.norm.cdf(-1)
    assert total[UNIFORM] == pytest.approx(1, abs=1e-3)
    assert total[GAUSSIAN] == pytest.approx(one_side**2, abs=1e-3)


def test_the_exact_density_is_that_of_generated_points():
    # How many of 100,000 points fall into the image of a disc of latents, against density × volume of the image.
    n, radius, centre = 100_000, 0.05, np.array([0.75, 0.2])
    x = folding_network()(UNIFORM.sample(n, generator())).detach().numpy()
    partition = exact_partition(folding_network(), SQUARE)
    middle = np.array([[abs(centre[0] - 0.25), 2 * centre[1]]])
    inside = (((x - middle) / [1, 2]) ** 2).sum(axis=1) < radius**2
    expected = exact_density(partition, middle, UNIFORM).exp().item() * 2 * math.pi * radius**2
    assert scipy.stats.binomtest(int(inside.sum()), n, expected).pvalue > LEVEL
    assert scipy.stats.binomtest(int(inside.sum()), n, expected / 2).pvalue < 1e-12  # the test can tell


def test_points_computed_in_float32_need_a_tolerance():
    partition = exact_partition(corner_network(), SQUARE)
    x = corner_network().float()(PLACES.float()).detach()
    ours = exact_density(partition, x, UNIFORM, tolerance=1e-5)
    np.testing.assert_allclose(ours.exp() * 4, 1 / VOLUMES, rtol=1e-12)


def test_mass_without_volume_has_no_density():
    # (z₀⁺, z₁⁺): the quadrant (+, +) has a volume, two become the axes, one the origin.
    network, partition = flat_network(), exact_partition(flat_network(), SQUARE)
    z = torch.tensor([[0.3, 0.6], [0.3, -0.5], [-0.5, 0.3], [-0.5, -0.5]], dtype=torch.float64)
    x = network(z).detach()
    assert exact_density(partition, x[:1], UNIFORM).exp().item() == pytest.approx(1 / 4)
    for row in (1, 2, 3):
        with pytest.raises(ValueError, match="1 of 2 points, the first at row 1, .* no density"):
            exact_density(partition, x[[0, row]], UNIFORM)
    # The axis goes on beyond the images of the square.
    assert exact_density(partition, torch.tensor([[1.5, 0.0]]), UNIFORM).tolist() == [-math.inf]
    ours = density_at(network, torch.cat([z, torch.tensor([[-2.0, 0.5]])]), UNIFORM)
    assert ours[0].exp().item() == pytest.approx(1 / 4)
    assert ours[1:].tolist() == [math.inf] * 3 + [-math.inf]


def test_density_of_smooth_maps_and_spaces():
    # x = sinh(z) in each coordinate: p_x = p_z / (cosh z₀ cosh z₁).
    z = torch.randn(10, 2, dtype=torch.float64, generator=generator())
    expected = GAUSSIAN.log_prob(z) - z.cosh().log().sum(dim=1)
    torch.testing.assert_close(density_at(torch.sinh, z, GAUSSIAN), expected)
    space = get_space(SplineGenerator(), "style", domain="gaussian")
    expected = GAUSSIAN.log_prob(z) - volume(z.float()).log()
    torch.testing.assert_close(density_at(space, z, GAUSSIAN), expected, rtol=0, atol=1e-5)


def test_the_entropy_of_the_corner_network_by_hand():
    # h(p_z) = log 4; the log-volume is that of a region with probability area / 4.
    mean = AREAS @ np.log(VOLUMES) / 4
    spread = math.sqrt(AREAS @ (np.log(VOLUMES) - mean) ** 2 / 4)
    n = 20_000
    ours = entropy(corner_network(), UNIFORM, n, generator())
    assert ours.n == n and ours.singular == 0
    assert ours.standard_error == pytest.approx(spread / math.sqrt(n), rel=0.05)
    assert abs(ours.value - (math.log(4) + mean)) < DEVIATIONS * ours.standard_error
    assert ours == entropy(corner_network(), UNIFORM, n, generator())


def test_the_entropy_of_a_linear_map_is_exact():
    # An affine map of N(0, I): h = d/2 log 2πe + log |det A|, without any Monte Carlo error.
    layer = nn.Linear(3, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0, 0], [1, 3, 0], [5, 7, 0.5]]))
    ours = entropy(layer, NormalPrior(3), 5, generator())
    covariance = (layer.weight @ layer.weight.T).detach().numpy()
    assert ours.value == pytest.approx(scipy.stats.multivariate_normal(cov=covariance).entropy())
    assert ours.standard_error == pytest.approx(0, abs=1e-12)


def test_the_entropy_in_a_space():
    # Each coordinate of z on [−1, 1] is bent between the knots: E log-volume = 2 Σ length / 2 · log slope.
    lengths = np.diff([-1, *KNOTS.tolist(), 1])
    expected = math.log(4) + lengths @ np.log(SLOPES.numpy())
    ours = entropy(get_space(SplineGenerator(), "style"), UNIFORM, 20_000, generator())
    assert abs(ours.value - expected) < DEVIATIONS * ours.standard_error


def test_collapsed_dimensions_make_the_entropy_infinite(tiny):
    # A quarter of all draws lands where flat_network keeps both dimensions, half where it keeps one.
    n = 4000
    ours = entropy(flat_network(), UNIFORM, n, generator())
    assert ours.value == -math.inf and math.isnan(ours.standard_error)
    assert scipy.stats.binomtest(ours.singular, n, 3 / 4).pvalue > LEVEL
    one = entropy(flat_network(), UNIFORM, n, generator(), top_k=1)
    assert scipy.stats.binomtest(one.singular, n, 1 / 4).pvalue > LEVEL

    space, prior = get_space(tiny, "style"), NormalPrior(8)
    assert entropy(space, prior, 10, generator()).singular == 10  # the radius
    ours = entropy(space, prior, 10, generator(), top_k=5)
    values = spectrum(space, prior.sample(10, generator()).float(), top_k=5)
    assert ours.value == pytest.approx(prior.entropy + values.double().log().sum(dim=1).mean().item())


@pytest.mark.parametrize("prior", [BoxPrior(3, -0.5, 2.0), NormalPrior(3)])
def test_priors(prior):
    z = prior.sample(20_000, generator())
    assert z.shape == (20_000, 3) and z.dtype == torch.float64
    law = scipy.stats.norm() if isinstance(prior, NormalPrior) else scipy.stats.uniform(-0.5, 2.5)
    np.testing.assert_allclose(prior.log_prob(z[:50]), law.logpdf(z[:50].numpy()).sum(axis=1), rtol=1e-12)
    assert prior.entropy == pytest.approx(3 * law.entropy())
    assert scipy.stats.kstest(z.numpy().ravel(), law.cdf).pvalue > LEVEL


def test_a_uniform_prior_has_no_mass_outside():
    z = torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.1, 0.0]])
    assert UNIFORM.log_prob(z).exp().tolist() == pytest.approx([0.25, 0.25, 0])


@pytest.mark.parametrize("low, high, d", [(1.0, 1.0, 2), (1.0, -1.0, 2), (0.0, math.inf, 2), (math.nan, 1.0, 2)])
def test_uniform_priors_need_bounds(low, high, d):
    with pytest.raises(ValueError, match="finite bounds low < high"):
        BoxPrior(d, low, high)


def test_priors_need_dimensions():
    for make in (lambda: NormalPrior(0), lambda: BoxPrior(0, 0.0, 1.0)):
        with pytest.raises(ValueError, match="at least one dimension, not 0"):
            make()


def test_what_does_not_fit_is_refused():
    network = corner_network()
    partition = exact_partition(network, SQUARE)
    with pytest.raises(ValueError, match="prior is one of 3 dimensions"):
        density_at(network, PLACES, NormalPrior(3))
    with pytest.raises(ValueError, match="prior is one of 3 dimensions"):
        exact_density(partition, network(PLACES).detach(), NormalPrior(3))
    with pytest.raises(ValueError, match="does not take latents of 3 entries"):
        entropy(network, NormalPrior(3), 10, generator())
    with pytest.raises(ValueError, match="at least 2 draws, not 1"):
        entropy(network, UNIFORM, 1, generator())
    with pytest.raises(ValueError, match="top_k 3 is outside 1 to 2"):
        entropy(network, UNIFORM, 10, generator(), top_k=3)
    with pytest.raises(ValueError, match="10 of 10 draws have a Jacobian that is not finite"):
        entropy(lambda z: (z * 0).sqrt(), UNIFORM, 10, generator())
    for x in (torch.zeros(2, 2), torch.zeros(3), torch.full((1, 3), math.nan)):
        with pytest.raises(ValueError, match=r"points must be finite and \[N, 3\]"):
            exact_density(partition, x, UNIFORM)
    with pytest.raises(ValueError, match="needs an exact partition"):
        exact_density(sampled_partition(network, SQUARE, resolution=2), torch.zeros(1, 3), UNIFORM)
    other = random_network(0, (3, 4, 3), [nn.ReLU()])
    with pytest.raises(ValueError, match="a network with 2 inputs, not 3"):
        exact_density(exact_partition(other, Slice(np.zeros(3), np.eye(3)[:2], -1, 1)), torch.zeros(1, 3), GAUSSIAN)


def test_no_points_have_no_densities():
    assert exact_density(exact_partition(corner_network(), SQUARE), torch.zeros(0, 3), UNIFORM).shape == (0,)


def test_log_volumes_of_a_partition_are_those_of_its_latents():
    partition = exact_partition(corner_network(), SQUARE)
    np.testing.assert_allclose(
        partition.log_volume[partition.locate(PLACES)], log_volumes(corner_network(), PLACES), rtol=1e-12, atol=1e-12
    )
