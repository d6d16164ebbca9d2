"""Stand-ins for the modules of `torch_utils.ops`: biases, filters and convolutions.

Sizes that the ecosystem gives for both axes are one number or (x, y); padding is one number, (x, y) or
(left, right, top, bottom). `impl` is accepted everywhere and changes nothing: there is one implementation.
"""

import contextlib
import math

import torch
import torch.nn.functional as F

from dnnlib_compat.networks import ops
from dnnlib_compat.shims.util import EasyDict

SQRT_2 = math.sqrt(2)


def _pair(size):
    """(x, y) of one number or two."""
    x, y = size if isinstance(size, (tuple, list)) else (size, size)
    return int(x), int(y)


def _sides(padding):
    """(left, right, top, bottom) of one number, two or four."""
    if not isinstance(padding, (tuple, list)) or len(padding) == 2:
        x, y = _pair(padding)
        padding = (x, x, y, y)
    left, right, top, bottom = padding
    return int(left), int(right), int(top), int(bottom)


def _taps(f):
    """(width, height) of a filter."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def _widened(padding, f, scale, sign):
    """`padding` plus what keeps pixels centred under the filter f: `sign` 1 for upsampling by `scale`, −1 for down."""
    left, right, top, bottom = _sides(padding)
    (width, height), (x, y) = _taps(f), _pair(scale)
    left, right = left + (width + sign * (x - 1)) // 2, right + (width - x) // 2
    return left, right, top + (height + sign * (y - 1)) // 2, bottom + (height - y) // 2


def bias_act(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None, impl="cuda"):
    """Add the bias b along `dim`, activate, scale, clamp. Raises KeyError for an unknown activation."""
    if b is not None and dim != 1:
        shape = [1] * x.ndim
        shape[dim] = -1
        x, b = x + b.reshape(shape), None
    return ops.bias_act(x, b, act=act, alpha=alpha, gain=gain, clamp=clamp)


def setup_filter(f, device="cpu", normalize=True, flip_filter=False, gain=1, separable=None):
    """A float32 FIR filter, [taps] or [height, width], of a list, array or tensor; None is the identity.

    One-dimensional taps stay so if `separable`; the default keeps eight taps or more. `gain` counts for both axes.
    Raises ValueError when a two-dimensional filter is to be separable.
    """
    f = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    f = f.reshape(1) if f.ndim == 0 else f
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if separable and f.ndim != 1:
        raise ValueError(f"a filter of the shape {list(f.shape)} is not separable")
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(tuple(range(f.ndim)))
    return (f * gain ** (f.ndim / 2)).to(device)


def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1, impl="cuda"):
    """Insert zeros, pad or crop, filter, keep every `down`-th pixel: [N, C, H, W] → [N, C, H', W'].

    f: [taps], [h, w] or None; it is convolved, or correlated with `flip_filter`.
    """
    up_x, up_y = _pair(up)
    down_x, down_y = _pair(down)
    if f is None:
        f = torch.ones(1, device=x.device)
    elif flip_filter:
        f = f.flip(tuple(range(f.ndim)))
    if up_x != up_y:
        x, up_x = ops.zero_insert(x, up_y, up_x), 1
    if down_x == down_y:
        return ops.upfirdn2d(x, f, up=up_x, down=down_x, padding=_sides(padding), gain=gain)
    return ops.upfirdn2d(x, f, up=up_x, padding=_sides(padding), gain=gain)[:, :, ::down_y, ::down_x]


def filter2d(x, f, padding=0, flip_filter=False, gain=1, impl="cuda"):
    """Filter images without changing their size, but for `padding`."""
    return upfirdn2d(x, f, padding=_widened(padding, f, 1, 1), flip_filter=flip_filter, gain=gain)


def upsample2d(x, f, up=2, padding=0, flip_filter=False, gain=1, impl="cuda"):
    """Enlarge images by `up`, keeping their brightness, by zero insertion and the filter f."""
    gain = gain * math.prod(_pair(up))
    return upfirdn2d(x, f, up=up, padding=_widened(padding, f, up, 1), flip_filter=flip_filter, gain=gain)


def downsample2d(x, f, down=2, padding=0, flip_filter=False, gain=1, impl="cuda"):
    """Filter images with f and keep every `down`-th pixel."""
    return upfirdn2d(x, f, down=down, padding=_widened(padding, f, down, -1), flip_filter=flip_filter, gain=gain)


def _upsampled_conv2d(x, kernel, f, up, padding, groups, flip_filter):
    """Correlation of the `up`-fold zero-inserted, padded x with `kernel`, and the filter f: one transposed convolution.

    A transposed convolution pads by the whole kernel less one and leaves out the zeros after the last pixel; what is
    left of the padding goes to the filter.
    """
    rows, columns = kernel.shape[-2:]
    left, right, top, bottom = padding
    kernel = kernel.flip((2, 3)).reshape(groups, -1, *kernel.shape[1:]).transpose(1, 2).flatten(0, 1)
    x = F.conv_transpose2d(x, kernel, stride=up, groups=groups)
    rest = (left - columns + 1, right - columns + up, top - rows + 1, bottom - rows + up)
    return upfirdn2d(x, f, padding=rest, flip_filter=flip_filter, gain=up**2)


def conv2d_resample(x, w, f=None, up=1, down=1, padding=0, groups=1, flip_weight=True, flip_filter=False):
    """Upsample by `up`, pad, convolve, downsample by `down`: [N, I, H, W] → [N, O, H', W'].

    w: [O, I/groups, h, w], correlated with `flip_weight`, else convolved; f: filter for both resampling steps;
    padding: on the upsampled image, beyond what the filter itself needs.
    """
    kernel = w if flip_weight else w.flip((2, 3))
    padding = _sides(padding)
    if up > 1:
        padding = _widened(padding, f, up, 1)
    if down > 1:
        padding = _widened(padding, f, down, -1)
    if up > 1:
        x = _upsampled_conv2d(x, kernel, f, up, padding, groups, flip_filter)
        return upfirdn2d(x, f, down=down, flip_filter=flip_filter) if down > 1 else x
    if down > 1:  # the filter commutes with the convolution, which then computes only the pixels that stay
        x = upfirdn2d(x, f, padding=padding, flip_filter=flip_filter)
    elif any(padding):
        x = F.pad(x, padding)
    return F.conv2d(x, kernel, stride=down, groups=groups)


def fma(a, b, c):
    """a · b + c, broadcast."""
    return a * b + c


def filtered_lrelu(
    x,
    fu=None,
    fd=None,
    b=None,
    up=1,
    down=1,
    padding=0,
    gain=SQRT_2,
    slope=0.2,
    clamp=None,
    flip_filter=False,
    impl="cuda",
):
    """Bias, upsample with fu, leaky ReLU, scale, clamp, downsample with fd: [N, C, H, W] → [N, C, H', W']."""
    x = bias_act(x, b)
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2, flip_filter=flip_filter)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down, flip_filter=flip_filter)


@contextlib.contextmanager
def no_weight_gradients(disable=True):
    """Saves work in training only; changes nothing here."""
    yield


def grid_sample(input, grid):
    """Bilinear samples of `input` [N, C, H, W] at `grid` [N, H', W', 2], zero outside."""
    return F.grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


ACTIVATION_FUNCS = {
    name: EasyDict(func=lambda x, alpha=None, _function=function, **_: _function(x, alpha), def_alpha=a, def_gain=g)
    for name, (function, a, g) in ops.ACTIVATIONS.items()
}

PUBLIC = {
    "bias_act": {"bias_act": bias_act, "activation_funcs": ACTIVATION_FUNCS},
    "upfirdn2d": {f.__name__: f for f in (setup_filter, upfirdn2d, filter2d, upsample2d, downsample2d)},
    "conv2d_resample": {"conv2d_resample": conv2d_resample},
    "conv2d_gradfix": {
        "conv2d": F.conv2d,
        "conv_transpose2d": F.conv_transpose2d,
        "no_weight_gradients": no_weight_gradients,
        "enabled": False,
        "weight_gradients_disabled": False,
    },
    "grid_sample_gradfix": {"grid_sample": grid_sample, "enabled": False},
    "filtered_lrelu": {"filtered_lrelu": filtered_lrelu},
    "fma": {"fma": fma},
}
