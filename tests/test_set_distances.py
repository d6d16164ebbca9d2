"""F1 of precision and recall, the Hausdorff distance, and precision along an order of the generated images."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch

from latent_plugins.metrics.accumulators import Table
from latent_plugins.metrics.f1 import F1, f1
from latent_plugins.metrics.hausdorff import hausdorff_distance
from latent_plugins.metrics.marginal_precision import marginal_precision, precise
from latent_plugins.metrics.names import parse_metric
from latent_plugins.metrics.precision_recall import exact_precision_recall, precision_recall


def test_f1_is_the_harmonic_mean():
    """The published table's first line: precision 0.912, recall 0.937, F1 0.924."""
    assert f1(0.912, 0.937) == pytest.approx(0.924, abs=5e-4)
    assert f1(0.0, 0.0) == 0 and f1(1.0, 0.0) == 0 and f1(0.7, 0.7) == pytest.approx(0.7)


def directed(a, b):
    return scipy.spatial.distance.directed_hausdorff(a, b)[0]


@pytest.mark.parametrize("n, m, size", [(40, 70, 1 << 29), (70, 40, 20_000), (33, 33, 5_000)])
def test_the_hausdorff_distance_is_scipy_s(n, m, size):
    """Also far from the origin, and in blocks."""
    random = np.random.RandomState(n)
    a, b = random.randn(n, 5) + 100, random.randn(m, 5) * 1.5 + 100
    expected = max(directed(a, b), directed(b, a))
    assert hausdorff_distance(a, b, max_memory=size) == pytest.approx(expected, rel=1e-12)
    assert hausdorff_distance(b, a, max_memory=size) == pytest.approx(expected, rel=1e-12)
    assert hausdorff_distance(a, a[::-1].copy(), max_memory=size) == 0


def test_the_hausdorff_distance_by_hand():
    """Of {0, 1} to {0, 5}: 5 is 4 from 1, and 1 is 1 from 0. One outlier decides."""
    assert hausdorff_distance(np.array([[0.0], [1]]), np.array([[0.0], [5]])) == 4
    with pytest.raises(ValueError, match="the Hausdorff distance: the generated features are not all finite"):
        hausdorff_distance(np.zeros((3, 1)), np.array([[0.0], [np.nan]]))


def table(x):
    found = Table(len(x))
    found.add(torch.from_numpy(x))
    return found


def test_f1_of_features_is_that_of_their_precision_and_recall():
    random = np.random.RandomState(0)
    real, generated = random.randn(200, 4).astype(np.float32), (1.3 * random.randn(150, 4)).astype(np.float32)
    found = F1.figures(parse_metric("f1_150k4"), table(real), table(generated), seed=0, progress=lambda x, *rest: x)
    assert found == {"f1_150k4": f1(*precision_recall(real, generated, k=4))}


def test_marginal_precision_by_hand():
    """In rising order: in in | in out | out out; of the Wilson intervals the middle one is 0.5 ± 0.4055."""
    found = marginal_precision([False, True, True, False, True, False], [9.0, 1, 2, 8, 3, 4], parts=3)
    assert found.images.tolist() == [2, 2, 2] and found.kept == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.marginal.tolist() == [1, 0.5, 0] and found.kept_precision.tolist() == [1, 0.75, 0.5]
    assert (found.low[1], found.high[1]) == (pytest.approx(0.0945, abs=1e-3), pytest.approx(0.9055, abs=1e-3))


def test_marginal_precision_falls_where_the_order_says_what_is_out():
    """Latents of two modes on a line: what is drawn between them is out, and steep."""
    z = np.random.RandomState(1).randn(4000)
    images, slope = np.tanh(20 * z)[:, None], 20 / np.cosh(20 * z) ** 2
    real = np.sign(np.random.RandomState(2).randn(300))[:, None] * (1 - 0.01 * np.random.RandomState(3).rand(300, 1))
    inside = precise(real, images)
    found = marginal_precision(inside, slope)
    assert found.marginal[0] == 1 and found.marginal[-1] < 0.1 and (np.diff(found.kept_precision) <= 0).all()
    assert found.kept_precision[-1] == pytest.approx(exact_precision_recall(real, images)[0], abs=0.01)
    shuffled = marginal_precision(inside, np.random.RandomState(4).permutation(slope))
    assert (shuffled.low < inside.double().mean().item() + 0.06).all() and shuffled.marginal[-1] > 0.7


def test_orders_that_make_no_sense_are_refused():
    for inside, order, parts, message in [
        ([True, False], [1.0], 1, "one number of the order an image"),
        ([True, False], [1.0, 2], 3, "in 3 parts"),
        ([True, False], [1.0, np.inf], 2, "1 of the numbers to order images by are not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            marginal_precision(inside, order, parts)
