"""Spectra against the Jacobians of autograd, and against goldens."""

import math

import numpy as np
import pytest
import torch
from conftest import golden_network
from helpers.golden_networks import NETWORKS
from helpers.maps import FunctionMap, bent_map
from hypothesis import given
from hypothesis import strategies as st

from latent_plugins.spaces import get_space, to_sphere
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.memory import bytes_per_row, plan_chunks
from latent_plugins.volume.spectrum.products import jacobian_columns, jacobian_rows, top_singular_values
from latent_plugins.volume.spectrum.projected import orthonormal_projection


def reference(space_map, x):
    """Singular values by autograd, row by row."""
    rows = [torch.autograd.functional.jacobian(lambda r: space_map(r[None])[0], row) for row in x]
    return torch.linalg.svdvals(torch.stack(rows).double()).float()


@pytest.mark.parametrize("n_in, n_out", [(5, 9), (9, 5), (6, 6), (1, 4), (4, 1)])
@pytest.mark.parametrize("max_memory", [1 << 30, 4000])
def test_exact_equals_autograd_whatever_the_chunks(n_in, n_out, max_memory):
    space_map, x = bent_map(n_in, n_out), torch.randn(7, n_in, generator=torch.Generator().manual_seed(0))
    k = space_map.max_rank
    ours = spectrum(space_map, x, top_k=k, max_memory=max_memory)
    assert ours.dtype == torch.float32 and ours.shape == (7, k)
    torch.testing.assert_close(ours, reference(space_map, x)[:, :k], rtol=1e-4, atol=1e-6)
    assert (ours.diff(dim=1) <= 0).all()
    torch.testing.assert_close(spectrum(space_map, x, top_k=1, max_memory=max_memory), ours[:, :1])


@pytest.mark.parametrize("name", NETWORKS)
def test_official_singular_values(name):
    """Relative 1e-3, down to the float32 rounding of the Jacobian's largest entries."""
    network, arrays = golden_network(name)
    z, c = torch.from_numpy(arrays["z"][:1]), torch.from_numpy(arrays["c"][:1])
    spaces = dict(style="mapping", pixel="z") | {"w:pixel": "w"}
    checked = 0
    for space, key in spaces.items():
        expected = arrays.get(f"jac_{key}_singular_values")
        if expected is None:
            continue
        space_map = get_space(network, space, c=c, domain="gaussian")
        x = z if space != "w:pixel" else space_map.enter(z)
        ours = spectrum(space_map, x, top_k=space_map.max_rank)[0].numpy()
        np.testing.assert_allclose(ours, expected[: len(ours)], rtol=1e-3, atol=1e-6 * expected[0])
        checked += 1
    assert checked >= 1


def test_projected_keeps_what_fits_and_shrinks_the_rest_evenly():
    network, arrays = golden_network("stylegan2-sg3repo-skip")
    space_map, z = get_space(network, "pixel"), torch.from_numpy(arrays["z"])
    exact = spectrum(space_map, z, top_k=10)
    options = dict(top_k=10, method="projected")
    full = spectrum(space_map, z, **options, projection=5000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(full, exact, rtol=1e-4, atol=1e-5)
    some = spectrum(space_map, z, **options, projection=512, generator=torch.Generator().manual_seed(0))
    ratio = some / exact * math.sqrt(space_map.out_dim / 512)
    assert (ratio - 1).abs().max() < 0.15
    same = spectrum(space_map, z[1:2], **options, projection=512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, some[1:2], rtol=1e-4, atol=1e-6)


def test_projections_are_orthonormal():
    q = orthonormal_projection(300, 20, torch.Generator().manual_seed(0))
    torch.testing.assert_close(q @ q.T, torch.eye(20), atol=1e-5, rtol=0)


def test_products_agree_with_each_other():
    space_map, x = bent_map(6, 4), torch.randn(3, 6)
    columns, rows = jacobian_columns(space_map, x, torch.eye(6)), jacobian_rows(space_map, x, torch.eye(4))
    assert columns.shape == rows.shape == (3, 4, 6)
    torch.testing.assert_close(columns, rows)


def test_a_row_with_nan_is_reported_and_spares_the_others():
    matrices = torch.randn(3, 4, 5)
    expected = torch.linalg.svdvals(matrices)
    matrices[1, 2, 3] = torch.nan
    ours = top_singular_values(matrices, 4)
    assert ours[1].isnan().all()
    torch.testing.assert_close(ours[[0, 2]], expected[[0, 2]])


def test_the_sphere_domain_takes_the_tangent_jacobian(tiny):
    """On the sphere of radius √d the spectrum is that of J (I − z zᵀ / d), and ‖z‖ does not matter."""
    space_map = get_space(tiny, "style")
    assert (space_map.domain, space_map.max_rank) == ("sphere", 7)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    on_sphere = space_map.enter(z)
    torch.testing.assert_close(on_sphere.norm(dim=1), torch.full([3], math.sqrt(8.0)))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: tiny.style(x[None], torch.zeros(1, 0))[0]))(on_sphere)
    tangent = torch.eye(8) - on_sphere[:, :, None] * on_sphere[:, None, :] / 8
    expected = torch.linalg.svdvals(jacobian @ tangent)[:, :7]
    ours = spectrum(space_map, on_sphere, top_k=7)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(spectrum(space_map, to_sphere(5 * z), top_k=7), ours)
    # In R^d the same network has a null direction and a volume that scales with 1/‖z‖.
    flat = get_space(tiny, "style", domain="gaussian")
    short, long = spectrum(flat, z, top_k=8), spectrum(flat, 2 * z, top_k=8)
    torch.testing.assert_close(long[:, :7], short[:, :7] / 2, rtol=1e-2, atol=1e-6)
    assert (short[:, 7] < 1e-3 * short[:, 0]).all()


def test_truncation_and_labels_enter_the_map(tiny_conditional):
    c = torch.eye(3)
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    options = dict(domain="gaussian")
    one = spectrum(get_space(tiny_conditional, "style", c=c[1], **options), z, top_k=5)
    other = spectrum(get_space(tiny_conditional, "style", c=c[2], **options), z, top_k=5)
    assert (one - other).abs().max() > 1e-3
    half = spectrum(get_space(tiny_conditional, "style", c=c[1], psi=0.5, **options), z, top_k=5)
    torch.testing.assert_close(half, one / 2)
    space_map = get_space(tiny_conditional, "pixel", c=c[1], psi=0.5, cutoff=2)
    expected = tiny_conditional(to_sphere(z), c[[1, 1]], truncation_psi=0.5, truncation_cutoff=2).flatten(1)
    torch.testing.assert_close(space_map(z), expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: get_space(g, "fourier"), "known spaces: style, pixel, vgg, inception, features, w:pixel"),
        (lambda g: get_space(g, "style", domain="torus"), "known domains: sphere, gaussian"),
        (lambda g: get_space(g, "style", c=torch.zeros(3)), "the label has 3 entries, the generator takes 0"),
        (lambda g: spectrum(get_space(g, "style"), torch.randn(1, 8), top_k=8), "top_k 8 is outside 1 to 7"),
        (lambda g: spectrum(get_space(g, "style"), torch.randn(1, 8), top_k=1, method="qr"), "exact, projected"),
        (
            lambda g: spectrum(get_space(g, "style"), torch.randn(1, 8), top_k=5, method="projected", projection=4),
            "top_k 5 is outside 1 to 4, what the method projected gives here",
        ),
        (lambda g: spectrum(get_space(g, "pixel"), torch.randn(1, 8), top_k=5, max_memory=1000), "raise --max-memory"),
    ],
)
def test_refusals_name_the_value_and_the_remedy(tiny, call, message):
    with pytest.raises(ValueError, match=message):
        call(tiny)


def test_a_conditional_network_needs_a_label(tiny_conditional):
    with pytest.raises(ValueError, match="label c of 3 entries is required"):
        get_space(tiny_conditional, "style")


@given(
    n=st.integers(1, 1000),
    directions=st.integers(1, 600),
    row=st.integers(1, 10**6),
    jacobian=st.integers(1, 10**7),
    bound=st.integers(1, 10**9),
)
def test_chunks_stay_under_the_bound(n, directions, row, jacobian, bound):
    if row + jacobian > bound:
        with pytest.raises(ValueError, match="--max-memory"):
            plan_chunks(n, directions, row, jacobian, bound)
        return
    latents, chunk = plan_chunks(n, directions, row, jacobian, bound)
    assert 1 <= latents <= n and 1 <= chunk <= directions
    assert latents * (jacobian + chunk * row) <= bound
    assert chunk == directions or latents == 1


def test_the_memory_estimate_counts_activations_not_weights():
    a, b = torch.randn(50, 400), torch.randn(400, 30)
    space_map = FunctionMap(lambda x: torch.relu(x @ (a * 2)) @ b, 50, 30)
    # Two activations of 400 numbers and one output of 30; the scaled weights (80,000 bytes) do not grow with the batch.
    activations = 4 * (400 + 400 + 30)
    assert activations <= bytes_per_row(space_map, torch.randn(1, 50)) <= 1.3 * activations


def test_a_map_is_measured_once():
    class Counting:
        calls = 0

        def __call__(self, x):
            self.calls += 1
            return 2 * x

    space_map = Counting()
    found = bytes_per_row(space_map, torch.zeros(3, 5))
    assert bytes_per_row(space_map, torch.ones(9, 5)) == found >= 5 * 4 and space_map.calls == 2
    assert bytes_per_row(space_map, torch.zeros(1, 10)) == 2 * found  # rows of another kind are measured too
