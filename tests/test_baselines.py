"""The samplers that ask a critic, on a generator and scores whose target density is known.

Images are the latents themselves, of the prior N(0, I₂), and the score is the log of the density ratio 2 Φ(SKEW · z₁),
which Azzalini's skew normal distribution has against the normal one.
"""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2

from benchmarks.paper import data2d
from benchmarks.paper.gan2d import train_gan2d
from benchmarks.paper.mnist_gan import Trainer, export
from benchmarks.paper.mnist_networks import CNNGenerator, folded, renew_statistics
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.interface import LatentGenerator
from latent_plugins.samplers.calibration import PlattCalibration, calibrated, fit_platt, log_odds
from latent_plugins.samplers.dot import DOTSampler
from latent_plugins.samplers.drs import DRSSampler
from latent_plugins.samplers.mh import MHSampler
from latent_plugins.samplers.prior import PriorSampler
from latent_plugins.samplers.sir import SIRSampler

LEVEL = 1e-3  # of every statistical test here
SKEW = 3.0
N = 2000


class PlaneGenerator(LatentGenerator):
    """Images [N, 2, 1, 1] that are the latents."""

    family = "plane"

    def __init__(self):
        super().__init__(z_dim=2, c_dim=0, img_resolution=1, img_channels=2, init_kwargs={})
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def images(self, z, c, psi):
        return z[:, :, None, None] * self.scale


def log_ratio(images):
    return math.log(2) + torch.special.log_ndtr(SKEW * images[:, 0, 0, 0])


def follows_target(z):
    """The smaller p-value of the tests that z₁ is skew normal and z₂ normal."""
    first = scipy.stats.kstest(z[:, 0].numpy(), scipy.stats.skewnorm(SKEW).cdf).pvalue
    return min(first, scipy.stats.kstest(z[:, 1].numpy(), "norm").pvalue)


def exact_samplers():
    """Samplers whose latents follow the target, or nearly so: the bias is far below what N latents can show."""
    plane = PlaneGenerator()
    return dict(
        drs=DRSSampler(plane, log_ratio, no_shift=True),
        mh=MHSampler(plane, log_ratio, length=20),
        mh_real=MHSampler(plane, log_ratio, length=20, real_scores=[-1.0, 0.0, 0.5]),
        mh_trapped=MHSampler(plane, log_ratio, length=20, real_scores=[50.0]),
        sir=SIRSampler(plane, log_ratio, proposals=200),
    )


def all_samplers():
    return dict(exact_samplers(), dot=DOTSampler(PlaneGenerator(), log_ratio, steps=5))


@pytest.mark.parametrize("how", ["draw", "sample"])
@pytest.mark.parametrize("name", exact_samplers())
def test_latents_follow_the_target(name, how):
    sampler = exact_samplers()[name]
    n = N // 4 if how == "draw" else N  # which computes one by one
    latents = sampler.draw(range(n)) if how == "draw" else sampler.sample(n, torch.Generator().manual_seed(0))
    assert latents.z.shape == (n, 2) and latents.z.dtype == torch.float32 and latents.c.shape == (n, 0)
    assert follows_target(latents.z) > LEVEL


def test_the_prior_does_not_follow_the_target():
    assert follows_target(PriorSampler(PlaneGenerator()).sample(N, torch.Generator().manual_seed(0)).z) < 1e-12


def test_a_shifted_rejection_follows_its_own_density():
    sampler = DRSSampler(PlaneGenerator(), log_ratio, percentile=80.0)
    x = np.linspace(-8, 8, 20_001)
    scores = math.log(2) + scipy.stats.norm.logcdf(SKEW * x)
    chance = torch.sigmoid(sampler.logits(torch.from_numpy(scores))).numpy()
    cdf = np.cumsum(scipy.stats.norm.pdf(x) * chance)
    z = sampler.sample(N, torch.Generator().manual_seed(0)).z
    assert scipy.stats.kstest(z[:, 0].numpy(), lambda t: np.interp(t, x, cdf / cdf[-1])).pvalue > LEVEL
    assert follows_target(z) < 1e-6
    # Four fifths of the prior's latents are accepted with at most one half.
    median = x[np.argmin(np.abs(chance - 0.5))]
    assert scipy.stats.norm.cdf(median) == pytest.approx(0.8, abs=0.02)


@pytest.mark.bitwise
@pytest.mark.parametrize("name", all_samplers())
def test_a_seed_gives_the_same_latent_whatever_the_batch(name):
    sampler = all_samplers()[name]
    together = sampler.draw(range(12)).z
    again = torch.cat([sampler.draw([11, 3]).z, all_samplers()[name].draw(range(4, 6)).z])
    assert torch.equal(again, together[[11, 3, 4, 5]])
    assert len(together.unique(dim=0)) == 12
    first, second = (sampler.sample(7, torch.Generator().manual_seed(1)).z for _ in range(2))
    assert torch.equal(first, second)
    other = sampler.sample(7, torch.Generator().manual_seed(2)).z
    assert not torch.isclose(first, other).any()


@pytest.mark.parametrize("cls", [DRSSampler, MHSampler, SIRSampler, DOTSampler])
def test_images_computed_together_change_no_latent(cls):
    small, large = (cls(PlaneGenerator(), log_ratio, batch=batch).draw(range(5)).z for batch in (3, 1000))
    assert torch.allclose(small, large, atol=1e-6)


def test_no_latents_at_all():
    for sampler in all_samplers().values():
        assert sampler.draw([]).z.shape == sampler.sample(0, torch.Generator()).z.shape == (0, 2)


def test_a_critic_that_likes_everything_keeps_the_latents_of_the_prior():
    plane = PlaneGenerator()
    expected = PriorSampler(plane).draw(range(20)).z
    sampler = DRSSampler(plane, lambda images: images[:, 0, 0, 0] * 0, no_shift=True)
    assert torch.equal(sampler.draw(range(20)).z, expected)
    assert sampler.last_effort.acceptance == 1
    one = SIRSampler(plane, log_ratio, proposals=1)
    assert torch.equal(one.draw(range(20)).z, expected)


def test_the_account_of_the_effort():
    samplers = all_samplers()
    assert all(sampler.last_effort is None for sampler in samplers.values())
    for name, each in dict(mh=21, mh_real=20, mh_trapped=41, sir=200, dot=5).items():
        samplers[name].sample(100, torch.Generator().manual_seed(0))
        effort = samplers[name].last_effort
        assert effort.accepted == 100 and effort.seconds > 0
        again = (effort.proposed - 100 * each) / 21  # chains that never left their real image: rare, but it happens
        assert again == 0 if name != "mh_real" else again in range(5)
        assert effort.seconds_per_sample == effort.seconds / 100
    # The density ratio is 1 on average and at most 2, so one proposal of two is accepted.
    samplers["drs"].sample(N, torch.Generator().manual_seed(0))
    effort = samplers["drs"].last_effort
    assert scipy.stats.binomtest(N, effort.proposed, 0.5).pvalue > LEVEL
    assert effort.acceptance == N / effort.proposed


# ---- transport ----


CENTRE = torch.tensor([1.0, 0.5])


def closeness(images):
    return -(images.flatten(1) - CENTRE).norm(dim=1)


def quadratic(images):
    return -closeness(images).square()


def test_transport_reaches_the_known_optimum():
    """For the score −‖z − m‖² the objective is least where 2 ‖z − m‖ = k, on the way from the start to m."""
    k = 1.5
    sampler = DOTSampler(PlaneGenerator(), quadratic, steps=400, rate=0.01, lipschitz=k, step_projection="none")
    start = PriorSampler(PlaneGenerator()).sample(50, torch.Generator().manual_seed(0)).z
    away = start - CENTRE
    expected = CENTRE + away * (k / (2.0 * away.norm(dim=1, keepdim=True))).clamp(max=1)
    found = sampler.sample(50, torch.Generator().manual_seed(0)).z
    # Where the start is the optimum, the distance's gradient of length one makes steps about it.
    assert (found - expected).norm(dim=1).max() < 3 * 0.01
    assert (found - start).norm(dim=1).max() > 1


@pytest.mark.parametrize("projection", ["tangent", "none"])
def test_transport_raises_the_score_and_stays_near(projection):
    """Every step goes at most (1 + 1/k) · rate = 0.03, and one of rate = 0.01 back and forth where the optimum is."""
    sampler = DOTSampler(PlaneGenerator(), closeness, steps=50, rate=0.01, lipschitz=0.5, step_projection=projection)
    prior = PriorSampler(PlaneGenerator())
    start, end = (each.sample(500, torch.Generator().manual_seed(0)).z for each in (prior, sampler))
    before, after = (closeness(z[:, :, None, None]) for z in (start, end))
    assert after.mean() > before.mean() + 0.1 and (after - before).min() > -0.03
    assert (end - start).norm(dim=1).max() <= 50 * 0.03
    if projection == "tangent":  # only the steps' second order leaves the circle: 50 · 0.03² / 2, at radius 1
        nearly = start.norm(dim=1) > 1
        assert (end.norm(dim=1) - start.norm(dim=1))[nearly].abs().max() < 0.0225


def test_the_published_projection_runs_away():
    """It takes off more than there is along z, so that distant latents climb down the score, ever faster."""
    sampler = DOTSampler(PlaneGenerator(), quadratic, steps=50, rate=0.01, lipschitz=1.0, step_projection="published")
    with pytest.raises(ValueError, match="latents ran away to infinity: take step_projection='tangent'"):
        sampler.sample(500, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("projection, divisor", [("published", math.sqrt(2)), ("tangent", None), ("none", math.inf)])
def test_one_step_of_each_projection(projection, divisor):
    weight = torch.tensor([3.0, -1.0])
    sampler = DOTSampler(
        PlaneGenerator(), lambda x: x.flatten(1) @ weight, steps=1, rate=0.1, lipschitz=2.0, step_projection=projection
    )
    z = PriorSampler(PlaneGenerator()).draw([7]).z
    gradient = torch.ones(2) / math.sqrt(2) - weight / 2.0  # of ‖z − y + δ‖ at z = y, and of the score
    divisor = z.square().sum() if divisor is None else divisor
    expected = z - 0.1 * (gradient - (gradient * z).sum() * z / divisor)
    assert torch.allclose(sampler.draw([7]).z, expected, atol=1e-6)


def test_the_effective_lipschitz_constant():
    weight = torch.tensor([3.0, -4.0])
    sampler = DOTSampler(PlaneGenerator(), lambda x: x.flatten(1) @ weight)
    assert 0.95 * 5 < sampler.k <= 5 + 1e-5


# ---- calibration ----


def test_calibration_finds_the_log_density_ratio():
    """Scores of N(1, 1) and N(0, 1) have the log density ratio s − 1/2; here they are seen through s ↦ 4 s + 3."""
    random = np.random.RandomState(0)
    real, generated = 4 * (random.randn(20_000) + 1) + 3, 4 * random.randn(5_000) + 3
    found = fit_platt(real, generated)
    assert 4 * found.slope == pytest.approx(1, abs=0.1)  # five standard errors
    assert found(3 + 4 * 0.5) == pytest.approx(0, abs=0.1)
    scores = np.array([-1.0, 2.0])
    assert np.allclose(fit_platt(10 * real - 7, 10 * generated - 7)(10 * scores - 7), found(scores), atol=1e-6)


def test_separate_scores_calibrate_to_something_finite():
    found = fit_platt(np.arange(10) + 100.0, np.arange(30) - 100.0)
    assert found.slope > 0 and np.isfinite([found.slope, found.intercept]).all()
    assert found(105.0) > 2 and found(-90.0) < -2


def test_a_calibrated_critic_serves_the_chain():
    plane = PlaneGenerator()
    critic = calibrated(lambda images: (log_ratio(images) + 1) * 5, PlattCalibration(slope=0.2, intercept=-1.0))
    assert follows_target(MHSampler(plane, critic, length=20).sample(N, torch.Generator().manual_seed(0)).z) > LEVEL
    odds = log_odds(lambda images: torch.sigmoid(log_ratio(images)))
    images = torch.randn(100, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(odds(images), log_ratio(images).clamp(min=-math.log(1e7)), atol=1e-3)
    assert DOTSampler(plane, critic, steps=1).k > 0  # gradients flow through


@pytest.mark.parametrize(
    "real, generated, message",
    [
        ([1.0], [0.0, 1.0], "1 real and 2 generated scores are too few"),
        ([1.0, np.nan], [0.0, 1.0], "NaN or infinity"),
        ([1.0, 1.0], [1.0, 1.0], "every image the score 1"),
    ],
)
def test_scores_that_cannot_be_calibrated(real, generated, message):
    with pytest.raises(ValueError, match=message):
        fit_platt(real, generated)


# ---- bad input ----


@pytest.mark.parametrize(
    "cls, options, message",
    [
        (DRSSampler, dict(burn_in=0), "burn_in must be at least 1, not 0"),
        (DRSSampler, dict(max_tries=0), "max_tries must be at least 1, not 0"),
        (DRSSampler, dict(percentile=101.0), "percentile must be 0 to 100, not 101"),
        (DRSSampler, dict(epsilon=0.0), "epsilon must be above 0, not 0"),
        (DRSSampler, dict(batch=0), "batch=0"),
        (MHSampler, dict(length=0), "length must be at least 1, not 0"),
        (MHSampler, dict(real_scores=[]), "real_scores"),
        (MHSampler, dict(real_scores=[np.inf]), "real_scores"),
        (SIRSampler, dict(proposals=0), "proposals must be at least 1, not 0"),
        (DOTSampler, dict(steps=0), "steps must be at least 1, not 0"),
        (DOTSampler, dict(pairs=0), "pairs must be at least 1, not 0"),
        (DOTSampler, dict(rate=0.0), "rate must be above 0, not 0"),
        (DOTSampler, dict(rate=math.nan), "rate must be a finite number, not nan"),
        (DOTSampler, dict(lipschitz=-1.0), "lipschitz must be above 0, not -1"),
        (DOTSampler, dict(step_projection="sideways"), "known ones: tangent, published, none"),
    ],
)
def test_bad_options(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(PlaneGenerator(), log_ratio, **options)


@pytest.mark.parametrize("cls", [DRSSampler, MHSampler, SIRSampler, DOTSampler])
def test_bad_critics_and_generators(cls):
    with pytest.raises(ValueError, match="must be unconditional"):
        cls(small_stylegan2(c_dim=3), log_ratio)
    for critic, message in (
        (lambda images: images.flatten(1), "not one score an image"),
        (lambda images: images[:, 0, 0, 0] * np.nan, "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            cls(PlaneGenerator(), critic).draw([0])
    with pytest.raises(ValueError, match="labels of shape"):
        cls(PlaneGenerator(), log_ratio).draw([0], torch.zeros(1, 3))


def test_transport_needs_gradients():
    with pytest.raises(ValueError, match="needs a differentiable critic"):
        DOTSampler(PlaneGenerator(), lambda images: log_ratio(images).detach())
    with pytest.raises(ValueError, match="is the critic's score constant"):
        DOTSampler(PlaneGenerator(), lambda images: images[:, 0, 0, 0] * 0)


def test_rejection_gives_up():
    sampler = DRSSampler(PlaneGenerator(), log_ratio, no_shift=True, max_tries=16)
    sampler.maximum = 40.0  # as if burn-in had met an image that is better than all others
    with pytest.raises(ValueError, match="none of 16 proposals for a latent was accepted"):
        sampler.draw([0])


@pytest.mark.bitwise
def test_critics_may_answer_in_a_column():
    plane = PlaneGenerator()
    flat, column = (
        SIRSampler(plane, critic).draw(range(5)).z for critic in (log_ratio, lambda x: log_ratio(x)[:, None])
    )
    assert torch.equal(flat, column)


# ---- the networks of the experiments ----


def test_distributions_of_the_plane():
    with pytest.raises(ValueError, match="known ones: swissroll, 25gaussians"):
        data2d.points("moons", 10, seed=0)
    assert torch.equal(data2d.points("swissroll", 10, seed=1), data2d.points("swissroll", 10, seed=1))
    roll = data2d.points("swissroll", N, seed=0) * 7.5
    angle = roll.norm(dim=1)  # which along the spiral is the radius, up to noise of 0.25
    assert scipy.stats.kstest(angle.numpy(), scipy.stats.uniform(1.5 * math.pi, 3 * math.pi).cdf).pvalue > LEVEL
    gaussians = data2d.points("25gaussians", N, seed=0) * math.sqrt(8)
    means = 2 * (gaussians / 2).round()
    noise = ((gaussians - means) / 0.05).numpy()
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > LEVEL
    _, counts = means.unique(dim=0, return_counts=True)
    assert len(counts) == 25 and scipy.stats.chisquare(counts.numpy()).pvalue > LEVEL


@pytest.mark.bitwise
def test_training_in_the_plane_is_a_function_of_its_arguments():
    before = torch.get_rng_state()
    steps = []
    first = train_gan2d("25gaussians", seed=3, steps=3, report=lambda step, _: steps.append(step))
    second = train_gan2d("25gaussians", seed=3, steps=3)
    assert steps == [1, 2, 3] and torch.equal(torch.get_rng_state(), before)
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    (images, scores), (others, other_scores) = ((g(z, torch.zeros(4, 0)), d(g.points(z))) for g, d in (first, second))
    assert images.shape == (4, 2, 1, 1) and torch.equal(images, others) and torch.equal(scores, other_scores)
    with pytest.raises(ValueError, match="0 steps of training"):
        train_gan2d("25gaussians", steps=0)


def test_folding_batch_norm_changes_no_image():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CNNGenerator(z_dim=8, channels=(16, 8, 4), normalized=True)
        for norm in network.norms:
            norm.weight.data.uniform_(0.5, 2)
            norm.bias.data.normal_()
    renew_statistics(network, torch.Generator().manual_seed(0), batches=3, batch=50)
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    plain = folded(network)
    assert torch.allclose(plain.images(z, None), network.images(z, None), atol=1e-5)
    assert not any("norms" in name for name in plain.state_dict())


@pytest.mark.bitwise
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tmp_path):
    real = torch.randn(3, 4, 1, 32, 32, generator=torch.Generator().manual_seed(0)).tanh()

    def trainer():
        return Trainer(z_dim=8, width=4, batch=4, lr=1e-3, steps=4, seed=0)

    whole, first, second = trainer(), trainer(), trainer()
    losses = [whole.train_step(batch) for batch in real]
    assert [first.train_step(batch) for batch in real[:2]] == losses[:2]
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    assert second.train_step(real[2]) == losses[2]
    export(second, tmp_path)
    assert (tmp_path / "samples000003.png").exists()
    generator, critic = load_network(tmp_path / "generator.npz"), load_network(tmp_path / "discriminator.npz", key="D")
    z = SIRSampler(generator, critic, proposals=4).draw(range(3)).z
    assert torch.equal(generator(z, torch.zeros(3, 0)), whole.generator()(z, torch.zeros(3, 0)))
