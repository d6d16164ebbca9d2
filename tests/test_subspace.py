"""Randomized subspace iteration and shared bases against the whole Jacobian."""

import math

import pytest
import torch
from conftest import small_stylegan2
from helpers.maps import FunctionMap, bent_map, seeded
from scipy.stats import spearmanr

from dnnlib_compat.loader import load_network
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import memory, spectrum
from latent_plugins.volume.spectrum.compiled import CompiledMap
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.products import (
    jacobian_columns,
    jacobian_columns_each,
    jacobian_rows,
    jacobian_rows_each,
)
from latent_plugins.volume.spectrum.shared import shared_basis
from latent_plugins.volume.spectrum.subspace import Subspace, orthonormal

SPACES = [(name, domain) for name in ("z:w", "z:pixel", "w:pixel") for domain in ("sphere", "gaussian")]


def affine_map(values, n_in, n_out, seed=0):
    """A map x ↦ A x + b whose A has the given singular values."""
    left = orthonormal(torch.randn(n_out, len(values), generator=seeded(seed)))
    right = orthonormal(torch.randn(n_in, len(values), generator=seeded(seed + 1)))
    matrix = (left * values) @ right.T
    return FunctionMap(lambda x: x @ matrix.T + 3, n_in, n_out)


def latents(space_map, n, seed=0):
    return space_map.enter(torch.randn(n, space_map.generator.z_dim, generator=seeded(seed)))


def assert_below(values, exact):
    """Courant–Fischer, up to the rounding of float32 Jacobians."""
    assert (values <= exact * (1 + 1e-5) + 1e-5 * exact[:, :1]).all()


def log_volume(values):
    return values.double().log().sum(dim=1)


def test_products_with_directions_of_their_own():
    space_map, x = bent_map(6, 4), torch.randn(3, 6, generator=seeded())
    jacobian = jacobian_columns(space_map, x, torch.eye(6))
    v, u = torch.randn(3, 6, 5, generator=seeded(1)), torch.randn(3, 2, 4, generator=seeded(2))
    torch.testing.assert_close(jacobian_columns_each(space_map, x, v), jacobian @ v)
    torch.testing.assert_close(jacobian_rows_each(space_map, x, u), u @ jacobian)
    everywhere = u[:1].expand(3, -1, -1)
    torch.testing.assert_close(jacobian_rows_each(space_map, x, everywhere), jacobian_rows(space_map, x, u[0]))


@pytest.mark.parametrize("n_in, n_out", [(30, 50), (50, 30)])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_a_rank_below_the_block_is_found_entirely(n_in, n_out, iterations):
    """Without iterations only the number of directions is right: JΩ has the rank of J but not its values."""
    values = torch.tensor([9.0, 7, 4, 2, 1])
    space_map, x = affine_map(values, n_in, n_out), torch.randn(3, n_in, generator=seeded(5))
    options = dict(top_k=7, method="subspace", oversample=2, iterations=iterations, generator=seeded())
    ours = spectrum(space_map, x, **options)
    assert ours.dtype == torch.float32 and ours.shape == (3, 7)
    assert (ours[:, 5:] < 1e-4).all() and (ours[:, :5] > 1e-2).all()
    assert_below(ours[:, :5], values.expand(3, 5))
    if iterations:
        torch.testing.assert_close(ours[:, :5], values.expand(3, 5), rtol=1e-5, atol=1e-5)


def test_decaying_spectra_are_close_and_closer_with_every_iteration():
    values = 0.8 ** torch.arange(60.0)
    space_map, x = affine_map(values, 60, 90), torch.randn(2, 60, generator=seeded(5))
    errors = []
    for iterations in range(4):
        options = dict(method="subspace", oversample=8, iterations=iterations, generator=seeded())
        ours = spectrum(space_map, x, top_k=10, **options)
        assert_below(ours, values[:10].expand(2, 10))
        errors.append((ours / values[:10] - 1).abs().max().item())
    assert errors[1] < 2e-2 and errors[2] < 1e-3 and errors[3] < 1e-4
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("oversample", [8, 100])
@pytest.mark.parametrize("iterations", [0, 1])
def test_a_full_block_is_exact(oversample, iterations):
    x = torch.randn(4, 6, generator=seeded())
    for space_map in (bent_map(6, 9), bent_map(6, 4)):
        options = dict(oversample=oversample, iterations=iterations, generator=seeded())
        expected = spectrum(space_map, x, top_k=3)
        torch.testing.assert_close(spectrum(space_map, x, top_k=3, method="subspace", **options), expected)
        method = Subspace(oversample=oversample, iterations=iterations)
        values, residual = method.with_residual(JacobianOperator(space_map, x), 3, seeded())
        torch.testing.assert_close(values, expected)
        assert (residual == 0).all()


@pytest.mark.parametrize("name, domain", SPACES)
def test_the_spaces_of_a_stylegan2(tiny, name, domain):
    space_map = get_space(tiny, name, domain=domain)
    x = latents(space_map, 5)
    exact = spectrum(space_map, x, top_k=4)
    options = dict(top_k=4, method="subspace", oversample=1, generator=seeded())
    ours = spectrum(space_map, x, **options)
    assert ours.shape == (5, 4) and (ours.diff(dim=1) <= 0).all()
    assert_below(ours, exact)
    patient = spectrum(space_map, x, **options, iterations=12)
    assert_below(patient, exact)
    torch.testing.assert_close(patient, exact, rtol=1e-2, atol=1e-5)
    full = spectrum(space_map, x, top_k=4, method="subspace", oversample=4, generator=seeded())
    torch.testing.assert_close(full, exact)

    basis = shared_basis(space_map, latents(space_map, 20, seed=1), 6, max_memory=None)
    assert basis.dtype == torch.float32
    if name == "z:pixel":  # the mean metric in w, of the trace one
        assert basis.shape == (8, 8)
        torch.testing.assert_close(basis.square().sum(), torch.tensor(1.0))
    else:
        torch.testing.assert_close(basis.T @ basis, torch.eye(6), atol=1e-5, rtol=0)
    on_basis = spectrum(space_map, x, top_k=4, method="shared", basis=basis)
    assert on_basis.shape == (5, 4) and (on_basis.diff(dim=1) <= 0).all()
    assert_below(on_basis, exact)
    whole = shared_basis(space_map, x, 8, max_memory=None)
    on_all = spectrum(space_map, x, top_k=4, method="shared", basis=whole, directions=8)
    torch.testing.assert_close(on_all, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.bitwise
def test_the_seed_decides_and_nothing_else():
    """Neither the other latents nor the memory bound nor the global seed change a latent's values."""
    network = small_stylegan2(z_dim=24, w_dim=24)
    space_map = get_space(network, "pixel")
    x = latents(space_map, 6)
    basis = shared_basis(space_map, latents(space_map, 8, seed=1), 10, max_memory=None)

    def ours(x, seed=0, **options):
        return spectrum(space_map, x, top_k=5, method="subspace", oversample=4, generator=seeded(seed), **options)

    def on_basis(x, **options):
        return spectrum(space_map, x, top_k=5, method="shared", basis=basis, **options)

    torch.manual_seed(0)
    first = ours(x)
    torch.manual_seed(1)
    assert torch.equal(ours(x), first)
    assert not torch.equal(ours(x, seed=1), first)
    # In the smallest bound that one latent fits, its directions go through the network a few at a time.
    for function in (ours, on_basis):
        expected = function(x)
        with pytest.raises(ValueError, match="raise --max-memory"):
            function(x, max_memory=50_000)
        for bound in (400_000, 2_000_000, 20_000_000):
            torch.testing.assert_close(function(x, max_memory=bound), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(function(x[4:5]), expected[4:5], rtol=1e-4, atol=1e-5)
    small = shared_basis(space_map, latents(space_map, 8, seed=1), 10, max_memory=1_000_000)
    torch.testing.assert_close(small @ small.T, basis @ basis.T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bound", [600_000, 3_000_000, 30_000_000])
def test_blocks_stay_under_the_bound(monkeypatch, bound):
    """What the plan counts: one latent in one direction, and the blocks of the latents at hand."""
    planned = []
    original = memory.plan_chunks

    def recording(n, directions, row_bytes, block_bytes, *rest):
        latents_at_once, chunk = original(n, directions, row_bytes, block_bytes, *rest)
        planned.append(latents_at_once * (chunk * row_bytes + block_bytes))
        return latents_at_once, chunk

    monkeypatch.setattr(memory, "plan_chunks", recording)
    space_map = get_space(small_stylegan2(z_dim=24, w_dim=24), "pixel")
    spectrum(space_map, latents(space_map, 9), top_k=5, method="subspace", generator=seeded(), max_memory=bound)
    assert len(planned) == 1 and planned[0] <= bound


@pytest.mark.bitwise
def test_the_residual_is_what_the_last_products_gained():
    values = 0.8 ** torch.arange(60.0)
    space_map, x = affine_map(values, 60, 90), torch.randn(2, 60, generator=seeded(5))
    residuals = []
    for iterations in range(4):
        method, operator = Subspace(oversample=8, iterations=iterations), JacobianOperator(space_map, x)
        ours, residual = method.with_residual(operator, 10, seeded())
        assert ours.shape == (2, 10) and residual.shape == (2,) and residual.dtype == torch.float32
        assert torch.equal(spectrum(space_map, x, top_k=10, method=method, generator=seeded()), ours)
        residuals.append(residual)
        if iterations:
            missing = values[:10].double().log().sum() - log_volume(ours)
            assert (missing < residual + 1e-5).all()
    assert residuals[0].isnan().all()
    assert (residuals[1] > residuals[2]).all() and (residuals[2] > residuals[3]).all() and (residuals[3] < 1e-3).all()


def test_zero_and_broken_jacobians_spare_the_others():
    """A latent at the origin has no slope, one with NaN has none either; the third is as if it were alone."""
    matrix = torch.randn(20, 30, generator=seeded())
    space_map = FunctionMap(lambda x: x.square() @ matrix, 20, 30)
    x = torch.randn(3, 20, generator=seeded(1))
    x[0], x[1, 3] = 0, math.nan
    method = Subspace(oversample=4)
    values, residual = method.with_residual(JacobianOperator(space_map, x), 4, seeded())
    alone, gain = method.with_residual(JacobianOperator(space_map, x[2:]), 4, seeded())
    assert (values[0] == 0).all() and residual[0] == 0
    assert values[1].isnan().all() and residual[1].isnan()
    torch.testing.assert_close(values[2:], alone)
    torch.testing.assert_close(residual[2:], gain, rtol=1e-3, atol=1e-5)
    basis = shared_basis(space_map, x[1:], 6, max_memory=None)
    assert spectrum(space_map, x[2:], top_k=6, method="shared", basis=basis).isfinite().all()


def test_a_shared_subspace_is_found():
    """Every latent's Jacobian reads the same five directions, with other weights: the basis spans them."""
    directions = orthonormal(torch.randn(20, 5, generator=seeded()))
    matrix = torch.randn(5, 30, generator=seeded(1))
    space_map = FunctionMap(lambda x: torch.tanh(x @ directions) @ matrix, 20, 30)
    basis = shared_basis(space_map, torch.randn(10, 20, generator=seeded(2)), 5, max_memory=None)
    torch.testing.assert_close(basis @ basis.T, directions @ directions.T, atol=1e-4, rtol=0)
    x = torch.randn(4, 20, generator=seeded(3))
    ours = spectrum(space_map, x, top_k=5, method="shared", basis=basis)
    torch.testing.assert_close(ours, spectrum(space_map, x, top_k=5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("domain", ["sphere", "gaussian"])
def test_a_composition_starts_from_its_first_part(domain):
    """Half the directions of w move the image, each latent has its own in z: a basis in w finds them, one in z cannot.

    Truncation is the second part's."""
    network = small_stylegan2(z_dim=24, w_dim=24)
    space_map = get_space(network, "pixel", domain=domain, psi=0.7)
    first, second = space_map.parts
    x = latents(space_map, 6)
    torch.testing.assert_close(second(first(x)), space_map(x))
    torch.testing.assert_close(
        JacobianOperator(space_map, x, at_once=5).columns(torch.eye(24).expand(6, -1, -1)),
        jacobian_columns(space_map, x, torch.eye(24)),
        rtol=1e-3, atol=1e-5,
    )  # fmt: skip
    u = torch.randn(6, 3, space_map.out_dim, generator=seeded(4))
    torch.testing.assert_close(
        JacobianOperator(space_map, x, at_once=2).rows(u), jacobian_rows_each(space_map, x, u), rtol=1e-3, atol=1e-3
    )
    exact = spectrum(space_map, x, top_k=5)
    options = dict(top_k=5, method="subspace", oversample=4, iterations=0)
    composed = spectrum(space_map, x, generator=seeded(), **options)
    plain = FunctionMap(space_map, 24, space_map.out_dim)
    missing = [
        (log_volume(exact) - log_volume(s)).mean()
        for s in (composed, spectrum(plain, x, generator=seeded(), **options))
    ]
    assert missing[0] < missing[1] / 2


def test_log_volumes_of_the_embedded_network_keep_their_order():
    """The level of `shared` is far below what other draws of sixty give: 0.9990 to 0.9998."""
    space_map, k = get_space(load_network("mnist32"), "pixel"), 15
    x = latents(space_map, 60)
    exact = spectrum(space_map, x, top_k=k)
    ours = spectrum(space_map, x, top_k=k, method="subspace", generator=seeded())
    basis = shared_basis(space_map, latents(space_map, 40, seed=1), k + 6, max_memory=None)
    on_basis = spectrum(space_map, x, top_k=k, method="shared", basis=basis)
    assert_below(ours, exact)
    assert_below(on_basis, exact)
    assert spearmanr(log_volume(ours), log_volume(exact)).statistic >= 0.9995
    assert spearmanr(log_volume(on_basis), log_volume(exact)).statistic >= 0.998
    assert (log_volume(exact) - log_volume(ours)).mean() < 0.05


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(method="shared"), "needs a basis: learn one with shared_basis"),
        (dict(method="shared", basis=torch.eye(9)), r"shape \[9, 9\], the space z:w needs \[8, q\]"),
        (dict(method="shared", basis=torch.ones(8)), r"shape \[8\], the space z:w needs \[8, q\]"),
        (dict(method="shared", basis=torch.eye(8)[:, :2]), "top_k 3 exceeds the 2 directions of the basis"),
        (dict(method="subspace", oversample=-1), "oversample must be at least 0, not -1"),
        (dict(method="subspace", iterations=-2), "iterations must be at least 0, not -2"),
        (dict(method="subspace", iteration=1), "has no setting 'iteration'; its settings: oversample, iterations"),
        (dict(method="exact", oversample=1), "the method exact has no setting 'oversample'; it has none"),
        (dict(method=Subspace(), oversample=1), "the method subspace has its settings already; leave out oversample"),
        (dict(method="subspace", max_memory=10), "raise --max-memory"),
        (dict(method="power"), "known methods: exact, projected, subspace, shared"),
    ],
)
def test_refusals_name_the_value_and_the_remedy(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        spectrum(get_space(tiny, "style"), torch.randn(1, 8), top_k=3, **options)


@pytest.mark.parametrize("q", [0, 9])
def test_a_basis_has_as_many_directions_as_the_space_allows(tiny, q):
    with pytest.raises(ValueError, match=f"a basis of {q} directions is outside 1 to 8"):
        shared_basis(get_space(tiny, "style"), torch.randn(2, 8), q, max_memory=None)


def test_a_basis_needs_a_finite_jacobian():
    with pytest.raises(ValueError, match="no latent to learn a basis from has a finite Jacobian"):
        shared_basis(bent_map(6, 4), torch.full([2, 6], math.nan), 2, max_memory=None)


@pytest.mark.bitwise
def test_compiled_products_fall_back_in_one_line(monkeypatch):
    """The numbers of the plain map, by a compiler that works and by one that does not."""
    space_map = get_space(small_stylegan2(z_dim=24, w_dim=24), "pixel")
    x = latents(space_map, 3)
    expected = spectrum(space_map, x, top_k=4, method="subspace", generator=seeded())
    calls = []

    def works(function, **options):
        return lambda *args: calls.append(function) or function(*args)

    def fails(function, **options):
        def compiled(*args):
            raise RuntimeError("no compiler found\nand more")

        return compiled

    monkeypatch.setattr(torch, "compile", works)
    ours = spectrum(CompiledMap(space_map), x, top_k=4, method="subspace", generator=seeded())
    assert torch.equal(ours, expected) and len(calls) == 3
    monkeypatch.setattr(torch, "compile", fails)
    with pytest.warns(
        UserWarning, match=r"torch.compile does not work here \(no compiler found\): products run"
    ) as told:
        ours = spectrum(CompiledMap(space_map), x, top_k=4, method="subspace", generator=seeded())
    assert torch.equal(ours, expected) and len(told) == 2  # one for each kind of product


def test_half_precision_is_asked_for_and_costs_digits():
    space_map = get_space(small_stylegan2(z_dim=24, w_dim=24), "pixel")
    x = latents(space_map, 3)
    exact = spectrum(space_map, x, top_k=4)
    torch.testing.assert_close(spectrum(space_map, x, top_k=4, precision="tf32"), exact)  # a CPU knows no TF32
    rough = spectrum(space_map, x, top_k=4, precision="bf16")
    assert rough.dtype == torch.float32
    assert 1e-4 < ((rough - exact).abs() / exact).max() < 0.5
    with pytest.raises(ValueError, match="unknown precision 'fp8'; known ones: float32, tf32, bf16"):
        spectrum(space_map, x, top_k=4, precision="fp8")
