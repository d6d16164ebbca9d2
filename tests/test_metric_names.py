"""Names of metrics: what they mean, and what a mistyped one is answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_plugins.metrics.names import OFFICIAL_DETECTORS, examples, parse_metric, parse_metrics


@pytest.mark.parametrize(
    "name, kind, samples, k, full, most",
    [
        ("fid50k_full", "fid", 50_000, None, True, None),
        ("fid50k", "fid", 50_000, None, False, 50_000),
        ("fid500_full", "fid", 500, None, True, None),
        ("fid5k_full", "fid", 5_000, None, True, None),
        ("fid_unbiased10k_full", "fid_unbiased", 10_000, None, True, None),
        ("kid50k_full", "kid", 50_000, None, True, 1_000_000),
        ("pr50k3_full", "pr", 50_000, 3, True, 200_000),
        ("pr2k3", "pr", 2_000, 3, False, 2_000),
        ("pr10k12_full", "pr", 10_000, 12, True, 200_000),
        ("pr999k3", "pr", 999_000, 3, False, 999_000),
        ("pr1000k3", "pr", 1_000, 3, False, 1_000),
        ("pr1024k3", "pr", 1_024, 3, False, 1_024),
        ("pr1024k5_full", "pr", 1_024, 5, True, 200_000),
        ("pr300", "pr", 300, 3, False, 300),
        ("pr1500_full", "pr", 1_500, 3, True, 200_000),
        ("pr_exact50k3_full", "pr_exact", 50_000, 3, True, 200_000),
        ("pr_exact1024k4", "pr_exact", 1_024, 4, False, 1_024),
        ("pr_exact300", "pr_exact", 300, 3, False, 300),
        ("dc50k5", "dc", 50_000, 5, False, 50_000),
        ("dc1024k3", "dc", 1_024, 3, False, 1_024),
        ("dc300_full", "dc", 300, 5, True, 200_000),
        ("dc5k5_full", "dc", 5_000, 5, True, 200_000),
        ("is50k", "is", 50_000, None, False, 50_000),
        ("emd500", "emd", 500, None, False, 500),
        ("emd_vgg1024", "emd_vgg", 1024, None, False, 1024),
        ("f1_50k3_full", "f1", 50_000, 3, True, 200_000),
        ("f1_1024k4", "f1", 1_024, 4, False, 1_024),
        ("f1_300", "f1", 300, 3, False, 300),
        ("hausdorff5k_full", "hausdorff", 5_000, None, True, None),
        ("hausdorff500", "hausdorff", 500, None, False, 500),
        ("ppl2_wend", "ppl", 50_000, None, False, None),
        ("ppl_zfull_200", "ppl", 200, None, False, None),
        ("eqt50k_int", "eqt_int", 50_000, None, False, None),
        ("eqt100_frac", "eqt_frac", 100, None, False, None),
        ("eqr1k", "eqr", 1_000, None, False, None),
    ],
)
def test_official_meaning(name, kind, samples, k, full, most):
    metric = parse_metric(name)
    assert (metric.name, metric.kind, metric.samples, metric.k, metric.full) == (name, kind, samples, k, full)
    if metric.needs_real:
        assert metric.most_real == most


def test_every_example_is_a_name_and_its_detector_is_official():
    for name in examples():
        assert parse_metric(name).detector in (None, *OFFICIAL_DETECTORS)


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("fid50k_ful", "fid50k_full"),
        ("fid5k_fulll", "fid5k_full"),
        ("FID50k", "fid50k"),
        ("pr5k_full", "pr5k3_full"),
        ("ppl_wendd", "ppl_wend"),
        ("pr1024k", "pr1024k3"),
        ("pr_exact5k_full", "pr_exact5k3_full"),
        ("eqt50k", "eqt50k_int"),
        ("is", "is50k"),
    ],
)
def test_a_mistyped_name_gets_the_nearest(wrong, right):
    with pytest.raises(ValueError, match=f"unknown metric '{wrong}'; did you mean {right}?"):
        parse_metric(wrong)


@given(st.text(max_size=20))
def test_any_text_is_a_metric_or_gets_one_line(text):
    try:
        metric = parse_metric(text)
    except ValueError as error:
        assert "metric" in str(error) or "must be positive" in str(error) or "counted from 1" in str(error)
    else:
        assert metric.name == text and metric.samples > 0


def test_lists_keep_their_order_and_drop_repetitions():
    assert [m.name for m in parse_metrics(" is1k, fid1k,is1k")] == ["is1k", "fid1k"]
    with pytest.raises(ValueError, match="no metric was named"):
        parse_metrics(" , ")
    with pytest.raises(ValueError, match="must be positive"):
        parse_metrics("fid0")
    with pytest.raises(ValueError, match="counted from 1, as in pr5k3"):
        parse_metrics("pr1k0")
    with pytest.raises(ValueError, match="counted from 1, as in pr_exact5k3"):
        parse_metrics("pr_exact1024k0_full")
    with pytest.raises(ValueError, match="counted from 1, as in f1_5k3"):
        parse_metrics("f1_5k0")
    with pytest.raises(ValueError, match="must be positive"):
        parse_metrics("pr0")


@pytest.mark.parametrize("name", ["fid99999999999999_full", "pr99999999k3", "ppl2_wend_10000001"])
def test_more_images_than_anybody_makes_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: 10000000 images are the most"):
        parse_metric(name)


def test_a_long_name_is_cut_in_the_message():
    with pytest.raises(ValueError) as caught:
        parse_metric("x" * 10_000)
    assert len(str(caught.value)) < 2000
