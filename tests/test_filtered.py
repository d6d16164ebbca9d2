"""Filters on samplers: what passes has the base's law, seeds mean latents, Jacobian norms are what they are said to be.

Statistical tests are at the level 0.1 %, with fixed seeds.
"""

import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from helpers.handmade_weights import Handmade, tilted
from helpers.splines import KNOTS, SLOPES, SplineGenerator

from latent_plugins.atlas import Atlas
from latent_plugins.attaching import attach
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.filtered import Filter, FilterSampler
from latent_plugins.samplers.jbt import JBTFilter, JBTSampler, exact_norms, finite_norms, row_cost
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.simplex import acceptance_rate
from latent_plugins.samplers.simplicial import SimplicialSampler
from latent_plugins.samplers.simplicial_filter import SimplicialFilter
from latent_plugins.samplers.weight_filter import WeightFilter
from latent_plugins.spaces import get_space

LEVEL = 0.001
# Batches round differently. Over a step of 1e-3, differences are small against images, and so lose digits to rounding.
ROUNDING = {finite_norms: 2e-3, exact_norms: 1e-5}


class Where(Filter):
    """Accepts where a function of z, c and u says so, and counts what it is asked."""

    def __init__(self, function):
        self.function, self.asked = function, 0

    def accept(self, z, c, u):
        assert z.shape[0] == c.shape[0] == u.shape[0] and u.dtype == torch.float64
        self.asked += len(z)
        return self.function(z, c, u)


def everything():
    return Where(lambda z, c, u: torch.ones(len(z), dtype=torch.bool))


def positive():
    return Where(lambda z, c, u: z[:, 0] > 0.5)


def chance(p):
    return Where(lambda z, c, u: u < p)


def random_state(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(how, sampler, n, c=None):
    return sampler.draw(range(n), c) if how == "draw" else sampler.sample(n, random_state(), c)


def within(count, n, expected):
    """Whether a binomial count fits its expectation."""
    return scipy.stats.binomtest(int(count), n, expected).pvalue > LEVEL


@pytest.fixture
def atlas(tmp_path, tiny):
    return Atlas.build(tiny, tmp_path / "a", candidates=500)


# --- what passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_a_filter_that_accepts_everything_changes_nothing(tiny, atlas, how):
    for base in (create_sampler("prior", tiny), create_sampler("polarity", tiny, atlas=atlas, rho=0.1)):
        expected, found = latents(how, base, 30), latents(how, FilterSampler(tiny, base, [everything()]), 30)
        assert torch.equal(found.z, expected.z) and torch.equal(found.c, expected.c)
        assert np.array_equal(found.index, expected.index) and np.array_equal(found.log_volume, expected.log_volume)


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_latents_have_the_base_s_law_where_it_passes(tiny, how):
    sampler = FilterSampler(tiny, filters=[positive()])
    z = latents(how, sampler, 3000).z.double().numpy()
    assert scipy.stats.kstest(z[:, 0], scipy.stats.truncnorm(0.5, np.inf).cdf).pvalue > LEVEL
    for column in z.T[1:]:
        assert scipy.stats.kstest(column, "norm").pvalue > LEVEL / 7
    effort = sampler.last_effort
    assert effort.accepted == 3000 and within(3000, effort.proposed, scipy.stats.norm.sf(0.5))
    assert effort.seconds_per_sample > 0
    if how == "draw":
        official = create_sampler("prior", tiny).draw(range(3000)).z.double().numpy()
        assert np.array_equal((official == z).all(axis=1), official[:, 0] > 0.5)


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_filters_get_chances_of_their_own(tiny, how):
    """Two filters that keep 60 % and 50 % by chance keep 30 % together, and leave the law alone."""
    first, second = chance(0.6), chance(0.5)
    sampler = FilterSampler(tiny, filters=[first, second])
    z = latents(how, sampler, 2000).z.double().numpy()
    effort = sampler.last_effort
    assert within(2000, effort.proposed, 0.3)
    assert first.asked == effort.proposed and within(second.asked, first.asked, 0.6)  # asked about what is left alone
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > LEVEL


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_candidates_of_an_atlas_come_along(tiny, atlas, how):
    base = create_sampler("polarity", tiny, atlas=atlas, rho=0.1)
    found = latents(how, FilterSampler(tiny, base, [positive()]), 400)
    assert (found.z[:, 0] > 0.5).all() and torch.equal(found.z, atlas.latents(found.index))
    assert np.array_equal(found.log_volume, atlas.log_volume()[found.index])
    passing = (atlas.latents(range(500))[:, 0] > 0.5).numpy()
    weight = np.exp(0.1 * atlas.log_volume()) * passing
    # Halves of the passing candidates by volume, as often as their weights say.
    upper = atlas.log_volume() > np.median(atlas.log_volume()[passing])
    assert within(upper[found.index].sum(), 400, weight[upper].sum() / weight.sum())


def test_an_order_without_replacement_is_gone_through(tiny, atlas):
    """Seed s is the s-th candidate of the order that passes, and no seed is without one before the order ends."""
    base = create_sampler("polarity", tiny, atlas=atlas, rho=0.1, without_replacement=True)
    filtered = FilterSampler(tiny, base, [positive()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole atlas is more than the effective sample size allows
        own = base.draw(range(500))
        passing = own.index[(own.z[:, 0] > 0.5).numpy()]
        found = filtered.draw([3, 0, len(passing) - 1])
        assert found.index.tolist() == [passing[3], passing[0], passing[-1]]
        with pytest.raises(ValueError, match=f"{len(passing)} of the 500 latents of polarity pass the filters"):
            filtered.draw([len(passing)])


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_labels_stay(tiny_conditional, how):
    c = torch.eye(3)[torch.arange(300) % 3]
    sides = Where(lambda z, c, u: z[:, 0] * (c @ torch.tensor([1.0, -1.0, 0.0])) >= 0)
    found = latents(how, FilterSampler(tiny_conditional, filters=[sides]), 300, c)
    assert torch.equal(found.c, c)
    assert (found.z[0::3, 0] > 0).all() and (found.z[1::3, 0] < 0).all()
    assert 20 < (found.z[2::3, 0] > 0).sum() < 80
    with pytest.raises(ValueError, match="labels are required"):
        latents(how, FilterSampler(tiny_conditional, filters=[sides]), 3)


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.bitwise
@pytest.mark.parametrize("make", [lambda g: JBTSampler(g, keep=0.4, calibration=50),
                                  lambda g: FilterSampler(g, filters=[positive(), chance(0.5)])])  # fmt: skip
def test_a_seed_means_the_same_latent_in_every_batch(tiny, make):
    seeds = [5, 0, 12, 2**32 - 1, 5, 77, 9]
    together = make(tiny).draw(seeds).z
    sampler = make(tiny)
    for i, seed in enumerate(seeds):
        assert torch.equal(sampler.draw([seed]).z[0], together[i])
    assert torch.equal(together[0], together[4]) and len(together.unique(dim=0)) == 6
    first, second, other = (sampler.sample(20, random_state(seed)).z for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert sampler.draw([]).z.shape == (0, 8) and sampler.sample(0, random_state()).z.shape == (0, 8)
    assert sampler.last_effort.proposed == 0


def test_filtered_samplers_attach_and_nest(tiny, atlas):
    """A caller's Gaussian z gives independent draws, also of a base that draws without replacement."""
    base = create_sampler("polarity", tiny, atlas=atlas, rho=0.0)
    nested = FilterSampler(tiny, FilterSampler(tiny, base, [positive()]), [Where(lambda z, c, u: z[:, 1] > 0)])
    source = attach(tiny, nested).source(torch.randn(300, 8, generator=random_state()), None).z
    assert (source[:, 0] > 0.5).all() and (source[:, 1] > 0).all()
    assert len(source.unique(dim=0)) < 300  # of 500 candidates some 77 pass


def test_filters_upon_filters_are_filters_side_by_side(tiny):
    """The same latents as one sampler with both filters: no second chances, no random number for two purposes."""
    inner, outer = [positive()], [chance(0.5), chance(0.6)]
    nested = FilterSampler(tiny, FilterSampler(tiny, filters=inner), outer)
    flat = FilterSampler(tiny, filters=[*inner, *outer])
    assert torch.equal(nested.draw(range(200)).z, flat.draw(range(200)).z)
    assert torch.equal(nested.sample(200, random_state()).z, flat.sample(200, random_state()).z)


def test_filters_within_a_mixture_within_filters_have_numbers_of_their_own(tiny):
    """Both keep half by chance: a quarter is kept, and what the inner one refused gets no second chance by its key."""
    inner = FilterSampler(tiny, filters=[chance(0.5)])
    mixed = MixtureSampler(inner, create_sampler("prior", tiny), 1.0)
    outer = FilterSampler(tiny, mixed, [Where(lambda z, c, u: z[:, 0] > 0.5)])
    first, again = inner.draw(range(2000)).z, outer.draw(range(2000)).z
    assert inner.depth < mixed.depth < outer.depth
    assert scipy.stats.kstest(again[:, 0].numpy(), scipy.stats.truncnorm(0.5, np.inf).cdf).pvalue > LEVEL
    refused = (first[:, 0] <= 0.5).numpy()
    assert len(again[refused].unique(dim=0)) == refused.sum()


@pytest.mark.parametrize("options", [dict(rho=np.inf), dict(rho=-np.inf), dict(rho=0.5, without_replacement=True)])
def test_bulk_draws_go_through_an_order_too(tiny, atlas, options):
    base = create_sampler("polarity", tiny, atlas=atlas, **options)
    sampler = FilterSampler(tiny, base, [positive()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sampler.sample(120, random_state())
        other = sampler.sample(120, random_state(1))
    assert len(set(found.index)) == 120 and (found.z[:, 0] > 0.5).all()
    passing = (atlas.latents(range(500))[:, 0] > 0.5).numpy()
    if np.isinf(options["rho"]):
        ranked = np.argsort(-np.sign(options["rho"]) * atlas.log_volume())
        assert found.index.tolist() == [i for i in ranked if passing[i]][:120] == other.index.tolist()
    else:
        assert not np.array_equal(found.index, other.index)
    assert found.report["acceptance"] == pytest.approx(passing.mean(), abs=0.15)
    assert found.report["distinct"] == found.report["drawn"] == 120


def test_reports_leave_out_what_is_not_known(tiny, atlas):
    mixed = MixtureSampler(create_sampler("polarity", tiny, atlas=atlas, rho=0.1), create_sampler("prior", tiny), 0.25)
    found = FilterSampler(tiny, mixed, [positive()]).sample(200, random_state())
    assert found.report["drawn"] == (found.index >= 0).sum() < 100
    assert found.report["distinct"] == len(set(found.index[found.index >= 0]))
    known = np.isfinite(found.log_volume)
    assert found.report["drawn_log_volume"] == pytest.approx(found.log_volume[known].mean())
    assert "ess" not in found.report and found.report["before_filters"]["ess"] > 0


# --- giving up --------------------------------------------------------------------------------------------------------


def test_filters_that_leave_nothing_are_given_up(tiny):
    nothing = Where(lambda z, c, u: torch.zeros(len(z), dtype=torch.bool))
    sampler = FilterSampler(tiny, filters=[nothing], max_tries=20)
    with pytest.raises(ValueError, match="none of 20 latents in a row was accepted, 0 of 2 had been before"):
        sampler.draw([0, 1])
    assert nothing.asked == sampler.last_effort.proposed == 40 and sampler.last_effort.accepted == 0
    with pytest.raises(ValueError, match="none of 20 latents in a row was accepted, 0 of 10"):
        sampler.sample(10, random_state())


def test_refusals(tiny):
    with pytest.raises(ValueError, match="no filters were given"):
        FilterSampler(tiny)
    with pytest.raises(ValueError, match="a batch of 0"):
        FilterSampler(tiny, filters=[everything()], batch=0)
    with pytest.raises(ValueError, match="max_tries=0"):
        FilterSampler(tiny, filters=[everything()], max_tries=0)
    for options, message in [
        (dict(keep=0.0), "keep must be above 0 to 1, not 0"),
        (dict(keep=1.1), "keep must be above 0 to 1, not 1.1"),
        (dict(keep=np.nan), "keep must be a finite number, not nan"),
        (dict(norms="rough"), "unknown norms 'rough'; known ones: finite, exact"),
        (dict(norm_draws=0), "norm_draws must be at least 1, not 0"),
        (dict(calibration=0), "calibration must be at least 1, not 0"),
        (dict(norm_step=0.0), "norm_step must be above 0, not 0"),
        (dict(filter_space="nowhere"), "unknown space"),
    ]:
        with pytest.raises(ValueError, match=message):
            JBTSampler(tiny, **options)


# --- Jacobian norms ---------------------------------------------------------------------------------------------------


def spline_norms(z):
    """‖J‖_F of the SplineGenerator, float64 [N]: the root of the sum of its squared slopes."""
    return SLOPES[torch.bucketize(z.contiguous(), KNOTS)].double().square().sum(dim=1).sqrt()


def test_exact_norms_of_a_known_generator():
    space_map = get_space(SplineGenerator(), "pixel")
    z = torch.randn(200, 2, generator=random_state())
    torch.testing.assert_close(exact_norms(space_map, z), spline_norms(z), rtol=1e-5, atol=0)


def test_finite_differences_estimate_the_norm(tiny):
    """‖Jε‖² has the variance 2 Σσ⁴ ≤ 2 ‖J‖⁴: of 2,000 draws the norm is off by at most 1.6 % (one standard deviation).

    Four of these, and 1 % for the curvature over the step.
    """
    space_map = get_space(tiny, "pixel")
    z = torch.randn(10, 8, generator=random_state())
    ratio = finite_norms(space_map, z, draws=2000) / exact_norms(space_map, z)
    assert (ratio - 1).abs().max() < 4 * 0.5 * np.sqrt(2 / 2000) + 0.01
    few = torch.stack([finite_norms(space_map, z, seed=seed) for seed in range(30)])
    assert len(few.unique()) == few.numel()  # every seed has directions of its own
    squares = (few / exact_norms(space_map, z)).square().mean()  # 3,000 draws in all
    assert abs(squares - 1) < 4 * np.sqrt(2 / 3000) + 0.02


def test_norms_depend_on_the_latent_alone(tiny):
    space_map = get_space(tiny, "pixel")
    z = torch.randn(6, 8, generator=random_state())
    for norms, rounding in ROUNDING.items():
        single = torch.cat([norms(space_map, row) for row in z.split(1)])
        torch.testing.assert_close(norms(space_map, z.flip(0)).flip(0), single, rtol=rounding, atol=0)
        assert norms(space_map, z[:0]).shape == (0,)
    # The network normalises z: on the sphere its length does not count.
    torch.testing.assert_close(exact_norms(space_map, 3 * z), exact_norms(space_map, z), rtol=1e-4, atol=0)
    spectrum = torch.linalg.svdvals(torch.func.jacrev(lambda x: space_map(x[None])[0])(space_map.enter(z[:1])[0]))
    assert exact_norms(space_map, z[:1]).item() == pytest.approx(spectrum.double().square().sum().sqrt().item(), 1e-4)


@pytest.mark.parametrize("norms", [finite_norms, exact_norms])
def test_norms_keep_to_a_memory_bound(tiny, norms, monkeypatch):
    """No evaluation or product is larger than the bound allows, and the result is the same."""
    space_map = get_space(tiny, "pixel")
    z = torch.randn(5, 8, generator=random_state())
    cost, largest, network = row_cost(space_map, z), [], type(tiny.synthesis)
    forward, tangents = network.forward, network.tangents

    def watched(self, ws, **options):
        largest.append(len(ws))
        return forward(self, ws, **options)

    def pushed(self, ws, directions):
        largest.append(directions.shape[0] * directions.shape[1])
        return tangents(self, ws, directions)

    monkeypatch.setattr(network, "forward", watched)
    monkeypatch.setattr(network, "tangents", pushed)
    for rows in (1, 4, 30):
        largest.clear()
        found = norms(space_map, z, max_memory=rows * cost, row_bytes=cost)
        assert max(largest) <= rows and len(largest) > 1
        torch.testing.assert_close(found, norms(space_map, z), rtol=ROUNDING[norms], atol=0)
    with pytest.raises(ValueError, match="more than the bound"):
        norms(space_map, z, max_memory=cost - 1)


# --- truncation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_the_smallest_norms_are_kept(how):
    """Of a generator with six known norms: what passes are whole regions, and they have the prior's law."""
    generator = SplineGenerator()
    sampler = JBTSampler(generator, keep=0.5, norms="exact", calibration=2000)
    z = latents(how, sampler, 1000).z
    (each,) = sampler.filters
    # The flat, middle and steep thirds of a coordinate have the shares 0.31, 0.29 and 0.40. Without a steep coordinate
    # norms are smallest, 36 % of the prior; flat and steep come next and reach beyond the half, to 61 %.
    flat, middle, _ = np.diff(scipy.stats.norm.cdf([-np.inf, *KNOTS, np.inf]))
    steep = 1 - flat - middle
    passing = (flat + middle) ** 2 + 2 * flat * steep
    threshold = float(np.hypot(*SLOPES[[0, 2]].numpy()))
    assert each.threshold(torch.zeros(0)) == pytest.approx(threshold, rel=1e-5)
    assert (spline_norms(z) <= threshold * (1 + 1e-5)).all()
    assert within(1000, sampler.last_effort.proposed, passing)
    prior = torch.randn(100_000, 2, generator=random_state(9))
    passing = spline_norms(prior) <= threshold * (1 + 1e-5)
    for column in range(2):
        assert scipy.stats.ks_2samp(z[:, column], prior[passing][:, column]).pvalue > LEVEL


@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_the_share_kept_is_that_asked_for(tiny, keep):
    """Within 3.5 standard deviations, those of the calibration and of the samples together (level 0.05 %)."""
    each = JBTFilter(get_space(tiny, "pixel"), keep, calibration=600)
    z = torch.randn(600, 8, generator=random_state(4))
    share = each.accept(z, torch.zeros(600, 0), None).double().mean().item()
    assert abs(share - keep) < 3.5 * np.sqrt(2 * keep * (1 - keep) / 600)


def test_classes_keep_the_same_share(tiny_conditional):
    sampler = JBTSampler(tiny_conditional, keep=0.6, calibration=300)
    (each,) = sampler.filters
    c = torch.eye(3)[torch.arange(900) % 3]
    accepted = each.accept(torch.randn(900, 8, generator=random_state(4)), c, None).double()
    thresholds = {each.threshold(label) for label in torch.eye(3)}
    assert len(thresholds) == 3
    for k in range(3):
        assert abs(accepted[k::3].mean() - 0.6) < 3.5 * np.sqrt(2 * 0.24 / 300)
    found = sampler.draw([3, 4], torch.eye(3)[[2, 0]])
    assert torch.equal(found.c, torch.eye(3)[[2, 0]])


@pytest.mark.bitwise
def test_thresholds_are_reproducible(tiny):
    space_map, label = get_space(tiny, "pixel"), torch.zeros(0)
    one, again, other = (
        JBTFilter(space_map, 0.8, calibration=40, calibration_seed=s).threshold(label) for s in (0, 0, 1)
    )
    assert one == again != other
    looser = JBTFilter(space_map, 0.95, calibration=40).threshold(label)
    assert looser > one


def test_keeping_everything_costs_nothing(tiny):
    sampler = JBTSampler(tiny, keep=1, calibration=10**9)
    assert torch.equal(sampler.draw(range(5)).z, create_sampler("prior", tiny).draw(range(5)).z)


def test_norms_that_are_not_finite_are_rejected(tiny):
    class Broken(JBTFilter):
        def norms(self, z, label):
            return torch.where(z[:, 0] > 0, torch.nan, 1.0).double()

    z = torch.randn(50, 8, generator=random_state())
    accepted = Broken(get_space(tiny, "pixel"), 0.4).accept(z, torch.zeros(50, 0), None)
    assert torch.equal(accepted, z[:, 0] <= 0)
    with pytest.raises(ValueError, match="of 1000 Jacobian norms are not finite"):
        Broken(get_space(tiny, "pixel"), 0.9).accept(z, torch.zeros(50, 0), None)


@pytest.mark.parametrize("base", ["prior", "order"])
@pytest.mark.parametrize("how", ["draw", "sample"])
def test_norms_come_along_with_what_they_let_pass(tiny, atlas, how, base):
    """Also behind another filter, and of a base that is gone through in its order."""
    order = create_sampler("polarity", tiny, atlas=atlas, rho=0.1, without_replacement=True)
    jbt = JBTFilter(get_space(tiny, "pixel"), 0.6, norm_draws=3, calibration=50)
    found = latents(how, FilterSampler(tiny, order if base == "order" else None, [positive(), jbt]), 20)
    expected = torch.cat([jbt.norms(z, torch.zeros(0)) for z in found.z.split(1)]).numpy()
    np.testing.assert_allclose(found.jacobian_norm, expected, rtol=ROUNDING[finite_norms])
    assert (found.jacobian_norm <= jbt.threshold(torch.zeros(0)) * (1 + ROUNDING[finite_norms])).all()
    mixed = latents(how, MixtureSampler(FilterSampler(tiny, filters=[jbt]), create_sampler("prior", tiny), 0.5), 20)
    assert 0 < np.isfinite(mixed.jacobian_norm).sum() < 20
    assert latents(how, FilterSampler(tiny, filters=[positive()]), 3).jacobian_norm is None
    whole = JBTFilter(get_space(tiny, "pixel"), 1.0)
    assert latents(how, FilterSampler(tiny, filters=[whole]), 3).jacobian_norm is None  # nothing is measured


# --- other filters ----------------------------------------------------------------------------------------------------


def test_the_simplicial_filter_is_the_sampler_s(tiny):
    sampler = SimplicialSampler(tiny, corners=4, tau=1.2, rotation=3)
    each = SimplicialFilter(4, 1.2, 3, 8, "sphere")
    z = torch.randn(500, 8, generator=random_state())
    assert np.array_equal(each.accept(z, None, None).numpy(), sampler.passes(z))
    free = SimplicialFilter(4, 1.2, 3, 8).accept(z, None, None)
    assert within(free.sum(), 500, acceptance_rate(4, 1.2, 8)[0])
    filtered = FilterSampler(tiny, filters=[each]).draw(range(40)).z
    official = create_sampler("prior", tiny).draw(range(40)).z
    passes = torch.from_numpy(sampler.passes(official))
    assert torch.equal(filtered[passes], official[passes]) and sampler.passes(filtered).all()
    for options, message in [((10, 1.0, 0, 8), "2 to 9 corners"), ((4, np.nan, 0, 8), "tau must be a number"),
                             ((4, 1.0, 0, 8, "cube"), "unknown domain")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SimplicialFilter(*options)


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_the_weight_filter_makes_weight_times_base(tiny, how):
    sampler = FilterSampler(tiny, filters=[WeightFilter(Handmade(tilted), generator=tiny)])
    z = latents(how, sampler, 2000).z.double().numpy()
    assert scipy.stats.kstest(z[:, 0], lambda x: scipy.stats.norm.cdf(x) ** 2).pvalue > LEVEL
    assert within(2000, sampler.last_effort.proposed, 1 / 2)
    both = FilterSampler(tiny, filters=[positive(), WeightFilter(Handmade(tilted), 4.0, generator=tiny)])
    z = latents(how, both, 1000).z.double().numpy()
    left = scipy.stats.norm.cdf(0.5) ** 2
    law = lambda x: (scipy.stats.norm.cdf(x) ** 2 - left) / (1 - left)  # noqa: E731
    assert scipy.stats.kstest(z[:, 0], law).pvalue > LEVEL
    with pytest.raises(ValueError, match="m must exceed 1"):
        WeightFilter(Handmade(tilted), 1.0, generator=tiny)
