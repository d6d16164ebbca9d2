"""Building blocks of the style-based generators, in plain torch.

Every function here is built from differentiable torch operations with forward-mode, reverse-mode and vmap rules, so
that `torch.func.jvp`, `vjp`, `jacrev`, `jacfwd` and `vmap` compose with the networks. Nothing writes in place and no
sample of a batch influences another.
"""

import functools
import math

import torch

# Above this many matrix entries a resampling step runs as depthwise convolutions instead of as a matrix product.
MAX_RESAMPLING_MATRIX = 128 * 256

# name: (function of x and alpha, default alpha, default gain), as the ecosystem's bias_act defines them.
ACTIVATIONS = {
    "linear": (lambda x, alpha: x, 0.0, 1.0),
    "relu": (lambda x, alpha: torch.nn.functional.relu(x), 0.0, math.sqrt(2)),
    "lrelu": (lambda x, alpha: torch.nn.functional.leaky_relu(x, alpha), 0.2, math.sqrt(2)),
    "tanh": (lambda x, alpha: torch.tanh(x), 0.0, 1.0),
    "sigmoid": (lambda x, alpha: torch.sigmoid(x), 0.0, 1.0),
    "elu": (lambda x, alpha: torch.nn.functional.elu(x), 0.0, 1.0),
    "selu": (lambda x, alpha: torch.nn.functional.selu(x), 0.0, 1.0),
    "softplus": (lambda x, alpha: torch.nn.functional.softplus(x), 0.0, 1.0),
    "swish": (lambda x, alpha: torch.nn.functional.silu(x), 0.0, math.sqrt(2)),
}


def normalize_2nd_moment(x, eps=1e-8):
    """Scale each row of [N, d] to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def bias_act(x, b=None, act="linear", alpha=None, gain=None, clamp=None):
    """Add a per-channel bias (dimension 1), apply an activation, scale by `gain`, clamp to ±`clamp`.

    x: [N, C, ...]; b: [C] or None. `alpha` and `gain` default to the activation's own. Raises KeyError for an unknown
    activation name.
    """
    function, default_alpha, default_gain = ACTIVATIONS[act]
    if b is not None:
        x = x + b.reshape([1, -1] + [1] * (x.ndim - 2))
    x = function(x, default_alpha if alpha is None else alpha)
    gain = default_gain if gain is None else float(gain)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-float(clamp), float(clamp))
    return x


def setup_filter(taps):
    """A normalised float32 FIR filter: [taps] if given eight or more 1-D taps, else its 2-D form [h, w].

    `taps` may be None (identity), a scalar, a 1-D list (separable) or a 2-D list. This is the form in which official
    checkpoints store their `resample_filter` buffers.
    """
    f = torch.as_tensor(1.0 if taps is None else taps, dtype=torch.float32)
    if f.ndim == 0:
        f = f.reshape(1)
    if f.ndim == 1 and f.numel() < 8:
        f = torch.outer(f, f)
    return f / f.sum()


def is_plane(taps):
    """Whether a constructor's `resample_filter` is a two-dimensional filter, which need not be separable."""
    return taps is not None and torch.as_tensor(taps).ndim > 1


def separable_taps(f, plane=False):
    """What `upfirdn2d` takes of the buffer that `setup_filter` made: the 1-D taps of a separable filter, [n] → itself,
    a normalised rank-one [n, n] → its marginal; with `plane` the two-dimensional filter as it is."""
    return f if plane or f.ndim == 1 else f.sum(dim=0)


def _extent(f):
    """(width, height) of a filter [n] or [h, w]."""
    return (f.numel(), f.numel()) if f.ndim == 1 else (f.shape[1], f.shape[0])


@functools.lru_cache(maxsize=1024)
def _tap_index(n_in, n_out, n_taps, up, down, pad, device):
    """[n_out, n_in] index of the filter tap that links input k with output o; `n_taps` where none does."""
    o = torch.arange(n_out, device=device).unsqueeze(1) * down
    k = torch.arange(n_in, device=device).unsqueeze(0) * up
    t = o - pad + (n_taps - 1) - k
    return torch.where((t >= 0) & (t < n_taps), t, n_taps)


def _resample_axis(x, f, axis, up, down, low, high):
    """`upfirdn2d` along one axis (2: rows, 3: columns) of [N, C, H, W] with the taps f [n]."""
    n_in, n_taps = x.shape[axis], f.numel()
    n_out = (n_in * up + low + high - n_taps) // down + 1
    if n_in * n_out <= MAX_RESAMPLING_MATRIX:
        matrix = torch.nn.functional.pad(f, (0, 1))[_tap_index(n_in, n_out, n_taps, up, down, low, f.device)]
        return matrix @ x if axis == 2 else x @ matrix.T
    x = zero_insert(x, *((up, 1) if axis == 2 else (1, up)))
    x = torch.nn.functional.pad(x, (0, 0, low, high) if axis == 2 else (low, high, 0, 0))
    kernel = f.flip(0).reshape([1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1]).repeat(x.shape[1], 1, 1, 1)
    return torch.nn.functional.conv2d(x, kernel, stride=(down, 1) if axis == 2 else (1, down), groups=x.shape[1])


def upfirdn2d(x, f, up=1, down=1, padding=(0, 0, 0, 0), gain=1.0):
    """Insert zeros (`up`), pad or crop, convolve with the FIR filter `f`, keep every `down`-th pixel.

    x: [N, C, H, W]. f: [taps] (applied along both axes), [h, w] (not separable), or None (identity, without up- or
    downsampling). padding: (left, right, top, bottom) on the upsampled image, negative crops. `gain` scales the result.
    Returns [N, C, H', W'].

    Small separable cases are two products with banded matrices, whose derivatives of every order and mode are products
    again; large ones are depthwise convolutions. `benchmarks/resampling.py` times both.
    """
    left, right, top, bottom = padding
    if f is None:
        return torch.nn.functional.pad(x, padding) if any(padding) else x
    f = f.to(x.dtype)
    if f.ndim == 1:
        f = f * math.sqrt(gain)
        return _resample_axis(_resample_axis(x, f, 3, up, down, left, right), f, 2, up, down, top, bottom)
    x = torch.nn.functional.pad(zero_insert(x, up, up), padding)
    kernel = (f * gain).flip((0, 1)).repeat(x.shape[1], 1, 1, 1)
    return torch.nn.functional.conv2d(x, kernel, stride=down, groups=x.shape[1])


def zero_insert(x, up_y, up_x):
    """[N, C, H, W] → [N, C, H·up_y, W·up_x] with zeros after each pixel."""
    if up_y == up_x == 1:
        return x
    n, c, h, w = x.shape
    x = torch.nn.functional.pad(x.reshape(n, c, h, 1, w, 1), (0, up_x - 1, 0, 0, 0, up_y - 1))
    return x.reshape(n, c, h * up_y, w * up_x)


def upsample2d(x, f, up=2):
    """FIR upsampling of [N, C, H, W] to [N, C, H·up, W·up] that keeps the mean brightness. f: [taps] or [h, w]."""
    padding = [side for n in _extent(f) for side in ((n + up - 1) // 2, (n - up) // 2)]
    return upfirdn2d(x, f, up=up, padding=tuple(padding), gain=up**2)


def downsample2d(x, f, down=2):
    """FIR downsampling of [N, C, H, W] to [N, C, H/down, W/down]. f: [taps] or [h, w]."""
    return upfirdn2d(x, f, down=down, padding=downsampling_padding(f, down))


def downsampling_padding(f, down, kernel=1):
    """The padding (left, right, top, bottom) before a downsampling by `down` and a convolution of size `kernel`."""
    sides = [side for n in _extent(f) for side in ((n - down + 1) // 2 + kernel // 2, (n - down) // 2 + kernel // 2)]
    return tuple(sides)


def upsampling_conv2d(x, w, f, up, groups=1):
    """Convolve (in the sense of signal processing: kernel flipped) while upsampling by `up` with the FIR filter `f`.

    x: [N, I, H, W]; w: [O, I/groups, k, k], k odd; f: [taps] or [h, w]. Returns [N, O, H·up, W·up].
    """
    kernel = w.shape[-1]
    if kernel == 1:
        return upsample2d(torch.nn.functional.conv2d(x, w, groups=groups), f, up)
    w = w.reshape(groups, -1, *w.shape[1:]).transpose(1, 2).flatten(0, 1)
    x = torch.nn.functional.conv_transpose2d(x, w, stride=up, groups=groups)
    # What remains of the filter's padding after the transposed convolution has grown the image by the kernel.
    padding = []
    for n in _extent(f):
        padding += [kernel // 2 + (n + up - 1) // 2 - (kernel - 1), kernel // 2 + (n - up) // 2 - (kernel - up)]
    return upfirdn2d(x, f, padding=tuple(padding), gain=up**2)


def demodulation(weight, styles):
    """Reciprocal norm of each sample's modulated output filters. weight: [O, I, k, k]; styles: [N, I]. → [N, O]."""
    return (styles.square() @ weight.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()


def modulated_conv2d(
    x, weight, styles, *, demodulate=True, padding=0, up=1, f=None, noise=None, input_gain=None, fused=False
):
    """Weight-(de)modulated convolution of StyleGAN2 ("Analyzing and Improving the Image Quality of StyleGAN", Eq. 1–3).

    x: [N, I, H, W]; weight: [O, I, k, k]; styles: [N, I]; f: [taps] or [h, w] for `up` > 1; noise: broadcastable to the
    output; input_gain: scalar applied to x after the demodulation is known. Returns [N, O, H·up, W·up]. With `fused`
    each sample gets its own filters in one grouped convolution; without, the same numbers come from scaling activations
    before and after a shared convolution, which is faster on CPUs and under vmap.
    """
    n = x.shape[0]
    scale = demodulation(weight, styles) if demodulate else None
    if input_gain is not None:
        styles = styles * input_gain
    if fused:
        per_sample = weight.unsqueeze(0) * styles.reshape(n, 1, -1, 1, 1)
        if scale is not None:
            per_sample = per_sample * scale.reshape(n, -1, 1, 1, 1)
        weight, groups = per_sample.flatten(0, 1), n
        x = x.reshape(1, -1, *x.shape[2:])
    else:
        groups = 1
        x = x * styles.reshape(n, -1, 1, 1)

    if up > 1:
        x = upsampling_conv2d(x, weight, f, up, groups=groups)
    else:
        x = torch.nn.functional.conv2d(x, weight, padding=padding, groups=groups)

    if fused:
        x = x.reshape(n, -1, *x.shape[2:])
    elif scale is not None:
        x = x * scale.reshape(n, -1, 1, 1)
    return x if noise is None else x + noise


def filtered_lrelu(x, b, *, fu, fd, up, down, padding, gain, slope, clamp):
    """Bias, upsample, leaky ReLU, clamp, downsample: the alias-free nonlinearity of StyleGAN3.

    x: [N, C, H, W]; b: [C]; fu, fd: filters for `upfirdn2d` or None; padding: (left, right, top, bottom) on the
    upsampled image. Returns [N, C, H', W'].
    """
    x = bias_act(x, b)
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down)
