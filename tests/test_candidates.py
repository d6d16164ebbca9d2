"""Counter-based streams: the same number whatever is asked beside it."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.randomness import Stream, gumbels, uniforms


@pytest.mark.bitwise
@settings(max_examples=30)
@given(indices=st.lists(st.integers(0, 5000), min_size=1, max_size=20), seed=st.integers(0, 2**32 - 1))
def test_a_candidate_depends_on_seed_and_index_alone(indices, seed):
    together = candidate_latents(indices, 3, seed=seed)
    alone = np.concatenate([candidate_latents([i], 3, seed=seed).numpy() for i in indices])
    assert np.array_equal(together.numpy(), alone)


def test_the_stream_never_changes():
    """Atlases of older versions stay valid only if these numbers stay."""
    expected = [[1.1362472772598267, -0.5377773642539978], [0.8143469095230103, -0.05391969904303551]]
    np.testing.assert_allclose(candidate_latents([0, 1500], 2, seed=7).numpy(), expected, rtol=1e-6)


def test_seeds_streams_and_classes_are_independent():
    streams = [
        uniforms(np.arange(4000), 1, seed=seed, stream=stream, substream=substream)[:, 0]
        for seed, stream, substream in [
            (0, Stream.CANDIDATES, 0),
            (1, Stream.CANDIDATES, 0),
            (0, Stream.GUMBEL, 0),
            (0, Stream.CANDIDATES, 1),
        ]
    ]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)


def test_the_distributions_are_right():
    z = candidate_latents(np.arange(5000), 2, seed=0).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    u = candidate_latents(np.arange(5000), 2, seed=0, base="uniform", radius=3).numpy()
    assert scipy.stats.kstest(u.ravel(), "uniform", args=(-3, 6)).pvalue > 1e-3
    assert scipy.stats.kstest(gumbels(5000, seed=0), "gumbel_r").pvalue > 1e-3


def test_unknown_base():
    with pytest.raises(ValueError, match="unknown base measure 'cube'"):
        candidate_latents([0], 2, seed=0, base="cube")
