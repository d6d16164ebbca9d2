"""Samplers of latent reweighting: accepted latents follow weight times prior, ascent climbs along the sphere.

Statistical tests are at the level 0.1 %, with fixed seeds.
"""

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.handmade_weights import Handmade, tilted
from helpers.small_networks import Line

from latent_plugins.reweighting import WeightsError, load_weights
from latent_plugins.reweighting.networks import ImageCritic, WeightNetwork
from latent_plugins.reweighting.weight_files import save_weights
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.reweighted import AT_ONCE, ascend, proposals

LEVEL = 0.001
NAMES = ("latentrs", "latentga", "latentrs+ga")


def squared(x):
    return scipy.stats.norm.cdf(x) ** 2


def constant(value):
    return lambda z, c: torch.full((len(z),), float(value))


def random_state(seed=0):
    return torch.Generator().manual_seed(seed)


def within(share, expected, n):
    """Whether a binomial share fits its expectation."""
    return scipy.stats.binomtest(round(share * n), n, expected).pvalue > LEVEL


@pytest.fixture
def trained(tmp_path, tiny):
    """A file of untrained weights on styles that differ from latent to latent."""
    torch.manual_seed(0)
    network = WeightNetwork(8, (16, 16))
    with torch.no_grad():
        network.out.weight.mul_(20)
    figures = dict(input="w", m=3.0, schedule={}, steps=1, seed=0, mean_weight=1.0, acceptance=0.3)
    save_weights(tmp_path / "w.npz", tiny, network, ImageCritic(16, 1, 64, 64), **figures)
    return load_weights(tmp_path / "w.npz")


# --- rejection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bulk", [True, False])
def test_accepted_latents_follow_weight_times_prior(tiny, bulk):
    sampler = create_sampler("latentrs", tiny, weights=Handmade(tilted))
    z = (sampler.sample(4000, random_state()) if bulk else sampler.draw(range(4000))).z.double().numpy()
    assert scipy.stats.kstest(z[:, 0], squared).pvalue > LEVEL
    for column in z.T[1:]:
        assert scipy.stats.kstest(column, "norm").pvalue > LEVEL / 7
    effort = sampler.last_effort
    assert effort.accepted == 4000 and within(effort.acceptance, 1 / 2, effort.proposed)  # E[w] / m
    assert scipy.stats.kstest(z[:, 0], "norm").pvalue < 1e-10  # the test can tell


@pytest.mark.parametrize("bulk", [True, False])
def test_weights_count_up_to_the_bound(tiny, bulk):
    """Beyond m all weights are alike: w = 100 where z₀ > 1 and 1.5 elsewhere are, for m = 3, as 2 to 1."""
    weights = Handmade(lambda z, c: torch.where(z[:, 0] > 1, 100.0, 1.5), m=50.0)
    sampler = create_sampler("latentrs", tiny, weights=weights, m=3.0)
    z = (sampler.sample(3000, random_state()) if bulk else sampler.draw(range(3000))).z
    above = scipy.stats.norm.sf(1)
    assert within((z[:, 0] > 1).float().mean().item(), above / (above + (1 - above) / 2), 3000)
    effort = sampler.last_effort
    assert within(effort.acceptance, above + (1 - above) / 2, effort.proposed)


def test_constant_weights_change_nothing(tiny):
    full = create_sampler("latentrs", tiny, weights=Handmade(constant(2)))
    prior = create_sampler("prior", tiny)
    assert torch.equal(full.draw(range(30)).z, prior.draw(range(30)).z)
    assert torch.equal(full.sample(30, random_state()).z, prior.sample(30, random_state()).z)
    assert full.last_effort.acceptance == 1
    third = create_sampler("latentrs", tiny, weights=Handmade(constant(1), m=3.0))
    drawn = third.draw(range(3000)).z
    effort = third.last_effort
    assert within(effort.acceptance, 1 / 3, effort.proposed)
    for column in drawn.double().numpy().T:
        assert scipy.stats.kstest(column, "norm").pvalue > LEVEL / 8
    own = [torch.cat([tiny.seed_latent(seed), *(proposals(seed, k, 8)[0] for k in range(0, 64, 8))]) for seed in (4, 5)]
    for row, candidates in zip(drawn[4:6], own):
        assert (candidates == row).all(dim=1).any()  # one of the seed's own proposals
    unmoved = (drawn == prior.draw(range(3000)).z).all(dim=1).float().mean().item()
    assert within(unmoved, 1 / 3, 3000)


def test_proposals_are_functions_of_seed_and_number():
    z, u = proposals(7, 8, 5)
    assert z.shape == (AT_ONCE, 5) and z.dtype == torch.float32 and u.shape == (AT_ONCE,) and u.dtype == torch.float64
    again, shifted, other = proposals(7, 8, 5), proposals(7, 9, 5), proposals(8, 8, 5)
    assert torch.equal(again[0], z) and torch.equal(again[1], u)
    assert torch.equal(shifted[0][:-1], z[1:]) and not torch.equal(other[0], z)
    many = [proposals(2**40 + seed, 0, 3) for seed in range(500)]
    latents, chances = (torch.cat(part).double().numpy() for part in zip(*many))
    assert scipy.stats.kstest(chances, "uniform").pvalue > LEVEL
    assert scipy.stats.kstest(latents.ravel(), "norm").pvalue > LEVEL
    assert abs(np.corrcoef(np.column_stack([latents, chances]).T) - np.eye(4)).max() < 4 / np.sqrt(len(chances))
    assert proposals(3, 0, 1000, "truncated")[0].abs().max() <= 2


def test_labels_stay_and_each_is_accepted_on_its_own(tiny_conditional):
    """Label 0 wants z₀ > 0, label 1 z₀ < 0, label 2 half of everything."""
    wanted = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])

    def weights(z, c):
        return wanted[c.argmax(dim=1), (z[:, 0] < 0).long()]

    sampler = create_sampler("latentrs", tiny_conditional, weights=Handmade(weights))
    c = torch.eye(3)[torch.arange(900) % 3]
    for latents in (sampler.sample(900, random_state(), c), sampler.draw(range(900), c)):
        assert torch.equal(latents.c, c)
        first = latents.z[:, 0].reshape(300, 3)
        assert (first[:, 0] > 0).all() and (first[:, 1] < 0).all()
        assert within((first[:, 2] > 0).float().mean().item(), 1 / 2, 300)
    with pytest.raises(ValueError, match="labels are required"):
        sampler.draw([0])


def test_weights_that_accept_nothing_are_told(tiny):
    for zero in (constant(0), constant(float("nan"))):
        weights = Handmade(zero)
        sampler = create_sampler("latentrs", tiny, weights=weights, max_tries=1000)
        with pytest.raises(ValueError, match="none of 1000 latents in a row was accepted: the weights are zero"):
            sampler.draw([3])
        with pytest.raises(ValueError, match="in a row was accepted"):
            sampler.sample(5000, random_state())
        assert weights.asked <= 1000 + 5000
    rare = Handmade(lambda z, c: 2.0 * (z[:, 0] > 2.3))  # one in a hundred
    sampler = create_sampler("latentrs", tiny, weights=rare, max_tries=3000)
    assert (sampler.draw(range(20)).z[:, 0] > 2.3).all() and (sampler.sample(200, random_state()).z[:, 0] > 2.3).all()


# --- ascent -----------------------------------------------------------------------------------------------------------


def test_a_step_is_the_projected_gradient():
    z, a = torch.randn(5, 4, generator=random_state()), torch.tensor([1.0, -2.0, 0.5, 0.0])
    moved = ascend(lambda x: x @ a, z, steps=1, rate=0.05)
    expected = z + 0.05 * (a - (z @ a)[:, None] * z / z.square().sum(dim=1, keepdim=True))
    torch.testing.assert_close(moved, expected)
    assert torch.equal(ascend(lambda x: x @ a, z, steps=0), z)


def test_slopes_along_the_radius_move_nothing():
    z = torch.randn(50, 16, generator=random_state())
    torch.testing.assert_close(ascend(lambda x: x.square().sum(dim=1), z), z)


@pytest.mark.parametrize("name", ["latentga", "latentrs+ga"])
def test_ascent_raises_the_weight_and_keeps_the_length(tiny, name):
    """Tangential steps of length s lengthen z by s²: ‖z‖² grows by less than 10 · (0.05 · slope)², slope ≤ 2 φ(0)."""
    weights = Handmade(tilted)
    before = create_sampler(
        "latentrs" if "rs" in name else "prior", tiny, **({"weights": weights} if "rs" in name else {})
    )
    for draw in (lambda s: s.draw(range(200)), lambda s: s.sample(200, random_state())):
        start, end = draw(before).z, draw(create_sampler(name, tiny, weights=weights)).z
        assert (tilted(end, None) > tilted(start, None)).all()
        growth = end.square().sum(dim=1) - start.square().sum(dim=1)
        assert (growth > -1e-4).all() and (growth < 10 * (0.05 * 2 * 0.3990) ** 2 + 1e-4).all()
    further = create_sampler(name, tiny, weights=weights, steps=30, rate=0.1).draw(range(200)).z
    assert (
        tilted(further, None).mean()
        > tilted(create_sampler(name, tiny, weights=weights).draw(range(200)).z, None).mean()
    )


def test_rejection_and_ascent_are_one_after_the_other(tiny, trained):
    accepted = create_sampler("latentrs", tiny, weights=trained).sample(50, random_state()).z
    both = create_sampler("latentrs+ga", tiny, weights=trained).sample(50, random_state()).z
    torch.testing.assert_close(ascend(lambda z: trained.weights(tiny, z), accepted), both)
    assert trained.weights(tiny, both).mean() > trained.weights(tiny, accepted).mean()


@pytest.mark.bitwise
def test_where_the_weight_is_zero_latents_stay(tiny):
    flat = Handmade(lambda z, c: (z[:, 0] - 100).relu())
    assert torch.equal(
        create_sampler("latentga", tiny, weights=flat).draw(range(5)).z, create_sampler("prior", tiny).draw(range(5)).z
    )


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.bitwise
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_means_the_same_latent_in_every_batch(tiny, trained, name):
    together = create_sampler(name, tiny, weights=trained).draw([5, 0, 12, 2**32 - 1, 5]).z
    single = create_sampler(name, tiny, weights=trained, batch=1)
    for i, seed in enumerate([5, 0, 12, 2**32 - 1]):
        assert torch.equal(single.draw([seed]).z[0], together[i])
    assert torch.equal(together[0], together[4])


@pytest.mark.bitwise
@pytest.mark.parametrize("name", NAMES)
def test_bulk_samples_follow_their_generator(tiny, trained, name):
    sampler = create_sampler(name, tiny, weights=trained)
    first, second, other = (sampler.sample(50, random_state(seed)).z for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    pieces = create_sampler(name, tiny, weights=trained, batch=7).sample(50, random_state()).z
    torch.testing.assert_close(pieces, first)


@pytest.mark.parametrize("name", NAMES)
def test_draws_account_for_themselves(tiny, trained, name):
    sampler = create_sampler(name, tiny, weights=trained)
    assert sampler.last_effort is None
    latents = sampler.draw(range(10))
    effort = sampler.last_effort
    assert latents.z.shape == (10, 8) and latents.z.dtype == torch.float32 and latents.c.shape == (10, 0)
    assert latents.index is None and not latents.z.requires_grad
    assert effort.accepted == 10 <= effort.proposed and effort.seconds_per_sample == effort.seconds / 10 > 0
    assert (effort.proposed == 10) == (name == "latentga")
    assert sampler.draw([]).z.shape == (0, 8) and sampler.sample(0, random_state()).z.shape == (0, 8)
    assert sampler.last_effort.acceptance == 0


@pytest.mark.parametrize("name", NAMES)
def test_generators_without_styles_and_mixtures_are_served(name):
    generator = Line()
    weights = Handmade(lambda z, c: 2 * torch.special.ndtr(z[:, 0]))
    sampler = create_sampler(name, generator, weights=weights)
    mixed = MixtureSampler(sampler, create_sampler("prior", generator), 0.5).sample(40, random_state())
    assert mixed.z.shape == (40, 1) and mixed.index is None


def test_refusals(tiny, trained):
    for name in NAMES:
        with pytest.raises(ValueError, match=f"the sampler .?{name[:6]}.* needs trained weights: make them with"):
            create_sampler(name, tiny)
        with pytest.raises(WeightsError, match="weights of another network"):
            create_sampler(name, small_stylegan2(seed=1), weights=trained)
        with pytest.raises(ValueError, match="batch of 0"):
            create_sampler(name, tiny, weights=trained, batch=0)
    for m in (1, 0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="m must be (above 1|a finite number), not"):
            create_sampler("latentrs", tiny, weights=trained, m=m)
    with pytest.raises(ValueError, match="max_tries must be at least 1, not 0"):
        create_sampler("latentrs", tiny, weights=trained, max_tries=0)
    for name in NAMES[1:]:
        with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
            create_sampler(name, tiny, weights=trained, steps=-1)
        with pytest.raises(ValueError, match="rate must be above 0, not 0"):
            create_sampler(name, tiny, weights=trained, rate=0)


def test_weights_stand_beside_the_latents(tiny, trained):
    """latentRS and its relatives tell w(z) of what they return; z was accepted with the chance min(w, m) / m."""
    for name in ("latentrs", "latentga", "latentrs+ga"):
        sampler = create_sampler(name, tiny, weights=trained)
        for latents in (sampler.draw(range(6)), sampler.sample(7, random_state())):
            assert latents.weight == pytest.approx(trained.weights(tiny, latents.z).detach().double().numpy(), rel=1e-5)


def test_the_published_projection_of_the_ascent(tiny):
    """One step by hand: g − (g·z) z/√d, as Algorithm 4 prints it, against the tangent's g − (g·z) z/‖z‖²."""
    z = torch.randn(5, 8, generator=random_state())
    slope = torch.linspace(-1, 1, 8)
    for projection, divisor in (("published", 8**0.5), ("tangent", z.square().sum(dim=1, keepdim=True))):
        expected = z + 0.1 * (slope - (z @ slope)[:, None] * z / divisor)
        found = ascend(lambda x: x @ slope, z, steps=1, rate=0.1, projection=projection)
        assert torch.allclose(found, expected, atol=1e-6)
    plain = ascend(lambda x: x @ slope, z, steps=1, rate=0.1, projection="none")
    assert torch.allclose(plain, z + 0.1 * slope, atol=1e-6)
