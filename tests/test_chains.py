"""Online samplers hit π ∝ p·volume^ρ on generators whose volumes are known in closed form."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.splines import (
    LEVEL,
    SLOPES,
    STRIPS,
    SplineGenerator,
    region_counts,
    region_pvalue,
    spline_masses,
    volume,
)

from dnnlib_compat.networks.interface import Generator
from latent_plugins.atlas import Atlas
from latent_plugins.chains import independence, online_rejection, pcn, prior_latents, rejection, smc, start
from latent_plugins.chains import moves as moves_module
from latent_plugins.chains.moves import autoregressive, hamiltonian, rescaled, step_noise, tangent, trajectory
from latent_plugins.chains.pcn import Kernel
from latent_plugins.chains.smc import next_share
from latent_plugins.importance.resampling import systematic
from latent_plugins.importance.weights import log_volume
from latent_plugins.priors import NormalPrior, SpherePrior, as_prior
from latent_plugins.spaces import get_space
from latent_plugins.volume import LogVolume

CHAINS = 4000  # the last draws of so many chains are as many independent draws of π
STEPS = 200


def spline_log_volume(z):
    return torch.log(volume(z))


# A surrogate that says little of the spline's volumes, and the field of another one: both must be corrected for.
def poor_surrogate(z):
    return -0.4 * (z**2).sum(dim=1) + z.sum(dim=1)


def poor_gradient(z):
    return 1 - z


KINDS = {
    "pcn": {},
    "annealed": dict(anneal=0.5),
    "delayed acceptance": dict(surrogate=poor_surrogate),
    "inner moves": dict(surrogate=poor_surrogate, inner=4),
    "inner moves in turn": dict(surrogate=poor_surrogate, inner=(5, 1)),
    "hamiltonian": dict(gradient=poor_gradient, leaps=3),
    "langevin": dict(gradient=poor_gradient),
    "delayed hamiltonian": dict(gradient=poor_gradient, surrogate=poor_surrogate, leaps=2),
}


@pytest.fixture(scope="module")
def starts():
    return start(np.arange(CHAINS), 2, seed=5, prior="gaussian")


@pytest.mark.bitwise
@pytest.mark.parametrize("rho", [1.0, -1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_chains_have_the_right_masses(kind, rho, starts):
    run = pcn(
        spline_log_volume,
        starts,
        rho=rho,
        steps=STEPS,
        warmup=100,
        thin=STEPS,
        prior="gaussian",
        seed=6,
        **KINDS[kind],
    )
    last = run.z[:, -1]
    assert region_pvalue(last, rho) > LEVEL
    assert region_pvalue(last, 0.8 * rho) < 1e-9  # the test can tell
    np.testing.assert_array_equal(run.log_volume[:, -1], spline_log_volume(torch.from_numpy(last)))


def test_corrections_are_needed(starts, monkeypatch):
    """Without what Hamiltonian moves return, and with the surrogate's verdict alone, the law is another one."""
    options = dict(rho=1.0, steps=STEPS, warmup=100, thin=STEPS, prior="gaussian", seed=6)
    surrogate_alone = pcn(poor_surrogate, starts, **options).z[:, -1]
    assert region_pvalue(surrogate_alone, 1.0) < 1e-12
    monkeypatch.setattr(moves_module, "energy", lambda z, v, prior: np.zeros(len(z)))
    uncorrected = pcn(spline_log_volume, starts, **options, **KINDS["hamiltonian"]).z[:, -1]
    assert region_pvalue(uncorrected, 1.0) < 1e-12


@pytest.mark.bitwise
@pytest.mark.parametrize("rho", [1.0, -1.0])
def test_independent_proposals_have_the_right_masses(rho, starts):
    run = independence(spline_log_volume, starts, rho=rho, steps=STEPS, thin=STEPS, prior="gaussian", seed=6)
    assert region_pvalue(run.z[:, -1], rho) > LEVEL
    short = dict(rho=rho, steps=7, prior="gaussian", seed=6, numbers=np.arange(3, 303))
    ours = independence(spline_log_volume, starts[:300], **short)
    theirs = pcn(spline_log_volume, starts[:300], **short, beta=1.0, warmup=0, spread=0.0)
    for name in ("z", "log_volume", "acceptance", "beta", "evaluations"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("rho", [1.0, -1.0])
@pytest.mark.parametrize("revise", [True, False])
def test_rejection_has_the_right_masses(rho, revise):
    draws = rejection(spline_log_volume, CHAINS, 2, rho=rho, prior="gaussian", seed=1, revise=revise)
    assert region_pvalue(draws.z, rho) > LEVEL
    assert draws.z.shape == (CHAINS, 2) and draws.exceeded == 0
    # The largest weight of the spline has a share of the prior that the first batch cannot miss.
    assert draws.bound == pytest.approx(max(np.log(SLOPES.numpy() ** 2) * rho))
    assert draws.acceptance == pytest.approx(spline_masses(rho)[1] / np.exp(draws.bound), rel=0.1)


def first_coordinate(z):
    return z[:, 0]


def test_a_bound_that_rises_is_counted_and_old_draws_are_judged_again():
    """Weights e^x have no bound; under them x is N(1, 1), of which 0.3 % lie beyond what 10,000 draws of p meet."""
    options = dict(rho=1.0, prior="gaussian", seed=3)
    revised = rejection(first_coordinate, 300, 1, **options)
    kept = rejection(first_coordinate, 300, 1, **options, revise=False)
    assert revised.exceeded > 0 and revised.evaluations >= kept.evaluations
    assert scipy.stats.ttest_1samp(revised.z[:, 0], 1).pvalue > LEVEL
    # The first latent raises the bound to its own weight and passes; by the last bound it would not have.
    earliest = prior_latents([0], 1, seed=3, prior="gaussian").astype(np.float32)
    assert kept.z[0] == earliest[0] and earliest[0] not in revised.z
    assert set(revised.z[:100, 0]) <= set(kept.z[:, 0])
    known = rejection(first_coordinate, 30, 1, **options, bound=5.0)
    assert known.exceeded == 0 and known.bound == 5


def test_the_published_rule_flattens_the_weights():
    """Its draws have the density p·σ/(σ + S) with S the sum over N scalars: far from the target for a few scalars,
    near it for many, where a draw costs as many volumes. Exact samplers have neither fault."""
    masses, distance = spline_masses(1.0)[0], {}
    for count, n in ((3, CHAINS), (300, 1000)):
        earlier = prior_latents(range(count), 2, seed=9, prior="gaussian").astype(np.float32)
        scalars = spline_log_volume(torch.from_numpy(earlier)).numpy()
        draws = online_rejection(spline_log_volume, n, 2, rho=1.0, scalars=scalars, prior="gaussian", seed=4)
        sigma = np.outer(SLOPES, SLOPES).ravel()
        law = np.outer(STRIPS, STRIPS).ravel() * sigma / (sigma + np.exp(scalars).sum())
        assert draws.acceptance == pytest.approx(law.sum(), rel=0.15)
        law /= law.sum()
        assert scipy.stats.chisquare(region_counts(draws.z), n * law).pvalue > LEVEL
        distance[count] = total_variation(law, masses)
        if count == 3:
            assert region_pvalue(draws.z, 1.0) < 1e-12
            exact = rejection(spline_log_volume, n, 2, rho=1.0, prior="gaussian", seed=4).z
            shares = [region_counts(z) / n for z in (draws.z, exact)]
            assert total_variation(shares[0], masses) > 3 * total_variation(shares[1], masses)
        else:
            assert draws.evaluations > 200 * n
    assert distance[3] > 0.05 and distance[300] < 0.01


def total_variation(p, q):
    return np.abs(p - q).sum() / 2


@pytest.mark.parametrize("rho", [1.0, -1.0])
@pytest.mark.parametrize("options", [{}, dict(surrogate=poor_surrogate, gradient=poor_gradient)])
def test_populations_have_the_right_masses_and_normalizer(rho, options):
    """Particles of one population depend on each other, populations do not: the shares of large regions and of all
    small ones, and exp(log normalizer), have the right means over 24 of them, each at the level over their number."""
    masses, normalizer = spline_masses(rho)
    runs = [smc(spline_log_volume, 500, 2, rho=rho, prior="gaussian", seed=seed, **options) for seed in range(24)]
    shares = np.array([region_counts(run.z) / 500 for run in runs])
    large = masses > 0.04
    shares = np.column_stack([shares[:, large], shares[:, ~large].sum(axis=1)])
    pvalues = scipy.stats.ttest_1samp(shares, [*masses[large], masses[~large].sum()]).pvalue
    assert (pvalues > LEVEL / len(pvalues)).all()
    ratios = [np.exp(run.log_normalizer) / normalizer for run in runs]
    assert scipy.stats.ttest_1samp(ratios, 1).pvalue > LEVEL
    assert np.std(ratios) < 0.2


def test_the_ladder_keeps_the_stated_effective_sample_size():
    run = smc(first_coordinate, 400, 3, rho=6.0, prior="gaussian", fraction=0.6, moves=30, seed=1)
    stages = run.stages
    assert len(stages) > 3 and stages[-1].rho == 6.0
    assert all(a.rho < b.rho for a, b in itertools.pairwise(stages))
    assert [stage.ess for stage in stages[:-1]] == pytest.approx([240] * (len(stages) - 1), rel=1e-6)
    assert stages[-1].ess >= 240
    assert run.evaluations == 400 * (1 + 30 * len(stages))
    assert 1 < run.ancestors < 400 and run.z.shape == (400, 3)
    assert stages[0].beta == 1 and stages[-1].beta < 0.6
    assert stages[-1].acceptance == pytest.approx(0.35, abs=0.05)
    # x is N(6, 1), the normalizer e^18. Four standard errors: of as many particles as there are ancestors, and of
    # stages whose mean weights err by √(1/240), with a few correlated moves between.
    assert run.z[:, 0].mean() == pytest.approx(6, abs=4 / np.sqrt(run.ancestors))
    assert run.log_normalizer == pytest.approx(18, abs=4 * 2 * np.sqrt(len(stages) / 240))
    assert next_share(3.0, np.zeros(10), 0.5) == 1
    assert len(smc(first_coordinate, 50, 3, rho=0.0, prior="gaussian", moves=1).stages) == 1


def test_systematic_copies_differ_from_their_expectation_by_less_than_one():
    logw = np.random.RandomState(0).randn(50) * 2
    logw[[3, 49]] = -np.inf
    expected = 50 * np.exp(logw) / np.exp(logw).sum()
    for u in (0.001, 0.5, 0.999):
        copies = np.bincount(systematic(logw, 50, u), minlength=50)
        assert copies.sum() == 50 and (np.abs(copies - expected) < 1).all()
        assert not copies[[3, 49]].any()


# The sphere: the surface of a long ellipsoid, whose area element is known.
AXES = torch.tensor([1.0, 1.0, 4.0])


class EllipsoidGenerator(Generator):
    """z of any length in R³ → w on the ellipsoid with the half-axes √3·AXES."""

    family = "ellipsoid"
    normalizes_z = True

    def __init__(self):
        super().__init__(z_dim=3, c_dim=0, w_dim=3, img_resolution=1, img_channels=3, init_kwargs={})
        self.num_ws = 1
        self.axes = torch.nn.Parameter(AXES, requires_grad=False)

    def mapping(self, z, c, truncation_psi=1, truncation_cutoff=None):
        return (z * self.axes * np.sqrt(3) / z.norm(dim=1, keepdim=True)).unsqueeze(1)


def ellipsoid_log_volume(z):
    """log of det A · |A⁻ᵀ n| on the tangent plane at n = z/|z|."""
    return torch.log(AXES.prod() * (z / z.norm(dim=1, keepdim=True) / AXES).norm(dim=1))


def height_law(rho):
    """Distribution function of the height |z₃|/√3 in [0, 1] under π: uniform under p (Archimedes), times volume^ρ."""
    t = np.linspace(0, 1, 20_001)
    density = (16 * (1 - t**2) + t**2) ** (rho / 2)
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return lambda height: np.interp(height, t, cumulative / cumulative[-1])


def height_pvalue(z, rho):
    """p-value of the Kolmogorov–Smirnov test that the heights of z [n, 3] have π's law."""
    return scipy.stats.kstest(np.abs(z[:, 2].astype(np.float64)) / np.sqrt(3), height_law(rho)).pvalue


def ellipsoid_gradient(z):
    """Of another field: pulls to one side, and off the sphere."""
    return torch.tensor([0.5, 0.0, 1.0]) + 0.3 * z


SPHERE_KINDS = {
    "pcn": {},
    "delayed acceptance": dict(surrogate=lambda z: z[:, 2]),
    "inner moves": dict(surrogate=lambda z: z[:, 2], inner=4),
    "geodesic": dict(gradient=ellipsoid_gradient, leaps=3),
    "delayed geodesic": dict(gradient=ellipsoid_gradient, surrogate=lambda z: z[:, 2]),
}


@pytest.mark.parametrize("rho", [1.0, -1.0])
@pytest.mark.parametrize("kind", SPHERE_KINDS)
def test_chains_on_the_sphere_have_the_right_law(kind, rho):
    z0 = start(np.arange(CHAINS), 3, seed=5, prior="sphere")
    options = dict(steps=100, warmup=50, thin=100, prior="sphere", seed=8, **SPHERE_KINDS[kind])
    last = pcn(ellipsoid_log_volume, z0, rho=rho, **options).z[:, -1]
    np.testing.assert_allclose(np.linalg.norm(last, axis=1), np.sqrt(3), rtol=1e-6)
    assert height_pvalue(last, rho) > LEVEL
    assert height_pvalue(last, 0.5 * rho) < 1e-5  # the test can tell
    longitude = np.arctan2(last[:, 0], last[:, 1])
    assert scipy.stats.kstest(longitude, "uniform", args=(-np.pi, 2 * np.pi)).pvalue > LEVEL
    assert scipy.stats.binomtest(int((last[:, 2] > 0).sum()), CHAINS).pvalue > LEVEL


def test_other_samplers_on_the_sphere_have_the_right_law():
    options = dict(rho=-1.0, prior="sphere", seed=2)
    z0 = start(np.arange(CHAINS), 3, seed=5, prior="sphere")
    draws = [
        independence(ellipsoid_log_volume, z0, steps=50, thin=50, **options).z[:, -1],
        rejection(ellipsoid_log_volume, CHAINS, 3, **options).z,
    ]
    for z in draws:
        assert height_pvalue(z, -1.0) > LEVEL
    means = [np.abs(smc(ellipsoid_log_volume, 400, 3, **{**options, "seed": s}).z[:, 2]).mean() for s in range(24)]
    t = np.linspace(0, 1, 20_001)
    expected = np.sqrt(3) * np.trapezoid(1 - height_law(-1.0)(t), t)
    assert scipy.stats.ttest_1samp(means, expected).pvalue > LEVEL


def test_chains_through_a_generator_are_uniform_on_its_manifold():
    """ρ = 1 with computed spectra: on the ellipsoid's surface, the area up to a height is known."""
    log_volume = LogVolume(get_space(EllipsoidGenerator(), "style"), 2)
    z = prior_latents(np.arange(50), 3, seed=0, prior="sphere")
    np.testing.assert_allclose(log_volume(z), ellipsoid_log_volume(torch.from_numpy(z)), rtol=1e-5)
    z0 = start(np.arange(200), 3, seed=5, prior="sphere")
    run = pcn(log_volume, z0, rho=1.0, steps=20, warmup=20, thin=20, prior="sphere")
    assert height_pvalue(run.z[:, -1], 1.0) > LEVEL
    assert log_volume.evaluations == run.evaluations + 50 == 200 * 41 + 50
    spline = LogVolume(get_space(SplineGenerator(), "style"), 2)
    z = prior_latents(np.arange(50), 2, seed=0, prior="gaussian")
    np.testing.assert_allclose(spline(z), spline_log_volume(torch.from_numpy(z).float()), atol=1e-5)


@pytest.mark.parametrize("method", ["exact", "projected", "subspace"])
def test_log_volumes_are_those_of_an_atlas(tmp_path, method):
    network = small_stylegan2()
    atlas = Atlas.build(network, tmp_path / "a", candidates=40, top_k=3, method=method, projection=5, seed=7)
    options = dict(projection=5) if method == "projected" else {}
    ours = LogVolume(get_space(network, "style"), 3, method, seed=7, **options)
    z = atlas.latents(np.arange(40))
    np.testing.assert_allclose(ours(z[:15]), atlas.log_volume()[:15], rtol=1e-4)
    np.testing.assert_allclose(ours(z[15:].numpy()), atlas.log_volume()[15:], rtol=1e-4)
    assert ours.evaluations == 40


def test_unusable_spectra_have_no_log_volume():
    sigma = np.array([[2.0, 1.0], [0.0, 0.0], [np.nan, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(log_volume(sigma), [np.log(2), np.nan, np.nan, np.log(1e-12)], atol=1e-9)
    with pytest.raises(ValueError, match="top_k 9 is outside"):
        LogVolume(get_space(small_stylegan2(), "style"), 9)(torch.randn(2, 8))


def half_plane(z):
    return torch.where(z[:, 0] > 0, 0.0, torch.nan)


def test_latents_without_a_volume_are_left_and_never_entered():
    z0 = start(np.arange(500), 2, seed=0, prior="gaussian")
    options = dict(rho=1.0, steps=20, prior="gaussian")
    for kind in ({}, dict(surrogate=poor_surrogate), dict(surrogate=half_plane), dict(gradient=lambda z: z / 0 * 0)):
        run = pcn(half_plane, z0, **options, warmup=400, **kind)
        assert (run.z[..., 0] > 0).all() and (run.log_volume == 0).all()
    assert (independence(half_plane, z0, **options).z[:, -1, 0] > 0).all()
    assert (rejection(half_plane, 500, 2, rho=1.0, prior="gaussian").z[:, 0] > 0).all()
    population = smc(half_plane, 500, 2, rho=1.0, prior="gaussian")
    assert (population.z[:, 0] > 0).all()
    assert population.log_normalizer == pytest.approx(np.log(0.5), abs=0.2)


@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
@pytest.mark.parametrize("size", [1e10, 1e30, 1e300])
def test_wild_gradients_are_rejected(size, domain, recwarn):
    def gradient(z):
        return np.full(z.shape, size)

    z0 = start(np.arange(20), 2, seed=0, prior=domain)
    run = pcn(spline_log_volume, z0, rho=1.0, steps=5, warmup=0, prior=domain, gradient=gradient, leaps=3)
    assert np.isfinite(run.z).all() and np.isfinite(run.log_volume).all() and not run.acceptance.any()
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.bitwise
@pytest.mark.parametrize("kind", KINDS)
def test_chains_are_the_same_whatever_runs_beside_them(kind):
    z0 = start(np.arange(1030), 2, seed=1, prior="gaussian")
    options = dict(rho=1.0, steps=10, warmup=10, prior="gaussian", seed=3, **KINDS[kind])
    together = pcn(spline_log_volume, z0, **options)
    for first, last in ((0, 2), (5, 9), (1022, 1030)):
        numbers = np.arange(first, last)
        alone = pcn(spline_log_volume, z0[first:last], **options, numbers=numbers)
        for name in ("z", "log_volume", "acceptance", "beta"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[first:last])
        np.testing.assert_array_equal(start(numbers, 2, seed=1, prior="gaussian"), z0[first:last])
    other = pcn(spline_log_volume, z0[:5], **{**options, "seed": 4})
    assert not np.array_equal(other.z, together.z[:5])


@pytest.mark.bitwise
def test_noise_belongs_to_seed_chain_and_step():
    noise = step_noise(np.arange(2000), 3, 2, seed=1)
    assert np.array_equal(step_noise([1500], 3, 2, seed=1).xi[0], noise.xi[1500])
    columns = np.column_stack(
        [noise.xi, noise.spread, noise.promote, noise.accept, step_noise(range(2000), 4, 2, seed=1).xi]
    )
    assert np.abs(np.corrcoef(columns.T) - np.eye(7)).max() < 4.5 / np.sqrt(2000)
    assert scipy.stats.kstest(noise.xi.ravel(), "norm").pvalue > LEVEL
    assert scipy.stats.kstest(noise.accept, "uniform").pvalue > LEVEL


def test_true_volumes_are_computed_for_promoted_proposals_alone():
    seen = []

    def counted(z):
        seen.append(z)
        return spline_log_volume(z)

    z0 = start(np.arange(100), 2, seed=0, prior="gaussian")
    options = dict(rho=1.0, steps=30, warmup=20, prior="gaussian", spread=0.0)
    run = pcn(counted, z0, **options, surrogate=spline_log_volume)
    assert sum(map(len, seen)) == run.evaluations < 0.8 * 100 * 51
    # A surrogate that is right leaves nothing to correct: what is promoted is accepted, and moves.
    moved = sum(len(z) for z in seen[1:])
    assert run.acceptance.mean() == pytest.approx((moved / 50) / 100, abs=0.1)
    assert (np.diff(run.z, axis=1) != 0).any(axis=2).mean() == pytest.approx(run.acceptance.mean(), abs=0.05)
    nothing = pcn(counted, z0, **options, surrogate=lambda z: 1e9 * z[:, 0] ** 2)
    assert nothing.evaluations < run.evaluations


@pytest.mark.parametrize("gradient", [None, lambda z: 4 * torch.eye(20)[:1].expand(len(z), -1)])
@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
def test_the_warm_up_finds_the_step_size(gradient, domain):
    """A slope that the gradient knows and waves that it does not, so that no move is accepted at every size."""
    z0 = start(np.arange(50), 20, seed=0, prior=domain)

    def log_volume(z):
        return 4 * z[:, 0] + 2 * torch.sin(3 * z[:, 1:4]).sum(dim=1)

    options = dict(rho=1.0, steps=200, prior=domain, gradient=gradient)
    run = pcn(log_volume, z0, warmup=200, beta=0.9, **options)
    assert run.beta.max() < 0.9
    assert run.acceptance.mean() == pytest.approx(0.35, abs=0.07)
    fixed = pcn(log_volume, z0, warmup=0, beta=0.9, **options)
    assert (fixed.beta == 0.9).all() and fixed.acceptance.mean() < run.acceptance.mean()


def test_gradients_shorten_the_way():
    """The surrogate's gradient at work: more independent draws from as many volumes."""
    slope = torch.tensor([4.0] + [0.0] * 29)
    z0 = start(np.arange(20), 30, seed=0, prior="gaussian")
    options = dict(rho=1.0, steps=400, warmup=200, prior="gaussian")
    plain = pcn(lambda z: z @ slope, z0, **options)
    guided = pcn(lambda z: z @ slope, z0, **options, gradient=lambda z: slope.expand(len(z), -1), leaps=2)
    assert guided.evaluations == plain.evaluations
    assert guided.ess.min() > 3 * plain.ess.min()
    assert guided.rhat.max() < 1.02


def two_hills(z):
    return -torch.minimum((z[:, 0] - 2) ** 2, (z[:, 0] + 2) ** 2) + 0.1 * z[:, 0]


def test_annealing_lets_chains_choose_their_hill():
    """With ρ = 20 from the start, a chain can only climb the hill that it stands on; the right one holds nearly all."""
    z0 = start(np.arange(400), 2, seed=0, prior="gaussian")
    options = dict(rho=20.0, steps=1, warmup=100, prior="gaussian")
    plain, annealed = (pcn(two_hills, z0, **options, anneal=share).z[:, 0, 0] for share in (0.0, 1.0))
    assert (annealed > 0).mean() > (plain > 0).mean() + 4 * np.sqrt(0.5 / 400)


def test_the_normalised_move_is_in_balance_with_the_uniform_measure():
    n, beta = 40_000, np.full(40_000, 0.6)
    random = np.random.RandomState(0)
    z = rescaled(random.randn(n, 3))
    moved, correction = autoregressive(z, random.randn(n, 3), beta, SpherePrior(3))
    assert not correction.any()
    assert scipy.stats.kstest(moved[:, 0], "uniform", args=(-np.sqrt(3), 2 * np.sqrt(3))).pvalue > LEVEL
    # As often from A to B as from B to A, for two places of different size.
    cap, belt = (lambda x: x[:, 0] > 1.2), (lambda x: (x[:, 0] > 0) & (x[:, 0] < 0.9))
    there, back = (cap(z) & belt(moved)).sum(), (belt(z) & cap(moved)).sum()
    assert there > 500 and scipy.stats.binomtest(int(there), int(there + back)).pvalue > LEVEL
    # The law of the angle is the same from everywhere: all that the argument needs.
    cosines = []
    for place in ([1.0, 0, 0], [1.0, -2, 0.3]):
        place = rescaled(np.array([place]))
        cosines.append(
            autoregressive(place.repeat(5000, 0), random.randn(5000, 3), beta[:5000], SpherePrior(3))[0] @ place[0]
        )
    assert scipy.stats.ks_2samp(*cosines).pvalue > LEVEL


@pytest.mark.parametrize("domain", ["gaussian", "sphere"])
def test_the_hamiltonian_map_is_reversible(domain):
    random = np.random.RandomState(0)
    z, v, angle = random.randn(20, 4), random.randn(20, 4), random.rand(20) + 0.1
    if domain == "sphere":
        z = rescaled(z)
        v = tangent(z, v)
    force = lambda z: np.sin(3 * z) + z[:, ::-1]  # noqa: E731
    moved, turned = trajectory(z, v, angle, as_prior(domain, z.shape[1]), force, 5)
    back, stopped = trajectory(moved, -turned, angle, as_prior(domain, z.shape[1]), force, 5)
    np.testing.assert_allclose(back, z, atol=1e-10)
    np.testing.assert_allclose(stopped, -v, atol=1e-10)
    still, same = trajectory(z, v, angle, as_prior(domain, z.shape[1]), np.zeros_like, 5)
    np.testing.assert_allclose((same**2).sum(1) + (still**2).sum(1), (v**2).sum(1) + (z**2).sum(1))
    if domain == "sphere":
        np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 2)
        np.testing.assert_allclose((moved * turned).sum(axis=1), 0, atol=1e-12)


def test_the_hamiltonian_map_keeps_volume():
    """Determinant 1 of its Jacobian, with a force that is no gradient."""
    force = lambda z: np.column_stack([np.sin(2 * z[:, 1]), z[:, 0] ** 2])  # noqa: E731
    point = np.random.RandomState(1).randn(4)

    def through(x):
        return np.concatenate(trajectory(x[:, :2], x[:, 2:], np.full(len(x), 0.7), NormalPrior(2), force, 3), axis=1)

    step = 1e-5 * np.eye(4)
    jacobian = (through(point + step) - through(point - step)) / 2e-5
    assert np.linalg.det(jacobian) == pytest.approx(1, abs=1e-7)


def test_one_leap_is_the_langevin_move():
    """∞-MALA in closed form: z' = √(1 − β²) z + β (ξ + √h/2 g), accepted with its law's ratio to the prior's move."""
    random = np.random.RandomState(0)
    z, xi, beta = random.randn(10, 3), random.randn(10, 3), random.rand(10)
    force = np.cos
    moved, correction = hamiltonian(z, xi, beta, NormalPrior(z.shape[1]), force, 1)
    b = beta[:, None]
    drift = np.tan(np.arcsin(b) / 2)  # √h/2, with β = √h/(1 + h/4)
    np.testing.assert_allclose(moved, np.sqrt(1 - b**2) * z + b * (xi + drift * force(z)))

    def log_ratio(a, c):
        v = (c - np.sqrt(1 - b**2) * a) / b
        return (drift * force(a) * v).sum(axis=1) - (drift**2 * force(a) ** 2).sum(axis=1) / 2

    np.testing.assert_allclose(correction, log_ratio(moved, z) - log_ratio(z, moved), atol=1e-12)


def test_refusals(starts):
    good = dict(rho=1.0, steps=4, prior="gaussian")
    for change, message in [
        (dict(rho=np.inf), "rho must be a finite number"),
        (dict(prior="cube"), "unknown domain 'cube'; known domains: sphere, gaussian"),
        (dict(beta=0.0), "beta 0.0 lies above 0"),
        (dict(anneal=2.0), "anneal 2.0"),
        (dict(thin=5), "thin 5 lies between 1 and the steps, 4"),
        (dict(warmup=-1), "warmup -1"),
        (dict(leaps=0), "at least one leap, not 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            pcn(spline_log_volume, starts[:2], **{**good, **change})
    with pytest.raises(ValueError, match=r"finite latents \[chains, z_dim\]"):
        pcn(spline_log_volume, starts[0], **good)
    with pytest.raises(ValueError, match="thin 9 lies"):
        independence(spline_log_volume, starts[:2], **good, thin=9)
    for change, message in [
        (dict(fraction=1.0), "fraction of the effective sample size"),
        (dict(moves=0), "moves 0"),
        (dict(rho=np.nan), "rho must be a finite number"),
    ]:
        with pytest.raises(ValueError, match=message):
            smc(spline_log_volume, 10, 2, **{"rho": 1.0, "prior": "gaussian", **change})
    with pytest.raises(ValueError, match="none of the 4 draws"):
        smc(lambda z: z[:, 0] * np.nan, 4, 2, rho=1.0, prior="gaussian")
    for sampler, options in ((rejection, {}), (online_rejection, dict(scalars=[0.0]))):
        with pytest.raises(ValueError, match="must be positive, not 0"):
            sampler(spline_log_volume, 0, 2, rho=1.0, prior="gaussian", **options)
        with pytest.raises(ValueError, match="100 draws of the prior gave too few samples"):
            sampler(spline_log_volume, 500, 2, rho=1.0, prior="gaussian", limit=100, **options)
    with pytest.raises(ValueError, match="none of the volumes of earlier latents"):
        online_rejection(spline_log_volume, 1, 2, rho=1.0, prior="gaussian", scalars=[np.nan])


def test_states_are_not_shared_with_the_caller(starts):
    before = starts.copy()
    pcn(spline_log_volume, starts, rho=1.0, steps=2, warmup=0, prior="gaussian")
    np.testing.assert_array_equal(starts, before)
    kernel = Kernel(spline_log_volume, SpherePrior(2), 0)
    np.testing.assert_allclose(np.linalg.norm(kernel.enter(starts[:5]).z, axis=1), np.sqrt(2))


def test_inner_moves_need_a_surrogate_and_spare_true_volumes():
    z0 = start(np.arange(50), 2, seed=0, prior="gaussian")
    options = dict(rho=1.0, steps=10, warmup=0, prior="gaussian")
    with pytest.raises(ValueError, match="inner moves need a surrogate, and number at least 1, not 3"):
        pcn(spline_log_volume, z0, **options, inner=3)
    with pytest.raises(ValueError, match="number at least 1, not 3, 0"):
        pcn(spline_log_volume, z0, **options, surrogate=poor_surrogate, inner=(3, 0))
    # With the truth for a surrogate every correction is certain, and ten steps of twenty moves cost ten volumes.
    perfect = pcn(spline_log_volume, z0, **options, surrogate=spline_log_volume, inner=20)
    assert perfect.corrected == pytest.approx(1) and perfect.evaluations <= 50 + 10 * 50
    assert np.isnan(pcn(spline_log_volume, z0, **options).corrected)


def test_a_bound_that_cannot_settle_is_told_early():
    """Weights without a mean: the largest one so far throws out what was accepted before, again and again."""
    asked = []

    def steep(z):
        asked.append(len(z))
        return 3 * z.square().sum(dim=1)

    with pytest.raises(ValueError, match="its bound rose [0-9]+ times: 1000 would take far more than the limit"):
        rejection(steep, 1000, 4, rho=1.0, prior="gaussian")
    assert sum(asked) <= 40 * 1024
