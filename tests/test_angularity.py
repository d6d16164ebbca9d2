"""Theorem 4 on adjacent regions: of exact partitions, and where paths cross from one region into the next."""

import math

import numpy as np
import pytest
import torch
from conftest import small_stylegan2
from helpers.family_files import WRITERS
from helpers.maps import FunctionMap, normal, seeded
from helpers.pwa_networks import convolutional_network, corner_network, flat_network, one_hidden_layer, random_network
from helpers.small_networks import small_stylegan3
from torch import nn

from dnnlib_compat.loader import load_network
from latent_plugins.geometry.angularity import partition_angles, path_angles
from latent_plugins.geometry.crossings import BentMap, GreatCircle, Line, crossings, path_between
from latent_plugins.geometry.partition import Slice, exact_partition
from latent_plugins.geometry.piecewise import activation_code
from latent_plugins.geometry.subspaces import subspace_angles
from latent_plugins.spaces import get_space, to_sphere

SQUARE = Slice(np.zeros(2), np.eye(2), -1.0, 1.0)
SQUARE_CORNERS = torch.tensor([[-0.99, -0.97], [0.98, 0.96], [-0.95, 0.98], [0.97, -0.99]], dtype=torch.float64)


def published(a, b):
    """‖P(A) − P(B)‖₂ by its formula, P(A) = A (AᵀA)⁻¹ Aᵀ, of slopes [out, in] of full rank."""
    a, b = a.numpy(), b.numpy()
    p, q = (m @ np.linalg.inv(m.T @ m) @ m.T for m in (a, b))
    return np.linalg.norm(p - q, 2)


@pytest.mark.parametrize("n_out, n_in", [(3, 1), (7, 3), (4, 4)])
def test_the_distance_of_projections_is_the_published_one(n_out, n_in):
    a, b = normal(6, n_out, n_in), normal(6, n_out, n_in, seed=1)
    expected = [published(*pair) for pair in zip(a, b)]
    np.testing.assert_allclose(subspace_angles(a, b).sin().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.3, math.pi / 2])
def test_small_and_large_angles_are_accurate(angle):
    """Lines in the plane at this angle, and planes in space that share an axis."""
    line = torch.tensor([[[math.cos(angle)], [math.sin(angle)], [0.0]]], dtype=torch.float64)
    axis = torch.eye(3, dtype=torch.float64)[None, :, 2:]
    flat = torch.eye(3, dtype=torch.float64)[None, :, :1]
    assert subspace_angles(flat, line).item() == pytest.approx(angle, rel=1e-9, abs=1e-16)
    planes = torch.cat([flat, axis], dim=2), torch.cat([3 * line + axis, axis], dim=2)
    assert subspace_angles(*planes).item() == pytest.approx(angle, abs=1e-15)


def test_spans_of_other_dimensions_are_at_a_right_angle():
    plane, line = torch.eye(3, 2)[None], torch.tensor([[[1.0, 2], [0, 0], [0, 0]]])
    assert subspace_angles(plane, line).tolist() == subspace_angles(line, plane).tolist() == [math.pi / 2]
    assert subspace_angles(line, 2 * line.flip(2)).item() == pytest.approx(0, abs=1e-15)
    zeros = torch.zeros(1, 3, 2)
    assert subspace_angles(zeros, zeros).item() == 0 and subspace_angles(zeros, line).item() == math.pi / 2
    assert subspace_angles(torch.full((1, 3, 2), torch.nan), plane).isnan().all()
    with pytest.raises(ValueError, match="matrices must be"):
        subspace_angles(plane, torch.zeros(1, 4, 2))


def test_adjacent_regions_of_the_corner_by_hand():
    """Four pieces lie in the plane x₂ = 0, the corner beyond z₀ + z₁ = 1 in that of (2, 0, 3) and (0, 1, 3).

    Its normal is (2, 0, 3) × (0, 1, 3) = (−3, −6, 2), of length 7, whose cosine with e₂ is 2/7: sin θ = √45 / 7.
    """
    found = partition_angles(exact_partition(corner_network(), SQUARE))
    assert len(found.sine) == 5 and sorted(found.sine.tolist())[:4] == pytest.approx([0] * 4, abs=1e-12)
    assert found.sine.max().item() == pytest.approx(math.sqrt(45) / 7, abs=1e-12)
    assert found.angle.max().item() == pytest.approx(math.acos(2 / 7), abs=1e-12)
    # Across an axis both of its units switch, across the third line one does.
    assert found.hamming[found.sine > 0.1].tolist() == [1] and found.hamming[found.sine < 0.1].tolist() == [2] * 4
    assert (found.ranks == 2).all()


def test_pieces_that_lose_dimensions():
    """(z₀⁺, z₁⁺): a plane next to two lines, both next to a point."""
    found = partition_angles(exact_partition(flat_network(), SQUARE))
    assert found.angle.tolist() == [math.pi / 2] * 4 and found.hamming.tolist() == [1] * 4
    assert sorted(sorted(ranks) for ranks in found.ranks.tolist()) == [[0, 1], [0, 1], [1, 2], [1, 2]]


def test_a_partition_and_paths_through_it_agree():
    """A straight path finds the borders and angles of the exact partition, and those are the published ones."""
    network = random_network(4, [2, 7, 6, 5], [nn.LeakyReLU(0.3), nn.LeakyReLU(-0.2)])
    partition = exact_partition(network, SQUARE)
    every = partition_angles(partition)
    angles = dict(zip(map(tuple, every.pairs.tolist()), every.sine))
    slope = torch.from_numpy(partition.slope)
    for (i, j), sine in angles.items():
        assert sine.item() == pytest.approx(published(slope[i], slope[j]), abs=1e-12)
    bent, checked = BentMap(network), 0
    for path in (Line(SQUARE_CORNERS[0], SQUARE_CORNERS[1]), Line(SQUARE_CORNERS[2], SQUARE_CORNERS[3])):
        found = crossings(bent, path)
        ts = [0.0, *(each.t for each in found), 1.0]
        middles = torch.stack([path((a + b) / 2) for a, b in zip(ts, ts[1:])])
        visited = partition.locate(middles.numpy()).tolist()
        sines = path_angles(network, [path]).sine.tolist()
        for crossing, i, j, sine in zip(found, visited, visited[1:], sines):
            for region, states in ((i, crossing.before), (j, crossing.after)):
                assert torch.equal(torch.cat([s.flatten() for s in states]), torch.from_numpy(partition.codes[region]))
                torch.testing.assert_close(bent.slope(crossing.z, states), slope[region], rtol=1e-12, atol=1e-12)
            assert j in partition.neighbours[i]
            assert sine == pytest.approx(angles[min(i, j), max(i, j)].item(), abs=1e-12)
            checked += 1
    assert checked >= 10


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.LeakyReLU(0.2), nn.Hardtanh(-0.5, 1.5), nn.ReLU6(), nn.Hardsigmoid()]
)
def test_no_border_of_a_straight_path_is_missed(activation):
    """Codes at the middles between crossings are theirs, and a fine grid sees no other code."""
    network = random_network(2, [5, 12, 9, 4], [activation, nn.ReLU()])
    path = Line(-2 * normal(5), 3 * normal(5, seed=1))
    found = crossings(BentMap(network), path)
    assert len(found) >= 8
    ts = torch.tensor([0.0, *(each.t for each in found), 1.0], dtype=torch.float64)
    assert (ts.diff() > 0).all()
    grid = torch.linspace(0, 1, 4001, dtype=torch.float64)
    grid = grid[(grid[:, None] - ts).abs().amin(dim=1) > 1e-9]
    codes = activation_code(network, torch.stack([path(t) for t in grid]))
    held = [found[0].before, *(each.after for each in found)]
    held = torch.stack([torch.cat([s.flatten() for s in states]) for states in held])
    assert torch.equal(codes, held[torch.searchsorted(ts, grid) - 1])
    for each in found:
        joined = [torch.cat([s.flatten() for s in states]) for states in (each.before, each.after)]
        assert each.hamming == (joined[0] != joined[1]).sum()


def test_images_bend_where_the_held_maps_meet():
    """At a crossing both affine maps give one output; beyond it the network follows the second."""
    network, path = convolutional_network(), Line(normal(2), -normal(2))
    bent = BentMap(network)
    found = crossings(bent, path, most=6)
    assert len(found) == 6
    for each in found:
        values = [bent.run(each.z, states)[0] for states in (each.before, each.after)]
        torch.testing.assert_close(*values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space", ["style", "pixel"])
def test_great_circles_through_a_network_on_the_sphere(space):
    space_map = get_space(small_stylegan2(z_dim=8, w_dim=16), space)
    z = to_sphere(torch.randn(2, 8, generator=seeded()))
    path, bent = path_between(*z, space_map.domain), BentMap(space_map)
    torch.testing.assert_close(bent.run(z[:1].double())[0].float(), space_map(z[:1]), rtol=1e-4, atol=1e-5)
    found = crossings(bent, path, most=5)
    assert len(found) == 5
    ts = [0.0, *(each.t for each in found)]
    for before, after, states in zip(ts, ts[1:], [each.before for each in found]):
        middle = path(torch.tensor((before + after) / 2, dtype=torch.float64))[None]
        assert middle.norm().item() == pytest.approx(math.sqrt(8))
        assert all(torch.equal(a, b) for a, b in zip(bent.states(middle), states))
    angles = path_angles(space_map, [path], most=2)
    assert (angles.ranks == 7).all() and (angles.hamming >= 1).all()  # the radial direction is lost
    assert (angles.sine > 1e-9).all() and (angles.sine < 1).all()
    slopes = [bent.slope(found[0].z, states) for states in (found[0].before, found[0].after)]
    bases = [torch.linalg.svd(slope).U[:, :7] for slope in slopes]
    assert angles.sine[0].item() == pytest.approx(published(*bases), abs=1e-9)


@pytest.mark.parametrize("family", ["biggan", "dcgan", "progan", "stylegan3"])
def test_generators_of_other_families(family, tmp_path):
    """In float64 they are themselves, though they ask for float32, and states hold up to a border and change there."""
    generator = small_stylegan3() if family == "stylegan3" else load_network(WRITERS[family](tmp_path))
    c = torch.eye(generator.c_dim)[0] if generator.c_dim else None
    space_map = get_space(generator, "pixel", c=c)
    z = space_map.enter(generator.sample_prior(2, seeded()))
    bent, path = BentMap(space_map), path_between(*z, space_map.domain)
    outputs = bent.run(z[:1].double())[0]
    assert outputs.dtype == torch.float64
    torch.testing.assert_close(outputs.float(), space_map(z[:1]), rtol=1e-3, atol=1e-4)
    first, second = crossings(bent, path, most=2)
    for t, states in ((first.t / 2, first.before), ((first.t + second.t) / 2, first.after)):
        seen = bent.states(path(torch.tensor(t, dtype=torch.float64))[None])
        assert all(torch.equal(a, b) for a, b in zip(seen, states))


def test_a_smooth_bend_is_found_by_root_finding():
    """(sin 9 t)⁺ along a line: breaks at multiples of π / 9, with slopes 9 cos and 0 on either side."""
    wave = FunctionMap(lambda x: torch.relu(torch.sin(9 * x)), 1, 1)
    found = crossings(
        BentMap(wave), Line(torch.tensor([0.1], dtype=torch.float64), torch.tensor([1.1], dtype=torch.float64))
    )
    expected = [math.pi / 9 - 0.1, 2 * math.pi / 9 - 0.1, 3 * math.pi / 9 - 0.1]
    assert [each.t for each in found] == pytest.approx(expected, abs=1e-10)
    slopes = [BentMap(wave).slope(found[0].z, states).item() for states in (found[0].before, found[0].after)]
    assert slopes == pytest.approx([-9, 0], abs=1e-8)


def test_several_units_on_one_border_are_one_crossing():
    network = one_hidden_layer([[1.0], [-2.0], [3.0]], [0.0, 0.0, 0.0], [[1.0, 1.0, 1.0]], [0.0])
    (found,) = crossings(BentMap(network), Line(torch.tensor([-1.0]), torch.tensor([3.0])))
    assert (found.t, found.hamming) == (0.25, 3)
    assert [found.before[0].tolist(), found.after[0].tolist()] == [[[0, 1, 0]], [[1, 0, 1]]]
    # A path along a border, and one that starts on it.
    assert crossings(BentMap(flat_network()), Line(torch.tensor([0.0, 0.5]), torch.tensor([0.0, 2.0]))) == []
    assert crossings(BentMap(flat_network()), Line(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.5]))) == []
    (second,) = crossings(BentMap(flat_network()), Line(torch.tensor([0.0, 0.5]), torch.tensor([1.0, -0.5])))
    assert second.t == 0.5 and [states.tolist() for states in second.before] == [[[1, 1]]]


def test_the_number_of_crossings_can_be_bounded():
    network = random_network(2, [5, 12, 9, 4], [nn.ReLU(), nn.ReLU()])
    paths = [Line(normal(5, seed=s), normal(5, seed=s + 1)) for s in range(3)]
    found = path_angles(network, paths, most=2)
    assert found.pairs.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]


def test_bad_input():
    with pytest.raises(ValueError, match="no ReLUs or other hard units"):
        path_angles(FunctionMap(torch.tanh, 2, 2), [Line(torch.zeros(2), torch.ones(2))])
    with pytest.raises(ValueError, match="no path leaves its region"):
        path_angles(corner_network(), [Line(torch.full((2,), 2.0), torch.full((2,), 3.0))])
    for end, message in ((torch.ones(3), "does not take latents of 3"), (torch.full((2,), torch.nan), "not finite")):
        with pytest.raises(ValueError, match=message):
            path_angles(corner_network(), [Line(torch.zeros_like(end), end)])
    with pytest.raises(ValueError, match="single region"):
        partition_angles(exact_partition(nn.Sequential(nn.Linear(2, 3)), SQUARE))
    with pytest.raises(ValueError, match="unknown domain 'torus'"):
        path_between(torch.zeros(2), torch.ones(2), "torus")
    for end in (torch.tensor([1.0, 2.0]), torch.tensor([-3.0, -6.0])):
        with pytest.raises(ValueError, match="no one great circle"):
            GreatCircle(torch.tensor([1.0, 2.0]), end)
