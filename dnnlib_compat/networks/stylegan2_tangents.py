"""Directional derivatives of StyleGAN2's images, pushed through the layers by hand.

The numbers are those of forward-mode differentiation; what it saves is the passes over memory that take most of its
time on a CPU. Modulation, demodulation and activation are diagonal, so a tangent takes two multiply-adds a layer beside
its convolution; in place, and with directions as rows of one batch.
"""

import math

import torch
import torch.nn.functional as F

from dnnlib_compat.networks import ops


def synthesis_tangents(synthesis, ws, tangents):
    """The derivatives [N, M, C, R, R] of the images of styles ws [N, num_ws, w_dim] along M directions each.

    tangents: [N, M, num_ws, w_dim] float32, as ws. synthesis: a SynthesisNetwork, whose noise inputs are the constant
    ones. For tensors without gradients, outside of torch.func.
    """
    x = t = img = None  # features [N, C, H, W], their tangents [N, M, C, H, W], and those of the image
    first = 0
    for res in synthesis.block_resolutions:
        block = getattr(synthesis, f"b{res}")
        cur = slice(first, first + block.num_conv + block.num_torgb)
        x, t, img = _block(block, x, t, img, ws[:, cur], tangents[:, :, cur])
        first += block.num_conv
    return img


def runs_as_written(network):
    """Whether a network's forward pass is the one that its classes here define, which is what is differentiated.

    Not where a module is of another package's class (a parametrized one is of torch's), has a forward of its own, as
    smoothed networks have, or hooks that may change what it returns.
    """
    here = __name__.rpartition(".")[0]
    return all(
        type(module).__module__.rpartition(".")[0] == here
        and not {"forward", "__call__"} & vars(module).keys()
        and not (module._forward_hooks or module._forward_pre_hooks)
        for module in network.modules()
    )


def _block(block, x, t, img, ws, dws):
    residual, gain, last = None, 1, block.num_conv - 1
    if hasattr(block, "const"):
        x = block.const.expand(len(ws), -1, -1, -1)
    else:
        if block.architecture == "resnet":
            gain = math.sqrt(0.5)
            residual = block.skip(x, gain=gain), _linear(lambda rows: block.skip(rows, gain=gain), t)
        x, t = _layer(block.conv0, x, t, ws[:, 0], dws[:, :, 0], 1)
    x, t = _layer(block.conv1, x, t, ws[:, last], dws[:, :, last], gain)
    if residual is not None:
        x, t = x + residual[0], t.add_(residual[1])
    if img is not None:
        f = ops.separable_taps(block.resample_filter, block.plane)
        img = _linear(lambda rows: ops.upsample2d(rows, f), img)
    if block.num_torgb:
        y = _to_rgb(block.torgb, x, t, ws[:, block.num_conv], dws[:, :, block.num_conv])
        img = y if img is None else img.add_(y)
    return x, t, img


def _layer(layer, x, t, w, dw, gain):
    """(features, tangents) behind a SynthesisLayer; t is overwritten, None where the features do not move."""
    n, m = dw.shape[:2]
    styles, dstyles = layer.affine(w), _affine_tangent(layer.affine, dw)
    squares = layer.weight.square().sum(dim=(2, 3))
    scale = ops.demodulation(layer.weight, styles)
    dscale = (styles[:, None] * dstyles) @ squares.T
    dscale.mul_(-(scale**3)[:, None])

    moved = x[:, None] * dstyles[..., None, None] if t is None else t.mul_(styles[:, None, :, None, None])
    if t is not None:
        moved.addcmul_(x[:, None], dstyles[..., None, None])
    filters = ops.separable_taps(layer.resample_filter, layer.plane)

    def convolved(rows):
        if layer.up > 1:
            return ops.upsampling_conv2d(rows, layer.weight, filters, layer.up)
        return F.conv2d(rows, layer.weight, padding=layer.padding)

    y = convolved(x * styles[..., None, None])
    before = y * scale[..., None, None]
    if layer.use_noise:
        before = before + layer.noise_const * layer.noise_strength
    clamp = None if layer.conv_clamp is None else layer.conv_clamp * gain
    act_gain = ops.ACTIVATIONS[layer.activation][2] * gain
    out, slope = _with_slope(
        lambda rows: ops.bias_act(rows, layer.bias, act=layer.activation, gain=act_gain, clamp=clamp), before
    )
    t = convolved(moved.flatten(0, 1)).unflatten(0, (n, m))
    t = t.mul_((slope * scale[..., None, None])[:, None])
    return out, t.addcmul_((slope * y)[:, None], dscale[..., None, None])


def _to_rgb(layer, x, t, w, dw):
    """The tangents [N, M, C, H, W] of a ToRGBLayer's output. The modulated 1×1 filters are applied as matrices."""
    n, m = dw.shape[:2]
    weight = layer.weight.flatten(1) * layer.weight_gain
    filters = weight * layer.affine(w)[:, None]  # [N, C, I]
    dfilters = weight * _affine_tangent(layer.affine, dw)[:, :, None]  # [N, M, C, I]
    flat = x.flatten(2)
    y = torch.matmul(filters[:, None], t.flatten(3))
    y += torch.matmul(dfilters.flatten(1, 2), flat).unflatten(1, (m, -1))
    y = y.unflatten(3, x.shape[2:])
    if layer.conv_clamp is not None:
        before = torch.matmul(filters, flat).unflatten(2, x.shape[2:])
        y *= _with_slope(lambda rows: ops.bias_act(rows, layer.bias, clamp=layer.conv_clamp), before)[1][:, None]
    return y


def _affine_tangent(layer, dw):
    return dw @ (layer.weight * layer.weight_gain).T


def _with_slope(function, x):
    """(value, derivative) of a function of single numbers."""
    return torch.func.jvp(function, (x,), (torch.ones_like(x),))


def _linear(function, t):
    """A linear function of images, for tangents [N, M, C, H, W]."""
    return function(t.flatten(0, 1)).unflatten(0, t.shape[:2])
