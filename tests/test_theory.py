"""What the samplers promise, on a generator whose regions and volumes are known."""

import numpy as np
import pytest
import scipy.stats
import torch
from helpers.splines import SLOPES, SplineGenerator, bend, volume

from latent_plugins.atlas import Atlas
from latent_plugins.samplers import create_sampler

LEVEL = 1e-3  # of every statistical test here
CANDIDATES = 100_000
N = 2_000  # few against the candidates, so that the atlas's own randomness does not show


@pytest.fixture(scope="module")
def spline():
    return SplineGenerator()


@pytest.fixture(scope="module")
def uniform_atlas(spline, tmp_path_factory):
    path = tmp_path_factory.mktemp("theory") / "uniform"
    return Atlas.build(spline, path, space="style", candidates=CANDIDATES, base="uniform", radius=1.0)


@pytest.fixture(scope="module")
def prior_atlas(spline, tmp_path_factory):
    return Atlas.build(spline, tmp_path_factory.mktemp("theory") / "prior", space="pixel", candidates=CANDIDATES)


def uniformity(points, low, high, bins):
    """p-value of the chi-square test that points [N, 2] are uniform on the square [low, high]²."""
    counts, *_ = np.histogram2d(*points.T, bins=bins, range=[[low, high]] * 2)
    assert counts.sum() == len(points)
    return scipy.stats.chisquare(counts.ravel()).pvalue


def manifold_points(spline, z):
    return spline.plane(spline.style(z, torch.zeros(len(z), 0))).numpy()


def test_the_atlas_holds_the_known_volumes(uniform_atlas):
    z = uniform_atlas.latents(np.arange(3000))
    ours = np.exp(uniform_atlas.log_volume()[:3000])
    np.testing.assert_allclose(ours, volume(z).numpy(), rtol=1e-4)


@pytest.mark.parametrize("without_replacement", [False, True])
@pytest.mark.parametrize("how", ["draw", "sample"])
def test_magnet_is_uniform_on_the_manifold(spline, uniform_atlas, how, without_replacement):
    sampler = create_sampler("magnet", spline, atlas=uniform_atlas, without_replacement=without_replacement)
    if how == "draw":
        latents = sampler.draw(range(N))
    else:
        latents = sampler.sample(N, torch.Generator().manual_seed(0))
    low, high = bend(torch.tensor([-1.0, 1.0])).tolist()
    assert uniformity(manifold_points(spline, latents.z), low, high, bins=8) > LEVEL
    assert uniformity(latents.z.numpy(), -1, 1, bins=8) < 1e-12  # the test can tell


def test_polarity_zero_is_the_base_measure(spline, uniform_atlas, prior_atlas):
    z = create_sampler("polarity", spline, atlas=uniform_atlas, rho=0.0).draw(range(N)).z.numpy()
    assert uniformity(z, -1, 1, bins=8) > LEVEL
    z = create_sampler("polarity", spline, atlas=prior_atlas, rho=0.0).draw(range(N)).z.numpy()
    for coordinate in z.T:
        assert scipy.stats.kstest(coordinate, "norm").pvalue > LEVEL
    assert scipy.stats.kstest((z**2).sum(axis=1), "chi2", args=(2,)).pvalue > LEVEL


@pytest.mark.parametrize("rho", [0.5, -0.3])
def test_polarity_weights_regions_by_the_power_of_their_volume(spline, uniform_atlas, rho):
    z = create_sampler("polarity", spline, atlas=uniform_atlas, rho=rho).draw(range(N)).z
    found = volume(z).numpy()
    base = volume(uniform_atlas.latents(np.arange(CANDIDATES))).numpy()
    values = np.unique(base)
    share = np.array([(base == v).mean() * v**rho for v in values])
    counts = [(found == v).sum() for v in values]
    assert scipy.stats.chisquare(counts, N * share / share.sum()).pvalue > LEVEL


@pytest.mark.parametrize("rho, slope", [(-100.0, SLOPES.min()), (100.0, SLOPES.max())])
def test_extreme_polarity_sits_in_the_extreme_region(spline, uniform_atlas, rho, slope):
    z = create_sampler("polarity", spline, atlas=uniform_atlas, rho=rho).draw(range(200)).z
    assert torch.allclose(volume(z), slope**2)
