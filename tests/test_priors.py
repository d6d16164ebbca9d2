"""Priors: draws, densities, entropies and moves belong to one law each."""

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.toy_laws import ToyGenerator

from latent_plugins.priors import (
    BallPrior,
    BoxPrior,
    NormalPrior,
    ScaledNormalPrior,
    SpherePrior,
    TruncatedNormalPrior,
    as_prior,
    prior_of,
)
from latent_plugins.randomness import Stream, philox, uniforms

LEVEL = 1e-3
PRIORS = [NormalPrior(3), TruncatedNormalPrior(3), TruncatedNormalPrior(3, 1.0), SpherePrior(3), BoxPrior(3, -1, 2)]
PRIORS += [BoxPrior(3, -0.5, 0.5), BallPrior(3, 1.5), ScaledNormalPrior(3, 0.7)]


def ids(prior):
    return f"{type(prior).__name__}-{prior.text[-6:]}"


def summaries(prior, z):
    """Numbers [N] that tell a latent's law: coordinates, and the length where it is random."""
    return [*z.T] + ([] if isinstance(prior, SpherePrior) else [np.linalg.norm(z, axis=1)])


def laws(prior):
    """The distribution functions of a coordinate and of the length, where they are known in closed form."""
    if isinstance(prior, ScaledNormalPrior):
        return scipy.stats.norm(scale=prior.scale).cdf, scipy.stats.chi(3, scale=prior.scale).cdf
    if isinstance(prior, NormalPrior):
        return scipy.stats.norm.cdf, scipy.stats.chi(3).cdf
    if isinstance(prior, TruncatedNormalPrior):
        return scipy.stats.truncnorm(-prior.bound, prior.bound).cdf, None
    if isinstance(prior, SpherePrior):  # Archimedes: uniform along each axis
        return scipy.stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)).cdf, None
    if isinstance(prior, BoxPrior):
        return scipy.stats.uniform(prior.low, prior.high - prior.low).cdf, None
    radius = prior.radius
    return (lambda x: scipy.stats.beta(2, 2).cdf((x / radius + 1) / 2)), (lambda r: np.clip(r / radius, 0, 1) ** 3)


def follows(prior, z):
    """Whether rows of z [N, 3] follow the prior: KS tests of coordinates and length."""
    coordinate, length = laws(prior)
    tests = [scipy.stats.kstest(column, coordinate).pvalue for column in z.T]
    if length is not None:
        tests.append(scipy.stats.kstest(np.linalg.norm(z, axis=1), length).pvalue)
    return min(tests) > LEVEL


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_draws_follow_the_law(prior):
    u = uniforms(np.arange(4000), prior.width, seed=0, stream=Stream.CANDIDATES)
    assert follows(prior, prior.transform(u))
    assert follows(prior, prior.sample(4000, torch.Generator().manual_seed(0)).numpy())
    assert follows(prior, prior.from_normal(np.random.RandomState(0).randn(4000, 3)))


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
@pytest.mark.parametrize("beta", [0.1, 0.6, 1.0])
def test_moves_leave_the_prior_in_balance(prior, beta):
    """After many moves from draws of the prior the law is the same, and z, z' are exchangeable."""
    random = np.random.RandomState(1)
    z = prior.from_normal(random.randn(4000, 3))
    moved = prior.propose(z, random.randn(4000, 3), np.full(4000, beta))
    if beta < 1:  # there and back are as likely
        for a, b in zip(summaries(prior, z), summaries(prior, moved)):
            assert scipy.stats.wilcoxon(a**3 * b - a * b**3).pvalue > LEVEL
    for _ in range(20):
        z = prior.propose(z, random.randn(4000, 3), np.full(4000, beta))
    assert follows(prior, z)
    assert np.isfinite(prior.log_prob(z.astype(np.float32)).numpy()).all()
    if beta == 1:
        assert abs(np.corrcoef(z[:, 0], moved[:, 0])[0, 1]) < 0.06


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_the_normal_vector_behind_a_latent_gives_it_back(prior):
    z = prior.from_normal(np.random.RandomState(2).randn(500, 3))
    np.testing.assert_allclose(prior.from_normal(prior.to_normal(z)), z, atol=1e-9)
    np.testing.assert_allclose(prior.enter(z), z, atol=1e-12)


@pytest.mark.parametrize("prior", [p for p in PRIORS if not isinstance(p, SpherePrior)], ids=ids)
def test_densities_sum_to_one_and_give_the_entropy(prior):
    """Over a cube that holds the support: the mean of exp(log p), and of −p log p, times its volume."""
    bound = 6.0
    z = np.random.RandomState(3).uniform(-bound, bound, size=(400_000, 3))
    log_p = prior.log_prob(z).numpy()
    p = np.exp(log_p) * (2 * bound) ** 3
    assert p.mean() == pytest.approx(1, abs=5 * p.std() / np.sqrt(len(p)))
    term = -p * np.where(p > 0, log_p, 0)
    assert term.mean() == pytest.approx(prior.entropy, abs=5 * term.std() / np.sqrt(len(p)))


def test_a_generator_has_one_prior():
    assert prior_of(ToyGenerator("normal")) == NormalPrior(2)
    assert prior_of(ToyGenerator("truncated")) == TruncatedNormalPrior(2)
    assert prior_of(ToyGenerator("sphere")) == prior_of(small_stylegan2(z_dim=2)) == SpherePrior(2)
    assert prior_of(ToyGenerator("sphere"), "gaussian") == NormalPrior(2)
    with pytest.raises(ValueError, match="unknown domain 'cube'; known domains: sphere, gaussian"):
        prior_of(ToyGenerator("normal"), "cube")
    with pytest.raises(ValueError, match="a prior of 2 dimensions for latents of 3"):
        as_prior(NormalPrior(2), 3)


def test_latents_outside_the_support_are_refused():
    for prior in (TruncatedNormalPrior(2), BoxPrior(2), BallPrior(2)):
        with pytest.raises(ValueError, match="some latents are outside the support of the prior"):
            prior.enter(np.array([[0.0, 0.0], [3.0, 0.0]]))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: NormalPrior(0), "at least one dimension"),
        (lambda: SpherePrior(1), "at least two dimensions"),
        (lambda: TruncatedNormalPrior(2, 0.0), "bound of a truncated normal"),
        (lambda: BallPrior(2, -1.0), "radius of a ball"),
        (lambda: BoxPrior(2, 1.0, 1.0), "finite bounds low < high"),
    ],
)
def test_sizes_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_two_streams_share_bits():
    """All streams, several substreams and blocks of one seed: no 64-bit number twice."""
    seen = [
        philox(0, stream, part, block).random_raw(64) for stream in Stream for part in (0, 1, 7) for block in (0, 1)
    ]
    assert len(np.unique(np.concatenate(seen))) == 64 * len(seen)
    assert len({int(stream) for stream in Stream}) == len(list(Stream)) == len(Stream.__members__)
