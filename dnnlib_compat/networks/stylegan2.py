"""StyleGAN2 generator with the parameter names of the official PyTorch networks (StyleGAN2-ADA and StyleGAN3 releases).

Everything runs in float32: `num_fp16_res` and the other half-precision switches are accepted and change no number.
"""

import math

import torch
import torch.nn.functional as F

from dnnlib_compat.networks import ops
from dnnlib_compat.networks.layers import FullyConnectedLayer, MappingNetwork, StyleGenerator
from dnnlib_compat.networks.stylegan2_tangents import runs_as_written, synthesis_tangents

NOISE_MODES = ("const", "random", "none")


def check_noise_mode(noise_mode):
    if noise_mode not in NOISE_MODES:
        raise ValueError(f"noise mode must be one of {', '.join(NOISE_MODES)}, not {noise_mode!r}")


class Conv2dLayer(torch.nn.Module):
    """Plain convolution with run-time weight scaling, FIR up- or downsampling and an activation."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        *,
        bias=True,
        activation="linear",
        up=1,
        down=1,
        resample_filter=(1, 3, 3, 1),
        conv_clamp=None,
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.padding = in_channels, out_channels, kernel_size // 2
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.act_gain = ops.ACTIVATIONS[activation][2]
        self.plane = ops.is_plane(resample_filter)
        self.register_buffer("resample_filter", ops.setup_filter(resample_filter))
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.weight = torch.nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x, gain=1):
        w = self.weight * self.weight_gain
        f = ops.separable_taps(self.resample_filter, self.plane)
        kernel = w.shape[-1]
        if self.up > 1:
            x = ops.upsampling_conv2d(x, w, f, self.up)
        elif self.down > 1 and kernel == 1:
            x = F.conv2d(ops.downsample2d(x, f, self.down), w)
        elif self.down > 1:
            padding = ops.downsampling_padding(f, self.down, kernel)
            x = F.conv2d(ops.upfirdn2d(x, f, padding=padding), w, stride=self.down)
        else:
            x = F.conv2d(x, w, padding=kernel // 2)
        act_gain = ops.ACTIVATIONS[self.activation][2] * gain
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return ops.bias_act(x, self.bias, act=self.activation, gain=act_gain, clamp=clamp)


class SynthesisLayer(torch.nn.Module):
    """Modulated convolution, noise, bias and activation at one resolution."""

    def __init__(
        self,
        in_channels,
        out_channels,
        w_dim,
        resolution,
        *,
        kernel_size=3,
        up=1,
        use_noise=True,
        activation="lrelu",
        resample_filter=(1, 3, 3, 1),
        conv_clamp=None,
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim = in_channels, out_channels, w_dim
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.conv_clamp, self.act_gain = activation, conv_clamp, ops.ACTIVATIONS[activation][2]
        self.padding, self.plane = kernel_size // 2, ops.is_plane(resample_filter)
        self.register_buffer("resample_filter", ops.setup_filter(resample_filter))
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = torch.nn.Parameter(torch.zeros([]))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, w, noise_mode="const", fused_modconv=False, gain=1):
        noise = None
        if self.use_noise and noise_mode == "const":
            noise = self.noise_const * self.noise_strength
        elif self.use_noise and noise_mode == "random":
            noise = torch.randn(x.shape[0], 1, self.resolution, self.resolution, device=x.device) * self.noise_strength
        x = ops.modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            padding=self.padding,
            up=self.up,
            f=ops.separable_taps(self.resample_filter, self.plane),
            noise=noise,
            fused=fused_modconv,
        )
        act_gain = ops.ACTIVATIONS[self.activation][2] * gain
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return ops.bias_act(x, self.bias, act=self.activation, gain=act_gain, clamp=clamp)


class ToRGBLayer(torch.nn.Module):
    """1×1 modulated convolution to image channels, without demodulation."""

    def __init__(self, in_channels, out_channels, w_dim, *, conv_clamp=None):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim = in_channels, out_channels, w_dim
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x, w, fused_modconv=False):
        styles = self.affine(w) * self.weight_gain
        x = ops.modulated_conv2d(x, self.weight, styles, demodulate=False, fused=fused_modconv)
        return ops.bias_act(x, self.bias, clamp=self.conv_clamp)


class SynthesisBlock(torch.nn.Module):
    """One resolution: upsampling layer, layer, and the image branch."""

    def __init__(
        self,
        in_channels,
        out_channels,
        w_dim,
        resolution,
        img_channels,
        is_last,
        *,
        architecture,
        resample_filter,
        conv_clamp,
        **layer_kwargs,
    ):
        super().__init__()
        self.in_channels, self.w_dim, self.resolution = in_channels, w_dim, resolution
        self.img_channels, self.is_last = img_channels, is_last
        self.architecture, self.plane = architecture, ops.is_plane(resample_filter)
        self.register_buffer("resample_filter", ops.setup_filter(resample_filter))
        self.num_conv = 1
        if in_channels == 0:
            self.const = torch.nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.num_conv = 2
            self.conv0 = SynthesisLayer(
                in_channels,
                out_channels,
                w_dim,
                resolution,
                up=2,
                resample_filter=resample_filter,
                conv_clamp=conv_clamp,
                **layer_kwargs,
            )
        self.conv1 = SynthesisLayer(
            out_channels, out_channels, w_dim, resolution, conv_clamp=conv_clamp, **layer_kwargs
        )
        self.num_torgb = int(is_last or architecture == "skip")
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp=conv_clamp)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(
                in_channels, out_channels, kernel_size=1, bias=False, up=2, resample_filter=resample_filter
            )

    def forward(self, x, img, ws, **layer_kwargs):
        """x: features or None (first block); img: image so far or None; ws: [N, num_conv + num_torgb, w_dim]."""
        fused_modconv = layer_kwargs.get("fused_modconv", False)
        residual = None
        if hasattr(self, "const"):
            x = self.const.unsqueeze(0).repeat(ws.shape[0], 1, 1, 1)
        else:
            gain = 1
            if self.architecture == "resnet":
                gain = math.sqrt(0.5)
                residual = self.skip(x, gain=gain)
            x = self.conv0(x, ws[:, 0], **layer_kwargs)
        gain = 1 if residual is None else math.sqrt(0.5)
        x = self.conv1(x, ws[:, self.num_conv - 1], gain=gain, **layer_kwargs)
        if residual is not None:
            x = residual + x
        if img is not None:
            img = ops.upsample2d(img, ops.separable_taps(self.resample_filter, self.plane))
        if self.num_torgb:
            y = self.torgb(x, ws[:, self.num_conv], fused_modconv=fused_modconv)
            img = y if img is None else img + y
        return x, img


class SynthesisNetwork(torch.nn.Module):
    """Styles ws [N, num_ws, w_dim] to images [N, img_channels, img_resolution, img_resolution]."""

    def __init__(
        self,
        w_dim,
        img_resolution,
        img_channels,
        channel_base=32768,
        channel_max=512,
        num_fp16_res=4,
        architecture="skip",
        resample_filter=(1, 3, 3, 1),
        conv_clamp=256,
        fp16_channels_last=False,
        fused_modconv_default=True,
        kernel_size=3,
        use_noise=True,
        activation="lrelu",
    ):
        super().__init__()
        if img_resolution < 4 or img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution must be a power of two of at least 4, not {img_resolution}")
        if architecture not in ("orig", "skip", "resnet"):
            raise ValueError(f"architecture must be orig, skip or resnet, not {architecture!r}")
        if torch.as_tensor(1 if resample_filter is None else resample_filter).ndim > 2:
            raise ValueError("resample_filter must be a list of taps, or of rows of them")
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.img_resolution_log2 = int(math.log2(img_resolution))
        self.block_resolutions = [2**i for i in range(2, self.img_resolution_log2 + 1)]
        channels = {res: min(channel_base // res, channel_max) for res in self.block_resolutions}
        self.num_ws = 0
        for res in self.block_resolutions:
            block = SynthesisBlock(
                channels[res // 2] if res > 4 else 0,
                channels[res],
                w_dim,
                res,
                img_channels,
                is_last=res == img_resolution,
                architecture=architecture,
                resample_filter=resample_filter,
                conv_clamp=conv_clamp,
                kernel_size=kernel_size,
                use_noise=use_noise,
                activation=activation,
            )
            setattr(self, f"b{res}", block)
            self.num_ws += block.num_conv
        self.num_ws += block.num_torgb

    def forward(self, ws, noise_mode="const", fused_modconv=False, force_fp32=True, update_emas=False):
        """Images of ws. `force_fp32` is what this network always does, and it has no averages for `update_emas`; they
        are accepted for the ecosystem's callers.

        Raises ValueError for an unknown noise mode.
        """
        check_noise_mode(noise_mode)
        ws = ws.to(torch.float32)
        x = img = None
        first = 0
        for res in self.block_resolutions:
            block = getattr(self, f"b{res}")
            cur = ws[:, first : first + block.num_conv + block.num_torgb]
            x, img = block(x, img, cur, noise_mode=noise_mode, fused_modconv=fused_modconv)
            first += block.num_conv
        return img

    @property
    def has_tangents(self):
        """Whether `tangents` are those of the forward pass as it stands (`runs_as_written`)."""
        return runs_as_written(self)

    def tangents(self, ws, directions):
        """Derivatives [N, M, C, R, R] of the images (`noise_mode` const) of ws along directions [N, M, num_ws, w_dim].

        Faster than torch.func.jvp under vmap, without gradients of its own. Only where it `has_tangents`.
        """
        return synthesis_tangents(self, ws.to(torch.float32), directions)


class StyleGAN2Generator(StyleGenerator):
    """StyleGAN2, with the constructor of either official PyTorch release.

    The StyleGAN2-ADA release nests the synthesis arguments in `synthesis_kwargs`, where `conv_clamp` defaults to None;
    the StyleGAN3 release takes them flat, with `conv_clamp` 256.
    """

    family = "stylegan2"
    mapping_class = MappingNetwork
    synthesis_class = SynthesisNetwork

    def __init__(
        self,
        z_dim,
        c_dim,
        w_dim,
        img_resolution,
        img_channels,
        mapping_kwargs=None,
        synthesis_kwargs=None,
        **flat_synthesis_kwargs,
    ):
        if synthesis_kwargs is not None:
            flat_synthesis_kwargs = {"conv_clamp": None, **synthesis_kwargs, **flat_synthesis_kwargs}
        super().__init__(z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, **flat_synthesis_kwargs)
