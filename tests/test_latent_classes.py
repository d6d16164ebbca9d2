"""Classes whose place in latent space is known; concentration around given features."""

import math
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from helpers.maps import normal, seeded
from hypothesis import given
from hypothesis import strategies as st

from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.mnist_classifier import load_mnist_classifier
from latent_plugins.geometry.concentration import COVARIANCES, ball_share, mixture_likelihood
from latent_plugins.geometry.latent_classes import (
    class_precision_correlation,
    convexity_accuracy,
    linear_separability,
    simplicial_structure,
)
from latent_plugins.spaces import to_sphere

LEVEL = 1e-3  # of every statistical test here


def identity(z):
    return z


# ---------------------------------------------------------------------------------------------------------------------
# Linear separability


def test_clusters_apart_are_separable():
    labels = torch.arange(300) % 3
    z = normal(300, 5) + 12 * torch.eye(3, 5, dtype=torch.float64)[labels]
    found = linear_separability(z, 7 + 2 * labels, generator=seeded())
    assert found.accuracy == 1 and found.held_out == 75 and found.largest == pytest.approx(1 / 3)


def test_random_labels_are_told_by_chance():
    m, n = 4, 4000
    labels = torch.randint(m, (n,), generator=seeded(1))
    found = linear_separability(normal(n, 10), labels, generator=seeded(2), held_out=0.5)
    right = round(found.accuracy * found.held_out)
    assert scipy.stats.binomtest(right, found.held_out, 1 / m).pvalue > LEVEL


def test_classes_that_no_plane_parts():
    """Inside and outside of a sphere that halves the normal distribution: no better than guessing."""
    z = normal(2000, 3)
    labels = (z.norm(dim=1) > math.sqrt(scipy.stats.chi2(3).ppf(0.5))).long()
    found = linear_separability(z, labels, generator=seeded(), held_out=0.5)
    assert abs(found.accuracy - 0.5) < 0.08
    assert linear_separability(z, (z[:, 0] > 0).long(), generator=seeded(), held_out=0.5).accuracy > 0.97


def test_every_class_is_held_out_and_learned_whatever_its_size():
    labels = torch.tensor([0] * 50 + [1] * 2 + [2] * 9)
    z = 20 * torch.eye(3)[labels] + normal(61, 3).float()
    found = linear_separability(z, labels, generator=seeded(), held_out=0.1)
    assert (found.held_out, found.accuracy) == (5 + 1 + 1, 1) and found.largest == pytest.approx(5 / 7)
    assert linear_separability(z, labels, generator=seeded(), held_out=0.99).accuracy > 0.5
    z, labels = normal(200, 4), torch.arange(200) % 5
    again = [linear_separability(z, labels, generator=seeded(s)) for s in (3, 3, 4)]
    assert again[0] == again[1] != again[2]


def test_scikit_learn_is_optional(monkeypatch):
    for module in ("linear_model", "mixture"):
        monkeypatch.setitem(sys.modules, f"sklearn.{module}", None)
    message = r"pip install 'latent-plugins\[geometry\]'"
    with pytest.raises(ValueError, match=message):
        linear_separability(normal(8, 2), torch.arange(8) % 2, generator=seeded())
    with pytest.raises(ValueError, match=message):
        mixture_likelihood(normal(8, 2), normal(8, 2), clusters=[1])


# ---------------------------------------------------------------------------------------------------------------------
# Convexity


def test_convex_classes_are_convex():
    z = normal(200, 3)
    for domain in ("gaussian", "sphere"):
        labels = (z[:, 0] > 0).long()  # half spaces, and half spheres
        found = convexity_accuracy(identity, lambda x: (x[:, 0] > 0).long(), z, labels, 500, seeded(), domain)
        assert found.accuracy == 1 and found.per_class.tolist() == [1, 1] and found.pairs.sum() == 500


def test_a_class_in_two_pieces():
    """Class 7 at −1 and 1, class 3 at 0: a pair across, k / (2k − 1) of all, is in class 7 on half of its way."""
    k, n = 4, 6000
    z = torch.tensor([-1.0] * k + [1.0] * k + [0.0] * 8)[:, None]
    labels = torch.tensor([7] * 2 * k + [3] * 8)
    found = convexity_accuracy(
        identity, lambda x: torch.where(x[:, 0].abs() > 0.5, 7, 3), z, labels, n, seeded(), "gaussian"
    )
    assert found.classes.tolist() == [3, 7] and found.pairs.sum() == n
    assert scipy.stats.binomtest(int(found.pairs[1]), n, 0.5).pvalue > LEVEL
    assert found.per_class[0] == 1
    right = round(found.per_class[1].item() * int(found.pairs[1]))
    assert scipy.stats.binomtest(right, int(found.pairs[1]), 1 - 0.5 * k / (2 * k - 1)).pvalue > LEVEL
    assert found.accuracy == pytest.approx((found.per_class * found.pairs).sum().item() / n)


def test_points_are_uniform_on_the_arc_between_latents():
    """Two latents a right angle apart, of any length: the angle is uniform, and the length is √d."""
    seen = []

    def classify(points):
        seen.append(points)
        return torch.zeros(len(points), dtype=torch.long)

    z = torch.tensor([[3.0, 0], [0, 0.2], [1, 1]], dtype=torch.float64)
    convexity_accuracy(identity, classify, z, torch.tensor([0, 0, 1]), 3000, seeded(), "sphere")
    points = torch.cat(seen)
    torch.testing.assert_close(points.norm(dim=1), torch.full((3000,), math.sqrt(2), dtype=torch.float64))
    angle = torch.atan2(points[:, 1], points[:, 0]) / (math.pi / 2)
    assert scipy.stats.kstest(angle.numpy(), "uniform").pvalue > LEVEL


def test_equal_latents_are_their_own_geodesic():
    z = torch.tensor([[1.0, 2, 3]] * 2 + [[1, 0, 0]])
    seen = []
    convexity_accuracy(
        identity, lambda x: seen.append(x) or torch.zeros(len(x)), z, torch.tensor([0, 0, 1]), 5, seeded(), "sphere"
    )
    torch.testing.assert_close(seen[0], to_sphere(z[:1]).expand(5, 3))


def test_pairs_are_of_different_latents_of_one_class():
    """With classes that are single points, apart from a label's own number, every pair is within its class."""
    z = torch.arange(12.0)[:, None]
    labels = torch.arange(12) % 5  # two or three latents a class
    seen = []

    def classify(points):
        seen.append(points[:, 0])
        return torch.zeros(len(points), dtype=torch.long)

    found = convexity_accuracy(identity, classify, z, labels, 3000, seeded(), "gaussian")
    points = torch.cat(seen)
    assert not (points == points.round()).any()  # strictly between two latents
    assert (found.pairs > 0).all()
    expected = np.array([3, 3, 2, 2, 2]) / 12 * 3000
    assert scipy.stats.chisquare(found.pairs.numpy(), expected).pvalue > LEVEL
    single = convexity_accuracy(identity, lambda x: torch.zeros(len(x)), z, torch.tensor([0] * 11 + [1]), 9, seeded())
    assert single.pairs.tolist() == [9, 0] and single.per_class[1].isnan() and single.accuracy == 1


# ---------------------------------------------------------------------------------------------------------------------
# Simplex


def simplex(m, d, seed=0):
    """The m corners of a regular simplex, turned and moved in R^d."""
    corners = torch.eye(m, dtype=torch.float64) - 1 / m
    return corners @ torch.linalg.qr(normal(d, m, seed=seed)).Q.T + normal(d, seed=seed + 1)


@pytest.mark.parametrize("m, d", [(3, 3), (4, 6), (10, 64)])
def test_a_regular_simplex_scores_one(m, d):
    labels = torch.arange(5 * m) % m
    spread = normal(5 * m, d)
    for k in range(m):  # clusters that scatter, but whose means are the corners
        spread[labels == k] -= spread[labels == k].mean(dim=0)
    found = simplicial_structure(3 * simplex(m, d)[labels] + spread, labels + 20)
    assert found.score == pytest.approx(1, abs=1e-9)
    expected = torch.full((m, m), -1 / (m - 1), dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(found.cosines, expected)


def test_scores_by_hand():
    """Means at −2, 1 and 1: cosines −1, −1 and 1 instead of −1/2; deviations ½, ½, 3/2 of at most 3/2 each."""
    z = torch.tensor([[-2.0, 0], [1, 0], [1, 0]])
    assert simplicial_structure(z, torch.arange(3)).score == pytest.approx(1 - (0.5 + 0.5 + 1.5) / 4.5)
    # A square's corners: cosines 0, 0, −1 with each other, and −1/3 would be right.
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    expected = 1 - (4 * 1 / 3 + 2 * 2 / 3) / 6 * 3 / 4
    assert simplicial_structure(square, torch.arange(4)).score == pytest.approx(expected)


@given(m=st.integers(3, 8), d=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_scores_lie_between_zero_and_one(m, d, seed):
    assert 0 <= simplicial_structure(normal(m, d, seed=seed), torch.arange(m)).score <= 1


def test_random_labels_come_near_in_many_dimensions():
    m, d = 10, 400
    z, labels = normal(5000, d), torch.randint(m, (5000,), generator=seeded(1))
    score = simplicial_structure(z, labels).score
    assert score == pytest.approx(1 - math.sqrt(2 / math.pi) * (m - 1) / (m * math.sqrt(d)), abs=0.01)


# ---------------------------------------------------------------------------------------------------------------------
# Rank correlation


def test_rank_correlations():
    scores = torch.tensor([0.1, 0.5, 0.2, 0.9])
    rising = class_precision_correlation(scores, scores**3)
    assert rising.spearman == pytest.approx(1) and rising.p_value < 0.01
    assert class_precision_correlation(scores, -scores).spearman == pytest.approx(-1)
    a, b = normal(30).tolist(), normal(30, seed=1).round().tolist()  # with ties
    expected = scipy.stats.spearmanr(a, b)
    found = class_precision_correlation(a, b)
    assert (found.spearman, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


# ---------------------------------------------------------------------------------------------------------------------
# Concentration


def test_balls_by_hand():
    real = torch.tensor([[0.0, 0], [10, 0]])
    generated = torch.tensor([[0.0, 0], [3, 4], [0, 1], [10, 1], [50, 50]])
    found = ball_share(generated, real, [0, 1, 5, 1000])
    assert found.share.tolist() == pytest.approx([0.2, 0.6, 0.8, 1])
    assert found.counts.tolist() == [[1, 0], [2, 1], [3, 1], [5, 5]]
    assert found.epsilons.tolist() == [0, 1, 5, 1000]


@pytest.mark.parametrize("max_memory", [1 << 29, 4000])
def test_shares_are_those_of_all_distances(max_memory):
    generated, real, epsilons = normal(150, 6), normal(80, 6, seed=1), [0.5, 1.5, 2.5]
    inside = torch.cdist(generated, real)[None] <= torch.tensor(epsilons)[:, None, None]
    for dtype in (torch.float32, torch.float64):
        found = ball_share(generated.to(dtype), real, epsilons, max_memory=max_memory)
        assert torch.equal(found.counts, inside.sum(dim=1))
        torch.testing.assert_close(found.share, inside.any(dim=2).double().mean(dim=1))


def test_one_real_feature_and_whole_numbers_are_welcome():
    found = ball_share(np.array([[3], [5]]), np.array([[4]]), 1)
    assert found.share.tolist() == [1] and found.counts.tolist() == [[2]]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_cluster_is_one_normal_distribution(covariance):
    x, y = normal(200, 3) @ torch.tensor([[2.0, 0.5, 0], [0, 1, 0], [0, 0, 3]]).double() + 4, normal(50, 3, seed=1) + 4
    matrix = np.cov(x.numpy().T, bias=True)
    if covariance == "diag":
        matrix = np.diag(np.diag(matrix))
    if covariance == "spherical":
        matrix = np.eye(3) * np.trace(matrix) / 3
    expected = (
        scipy.stats.multivariate_normal(x.mean(dim=0).numpy(), matrix + 1e-6 * np.eye(3)).logpdf(y.numpy()).mean()
    )
    found = mixture_likelihood(x, y, clusters=[1], covariance=covariance)
    assert found.log_likelihood.item() == pytest.approx(expected, rel=1e-5) and found.converged.all()


@pytest.mark.bitwise
def test_the_right_number_of_clusters_is_the_best_one():
    """Three clusters far apart: each of them is found, and more clusters gain nothing on held-out features."""

    def sample(n, seed):
        return normal(n, 2, seed=seed) + 30 * torch.eye(3, 2, dtype=torch.float64)[torch.arange(n) % 3]

    found = mixture_likelihood(sample(600, 0), sample(600, 1), clusters=(1, 2, 3, 12), seed=1)
    assert found.clusters.tolist() == [1, 2, 3, 12] and found.log_likelihood.argmax() == 2
    # In its own cluster a feature has the density of a standard normal one, and clusters have a third each.
    entropy = math.log(2 * math.pi * math.e) + math.log(3)
    # Half a squared length has the variance 1; 17 fitted parameters cost 17 / (2 · 600) on either side.
    error = scipy.stats.norm.isf(LEVEL / 2) * math.sqrt(1 / 600) + 17 / 600
    assert abs(found.log_likelihood[2].item() + entropy) < error
    again = mixture_likelihood(sample(600, 0), sample(600, 1), clusters=(1, 2, 3, 12), seed=1)
    assert torch.equal(found.log_likelihood, again.log_likelihood)


def test_the_embedded_network():
    network, classifier = load_network("mnist32"), load_mnist_classifier()
    z = torch.randn(300, 64, generator=seeded())

    def images(z):
        return network(z, torch.zeros(len(z), 0))

    def digits(pictures):
        return classifier(pictures).argmax(dim=1)

    pictures = torch.cat([images(part) for part in z.split(100)])
    labels = digits(pictures)
    assert linear_separability(z, labels, generator=seeded()).accuracy > 0.3
    convex = convexity_accuracy(images, digits, z, labels, 100, seeded(), "sphere")
    shuffled = convexity_accuracy(
        images, digits, z, labels[torch.randperm(300, generator=seeded(1))], 100, seeded(), "sphere"
    )
    assert convex.accuracy > 0.5 > shuffled.accuracy
    assert 0.5 < simplicial_structure(z, labels).score < 1
    features = classifier.features(pictures)
    shares = ball_share(features[:150], features[150:], [0.0, 10.0, 1e3]).share
    assert shares[0] == 0 < shares[1] <= shares[2] == 1
    found = mixture_likelihood(features[:200], features[200:], clusters=(1, 2), covariance="diag")
    assert found.log_likelihood.isfinite().all()


# ---------------------------------------------------------------------------------------------------------------------
# Bad input


def test_labels_that_do_not_fit():
    z, calls = normal(6, 2), []
    functions = [
        lambda z, labels: linear_separability(z, labels, generator=seeded()),
        lambda z, labels: convexity_accuracy(calls.append, calls.append, z, labels, 3, seeded()),
        simplicial_structure,
    ]
    for function in functions:
        for wrong in (torch.zeros(5, dtype=torch.long), torch.zeros(6), torch.zeros(6, 1, dtype=torch.long)):
            with pytest.raises(ValueError, match="N integer labels"):
                function(z, wrong)
        with pytest.raises(ValueError, match="at least two classes, not 1"):
            function(z, torch.zeros(6, dtype=torch.long))
    assert not calls


def test_bad_input_to_classes():
    z, labels = normal(6, 2), torch.arange(6) % 3
    for share in (0, 1, float("nan")):
        with pytest.raises(ValueError, match="share held out"):
            linear_separability(z, labels, generator=seeded(), held_out=share)
    with pytest.raises(ValueError, match="class 9 has a single latent"):
        linear_separability(z, torch.tensor([0, 0, 1, 1, 1, 9]), generator=seeded())
    with pytest.raises(ValueError, match="unknown domain 'torus'"):
        convexity_accuracy(identity, identity, z, labels, 3, seeded(), "torus")
    with pytest.raises(ValueError, match="at least one point"):
        convexity_accuracy(identity, identity, z, labels, 0, seeded())
    with pytest.raises(ValueError, match="no class has two latents"):
        convexity_accuracy(identity, identity, z, torch.arange(6), 3, seeded())
    with pytest.raises(ValueError, match="one class a point, 3 in all"):
        convexity_accuracy(identity, identity, z, labels, 3, seeded())
    with pytest.raises(ValueError, match="at least three classes, not 2"):
        simplicial_structure(z, torch.arange(6) % 2)
    with pytest.raises(ValueError, match="class 2 has no direction"):
        simplicial_structure(torch.tensor([[1.0], [-1], [0]]), torch.arange(3))
    for a, b in (([1.0, 2], [1.0, 2]), ([1.0, 2, 3], [1.0, 2])):
        with pytest.raises(ValueError, match="at least three classes"):
            class_precision_correlation(a, b)
    for name, a, b in (("scores", [1.0, 1, 1], [1.0, 2, 3]), ("precision", [1.0, 2, 3], [1.0, 2, float("nan")])):
        with pytest.raises(ValueError, match=f"the {name} must be finite and not all equal"):
            class_precision_correlation(a, b)


def test_bad_input_to_concentration():
    x, y = normal(4, 3), normal(5, 3)
    for function, names in ((lambda a, b: ball_share(a, b, [1.0]), "generated"), (mixture_likelihood, "fitted")):
        for wrong in (torch.zeros(3), torch.zeros(0, 3)):
            with pytest.raises(ValueError, match=rf"the {names} features must be \[N, F\]"):
                function(wrong, y)
        with pytest.raises(ValueError, match="not all finite"):
            function(x / 0, y)
        with pytest.raises(ValueError, match="2 dimensions"):
            function(x[:, :2], y)
    for epsilons in ([], [-1.0], [float("nan")]):
        with pytest.raises(ValueError, match="epsilons"):
            ball_share(x, y, epsilons)
    for clusters in ([], [0], [5]):
        with pytest.raises(ValueError, match="do not make mixtures"):
            mixture_likelihood(x, y, clusters=clusters)
    with pytest.raises(ValueError, match="unknown covariance 'round'"):
        mixture_likelihood(x, y, covariance="round")
