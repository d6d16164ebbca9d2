"""Resampling and convolution against independent definitions."""

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib_compat.networks import ops


def reference_axis(x, taps, up, down, low, high):
    """One axis by scipy's upfirdn: full convolution of the zero-inserted signal, cropped or padded, decimated."""
    n = len(taps)
    full = np.apply_along_axis(lambda row: scipy.signal.upfirdn(taps, row, up=up), -1, x)
    length = x.shape[-1] * up + low + high - n + 1
    start = n - 1 - low
    padded = np.pad(full, [(0, 0)] * (x.ndim - 1) + [(max(-start, 0), max(length + start - full.shape[-1], 0) + up)])
    begin = max(start, 0)
    return padded[..., begin : begin + length][..., ::down]


@st.composite
def resampling(draw):
    taps = draw(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=9))
    up, down = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    height, width = draw(st.integers(4, 9)), draw(st.integers(4, 9))
    padding = [draw(st.integers(-2, 9)) for _ in range(4)]
    smallest = min(height * up + sum(padding[2:]), width * up + sum(padding[:2]))
    return taps, up, down, height, width, padding, smallest >= len(taps)


@pytest.mark.parametrize("limit", [0, ops.MAX_RESAMPLING_MATRIX], ids=["convolution", "matrix"])
@settings(max_examples=60)
@given(case=resampling(), seed=st.integers(0, 1000))
def test_upfirdn2d_equals_scipy(limit, case, seed):
    taps, up, down, height, width, (left, right, top, bottom), possible = case
    if not possible:
        return
    x = np.random.RandomState(seed).randn(2, 3, height, width)
    expected = reference_axis(x, taps, up, down, left, right)
    expected = np.swapaxes(reference_axis(np.swapaxes(expected, 2, 3), taps, up, down, top, bottom), 2, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "MAX_RESAMPLING_MATRIX", limit)
        f = torch.tensor(taps, dtype=torch.float64)
        ours = ops.upfirdn2d(torch.from_numpy(x), f, up=up, down=down, padding=(left, right, top, bottom))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-9)


def test_a_separable_filter_may_come_in_two_dimensions():
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    kwargs = dict(up=2, down=3, padding=(2, 1, 3, -1), gain=4)
    square = ops.upfirdn2d(x, torch.outer(taps, taps), **kwargs)
    torch.testing.assert_close(ops.upfirdn2d(x, taps, **kwargs), square)


def test_no_filter_pads_and_crops_only():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(ops.upfirdn2d(x, None, padding=(-1, 0, 0, 1))[0, 0, :4], x[0, 0, :, 1:])
    assert ops.upfirdn2d(x, None) is x


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], [1, 1]])
def test_upsampling_convolution_is_zero_insertion_filter_and_convolution(kernel, taps):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    w = torch.randn(4, 3, kernel, kernel, dtype=torch.float64)
    f = torch.tensor(taps, dtype=torch.float64) / sum(taps)
    ours = ops.upsampling_conv2d(x, w, f, 2)
    # The official order: filter the zero-inserted image, then convolve with the flipped kernel.
    low, high = kernel // 2 + (len(taps) + 1) // 2, kernel // 2 + (len(taps) - 2) // 2
    filtered = ops.upfirdn2d(x, f, up=2, padding=(low, high, low, high), gain=4)
    expected = F.conv2d(filtered, w.flip((2, 3)))
    assert ours.shape == (2, 4, 12, 10)
    torch.testing.assert_close(ours, expected)


def test_setup_filter_normalises_and_squares_short_filters():
    f = ops.setup_filter([1, 3, 3, 1])
    assert f.shape == (4, 4) and f.sum().item() == pytest.approx(1)
    torch.testing.assert_close(ops.separable_taps(f), torch.tensor([1.0, 3, 3, 1]) / 8)
    assert ops.setup_filter(range(1, 9)).shape == (8,)
    assert ops.setup_filter(None).shape == (1, 1)


@pytest.mark.bitwise
@pytest.mark.parametrize("act", ops.ACTIVATIONS)
def test_bias_act_order_bias_activation_gain_clamp(act):
    x, b = torch.randn(2, 3, 4, 4), torch.randn(3)
    function, alpha, gain = ops.ACTIVATIONS[act]
    expected = (function(x + b[None, :, None, None], alpha) * gain).clamp(-0.5, 0.5)
    assert torch.equal(ops.bias_act(x, b, act=act, clamp=0.5), expected)
    assert torch.equal(ops.bias_act(x, act=act, gain=1), function(x, alpha))
