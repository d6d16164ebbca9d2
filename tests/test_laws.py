"""What every registered sampler draws follows the law that its name and its settings state.

Every sampler × prior × classes × {plain, filtered by jbt, mixed with the prior} × {draw, sample}, on generators with a
closed form: chi-square tests against the exact density, or, for the samplers that move latents, Kolmogorov–Smirnov
tests against their steps written out by hand. A new sampler is in these tests by being registered: it needs a Case.
"""

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from helpers.toy_laws import CLASSES, LEVEL, PRIORS, RATES, Law, ToyGenerator, log_volume, norm, slopes, two_samples

from latent_plugins.atlas import Atlas
from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.importance.resampling import bulk, by_seed
from latent_plugins.importance.weights import log_weights
from latent_plugins.randomness import torch_seed
from latent_plugins.samplers import create_sampler, registry
from latent_plugins.samplers.base import class_seed
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.jbt import JBTFilter
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.simplex import simplex
from latent_plugins.spaces import get_space

N, FEW = 1000, 400  # rows of a bulk draw; of draws by seed, which many samplers make one by one
CANDIDATES = 30_000
FIRST = 100  # of the seeds
KEEP = 0.7  # of the filter, whose norms are estimates
DIRECTIONS = 400  # that they come from
REFERENCE = 40_000  # rows of a law that is sampled
POLARITY = -0.8
SCALARS = 40  # earlier volumes of the online rule


def unit(generator, z):
    """z as the image sees it."""
    return z * (np.sqrt(2) / z.norm(dim=1, keepdim=True)) if generator.normalizes_z else z


class Weights:
    """The importance weight 1 + tanh z₀, of mean 1 and below 2, of what the image sees of z."""

    m = 2.0

    def check_network(self, generator):
        pass

    def to(self, device):
        return self

    def weights(self, generator, z, c=None):
        return 1 + torch.tanh(unit(generator, z)[:, 0])


def critic(generator):
    """The score tanh(2 z₀) of an image, from which z₀ is read off."""

    def score(images):
        return torch.tanh(2 * torch.log1p(RATES[0, 0] * (images.flatten(1) @ generator.basis)[:, 0]) / RATES[0, 0])

    return score


def volumes(generator):
    """The exact log-volume of a class, as the samplers take it."""
    return lambda label: lambda z: torch.from_numpy(log_volume(generator, np.asarray(z, dtype=np.float64), label))


# --- the laws, as log-densities relative to the prior's ---------------------------------------------------------------


def volume_power(rho):
    return lambda generator, label: lambda z: rho * log_volume(generator, z, label)


def flat(generator, label):
    return lambda z: np.zeros(len(z))


def within_one(generator, label):
    if generator.normalizes_z:  # the mass of N(0, I) within the square, along each direction
        return lambda z: np.log(-np.expm1(-1 / (z**2 / 2).max(axis=1) / 2))
    return lambda z: np.where((np.abs(z) <= 1).all(axis=1), 0.0, -np.inf)


def within_a_square(generator, label):
    if generator.normalizes_z:  # the area along each direction
        return lambda z: -2 * np.log(np.abs(z).max(axis=1))
    return lambda z: np.where((np.abs(z) <= 1.5).all(axis=1), (z**2).sum(axis=1) / 2, -np.inf)


def near_a_corner(generator, label):
    return lambda z: np.where((z @ simplex(3, 2).T).max(axis=1) > 1.0, 0.0, -np.inf)


def most_like_a_corner(generator, label):
    corners = 1.5 * simplex(3, 2)

    def log_weight(z):
        distances = np.stack([np.hypot(*(z - corner).T) for corner in corners], axis=1)
        return np.where(scipy.special.softmax(-distances, axis=1).max(axis=1) > 0.6, 0.0, -np.inf)

    return log_weight


def passing(generator, label, threshold, draws):
    """The chance that a norm passes, which is estimated from `draws` directions.

    The square of the estimate has the mean ‖J‖² and the variance 2 Σσ⁴ / draws.
    """

    def chance(z):
        squares = norm(generator, z, label) ** 2
        fourth = squares**2 if generator.normalizes_z else (slopes(z, label) ** 4).sum(axis=1)
        return scipy.special.ndtr((threshold**2 - squares) / np.sqrt(2 * fourth / draws))

    return chance


def importance(generator, label):
    return lambda z: np.log1p(np.tanh(z[:, 0]))


def scored(generator, label):
    return lambda z: np.tanh(2 * z[:, 0])


# --- the samplers that move latents, by hand --------------------------------------------------------------------------


def uphill(z, value, steps, rate):
    """Steps of gradient ascent along the sphere through each z."""
    for _ in range(steps):
        z = z.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(value(z).sum(), z)
        z = (z + rate * (g - (g * z).sum(1, keepdim=True) / (z * z).sum(1, keepdim=True) * z)).detach()
    return z


def climbed(generator, z):
    return uphill(z, lambda x: Weights().weights(generator, x), 10, 0.3)


def chosen_and_climbed(generator, z):
    u = torch.rand(len(z), generator=torch.Generator().manual_seed(8))
    return climbed(generator, z[u < Weights().weights(generator, z) / 2])


def transported(generator, z):
    score, start = critic(generator), z

    def value(x):
        return score(generator(x, torch.zeros(len(x), 0))) / 2.0 - (x - start + 1e-3).norm(dim=1)

    return uphill(z, value, 6, 0.1)


# --- the cases --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """How a sampler is made, and its law: a log-density relative to the prior, or a map of the prior's draws.

    classes, priors: what the sampler serves; anything else it must refuse with `refusal`.
    """

    options: Callable
    law: Callable | None = None
    moved: Callable | None = None
    classes: bool = True
    priors: tuple = tuple(PRIORS)
    refusal: str = ""


def online(rho, **options):
    return lambda generator, atlas: dict(volumes=volumes(generator), rho=rho, **options)


def weighted(**options):
    return lambda generator, atlas: dict(weights=Weights(), **options)


def asking(**options):
    return Case(
        lambda generator, atlas: dict(critic=critic(generator), **options),
        law=scored,
        classes=False,
        refusal="scores images alone: its generator must be unconditional",
    )


# By sampler, and where there are several of one by what a further word says.
CASES = {
    "prior": Case(lambda generator, atlas: {}, flat),
    "truncation": Case(lambda generator, atlas: dict(psi=0.5), flat),
    "truncated-normal": Case(lambda generator, atlas: dict(threshold=1.0), within_one),
    "baseline": Case(lambda generator, atlas: dict(law="uniform", scale=1.5), within_a_square),
    "simplicial": Case(
        lambda generator, atlas: dict(corners=3, tau=1.0),
        near_a_corner,
        priors=("normal", "sphere"),
        refusal="simplicial truncation needs latents of N",
    ),
    "simplicial softmax": Case(
        lambda generator, atlas: dict(corners=3, tau=0.6, rule="softmax", corner_radius=1.5),
        most_like_a_corner,
        priors=("normal", "sphere"),
        refusal="simplicial truncation needs latents of N",
    ),
    "jbt": Case(
        lambda generator, atlas: dict(keep=0.5, norm_draws=DIRECTIONS, calibration=4000),
        flat,  # up to the threshold of its own filter
    ),
    "magnet": Case(lambda generator, atlas: dict(atlas=atlas), volume_power(1.0)),
    "polarity": Case(lambda generator, atlas: dict(atlas=atlas, rho=POLARITY), volume_power(POLARITY)),
    "pcn": Case(online(1.0, steps=60), volume_power(1.0)),
    "smc": Case(online(POLARITY, particles=4000), volume_power(POLARITY)),
    "rejection": Case(online(1.0, particles=4000), volume_power(1.0)),
    "online": Case(online(1.0, particles=4000, scalars=SCALARS), volume_power(1.0)),
    "latentrs": Case(weighted(), importance),
    "latentga": Case(weighted(rate=0.3), moved=climbed),
    "latentrs+ga": Case(weighted(rate=0.3), moved=chosen_and_climbed),
    "drs": asking(no_shift=True, burn_in=4000),
    "mh": asking(length=40),
    "sir": asking(proposals=60),
    "dot": dataclasses.replace(asking(steps=6, rate=0.1, lipschitz=2.0), law=None, moved=transported),
}


# Further cases of a sampler are about its law alone: its classes, filters and mixtures are the first one's.
COMBINATIONS = [
    each
    for each in itertools.product(CASES, PRIORS, [0, CLASSES], ["plain", "filtered", "mixed"])
    if " " not in each[0] or each[2:] == (0, "plain")
]


@functools.cache
def toy(prior, c_dim):
    return ToyGenerator(prior, c_dim)


@pytest.fixture(scope="module")
def atlases(tmp_path_factory):
    @functools.cache
    def made(prior, c_dim):
        path = tmp_path_factory.mktemp("laws") / "atlas"
        return Atlas.build(toy(prior, c_dim), path, space="style", candidates=CANDIDATES, seed=1)

    return made


@functools.cache
def jbt_filter(prior, c_dim):
    generator = toy(prior, c_dim)
    space = get_space(generator, "style", c=torch.zeros(c_dim))
    return JBTFilter(space, KEEP, norm_draws=DIRECTIONS, calibration=4000)


def made(name, prior, c_dim, atlas):
    return create_sampler(name.split()[0], toy(prior, c_dim), **CASES[name].options(toy(prior, c_dim), atlas))


def labels_of(n, c_dim):
    return (torch.eye(c_dim)[torch.arange(n) % c_dim], np.arange(n) % c_dim) if c_dim else (None, np.zeros(n, int))


CHECKED = {}  # {label: filters whose threshold was found right}


def threshold_of(chosen, generator, label):
    """The largest norm that a JBTFilter lets pass, which must be the quantile of the exact norms that it states."""
    found = chosen.threshold(torch.eye(CLASSES)[label] if label is not None else torch.zeros(0))
    if chosen in CHECKED.setdefault(label, set()):
        return found
    CHECKED[label].add(chosen)
    prior = Law(generator, flat(generator, label))
    error = 4 * np.sqrt(chosen.keep * (1 - chosen.keep) / chosen.calibration)
    low, high = (prior.quantile_of(norm(generator, prior.z, label), chosen.keep + e) for e in (-error, error))
    assert 0.98 * low <= found <= 1.02 * high
    return found


@functools.cache
def law_of(name, prior, label, way, limits, scale=None):
    """The Law of a sampler plain, filtered or mixed.

    limits: (threshold, draws) of each filter that there is; scale: log Σ of the earlier volumes of the online rule.
    """
    generator = toy(prior, CLASSES if label is not None else 0)
    own = CASES[name].law(generator, label)
    if scale is not None:
        power = own
        own = lambda z: power(z) - np.logaddexp(power(z), scale)  # noqa: E731
    chances = [passing(generator, label, *limit) for limit in limits]
    with np.errstate(divide="ignore"):
        law = Law(generator, lambda z: own(z) + sum(np.log(chance(z)) for chance in chances))
    return (law.mixed(Law(generator, flat(generator, label))) if way == "mixed" else law).slim()


@functools.cache
def reference_of(name, prior, way, label, limits):
    """Many draws [n, 2] of a sampler that moves latents, by its steps written out by hand."""
    generator = toy(prior, 0)
    start = generator.sample_prior(REFERENCE, torch.Generator().manual_seed(99))
    z = CASES[name].moved(generator, start)
    if way == "filtered":
        seen = unit(generator, z).double().numpy()
        z = z[np.random.RandomState(97).rand(len(z)) < passing(generator, label, *limits[-1])(seen)]
    if way == "mixed":
        z = torch.cat([z, generator.sample_prior(len(z), torch.Generator().manual_seed(98))])
    return z.numpy()


def earlier_volume(sampler, way, how, seed, label):
    """log Σ of the volumes that the online rule compares with: those of its population's seed, or on average.

    A bulk draw that is filtered or mixed takes several populations, or one of a seed of its own.
    """
    if how == "draw" or way == "plain":
        key = class_seed(0 if how == "draw" else seed, label)
        return float(np.logaddexp.reduce(sampler.earlier(sampler.volumes(label), key)))
    prior = Law(sampler.generator, flat(sampler.generator, label))
    return float(np.log(SCALARS * prior.mean(np.exp(log_volume(sampler.generator, prior.z, label)))))


def test_every_registered_sampler_has_a_case():
    assert {cls.name for cls in registry.BUILTIN} == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_over_many_atlases_the_law_is_neither_missed_nor_met_too_well(how):
    """Of 100 atlases of their own seeds the p-values of weighted draws are uniform: KS at 0.001."""
    generator, law, pvalues = toy("normal", 0), law_of("magnet", "normal", None, "plain", ()), []
    for seed in range(100):
        z = candidate_latents(range(20_000), 2, seed=seed).double().numpy()
        logw = log_weights(log_volume(generator, z, None), 1.0)
        chosen = by_seed(logw, range(300), seed=seed) if how == "draw" else bulk(logw, 300, seed=seed)
        pvalues.append(law.pvalue(z[chosen]))
    assert scipy.stats.kstest(pvalues, "uniform").pvalue > LEVEL


@pytest.mark.parametrize("how", ["draw", "sample"])
@pytest.mark.parametrize("name, prior, c_dim, way", COMBINATIONS)
def test_draws_follow_the_law(name, prior, c_dim, way, how, atlases):
    case, generator = CASES[name], toy(prior, c_dim)
    atlas = atlases(prior, c_dim) if name in ("magnet", "polarity") else None
    if prior not in case.priors or (c_dim and not case.classes):
        with pytest.raises(ValueError, match=case.refusal):
            made(name, prior, c_dim, atlas)
        return
    sampler = base = made(name, prior, c_dim, atlas)
    if way == "filtered":
        sampler = FilterSampler(generator, sampler, [jbt_filter(prior, c_dim)])
    if way == "mixed":
        sampler = MixtureSampler(sampler, create_sampler("prior", generator), 0.5)
    n = (FEW if how == "draw" else N) * (2 if c_dim else 1)
    c, labels = labels_of(n, c_dim)
    random = torch.Generator().manual_seed(zlib.crc32(f"{name} {prior} {c_dim} {way}".encode()))
    seed = torch_seed(random.clone_state())  # what a sampler's bulk draw makes its numbers from
    latents = sampler.draw(range(FIRST, FIRST + n), c) if how == "draw" else sampler.sample(n, random, c)
    assert latents.z.shape == (n, 2) and latents.z.dtype == torch.float32

    z = unit(generator, latents.z).double().numpy()
    for label in range(CLASSES) if c_dim else (None,):
        rows, limits = z[labels == label] if c_dim else z, []
        if name == "jbt":
            limits.append((threshold_of(base.filters[0], generator, label), DIRECTIONS))
        if way == "filtered":
            limits.append((threshold_of(jbt_filter(prior, c_dim), generator, label), DIRECTIONS))
        limits = tuple(limits)
        if case.moved:
            reference = (
                unit(generator, torch.from_numpy(reference_of(name, prior, way, label, limits))).double().numpy()
            )
            assert two_samples(generator, rows, reference) > LEVEL
            continue
        scale = earlier_volume(base, way, how, seed, label) if name == "online" else None
        law = law_of(name, prior, label, way, limits, scale)
        assert law.pvalue(rows) > LEVEL / (CLASSES if c_dim else 1)
    if prior == "truncated" and case.moved is None:
        assert latents.z.abs().max() <= 2
    if name == "truncation":
        psi = latents.psi if way != "mixed" else latents.psi[~np.isnan(latents.psi)]
        assert set(psi) == {0.5} and (way != "mixed" or 0.4 * n < len(psi) < 0.6 * n)
    if way == "mixed":
        distinct = len(np.unique(latents.z.numpy(), axis=0))  # chains stay where they are now and then, others never do
        assert distinct >= 0.95 * n if name in ("pcn", "smc") else distinct == n
