"""Metrics of features: the published programs' figures, closed forms, brute force."""

import itertools
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDENS
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_plugins.metrics import half_distances as halves
from latent_plugins.metrics import neighbours
from latent_plugins.metrics.density_coverage import density_coverage, prdc
from latent_plugins.metrics.earth_mover import earth_mover_distance
from latent_plugins.metrics.fid import frechet_distance
from latent_plugins.metrics.half_distances import HalfDistances, half_distances
from latent_plugins.metrics.inception_score import inception_score
from latent_plugins.metrics.kid import kernel_distance
from latent_plugins.metrics.precision_recall import exact_precision_recall, precision_recall


@pytest.fixture(scope="module")
def golden():
    """(real, generated, probabilities, figures of the published programs)."""
    with np.load(GOLDENS / "metrics-real.npz") as real, np.load(GOLDENS / "metrics.npz") as rest:
        return real["real"], rest["gen"], rest["probs"], json.loads((GOLDENS / "metrics.json").read_text())


def moments(x, ddof=0):
    return x.mean(axis=0, dtype=np.float64), np.cov(x.astype(np.float64), rowvar=False, ddof=ddof)


def test_frechet_distances_are_the_published_ones(golden):
    real, generated, _, figures = golden
    ours = frechet_distance(*moments(generated), *moments(real))
    assert ours == pytest.approx(figures["stylegan3_fid"], rel=1e-10)
    ours = frechet_distance(*moments(real, ddof=1), *moments(generated, ddof=1))
    assert ours == pytest.approx(figures["pytorch_fid"], rel=1e-10)


def test_other_figures_are_the_published_ones(golden):
    real, generated, probabilities, figures = golden
    kid = kernel_distance(real, generated, subsets=20, max_subset_size=300, seed=7)
    assert kid == pytest.approx(figures["stylegan3_kid_seed7_subsets20_size300"], rel=1e-6)
    mean, std = inception_score(probabilities)
    assert mean == pytest.approx(figures["stylegan3_is_mean"], rel=1e-6)
    assert std == pytest.approx(figures["stylegan3_is_std"], rel=1e-6)
    # The published shares are float32; these two are of the published program with float32 distances.
    for name in ("stylegan3_pr_k3_float32features", "stylegan3_pr_k3_float16rounded"):
        assert np.float32(exact_precision_recall(real, generated)).tolist() == figures[name]
    assert prdc(real, generated) == figures["prdc_k5"]
    assert density_coverage(real, generated) == (figures["prdc_k5"]["density"], figures["prdc_k5"]["coverage"])
    emd = earth_mover_distance(real[:500], generated[:500])
    assert emd == pytest.approx(figures["emd_mean_pair_distance_first500"], rel=1e-12)


@pytest.mark.parametrize(
    "a, b",
    [
        (np.linspace(1, 2, 60), np.linspace(3, 1, 60)),
        (np.logspace(0, -12, 60), np.logspace(0.1, -12, 60)),  # ill-conditioned
        (np.r_[np.linspace(1, 2, 40), np.zeros(20)], np.r_[np.zeros(10), np.linspace(1, 2, 50)]),  # singular
        (np.r_[np.ones(30), np.zeros(30)], np.r_[np.zeros(30), np.ones(30)]),  # nothing in common
        (np.zeros(60), np.ones(60)),
    ],
)
def test_frechet_distance_of_commuting_covariances(a, b):
    random = np.random.RandomState(0)
    basis = np.linalg.qr(random.randn(60, 60))[0]
    mean_a, mean_b = random.randn(2, 60)
    cov_a, cov_b = basis * a @ basis.T, basis * b @ basis.T
    expected = np.square(mean_a - mean_b).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(mean_b, cov_b, mean_a, cov_a) == pytest.approx(expected, rel=1e-12)
    zero = frechet_distance(mean_a, cov_a, mean_a, cov_a)
    assert 0 <= zero <= 1e-12 * max(a.sum(), 1)


def test_frechet_distance_of_general_covariances():
    random = np.random.RandomState(1)
    a, b = (random.randn(20, 30) for _ in range(2))
    a, b = a @ a.T, b @ b.T
    root = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert frechet_distance(np.zeros(20), a, np.zeros(20), b) == pytest.approx(np.trace(a + b) - 2 * root, rel=1e-10)


@pytest.mark.bitwise
def test_kernel_distance_is_the_plain_estimator():
    random = np.random.RandomState(2)
    x, y = random.randn(40, 5), random.randn(40, 5) + 0.5
    kernel = lambda a, b: (a @ b.T / 5 + 1) ** 3  # noqa: E731
    off = ~np.eye(40, dtype=bool)
    expected = kernel(x, x)[off].mean() + kernel(y, y)[off].mean() - 2 * kernel(x, y).mean()
    assert kernel_distance(x, y, subsets=3, seed=0) == pytest.approx(expected, rel=1e-10)
    one, two, other = (kernel_distance(x, y, subsets=3, max_subset_size=20, seed=s) for s in (5, 5, 6))
    assert one == two != other


@pytest.mark.parametrize("mean, spread", [(30, 0.01), (100, 0.001)])
def test_kernel_distances_of_rounding_noise_are_warned_of(mean, spread):
    real, generated = (np.float32(mean + spread * x) for x in np.random.RandomState(5).randn(2, 600, 64))
    options = dict(subsets=6, max_subset_size=200, seed=0)
    exact = kernel_distance(real.astype(np.float64), generated.astype(np.float64), **options)
    with pytest.warns(UserWarning, match="vary too little beside their mean, .* give float64 features"):
        found = kernel_distance(real, generated, **options)
    assert abs(found - exact) > 2 * abs(exact)  # the warning is true
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel_distance(real.astype(np.float64), generated.astype(np.float64), **options)
        centre = real.mean(axis=0)
        kernel_distance((real - centre) / np.float32(spread), (generated - centre) / np.float32(spread), **options)


@pytest.mark.parametrize("mean, spread, shift", [(0, 1, 0), (0, 1, 0.5), (1, 0.5, 0), (3, 1, 0), (100, 1, 50)])
def test_kernel_distances_that_hold_are_not_warned_of(mean, spread, shift):
    """The small figure of equal distributions is no rounding noise: its standard error is far larger."""
    real, generated = (np.float32(mean + spread * x) for x in np.random.RandomState(6).randn(2, 600, 64))
    options = dict(subsets=6, max_subset_size=200, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = kernel_distance(real, generated + np.float32(shift), **options)
    exact = kernel_distance(real.astype(np.float64), (generated + np.float32(shift)).astype(np.float64), **options)
    assert found == pytest.approx(exact, rel=0.01)


def test_kernel_distance_is_unbiased():
    # 60 pairs of sets from one distribution: the mean is within four standard errors of zero, a chance of 1 in 15,000.
    # With its diagonal the kernel would be off by far more.
    random = np.random.RandomState(3)
    sets = random.randn(60, 2, 100, 16).astype(np.float32)
    found = np.array([kernel_distance(a, b, subsets=1, seed=0) for a, b in sets])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean()) < 4 * error
    assert 2 * ((sets[0, 0] ** 2).sum(1) / 16 + 1).mean() ** 3 / 100 > 20 * error


def features(kind, n, m, dimensions, seed):
    """Real [n, D] and generated [m, D] features, float32, of a kind that is hard in its own way."""
    random = np.random.RandomState(seed)
    a, b = random.randn(n, dimensions), random.randn(m, dimensions) * 0.8
    if kind == "ties":
        a, b = random.randint(-2, 3, a.shape), random.randint(-2, 3, b.shape)
    elif kind == "copies":
        pool = random.randn(n // 3 + 1, dimensions)
        a, b = pool[random.randint(len(pool), size=n)], np.where(random.rand(m, 1) < 0.5, b, pool[m % len(pool)])
    elif kind == "same":
        a = b = np.resize(a, b.shape)
    elif kind == "far":
        a, b = a + 300, b + 300
    elif kind == "clusters":  # tighter than float32 products can tell from their distance
        centres = random.randn(3, dimensions) * 1000
        a, b = a * 0.01 + centres[random.randint(3, size=n)], b * 0.01 + centres[random.randint(3, size=m)]
    return a.astype(np.float32), b.astype(np.float32)


def distances(a, b):
    """All distances, from differences; squared ones rounded to float32."""
    return np.sqrt(np.square(a[:, None].astype(np.float64) - b).sum(axis=2).astype(np.float32))


def kth(x, k):
    return np.sort(distances(x, x), axis=1)[:, k]  # the nearest is the row itself


def exactly_summed(*sets):
    """The sets on a grid so coarse that float32 sums of their products are exact, in whatever order and block."""
    longest = max(np.linalg.norm(x.astype(np.float64), axis=1).max() for x in sets)
    step = 2.0 ** np.ceil(np.log2(longest) - 11)
    return [np.float32(np.round(x / step) * step) for x in sets]


def published_precision_recall(real, generated, k=3):
    """As the published program has it: whole matrices of torch.cdist in float16."""
    real, generated = (torch.as_tensor(x).half() for x in (real, generated))
    shares = []
    for manifold, probes in ((real, generated), (generated, real)):
        radii = torch.cdist(manifold[None], manifold[None])[0].float().kthvalue(k + 1).values.half()
        inside = (torch.cdist(probes[None], manifold[None])[0] <= radii).any(dim=1)
        shares.append(inside.double().mean().item())
    return tuple(shares)


def seeded_features(seed, n=1500, dimensions=1024):
    """(real, generated) float32 [n, dimensions]: 12 causes and noise, the generated ones less spread.

    Multiples of 1/32, so that float32 sums of products are exact and no processor's order of summation shows.
    """
    random = np.random.RandomState(seed)
    mixing = random.randn(12, dimensions) / 12**0.5
    return tuple(
        np.float32(np.round(32 * (spread * random.randn(n, 12) @ mixing + 0.4 * random.randn(n, dimensions))) / 32)
        for spread in (1, 0.9)
    )


@pytest.mark.parametrize("case", json.loads((GOLDENS / "precision-recall.json").read_text()), ids=lambda c: c["seed"])
def test_precision_and_recall_are_the_published_programs(case):
    """Its own function's figures, which are float32 shares; the exact recall is below them."""
    real, generated = seeded_features(case["seed"])
    found = precision_recall(real, generated)
    assert np.float32(found).tolist() == [case["precision"], case["recall"]]
    exact = exact_precision_recall(real, generated)
    assert exact == (case["exact_precision"], case["exact_recall"])
    assert 0.0006 < found[1] - exact[1] < 0.0028


@pytest.mark.parametrize("kind", ["plain", "ties", "copies", "same", "far", "clusters"])
@pytest.mark.parametrize("dimensions", [1, 40, 300])
def test_float16_distances_are_taken_in_blocks(kind, dimensions):
    """Also where float16 tells little: the published program's whole matrices say the same."""
    real, generated = exactly_summed(*features(kind, 150, 120, dimensions, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of squared distances beyond float16
        published = published_precision_recall(real, generated, k=4)
        assert precision_recall(real, generated, k=4) == published
    small = seeded_features(7, 150, 30)  # whose figure no block changes
    published = published_precision_recall(*small)
    assert 0 < min(published) < max(published) < 1
    assert precision_recall(*small) == precision_recall(*small, max_memory=30_000) == published


def result(rounds):
    """What a generator returns."""
    while True:
        try:
            next(rounds)
        except StopIteration as stop:
            return stop.value


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["plain", "ties", "copies", "same", "far", "clusters"]),
    scale=st.sampled_from([1e-4, 0.02, 0.3, 1]),
    n=st.integers(12, 130),
    m=st.integers(12, 130),
    dimensions=st.sampled_from([1, 3, 40, 400]),
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 6),
    max_memory=st.sampled_from([60_000, neighbours.MAX_MEMORY]),
)
def test_float32_answers_what_float16_would(kind, scale, n, m, dimensions, seed, k, max_memory):
    sets = exactly_summed(*(x * np.float32(scale) for x in features(kind, n, m, dimensions, seed)))
    x, y = (torch.from_numpy(x).half() for x in sets)
    radii = half_distances(x, x).float().kthvalue(k).values.half()
    inside = (half_distances(y, x) <= radii).any(dim=1)
    distances = HalfDistances(x, y, max_memory=max_memory)
    assert torch.equal(result(distances.kth(x, k)), radii)
    assert torch.equal(result(distances.inside(y, x, radii)), inside)


def test_float16_is_asked_for_little(monkeypatch):
    asked = []

    def counting(a, b):
        asked.append(len(a) * len(b))
        return half_distances(a, b)

    monkeypatch.setattr(halves, "half_distances", counting)
    precision_recall(*seeded_features(0))
    assert sum(asked) < 0.2 * 4 * 1500**2
    asked.clear()
    short = (torch.from_numpy(np.float32(x[:, :3] * 200)) for x in seeded_features(1, 100, 5))
    with pytest.warns(UserWarning, match="longer than 255"):
        precision_recall(*short)
    assert sum(asked) == 4 * 100**2  # infinite lengths have no bound on their rounding


def test_float16_distances_are_products_rounded_step_by_step():
    a, b = (torch.from_numpy(x).half() for x in seeded_features(8, 40, 50))
    norms = [x.pow(2).double().sum(1).half() for x in (a, b)]
    products = (norms[0].double()[:, None] + norms[1].double() - 2 * a.double() @ b.double().T).half()
    assert torch.equal(half_distances(a, b), products.clamp(min=0).sqrt())
    assert torch.equal(half_distances(a[:9], b[:1]), products[:9, :1].clamp(min=0).sqrt())  # torch.cdist refuses these


def test_features_too_long_for_float16_distances_are_warned_of():
    real, generated = features("far", 40, 40, 5, 0)
    with pytest.warns(UserWarning, match="longer than 255.*pr_exact50k3_full"):
        precision_recall(real, generated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact_precision_recall(real, generated)
        precision_recall(real - 300, generated - 300)


def brute_precision_recall(real, generated, k):
    real, generated = (x.astype(np.float16) for x in (real, generated))
    d = distances(real, generated)
    in_real = d <= kth(real, k).astype(np.float16).astype(np.float32)[:, None]
    in_generated = d <= kth(generated, k).astype(np.float16).astype(np.float32)
    return in_real.any(axis=0).mean(), in_generated.any(axis=1).mean()


def brute_prdc(real, generated, k):
    d = distances(real, generated)
    in_real, in_generated = d < kth(real, k)[:, None], d < kth(generated, k)
    return dict(
        precision=in_real.any(axis=0).mean(),
        recall=in_generated.any(axis=1).mean(),
        density=in_real.sum(axis=0).mean() / k,
        coverage=in_real.any(axis=1).mean(),
    )


feature_sets = dict(
    kind=st.sampled_from(["plain", "ties", "copies", "same", "far", "clusters"]),
    n=st.integers(6, 60),
    m=st.integers(6, 60),
    dimensions=st.sampled_from([1, 2, 5, 40]),
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 5),
    max_memory=st.sampled_from([3000, 30_000, neighbours.MAX_MEMORY]),
)


@settings(max_examples=250)
@given(**feature_sets)
def test_neighbour_metrics_are_brute_force_in_blocks_of_any_size(kind, n, m, dimensions, seed, k, max_memory):
    real, generated = features(kind, n, m, dimensions, seed)
    options = dict(k=k, max_memory=max_memory)
    assert exact_precision_recall(real, generated, **options) == pytest.approx(
        brute_precision_recall(real, generated, k), abs=1e-12
    )
    expected = brute_prdc(real, generated, k)
    assert prdc(real, generated, **options) == pytest.approx(expected, abs=1e-12)
    assert density_coverage(real, generated, **options) == pytest.approx(
        (expected["density"], expected["coverage"]), abs=1e-12
    )


@pytest.mark.bitwise
@pytest.mark.parametrize("kind", ["plain", "ties", "copies", "far", "clusters"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_blocks_nor_dtypes_change_a_neighbour(monkeypatch, kind, dtype):
    x, y = (torch.from_numpy(x) for x in features(kind, 300, 200, 30, 0))
    radii, others = (torch.from_numpy(kth(x.numpy(), 4)) for x in (x, y))
    inside = distances(x.numpy(), y.numpy())
    for size in (7, 64, 2048):
        monkeypatch.setattr(neighbours, "LARGEST_BLOCK", size)
        assert torch.equal(neighbours.kth_neighbour_distances(x, 4, dtype=dtype), radii)
        for closed, compare in ((True, np.less_equal), (False, np.less)):
            around_x, around_y = neighbours.ball_memberships(x, y, radii, others, closed=closed, dtype=dtype)
            held = compare(inside, radii.numpy()[:, None])
            assert np.array_equal(around_x.balls, held.sum(1)) and np.array_equal(around_x.points, held.sum(0))
            held = compare(inside, others.numpy())
            assert np.array_equal(around_y.balls, held.sum(0)) and np.array_equal(around_y.points, held.sum(1))


@pytest.mark.bitwise
def test_features_of_any_dtype_scale_and_size():
    real, generated = features("plain", 50, 40, 6, 1)
    expected = prdc(real, generated)
    for scale in (2.0**-60, 2.0**60):
        assert prdc(real * np.float32(scale), generated * np.float32(scale)) == expected
    assert prdc(real.astype(np.float64), torch.from_numpy(generated)) == expected
    assert precision_recall(real.astype(np.float16), generated.astype(np.float16)) == precision_recall(real, generated)
    big = (real * 1e4).astype(np.float16)  # distances beyond float16: balls without a border
    assert exact_precision_recall(np.sign(big) * np.float16(6e4), np.sign(big[:30]) * np.float16(6e4), k=10)[1] == 1
    ties = np.zeros((9, 3))
    assert precision_recall(ties, ties) == exact_precision_recall(ties, ties) == (1, 1)
    assert density_coverage(ties, ties) == (0, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_figures():
    for kind in ("plain", "copies", "clusters"):
        real, generated = (torch.from_numpy(x) for x in features(kind, 500, 400, 30, 2))
        assert exact_precision_recall(real.cuda(), generated.cuda()) == exact_precision_recall(real, generated)
        assert prdc(real.cuda(), generated.cuda()) == prdc(real, generated)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_the_published_programs_float16_distances():
    real, generated = (torch.from_numpy(x).cuda() for x in seeded_features(0))
    assert precision_recall(real, generated) == published_precision_recall(real, generated)


def test_progress_counts_every_distance():
    seen = {}

    def progress(counts, total, label):
        seen[label] = [total, 0]
        for count in counts:
            seen[label][1] += count
            yield count

    precision_recall(*features("plain", 60, 50, 3, 3), max_memory=20_000, progress=progress)
    assert len(seen) == 2 and all(total == done for total, done in seen.values())
    seen.clear()
    real, generated = features("clusters", 60, 50, 3, 3)
    exact_precision_recall(real, generated, max_memory=20_000, progress=progress)
    prdc(real, generated, max_memory=20_000, progress=progress)
    assert len(seen) == 3 and all(total == done for total, done in seen.values())


def test_blocks_fit_the_memory():
    assert neighbours.block_size(2**40, 512, torch.float32) == neighbours.LARGEST_BLOCK
    for bound in (10_000, 1_000_000, 50_000_000):
        size = neighbours.block_size(bound, 64, torch.float64)
        assert size * (size * 2 * neighbours.BYTES_PER_DISTANCE + 4 * 64 * 8) <= bound
        assert size < neighbours.GROUP or size % neighbours.GROUP == 0
    with pytest.raises(ValueError, match="1000 bytes do not hold a single distance of 4096-dimensional features"):
        neighbours.block_size(1000, 4096, torch.float32)


MEMORY_PROGRAM = """
import sys
import torch
from latent_plugins.metrics import precision_recall

measure = getattr(precision_recall, sys.argv[1])

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

torch.set_num_threads(1)
rows, bound = map(int, sys.argv[2:])
real, generated = torch.randn(2, rows, 8)
measure(real[:100], generated[:100])
before = peak()
print(*measure(real, generated, max_memory=bound), (peak() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "measure, rows, bound, most",
    [
        # A matrix of all distances would take 1526 MB, and 72 MB in float16; blocks may take 128 and 8 MB.
        ("exact_precision_recall", 20_000, 2**27, 250),
        ("precision_recall", 6_000, 2**23, 40),
    ],
)
def test_memory_stays_bounded(measure, rows, bound, most):
    program = [sys.executable, "-c", MEMORY_PROGRAM, measure, str(rows), str(bound)]
    out = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    precision, recall, megabytes = map(float, out.split())
    assert 0.5 < precision < 1 and 0.5 < recall < 1
    assert megabytes < most


@pytest.mark.parametrize("metric", [precision_recall, exact_precision_recall, density_coverage, prdc])
def test_neighbour_metrics_refuse(metric):
    real, generated = features("plain", 20, 20, 3, 0)
    for few, k in ((2, 3), (5, 5)):
        with pytest.raises(ValueError, match=f"with k = {k} need at least {k + 1} features per set, the real set has"):
            metric(real[:few], generated, k=k)
        with pytest.raises(ValueError, match=f"at least {k + 1} features per set, the generated set has {few}"):
            metric(real, generated[:few], k=k)
    assert metric(real[:6], generated[:6], k=5)
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        metric(real, generated, k=0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="generated features are not all finite"):
            metric(real, np.where(generated == generated[3, 1], np.float32(bad), generated))
    with pytest.raises(ValueError, match="real features have 3 dimensions, generated 2"):
        metric(real, generated[:, :2])
    with pytest.raises(ValueError, match=r"real features must be \[N, D\], not of shape \[20\]"):
        metric(real[:, 0], generated)
    with pytest.raises(ValueError, match="in float16: the real features are not all finite|too large for distances"):
        metric(real * np.float32(1e20), generated)


def test_the_message_about_too_few_features():
    real, generated = features("plain", 2, 20, 3, 0)
    message = "precision and recall with k = 3 need at least 4 features per set, the real set has 2"
    with pytest.raises(ValueError, match=f"^{message}$"):
        precision_recall(real, generated)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), r"means of shapes \[2\] and \[3\]"),
        ((np.zeros(2), np.eye(3), np.zeros(2), np.eye(2)), r"covariances of shapes \[3, 3\] and \[2, 2\]"),
        ((np.float64(0), np.eye(1), np.zeros(1), np.eye(1)), r"means of shapes \[\] and \[1\]"),
        ((np.zeros(0), np.eye(0), np.zeros(0), np.eye(0)), r"means of shapes \[0\]"),
        ((np.zeros(2), np.eye(2), np.array([0, np.nan]), np.eye(2)), "not all finite"),
        ((np.zeros(2), np.diag([1, np.inf]), np.zeros(2), np.eye(2)), "not all finite"),
    ],
)
def test_frechet_distance_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(*arguments)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((np.ones((1, 3)), np.ones((5, 3))), {}, "at least 2 features per set, the real set has 1"),
        ((np.ones((5, 3)), np.ones((0, 3))), {}, "at least 2 features per set, the generated set has 0"),
        ((np.ones((5, 3)), np.ones((5, 2))), {}, "real features have 3 dimensions, generated ones 2"),
        ((np.ones(5), np.ones((5, 2))), {}, r"real features must be \[N, D\]"),
        ((np.ones((5, 2)), np.full((5, 2), np.nan)), {}, "generated features are not all finite"),
        ((np.ones((5, 2)), np.ones((5, 2))), dict(subsets=0), "0 subsets"),
        ((np.ones((5, 2)), np.ones((5, 2))), dict(max_subset_size=1), "subsets of up to 1 features"),
    ],
)
def test_kernel_distance_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(*arguments, seed=0, **options)


def test_inception_scores_of_extremes():
    assert inception_score(np.eye(5)[np.arange(50) % 5]) == pytest.approx((5, 0))
    assert inception_score(np.full((50, 4), 0.25)) == pytest.approx((1, 0))
    # Splits of two and of three images: in one two classes, in the other a single class.
    mean, std = inception_score(np.eye(3)[[0, 1, 2, 2, 2]], splits=2)
    assert (mean, std) == pytest.approx((1.5, 0.5))


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_inception_score_by_entropies(splits, seed):
    probabilities = np.random.RandomState(seed).dirichlet(np.full(6, 0.5), size=40)
    entropy = lambda p: -(p * np.log(p)).sum(axis=-1)  # noqa: E731
    parts = [probabilities[i * 40 // splits : (i + 1) * 40 // splits] for i in range(splits)]
    scores = [np.exp(entropy(p.mean(axis=0)) - entropy(p).mean()) for p in parts]
    assert inception_score(probabilities, splits) == pytest.approx((np.mean(scores), np.std(scores)), abs=1e-9)


@pytest.mark.parametrize(
    "probabilities, message",
    [
        (np.full((9, 2), 0.5), "with 10 splits needs at least as many images, there are 9"),
        (np.full(20, 0.5), r"must be \[N, classes\]"),
        (np.full((20, 2), 0.7), "sum 1"),
        (np.tile([1.5, -0.5], (20, 1)), "not negative"),
        (np.full((20, 2), np.nan), "finite"),
    ],
)
def test_inception_score_refuses(probabilities, message):
    with pytest.raises(ValueError, match=message):
        inception_score(probabilities)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_earth_mover_distance_is_the_best_of_all_pairings(n, dimensions, seed):
    a, b = np.random.RandomState(seed).randn(2, n, dimensions)
    d = np.linalg.norm(a[:, None] - b, axis=2)
    best = min(d[range(n), order].mean() for order in map(list, itertools.permutations(range(n))))
    assert earth_mover_distance(a, b) == pytest.approx(best, rel=1e-12)
    assert earth_mover_distance(b, a[::-1]) == pytest.approx(best, rel=1e-12)


def test_earth_mover_distance_of_moved_sets():
    a = np.random.RandomState(4).randn(50, 3)
    assert earth_mover_distance(a, a[::-1]) == 0
    assert earth_mover_distance(a, torch.from_numpy(a[::-1] + [3.0, 0, 4])) == pytest.approx(5)


@pytest.mark.parametrize(
    "a, b, message",
    [
        (np.zeros((3, 2)), np.zeros((4, 2)), r"not \[3, 2\] and \[4, 2\]"),
        (np.zeros((3, 2)), np.zeros((3, 1)), r"not \[3, 2\] and \[3, 1\]"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "equally many"),
        (np.zeros((20_001, 1)), np.zeros((20_001, 1)), "at most 20000 features per set, not 20001.* 3.2 GB"),
        (np.zeros((3, 2)), np.full((3, 2), np.inf), "not all finite"),
    ],
)
def test_earth_mover_distance_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        earth_mover_distance(a, b)
