"""Shares of classes and statistics of looks: worked values, coverage of their intervals, and the command."""

import json

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

from cli.calc_metrics import main
from dnnlib_compat.detectors import load_detector
from latent_plugins.metrics.accumulators import Table
from latent_plugins.metrics.looks import Looks
from latent_plugins.metrics.names import parse_metric
from latent_plugins.metrics.shares import Shares, chance_variation, total_variation, wilson_interval


def table(rows):
    found = Table(len(rows))
    found.add(torch.as_tensor(rows, dtype=torch.float32))
    return found


def test_figures_of_known_counts():
    """60 images of class 0, 30 of class 1, 10 of class 2, none of class 3."""
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    found = Shares.figures(parse_metric("shares100"), None, table(np.eye(4)[labels]), seed=0, progress=None)
    assert [found[f"shares100_class{k}"] for k in range(4)] == pytest.approx([0.6, 0.3, 0.1, 0])
    assert found["shares100_tv"] == pytest.approx(0.4)  # (0.35 + 0.05 + 0.15 + 0.25) / 2
    assert found["shares100_chi2"] == pytest.approx((35**2 + 5**2 + 15**2 + 25**2) / 25)
    assert found["shares100_pvalue"] == pytest.approx(scipy.stats.chisquare([60, 30, 10, 0]).pvalue)
    assert found["shares100_entropy"] == pytest.approx(scipy.stats.entropy([0.6, 0.3, 0.1]))
    assert found["shares100_class3_low"] == 0 < found["shares100_class3_high"] < 0.05
    for k, count in enumerate([60, 30, 10]):
        exact = scipy.stats.binomtest(count, 100).proportion_ci(method="wilson")
        assert found[f"shares100_class{k}_low"] == pytest.approx(exact.low)
        assert found[f"shares100_class{k}_high"] == pytest.approx(exact.high)


def test_many_classes_are_told_by_their_distance_alone():
    rows = np.eye(101)[np.arange(202) % 101]
    found = Shares.figures(parse_metric("shares202"), None, table(rows), seed=0, progress=None)
    assert set(found) == {f"shares202_{key}" for key in ("tv", "tv_chance", "chi2", "pvalue", "entropy")}
    assert found["shares202_tv"] == 0 and found["shares202_entropy"] == pytest.approx(np.log(101))


@pytest.mark.parametrize("classes, n", [(10, 500), (4, 30), (7, 5), (1, 9)])
def test_what_chance_gives_is_exact(classes, n):
    """Against 20,000 multinomial draws, within five standard errors."""
    draws = np.random.default_rng(0).multinomial(n, np.full(classes, 1 / classes), size=20_000) / n
    found = np.array([total_variation(row) for row in draws])
    assert abs(found.mean() - chance_variation(classes, n)) <= 5 * found.std() / np.sqrt(len(found)) + 1e-12


def test_intervals_cover():
    """Of 4,000 shares of 0.07 among 300 images, 95 % to within Wilson's known wobble of two points."""
    counts = np.random.default_rng(1).binomial(300, 0.07, size=4000)
    low, high = wilson_interval(counts, 300)
    assert 0.93 < np.mean((low <= 0.07) & (high >= 0.07)) < 0.975


def test_statistics_of_plain_images():
    detector = load_detector("image-statistics")
    red = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 255
    half = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    half[..., :2] = 255
    grey = torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)
    assert detector(red)[0].tolist() == pytest.approx([0.299, 0, 1, 1, 0, 0], abs=1e-6)
    assert detector(half)[0].tolist() == pytest.approx([0.5, 0.5, 0, 0.5, 0.5, 0.5], abs=1e-6)
    assert detector(grey)[0].tolist() == pytest.approx([0.2, 0, 0, 0.2, 0.2, 0.2], abs=1e-6)
    features = torch.cat([detector(each) for each in (red, half, grey)])
    found = Looks.figures(parse_metric("looks3"), None, table(features), seed=0, progress=None)
    assert found["looks3_brightness_mean"] == pytest.approx(0.333)
    assert found["looks3_brightness_std"] == pytest.approx(np.std([0.299, 0.5, 0.2], ddof=1))
    interval = scipy.stats.t.interval(0.95, 2, 0.333, scipy.stats.sem([0.299, 0.5, 0.2]))
    assert (found["looks3_brightness_low"], found["looks3_brightness_high"]) == pytest.approx(interval)


def test_the_command_takes_both_without_data():
    result = CliRunner().invoke(main, ["--metrics=shares200,looks200", "--device=cpu"])
    assert result.exit_code == 0, result.output
    lines = {line["metric"]: line for line in map(json.loads, (x for x in result.output.splitlines() if x[:1] == "{"))}
    shares = lines["shares200"]["results"]
    assert sum(shares[f"shares200_class{k}"] for k in range(10)) == pytest.approx(1)
    assert lines["shares200"]["detector"] == "mnist-classifier" and lines["looks200"]["detector"] == "image-statistics"
    assert 0 < lines["looks200"]["results"]["looks200_brightness_mean"] < 0.3
    one = CliRunner().invoke(main, ["--metrics=looks1", "--device=cpu"])
    assert one.exit_code == 1 and "needs 2 images or more" in one.output
