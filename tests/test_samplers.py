"""Samplers and weights: seeds mean latents, draws are honest about their weights."""

import importlib.metadata
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latent_plugins.atlas import Atlas
from latent_plugins.atlas.settings import AtlasError
from latent_plugins.importance.resampling import gumbel_order, inverse_cdf
from latent_plugins.importance.weights import degeneracy, log_weights
from latent_plugins.samplers import available_samplers, create_sampler
from latent_plugins.samplers import base as base_module


@pytest.fixture
def atlas(tmp_path, tiny):
    return Atlas.build(tiny, tmp_path / "a", candidates=2000)


@given(
    volume=st.lists(st.floats(-500, 500), min_size=1, max_size=30),
    rho=st.sampled_from([-100.0, -1.0, 0.0, 0.01, 1.0, 100.0]),
)
def test_weights_are_finite_and_sum_to_one_for_every_rho(volume, rho):
    logw = log_weights(np.array(volume), rho)
    assert np.isfinite(logw).all() or abs(rho) == 100
    assert np.exp(logw).sum() == pytest.approx(1)
    found = degeneracy(logw)
    assert 1 - 1e-9 <= found.effective_sample_size <= len(volume) * (1 + 1e-9)
    if rho:
        assert logw[np.argmax(np.sign(rho) * np.array(volume))] == pytest.approx(logw.max())


def test_weights_are_powers_of_the_volume():
    logw = log_weights(np.log([1.0, 2.0, 4.0, np.nan]), 0.5)
    expected = np.sqrt([1, 2, 4]) / np.sqrt([1, 2, 4]).sum()
    np.testing.assert_allclose(np.exp(logw), [*expected, 0])
    assert degeneracy(logw).candidates == 3
    assert degeneracy(logw).effective_sample_size == pytest.approx(1 / (expected**2).sum())
    assert degeneracy(logw).largest == pytest.approx(expected[2])


@pytest.mark.parametrize("volume, rho", [([np.nan, np.nan], 1), ([1.0], np.nan)])
def test_useless_weights_are_refused(volume, rho):
    with pytest.raises(ValueError, match="no candidate|finite number"):
        log_weights(np.array(volume), rho)


@given(st.integers(0, 10_000))
def test_orders_leave_out_unusable_candidates(seed):
    rng = np.random.RandomState(seed)
    volume = rng.randn(20)
    volume[rng.rand(20) < 0.3] = np.nan
    volume[0] = 0
    logw = log_weights(volume, 1.0)
    order = gumbel_order(logw, rng.gumbel(size=20))
    assert sorted(order) == np.flatnonzero(np.isfinite(volume)).tolist()
    assert np.isfinite(volume[inverse_cdf(logw, np.array([0.0, 0.5, 1 - 1e-16, 1.0]))]).all()


def test_prior_seeds_are_the_official_latents(tiny):
    latents = create_sampler("prior", tiny).draw([0, 5, 5])
    expected = np.concatenate([np.random.RandomState(s).randn(1, 8) for s in (0, 5, 5)]).astype(np.float32)
    assert np.array_equal(latents.z, expected)
    assert latents.index is None and latents.c.shape == (3, 0)


@pytest.mark.bitwise
@pytest.mark.parametrize("without_replacement", [False, True])
def test_a_seed_means_the_same_latent_in_every_batch(tiny, atlas, without_replacement):
    sampler = create_sampler("polarity", tiny, atlas=atlas, rho=0.5, without_replacement=without_replacement)
    together = sampler.draw([3, 11, 700, 4])
    for i, seed in enumerate([3, 11, 700, 4]):
        alone = sampler.draw([seed])
        assert torch.equal(alone.z[0], together.z[i]) and alone.index[0] == together.index[i]
    assert torch.equal(together.z, atlas.latents(together.index))
    np.testing.assert_array_equal(together.log_volume, atlas.log_volume()[together.index])


def test_seeds_never_share_a_candidate_without_replacement(tiny, atlas):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole atlas is more than the effective sample size
        ordered = create_sampler("magnet", tiny, atlas=atlas, without_replacement=True)
        everything = ordered.draw(range(2000)).index
        assert sorted(everything) == list(range(2000)) and ordered.capacity == 2000
        free = create_sampler("magnet", tiny, atlas=atlas)
        assert len(set(free.draw(range(2000)).index)) < 1700 and free.capacity is None
    with pytest.raises(ValueError, match="seed 2000 is beyond the 2000 usable candidates"):
        ordered.draw([2000])
    assert free.draw([2000, 10**12]).z.shape == (2, 8)


@pytest.mark.bitwise
def test_bulk_samples_follow_their_generator(tiny, atlas):
    for name, options in [
        ("prior", {}),
        ("magnet", dict(atlas=atlas)),
        ("magnet", dict(atlas=atlas, without_replacement=True)),
    ]:
        sampler = create_sampler(name, tiny, **options)
        first, second, other = (sampler.sample(50, torch.Generator().manual_seed(s)).z for s in (0, 0, 1))
        assert torch.equal(first, second) and not torch.equal(first, other)
    with pytest.raises(ValueError, match="2001 samples are more than the 2000"):
        create_sampler("magnet", tiny, atlas=atlas, without_replacement=True).sample(2001, torch.Generator())


def test_magnet_is_polarity_one(tiny, atlas):
    magnet = create_sampler("magnet", tiny, atlas=atlas, top_k=4).draw(range(20))
    polarity = create_sampler("polarity", tiny, atlas=atlas, rho=1.0, top_k=4).draw(range(20))
    assert np.array_equal(magnet.index, polarity.index)
    other = create_sampler("polarity", tiny, atlas=atlas, rho=-1.0, top_k=4).draw(range(20))
    assert other.log_volume.mean() < atlas.log_volume(4).mean() < magnet.log_volume.mean()


def test_degenerate_draws_warn_and_say_what_helps(tiny, atlas):
    sampler = create_sampler("polarity", tiny, atlas=atlas, rho=50.0)
    assert sampler.degeneracy().effective_sample_size < 20
    with pytest.warns(UserWarning, match="degenerate weights: 2000 candidates.*More candidates, a smaller .rho."):
        sampler.draw(range(100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_sampler("polarity", tiny, atlas=atlas, rho=0.01).draw(range(100))


@pytest.mark.bitwise
def test_classes_are_weighted_one_by_one(tmp_path, tiny_conditional):
    atlas = Atlas.build(tiny_conditional, tmp_path / "a", candidates=300)
    sampler = create_sampler("magnet", tiny_conditional, atlas=atlas)
    c = torch.eye(3)[[2, 0, 2, 1]]
    latents = sampler.draw([7, 8, 9, 10], c)
    assert torch.equal(latents.c, c)
    for i, label in enumerate([2, 0, 2, 1]):
        assert torch.equal(latents.z[i], atlas.latents(latents.index[[i]], label)[0])
        assert torch.equal(latents.z[i], sampler.draw([7 + i], c[[i]]).z[0])
    with pytest.raises(ValueError, match="labels are required"):
        sampler.draw([0])
    with pytest.raises(ValueError, match=r"labels of shape \[2, 3\] where \[1, 3\]"):
        sampler.draw([0], c[:2])


def test_refusals(tiny, tiny_conditional, atlas):
    with pytest.raises(ValueError, match="known samplers: baseline, dot, drs, .*, truncation$"):
        create_sampler("metropolis", tiny)
    with pytest.raises(AtlasError, match="another network"):
        create_sampler("magnet", tiny_conditional, atlas=atlas)
    with pytest.raises(ValueError, match="top-k 20 is outside 1 to 7"):
        create_sampler("magnet", tiny, atlas=atlas, top_k=20).draw([0])
    del tiny.mapping.w_avg
    with pytest.raises(ValueError, match="use the prior sampler"):
        create_sampler("truncation", tiny)


def test_third_parties_add_samplers_by_entry_points(monkeypatch, tiny):
    class Zeros(base_module.Sampler):
        name = "zeros"

        def __init__(self, generator):
            self.z_dim = generator.z_dim

        def draw(self, seeds, c=None):
            return base_module.Latents(torch.zeros(len(seeds), self.z_dim), torch.zeros(len(seeds), 0))

        def sample(self, n, generator, c=None):
            return self.draw(range(n), c)

    class Entry:
        name = "zeros"

        def load(self):
            return Zeros

    class Broken(Entry):
        name, value = "broken", "their_package:Sampler"

        def load(self):
            raise ImportError("no module named their_package")

    builtin = set(available_samplers())
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Broken(), Entry()])
    with pytest.warns(
        UserWarning, match=r"'broken' of their_package:Sampler fails to import and is left out \(no module"
    ):
        assert set(available_samplers()) == builtin | {"zeros"}
    assert create_sampler("zeros", tiny).draw([1, 2]).z.abs().sum() == 0
