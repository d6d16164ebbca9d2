"""Ranks of maps whose rank is known, what bounds them, and dropout noise."""

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import small_stylegan2
from helpers.maps import FunctionMap, seeded
from helpers.pwa_networks import convolutional_network, flat_network, one_hidden_layer

from dnnlib_compat.loader import load_network
from latent_plugins.geometry.dimension import TOLERANCE, intrinsic_dimension, knee, rank_bound, region_bounds
from latent_plugins.geometry.dropout import (
    KINDS,
    WIDTHS,
    dropped,
    noisy_dimensions,
    published_dimensions,
    random_generator,
)
from latent_plugins.spaces import get_space

LEVEL = 1e-3  # of every statistical test here


def matrix_with(values, n_out, n_in):
    """A matrix [n_out, n_in] with the given singular values."""
    left = torch.linalg.qr(torch.randn(n_out, len(values), generator=seeded(1), dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(n_in, len(values), generator=seeded(2), dtype=torch.float64)).Q
    return ((left * torch.tensor(values, dtype=torch.float64)) @ right.T).float()


def affine_map(matrix):
    return FunctionMap(lambda x: x @ matrix.T + 1, matrix.shape[1], matrix.shape[0])


def mlp(*widths, seed=0):
    torch.manual_seed(seed)
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).requires_grad_(False)


def as_map(network):
    return FunctionMap(network, network[0].in_features, network[-1].out_features)


@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("n_out, n_in", [(5, 9), (9, 5), (40, 7)])
def test_the_rank_of_affine_maps(rank, n_out, n_in):
    matrix = matrix_with([3.0 / (k + 1) for k in range(rank)], n_out, n_in)
    found = intrinsic_dimension(affine_map(matrix), torch.randn(4, n_in, generator=seeded()))
    assert found.dtype == torch.int64 and found.tolist() == [rank] * 4


def test_the_tolerance_is_relative_to_the_largest_value():
    values = [100.0, 1.0, 1e-2, 1e-3]
    space_map, x = affine_map(matrix_with(values, 12, 6)), torch.zeros(1, 6)
    counts = {t: intrinsic_dimension(space_map, x, tolerance=t).item() for t in (0.1, 5e-3, 5e-5, TOLERANCE)}
    assert list(counts.values()) == [1, 2, 3, 4]


def test_a_jacobian_of_zeros_has_dimension_zero_and_regions_differ():
    """G(x) = (x₁⁺, x₂⁺): a plane, a line or a point, region by region."""
    space_map = FunctionMap(torch.relu, 2, 2)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    assert intrinsic_dimension(space_map, x).tolist() == [2, 1, 0]


def test_chunks_change_nothing():
    space_map, x = as_map(mlp(6, 9, 4, 12)), torch.randn(7, 6, generator=seeded())
    apart = torch.cat([intrinsic_dimension(space_map, row) for row in x.split(1)])
    assert torch.equal(intrinsic_dimension(space_map, x, max_memory=20_000), apart)


def test_no_region_exceeds_the_bound():
    for seed, widths in enumerate([(8, 20, 20, 30), (8, 20, 5, 30), (8, 3, 20, 30), (8, 20, 20, 4)]):
        network = mlp(*widths, seed=seed)
        bound = rank_bound(network)
        assert bound == min(widths)
        dimensions = intrinsic_dimension(as_map(network), torch.randn(200, 8, generator=seeded()))
        assert dimensions.max() <= bound and dimensions.max() > 0


def test_the_bound_sees_ranks_below_the_widths():
    network = mlp(6, 10, 12)
    network[0].weight.copy_(matrix_with([2.0, 1.0], 10, 6))
    nested = torch.nn.Sequential(network, torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(12, 20)))
    assert rank_bound(network) == rank_bound(nested) == 2
    network[0].weight.zero_()
    assert rank_bound(network) == 0


def test_proposition_1_by_hand():
    """Quadrants of z ↦ (z₀⁺, z₁⁺); then a second layer that looks at z₁ alone: rank 1 on either side, product 0."""
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert region_bounds(flat_network(), z).tolist() == [2, 1, 1, 0]
    unit = [[1.0, 0.0], [0.0, 1.0]]
    network = one_hidden_layer(unit, [0.0, 0.0], [[0.0, 1.0]], [0.0])
    assert region_bounds(network, z).tolist() == [1, 1, 1, 0]
    assert intrinsic_dimension(FunctionMap(network, 2, 1), z).tolist() == [1, 0, 1, 0]
    leaky = one_hidden_layer(unit, [0.0, 0.0], unit, [0.0, 0.0], torch.nn.LeakyReLU(0.1))
    assert region_bounds(leaky, z).tolist() == [2] * 4
    alone = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    assert region_bounds(alone, z).tolist() == [2, 1, 1, 0]


def test_proposition_1_in_the_regions_of_a_narrow_network():
    """Layers of rank 6 throughout, but 6 ReLUs are seldom on at once; the published bound from NumPy's ranks."""
    network, z = mlp(6, 6, 6, 10), torch.randn(400, 6, generator=seeded())
    bound, dimension = region_bounds(network, z), intrinsic_dimension(as_map(network), z)
    assert rank_bound(network) == 6
    assert 2.6 < bound.double().mean() < 2.8 and bound.max() == 4
    assert (bound >= dimension).all() and dimension.double().mean() > 2.6
    for row, found in zip(z[:60], bound[:60]):
        least, x = 6, row
        for linear, relu in ((network[0], True), (network[2], True), (network[4], False)):
            x = linear(x)
            slopes = (x > 0).double().numpy() if relu else np.ones(len(x))
            least = min(least, np.linalg.matrix_rank(np.diag(slopes) @ linear.weight.double().numpy()))
            x = torch.relu(x) if relu else x
        assert found == least


def test_proposition_1_of_large_layers():
    """Behind random directions ranks up to the number of inputs stay what they are."""
    network = mlp(3, 300, 300, 20)
    network[2].weight.copy_(matrix_with([3.0, 2.0], 300, 300))
    assert region_bounds(network, torch.randn(4, 3, generator=seeded())).tolist() == [2] * 4
    network = mlp(3, 300, 300, 20)
    network[2].bias.fill_(-100.0)
    network[2].bias[7] = 100.0  # one unit of 300 is on
    assert region_bounds(network, torch.randn(4, 3, generator=seeded())).tolist() == [1] * 4


def test_proposition_1_of_convolutions_and_clamps():
    network, z = convolutional_network(), 2 * torch.randn(40, 2, generator=seeded(), dtype=torch.float64)
    found = intrinsic_dimension(FunctionMap(lambda x: network(x).flatten(1), 2, 32), z)
    assert (region_bounds(network, z) >= found).all()
    clamp = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU6()).double().requires_grad_(False)
    clamp[0].weight.copy_(torch.eye(2))
    clamp[0].bias.zero_()
    corners = torch.tensor([[1.0, 1], [7, 1], [7, -1]], dtype=torch.float64)
    assert region_bounds(clamp, corners).tolist() == [2, 1, 0]


@pytest.mark.parametrize("layer", [torch.nn.Conv2d(1, 1, 1), torch.nn.Softmax(dim=1), torch.nn.BatchNorm1d(4)])
def test_layers_without_a_known_rank_are_refused(layer):
    with pytest.raises(ValueError, match=type(layer).__name__):
        rank_bound(torch.nn.Sequential(torch.nn.Linear(4, 4), layer))
    with pytest.raises(ValueError, match="no Linear layer"):
        rank_bound(torch.nn.Sequential(torch.nn.ReLU()))


@pytest.mark.parametrize("kind", ["dropout", "dropconnect"])
def test_dropout_noise(kind):
    network, rate = mlp(50, 200, 200, 60), 0.3
    before = [p.clone() for p in network.parameters()]
    noisy = dropped(network, rate, seeded(5), kind, outputs=False)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before))  # the original is untouched
    again = dropped(network, rate, seeded(5), kind, outputs=False)
    assert all(torch.equal(a, b) for a, b in zip(noisy.parameters(), again.parameters()))
    assert all(torch.equal(a, b) for a, b in zip([p for p in noisy.parameters() if p.ndim == 1], before[1::2]))
    gone = lost = 0
    for layer, (old, new) in enumerate(zip(before[::2], list(noisy.parameters())[::2])):
        zero = new == 0
        if kind == "dropout" and layer == 0:
            assert torch.equal(old, new)  # what enters here is the latent, no hidden unit
            continue
        torch.testing.assert_close(new[~zero], old[~zero] / (1 - rate))
        if kind == "dropconnect":
            gone, lost = gone + zero.numel(), lost + int(zero.sum())
        else:
            assert torch.equal(zero, zero[:1].expand_as(zero))  # a silent unit is silent for all that it feeds
            gone, lost = gone + zero.shape[1], lost + int(zero[0].sum())
    assert scipy.stats.binomtest(lost, gone, rate).pvalue > LEVEL


@pytest.mark.bitwise
def test_dropout_lowers_the_dimension():
    network = mlp(20, 22, 40)
    x = torch.randn(50, 20, generator=seeded())
    whole = intrinsic_dimension(as_map(network), x)
    for kind in ("dropout", "dropconnect"):
        noisy = dropped(network, 0.5, seeded(1), kind)
        found = intrinsic_dimension(as_map(noisy), x)
        assert (found <= rank_bound(noisy)).all()
        if kind == "dropout":  # the units that stay are the same, some are silent: rank can only fall
            assert (found <= whole).all() and found.float().mean() < 0.7 * whole.float().mean()
    silent = dropped(network, 0.0, seeded(1))
    assert torch.equal(silent(x), network(x))


def test_dropout_silences_outputs_as_equation_7_has_it():
    network, x = mlp(5, 8, 400), torch.randn(3, 5, generator=seeded())
    noisy = dropped(network, 0.3, seeded(2))
    silent = (noisy(x) == 0).all(dim=0)
    assert scipy.stats.binomtest(int(silent.sum()), 400, 0.3).pvalue > LEVEL
    whole = dropped(network, 0.3, seeded(2), outputs=False)
    assert (whole(x) != 0).any(dim=0).all()
    torch.testing.assert_close(noisy(x)[:, ~silent], whole(x)[:, ~silent] / 0.7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_dimensions_under_noise_are_those_of_noisy_networks(kind, slope):
    """The same law as `dropped` and `intrinsic_dimension`, by the mean ranks of many draws."""
    network = random_generator(seeded(3), inputs=4, width=5, outputs=6, slope=slope)
    found = noisy_dimensions(network, 0.3, seeded(4), kind, draws=1500)
    assert found.noisy.shape == found.whole.shape == (1500, 1)
    random, slow = seeded(5), []
    for _ in range(150):
        z = torch.randn(1, 4, generator=random, dtype=torch.float64)
        noisy = dropped(network, 0.3, random, kind)
        slow.append(intrinsic_dimension(as_map(noisy), z))
    assert scipy.stats.ttest_ind(found.noisy[:, 0], torch.cat(slow), equal_var=False).pvalue > LEVEL
    if kind == "dropout":
        assert found.noisy.double().mean() < found.whole.double().mean() - 0.3
    still = noisy_dimensions(network, 0.0, seeded(4), kind, draws=50, regions=3)
    assert torch.equal(still.noisy, still.whole) and still.whole.shape == (50, 3)


def test_dimensions_under_noise_by_hand():
    """One layer of weights 1 × 1, dropped as a weight or as an output: dimension 1 with probability 1 − rate."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 1)).requires_grad_(False)
    network[0].weight.fill_(2.0)
    for kind in KINDS:
        found = noisy_dimensions(network, 0.3, seeded(6), kind, draws=2000)
        assert scipy.stats.binomtest(int(found.noisy.sum()), 2000, 0.7).pvalue > LEVEL
        assert found.whole.min() == 1
    assert noisy_dimensions(network, 0.3, seeded(6), outputs=False, draws=50).noisy.min() == 1


def test_what_figure_2_observes():
    """Dropconnect keeps 6 dimensions in narrow networks, dropout does not; wide ones keep them under both."""
    found = published_dimensions(0, draws=300)
    assert set(found) == {(kind, rate, width) for kind in KINDS for rate in (0.1, 0.3) for width in WIDTHS}
    mean = {key: each.noisy.double().mean() for key, each in found.items()}
    assert all(each.noisy.min() >= 0 and each.noisy.max() <= each.whole.max() == 6 for each in found.values())
    assert mean["dropconnect", 0.3, 6] > 5.8 and mean["dropconnect", 0.1, 6] > 5.9
    assert mean["dropout", 0.3, 6] < mean["dropout", 0.1, 6] < 5.4
    # At most six outputs of ten are left now and then, whatever the width: P(fewer than 6 | 0.3) = 0.15.
    assert mean["dropout", 0.1, 48] > 5.95 and mean["dropout", 0.3, 48] > 5.6
    # Two hidden layers of six units, three outputs of ten too many: E min of binomials.
    counts = np.arange(7)
    survive = scipy.stats.binom.sf(counts - 1, 6, 0.9) ** 2 * scipy.stats.binom.sf(counts - 1, 10, 0.9)
    assert mean["dropout", 0.1, 6] == pytest.approx(survive[1:].sum(), abs=0.2)


@pytest.mark.parametrize("corner", [2, 5, 7])
def test_the_knee_of_a_bent_line_is_its_corner(corner):
    """Logarithms that fall by 1 an entry up to the corner and by 0.1 after it, with a level for each latent."""
    k = torch.arange(12, dtype=torch.float64)
    curve = -(k.clamp(max=corner) + 0.1 * (k - corner).clamp(min=0))
    levels = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)[:, None]
    found = knee((curve + levels).exp())
    assert found.index == corner
    torch.testing.assert_close(found.curve, curve + 2)
    chord = curve[0] + (curve[-1] - curve[0]) * corner / 11
    assert found.height == pytest.approx(abs(curve[corner] - chord).item())


def test_knees_of_lines_zeros_and_broken_latents():
    line = 0.5 ** torch.arange(6.0, dtype=torch.float64)
    assert knee(line[None]).height < 1e-12
    values = torch.tensor([[4.0, 4.0, 0.0], [1.0, 1.0, 1e-20], [0.0, 0.0, 0.0], [1.0, torch.nan, 0.1]])
    found = knee(values)
    assert found.index == 1 and found.curve.isfinite().all()
    torch.testing.assert_close(found.curve[1].exp().item(), 2.0)  # the zeros' row and the broken one are left out
    torch.testing.assert_close((found.curve[2] - found.curve[0]).exp().item(), TOLERANCE)


def test_generators_on_the_sphere_lose_the_radial_direction():
    space_map = get_space(small_stylegan2(z_dim=8, w_dim=16), "style")
    x = space_map.enter(torch.randn(5, 8, generator=seeded()))
    assert space_map.domain == "sphere"
    assert intrinsic_dimension(space_map, x).tolist() == [7] * 5


def test_the_embedded_network():
    space_map = get_space(load_network("mnist32"), "pixel")
    found = intrinsic_dimension(space_map, space_map.enter(torch.randn(2, 64, generator=seeded())))
    assert (found >= 60).all() and (found <= 63).all()


def test_bad_input():
    space_map, x = as_map(mlp(3, 4, 5)), torch.zeros(2, 3)
    for tolerance in (0, 1, -1e-3, float("nan")):
        with pytest.raises(ValueError, match="tolerance"):
            intrinsic_dimension(space_map, x, tolerance=tolerance)
    for wrong in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match=r"\[N, 3\]"):
            intrinsic_dimension(space_map, wrong)
    with pytest.raises(ValueError, match="not finite at 1 latents, the first is number 1"):
        intrinsic_dimension(FunctionMap(torch.sqrt, 3, 3), torch.tensor([[1.0, 1, 1], [-1, 1, 1]]))
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            dropped(mlp(3, 4, 5), rate, seeded())
    with pytest.raises(ValueError, match="unknown kind of noise 'droppath'"):
        dropped(mlp(3, 4, 5), 0.5, seeded(), "droppath")
    with pytest.raises(ValueError, match="at least 1 of both"):
        noisy_dimensions(mlp(3, 4, 5), 0.5, seeded(), draws=0)
    for wrong in (torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh()), torch.nn.Sequential(torch.nn.ReLU())):
        with pytest.raises(ValueError, match="Linear"):
            noisy_dimensions(wrong, 0.5, seeded())
    with pytest.raises(ValueError, match="not GRU"):
        region_bounds(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GRU(3, 3)), x)
    with pytest.raises(ValueError, match="does not take latents of 4"):
        region_bounds(mlp(3, 4, 5), torch.zeros(2, 4))
    for spectra in (torch.ones(3), torch.ones(2, 2)):
        with pytest.raises(ValueError, match="at least 3"):
            knee(spectra)
    with pytest.raises(ValueError, match="usable"):
        knee(torch.zeros(2, 4))
