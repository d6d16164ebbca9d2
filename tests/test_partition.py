"""Exact partitions against regions derived by hand and against activation codes on dense grids."""

import math

import numpy as np
import PIL.Image
import pytest
import torch
from helpers.pwa_networks import (
    CORNER_REGIONS,
    convolutional_network,
    corner_network,
    flat_network,
    one_hidden_layer,
    random_network,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from latent_plugins.geometry.partition import (
    AREA_TOLERANCE,
    Slice,
    exact_partition,
    sampled_partition,
    slice_along,
    slice_through,
)
from latent_plugins.geometry.partition_plot import save_partition
from latent_plugins.geometry.piecewise import Bend, activation_code, affine_map, layers
from latent_plugins.spaces import get_space

SQUARE = Slice(np.zeros(2), np.eye(2), -1, 1)
MARGIN = 1e-9  # pre-activations closer to a break than this may be decided by rounding
GREY, MIDDLE_OF_VIRIDIS = (211, 211, 211), (33, 145, 140)
ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky": nn.LeakyReLU(0.1),
    "steep": nn.LeakyReLU(3.0),
    "fold": nn.LeakyReLU(-1.0),
    "none": nn.LeakyReLU(1.0),
    "clamp": nn.Hardtanh(-0.3, 0.7),
    "relu6": nn.ReLU6(),
    "hard sigmoid": nn.Hardsigmoid(),
}


def grid(slice, n=40):
    axes = [np.linspace(low, high, n) for low, high in zip(slice.low, slice.high)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


def decided(network, z):
    """Where each activation is clear of its breaks: [N, bits] bool."""
    clear = []
    for layer in layers(network):
        if isinstance(layer, Bend):
            clear.append(torch.stack([(z - at).abs() > MARGIN for at in layer.breaks]).all(dim=0).flatten(1))
        z = layer(z)
    return torch.cat(clear, dim=1).numpy()


def contains(vertices, points, slack):
    """Whether points [N, 2] lie in the convex polygon of these corners, or within about `slack` of it."""
    edges = np.roll(vertices, -1, axis=0) - vertices
    away = points[:, None] - vertices
    cross = edges[:, 0] * away[:, :, 1] - edges[:, 1] * away[:, :, 0]
    return (cross >= -slack * np.linalg.norm(edges, axis=1)).all(axis=1)


def shoelace(vertices):
    x, y = vertices.T
    return 0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1))


def check_partition(network, slice, partition):
    """What holds of every partition."""
    assert partition.exact
    areas = np.array([shoelace(region.vertices) for region in partition])
    np.testing.assert_allclose(partition.area, areas, rtol=1e-6, atol=1e-14 * slice.area)
    np.testing.assert_allclose(areas.sum(), slice.area, rtol=1e-9)
    assert areas.min() > AREA_TOLERANCE * slice.area / 2
    codes = [region.code for region in partition]
    assert len(set(codes)) == len(codes)
    for i, region in enumerate(partition):
        assert len(region.neighbours) > 0 or len(partition) == 1
        for j in region.neighbours:
            assert i in partition[j].neighbours and codes[i] != codes[j]

    points = grid(slice)
    z = slice.latents(points)
    expected, clear = activation_code(network, z).numpy(), decided(network, z)
    inside = np.array([contains(region.vertices, points, 1e-9) for region in partition])
    assert inside.any(axis=0).all()
    for i, region in enumerate(partition):
        ours = np.frombuffer(region.code, dtype=np.int8)
        # On the border of two regions a point belongs to both; the one that it is deep in says its code.
        deep = contains(region.vertices, points, -1e-7)
        assert ((ours == expected[deep]) | ~clear[deep]).all()
        image = points[deep] @ region.slope.T + region.offset
        scale = max(1, np.abs(region.slope).max(), np.abs(region.offset).max())
        np.testing.assert_allclose(image, network(z[deep]).detach().flatten(1), rtol=0, atol=1e-10 * scale)
        assert (partition.locate(points[deep]) == i).all()
    seen = {code.tobytes() for code, sure in zip(expected, clear.all(axis=1)) if sure}
    assert seen <= set(codes)


def test_a_one_hidden_layer_network_by_hand():
    network = corner_network()
    partition = exact_partition(network, SQUARE)
    check_partition(network, SQUARE, partition)
    assert len(partition) == len(CORNER_REGIONS)
    index = {name: int(partition.locate([place])[0]) for name, (place, *_) in CORNER_REGIONS.items()}
    assert sorted(index.values()) == list(range(5))
    for name, (place, area, volume, neighbours, bounded) in CORNER_REGIONS.items():
        region = partition[index[name]]
        assert region.area == pytest.approx(area, rel=1e-12)
        assert math.exp(region.log_volume) == pytest.approx(volume, rel=1e-12)
        assert set(region.neighbours) == {index[other] for other in neighbours}  # not those that share a corner
        assert region.bounded == bounded
        assert region.code == activation_code(network, torch.tensor([place])).numpy().tobytes()
    corner = partition[index["corner"]]
    np.testing.assert_allclose(corner.slope, [[2, 0], [0, 1], [3, 3]], atol=1e-15)
    np.testing.assert_allclose(corner.offset, [0, 0, -3], atol=1e-15)
    np.testing.assert_allclose(sorted(map(tuple, corner.vertices)), [[0, 1], [1, 0], [1, 1]], atol=1e-12)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    inputs=st.integers(2, 4),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    names=st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=3, max_size=3),
    tilted=st.booleans(),
)
@example(seed=0, inputs=2, widths=[9, 9, 9], names=["relu", "relu", "relu"], tilted=False)
def test_random_networks_against_grids_of_codes(seed, inputs, widths, names, tilted):
    network = random_network(seed, (inputs, *widths, 2), [ACTIVATIONS[name] for name in names[: len(widths)]])
    if tilted:
        rng = np.random.default_rng(seed)
        slice = slice_along(rng.normal(size=inputs), rng.normal(size=(2, inputs)), low=[-2, -1], high=[1, 3])
    else:
        slice = Slice(np.zeros(inputs), np.eye(inputs)[:2], -2, 2)
    check_partition(network, slice, exact_partition(network, slice))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), exponent=st.integers(4, 16))
def test_nearly_degenerate_lines_open_no_gaps(seed, exponent):
    # Integer lines that meet in points and run along edges, and copies of them that are off by very little.
    generator = torch.Generator().manual_seed(seed)
    network = random_network(seed, (2, 6, 6, 2), [nn.ReLU(), nn.LeakyReLU(-0.5)])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.round_()
            parameter[1::2] += 10.0**-exponent * torch.randn(parameter[1::2].shape, generator=generator)
    slice = Slice(np.zeros(2), np.eye(2), -2, 2)
    check_partition(network, slice, exact_partition(network, slice))


def test_a_convolutional_generator():
    network, slice = convolutional_network(), Slice(np.zeros(2), np.eye(2), -2, 2)
    partition = exact_partition(network, slice)
    assert len(partition) > 50
    check_partition(network, slice, partition)


def test_degenerate_activations_cut_nothing():
    # Zero slope with either sign and none at all, a duplicate, and lines along an edge, through a corner, beyond it.
    weight = [[0.0, 0], [0, 0], [0, 0], [1, 0], [3, 0], [-1, 0], [0, 1], [1, 1], [1, 1]]
    bias = [1.0, -1, 0, 0, 0, 0, 1, -2, 2.5]
    network = one_hidden_layer(weight, bias, [[1.0] * 9], [0.0])
    partition = exact_partition(network, SQUARE)
    check_partition(network, SQUARE, partition)
    left, right = (partition[int(i)] for i in partition.locate([[-0.5, 0.3], [0.5, 0.3]]))
    assert len(partition) == 2 and left.area == right.area == 2
    assert list(left.code) == [1, 0, 0, 0, 0, 1, 1, 0, 1] and list(right.code) == [1, 0, 0, 1, 1, 0, 1, 0, 1]
    assert left.neighbours != right.neighbours and not left.bounded


def test_a_clamp_that_rests_on_a_bound_is_shut():
    network = one_hidden_layer([[0.0, 0], [0, 0], [0, 0]], [-1.0, 1, 0], [[1.0] * 3], [0.0], nn.Hardtanh())
    partition = exact_partition(network, SQUARE)
    assert len(partition) == 1 and list(partition[0].code) == [0, 2, 1]
    assert activation_code(network, torch.zeros(1, 2)).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize("width, regions", [(1e-9, 3), (1e-13, 2)])
def test_slivers_below_the_tolerance_go_to_a_neighbour(width, regions):
    network = one_hidden_layer([[1.0, 0], [1, 0]], [0.0, -width], [[1.0, 1.0]], [0.0])
    partition = exact_partition(network, SQUARE)
    check_partition(network, SQUARE, partition)
    assert len(partition) == regions


def test_lines_through_one_point_meet_in_one_vertex():
    angles = np.arange(7) * np.pi / 7 + 0.1
    weight = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = np.array([0.2, -0.3])
    network = one_hidden_layer(weight.tolist(), (-weight @ centre).tolist(), [[1.0] * 7], [0.0])
    partition = exact_partition(network, SQUARE)
    check_partition(network, SQUARE, partition)
    assert len(partition) == 14
    assert all(np.linalg.norm(region.vertices - centre, axis=1).min() < 1e-12 for region in partition)
    assert all(len(region.neighbours) == 2 for region in partition)


def test_regions_with_one_affine_map_stay_apart():
    # Output weight zero, and a slope of one on both sides.
    ignored = one_hidden_layer([[1.0, 0], [0, 1]], [0.0, 0.0], [[1.0, 0.0]], [0.0])
    straight = one_hidden_layer([[1.0, 0], [0, 1]], [0.0, 0.0], [[1.0, 0.0]], [0.0], nn.LeakyReLU(1.0))
    for network in (ignored, straight):
        partition = exact_partition(network, SQUARE)
        check_partition(network, SQUARE, partition)
        assert len(partition) == 4


def test_an_affine_network_has_one_region():
    network = nn.Sequential(nn.Linear(5, 3), nn.Flatten())
    slice = slice_along(np.zeros(5), np.random.default_rng(0).normal(size=(2, 5)), low=-2, high=[1, 2])
    partition = exact_partition(network, slice)
    assert len(partition) == 1 and partition[0].code == b"" and partition[0].neighbours == ()
    np.testing.assert_allclose(partition[0].slope, network[0].weight.detach().numpy() @ slice.axes.T, rtol=1e-12)


def test_slopes_without_full_rank_have_no_volume():
    partition = exact_partition(flat_network(), SQUARE)
    volumes = {tuple(np.sign(region.vertices.mean(axis=0))): region.log_volume for region in partition}
    assert volumes == {(1, 1): 0.0, (1, -1): -math.inf, (-1, 1): -math.inf, (-1, -1): -math.inf}


def test_the_network_is_left_as_it_is():
    network = corner_network().float()
    network[0].weight.requires_grad_(True)
    before = [parameter.clone() for parameter in network.parameters()]
    exact_partition(network, SQUARE)
    assert all(torch.equal(a, b) and b.dtype == torch.float32 for a, b in zip(before, network.parameters()))


def test_locate_tells_points_off_the_rectangle():
    partition = exact_partition(corner_network(), SQUARE)
    found = partition.locate([[0.8, 0.7], [1.5, 0.0], [0.0, -1.01], [-1.0, -1.0]])
    assert found[0] >= 0 and found[3] >= 0 and found[1] == found[2] == -1
    assert partition.locate(np.zeros((0, 2))).shape == (0,)


def test_slices_through_latents():
    z = np.random.default_rng(0).normal(size=(3, 6))
    slice = slice_through(*torch.tensor(z), margin=0.5)
    np.testing.assert_allclose(slice.axes @ slice.axes.T, np.eye(2), atol=1e-14)
    places = (z - z[0]) @ slice.axes.T
    np.testing.assert_allclose(slice.latents(places).numpy(), z, atol=1e-12)
    np.testing.assert_allclose(places[1], [np.linalg.norm(z[1] - z[0]), 0], atol=1e-12)
    low, high = places.min(axis=0), places.max(axis=0)
    np.testing.assert_allclose([slice.low, slice.high], [low - 0.5 * (high - low), high + 0.5 * (high - low)])
    assert slice.area == pytest.approx(np.prod(slice.high - slice.low)) and places[2, 1] > 0


def test_areas_in_slice_coordinates_are_areas_among_latents():
    slice = slice_along(np.ones(3), [[3.0, 0.0, 4.0], [1.0, 1.0, 1.0]])
    corners = slice.latents(slice.corners).numpy()
    a, b = corners[1] - corners[0], corners[3] - corners[0]
    assert np.linalg.norm(np.cross(a, b)) == pytest.approx(slice.area, rel=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros(2), np.eye(2), 1, -1), "low .* must lie below"),
        ((np.zeros(2), np.eye(2), [-1, 0], [1, 0]), "low .* must lie below"),
        ((np.zeros(2), np.eye(2), -1, math.inf), "high must be finite"),
        ((np.zeros(2), np.zeros((2, 2)), -1, 1), "not orthonormal"),
        ((np.zeros(2), 2 * np.eye(2), -1, 1), "not orthonormal"),
        (([0, math.nan], np.eye(2), -1, 1), "origin must be finite"),
        ((np.zeros(3), np.eye(2), -1, 1), r"not \[3\] and \[2, 2\]"),
        ((np.zeros((1, 2)), np.eye(2), -1, 1), r"not \[1, 2\]"),
        ((np.zeros(2), np.eye(2), [-1, -1, -1], 1), "low must be one number or two"),
    ],
)
def test_slices_that_are_no_rectangle_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Slice(*arguments)


@pytest.mark.parametrize("second", [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [1.0, 1.0, math.nan], [1.0, 1.0, 1 + 1e-12]])
def test_directions_that_span_no_plane_are_refused(second):
    first = [1.0, 1.0, 1.0]
    for directions in ([first, second], [second, first]):
        with pytest.raises(ValueError, match="zero or parallel|finite directions"):
            slice_along(np.zeros(3), directions)


def test_three_latents_on_a_line_are_refused():
    with pytest.raises(ValueError, match="zero or parallel"):
        slice_through(np.zeros(4), np.ones(4), 3 * np.ones(4))
    with pytest.raises(ValueError, match="three latents"):
        slice_through(np.zeros(4), np.ones(4), np.ones(3))


def test_networks_that_do_not_fit_are_refused(tiny):
    with pytest.raises(ValueError, match="StyleGAN2Generator"):
        exact_partition(tiny, SQUARE)
    with pytest.raises(ValueError, match="does not take latents of 3 entries"):
        exact_partition(corner_network(), Slice(np.zeros(3), np.eye(3)[:2], -1, 1))
    for layer, message in ((0, "activations"), (2, "outputs")):
        broken = corner_network()
        with torch.no_grad():
            broken[layer].weight[1, 0] = math.nan
        with pytest.raises(ValueError, match=f"{message} are not finite"):
            exact_partition(broken, SQUARE)


def test_too_many_regions_are_refused():
    with pytest.raises(ValueError, match="more than max_regions 4 regions"):
        exact_partition(corner_network(), SQUARE, max_regions=4)
    assert len(exact_partition(corner_network(), SQUARE, max_regions=5)) == 5


def test_a_sampled_partition_agrees_with_the_exact_one():
    network = random_network(3, (4, 8, 8, 3), [nn.LeakyReLU(0.2), nn.ReLU()])
    slice = slice_along(np.zeros(4), np.random.default_rng(1).normal(size=(2, 4)), low=[-1, -2], high=2)
    partition, sampled = exact_partition(network, slice), sampled_partition(network, slice, resolution=30)
    assert not sampled.exact and sampled.log_volume.dtype == np.float64
    assert sampled.points.shape == (30, 30, 2)
    np.testing.assert_allclose(sampled.points[0, 0], [-0.95, -2 + 4 / 60])
    np.testing.assert_allclose(sampled.points[0, 1] - sampled.points[0, 0], [0.1, 0], atol=1e-15)
    index = partition.locate(sampled.points.reshape(-1, 2)).reshape(30, 30)
    np.testing.assert_allclose(sampled.log_volume, partition.log_volume[index], rtol=1e-9)
    pairs = set(zip(sampled.code.ravel().tolist(), index.ravel().tolist()))
    assert len(pairs) == len(np.unique(index)) == len(np.unique(sampled.code))


@pytest.mark.bitwise
def test_any_map_can_be_sampled(tiny):
    space = get_space(tiny, "pixel")
    slice = slice_along(np.ones(8), np.random.default_rng(0).normal(size=(2, 8)))
    sampled = sampled_partition(space, slice, resolution=3)
    assert sampled.code is None
    z = slice.latents(sampled.points.reshape(-1, 2))
    along = affine_map(space, z).slope.double() @ torch.from_numpy(slice.axes.T)
    expected = torch.linalg.svdvals(along).log().sum(dim=1)
    np.testing.assert_allclose(sampled.log_volume.ravel(), expected, rtol=0, atol=1e-4)  # float32
    assert np.array_equal(sampled.log_volume, sampled_partition(space, slice, resolution=3).log_volume)
    with pytest.raises(ValueError, match="resolution must be at least 1, not 0"):
        sampled_partition(space, slice, resolution=0)
    with pytest.raises(ValueError, match="does not take latents of 2 entries"):
        sampled_partition(space, SQUARE)


@pytest.fixture(params=["exact", "sampled"])
def partition(request):
    return (exact_partition if request.param == "exact" else sampled_partition)(flat_network(), SQUARE)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_pictures(tmp_path, partition, suffix):
    path = tmp_path / f"regions{suffix}"
    save_partition(path, partition, title="four quadrants")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".svg":
        assert path.read_text().lstrip().startswith("<?xml") and "<svg" in path.read_text()
        return
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # A quarter of the square has a volume, the rest is grey: up to borders, which blend into both.
    grey, green = ((np.abs(pixels.astype(int) - colour).max(axis=1) <= 1).sum() for colour in (GREY, MIDDLE_OF_VIRIDIS))
    assert grey / green == pytest.approx(3, rel=0.1)


def test_pictures_of_other_formats_are_refused(tmp_path, partition):
    for name in ("regions.jpg", "regions"):
        with pytest.raises(ValueError, match="known suffixes are .png, .svg"):
            save_partition(tmp_path / name, partition)
    assert not list(tmp_path.iterdir())


def test_a_partition_without_any_volume_can_be_drawn(tmp_path):
    nothing = one_hidden_layer([[1.0, 0]], [0.0], [[1.0], [1.0]], [0.0, 0.0])
    for partition in (exact_partition(nothing, SQUARE), sampled_partition(nothing, SQUARE, resolution=4)):
        save_partition(tmp_path / "flat.png", partition)
        assert (tmp_path / "flat.png").stat().st_size > 1000
