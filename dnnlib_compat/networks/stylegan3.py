"""StyleGAN3 generator (configurations T and R) with the parameter names of the official PyTorch network.

Source: "Alias-Free Generative Adversarial Networks" (Karras et al. 2021). Everything runs in float32; the switch
`num_fp16_res` is accepted and changes no number.
"""

import math

import numpy as np
import torch

from dnnlib_compat.networks import layers, ops
from dnnlib_compat.networks.layers import FullyConnectedLayer, StyleGenerator
from dnnlib_compat.networks.stylegan2 import check_noise_mode


def lowpass_filter(numtaps, cutoff, width, fs, radial=False):
    """Float32 Kaiser low-pass filter: [numtaps] separable, [numtaps, numtaps] radially symmetric, None for one tap.

    cutoff, width and fs (sampling rate) are in cycles per unit length, as in Appendix C of the paper.
    """
    import scipy.signal  # slow to import, and only these networks want it
    import scipy.special

    if numtaps == 1:
        return None
    if not radial:
        return torch.as_tensor(scipy.signal.firwin(numtaps, cutoff=cutoff, width=width, fs=fs), dtype=torch.float32)
    x = (np.arange(numtaps) - (numtaps - 1) / 2) / fs
    r = np.pi * np.hypot(*np.meshgrid(x, x))
    beta = scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(numtaps, width / (fs / 2)))
    window = np.kaiser(numtaps, beta)
    f = scipy.special.j1(2 * cutoff * r) / r * np.outer(window, window)
    return torch.as_tensor(f / f.sum(), dtype=torch.float32)


class MappingNetwork(layers.MappingNetwork):
    """StyleGAN3's mapping: two layers by default, the average style always tracked."""

    def __init__(self, z_dim, c_dim, w_dim, num_ws, num_layers=2, lr_multiplier=0.01, w_avg_beta=0.998):
        super().__init__(
            z_dim, c_dim, w_dim, num_ws, num_layers=num_layers, lr_multiplier=lr_multiplier, w_avg_beta=w_avg_beta
        )
        if c_dim == 0:
            self.embed = None


class SynthesisInput(torch.nn.Module):
    """Fourier features under a learned, style-dependent rotation and translation and a user's `transform` (3×3).

    `transform` is the inverse transform of the resulting image, in units of its width: the identity by default.
    """

    def __init__(self, w_dim, channels, size, sampling_rate, bandwidth):
        super().__init__()
        self.w_dim, self.channels, self.sampling_rate, self.bandwidth = w_dim, channels, sampling_rate, bandwidth
        self.size = np.full(2, size)  # width and height
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(dim=1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * bandwidth
        self.weight = torch.nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnectedLayer(w_dim, 4, weight_init=0, bias_init=torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def learned_transform(self, w):
        """[N, 3, 3]: rotation times translation, both from w [N, w_dim]."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, x, y = t.unbind(dim=1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).reshape(-1, 3, 3)
        return rotation @ translation

    def forward(self, w):
        transforms = self.learned_transform(w) @ self.transform
        phases = self.phases + (self.freqs @ transforms[:, :2, 2:]).squeeze(2)  # [N, channels]
        freqs = self.freqs @ transforms[:, :2, :2]  # [N, channels, 2]
        # A user's transform can push frequencies out of the band; they fade instead of aliasing.
        falloff = (freqs.norm(dim=2) - self.bandwidth) / (self.sampling_rate / 2 - self.bandwidth)
        amplitudes = (1 - falloff).clamp(0, 1)

        side = int(self.size[0])
        position = (torch.arange(side, device=w.device) + 0.5 - side / 2) / self.sampling_rate
        along_x = freqs[:, None, None, :, 0] * position[None, None, :, None]
        along_y = freqs[:, None, None, :, 1] * position[None, :, None, None]
        x = torch.sin((along_x + along_y + phases[:, None, None]) * (2 * math.pi)) * amplitudes[:, None, None]
        x = x @ (self.weight / math.sqrt(self.channels)).T
        return x.permute(0, 3, 1, 2)


class SynthesisLayer(torch.nn.Module):
    """Modulated convolution and filtered leaky ReLU between two sampling rates."""

    def __init__(
        self,
        w_dim,
        is_torgb,
        is_critically_sampled,
        in_channels,
        out_channels,
        in_size,
        out_size,
        in_sampling_rate,
        out_sampling_rate,
        in_cutoff,
        out_cutoff,
        in_half_width,
        out_half_width,
        *,
        conv_kernel=3,
        filter_size=6,
        lrelu_upsampling=2,
        use_radial_filters=False,
        conv_clamp=256,
        magnitude_ema_beta=0.999,
    ):
        super().__init__()
        self.w_dim, self.in_channels, self.out_channels = w_dim, in_channels, out_channels
        self.is_torgb, self.is_critically_sampled, self.conv_clamp = is_torgb, is_critically_sampled, conv_clamp
        self.in_size, self.out_size = np.full(2, in_size), np.full(2, out_size)  # width and height
        self.in_sampling_rate, self.out_sampling_rate = in_sampling_rate, out_sampling_rate
        self.in_cutoff, self.out_cutoff = in_cutoff, out_cutoff
        self.in_half_width, self.out_half_width = in_half_width, out_half_width
        self.magnitude_ema_beta = magnitude_ema_beta
        self.conv_kernel = 1 if is_torgb else conv_kernel
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn(out_channels, in_channels, self.conv_kernel, self.conv_kernel))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))

        rate = max(in_sampling_rate, out_sampling_rate) * (1 if is_torgb else lrelu_upsampling)
        self.up_factor = round(rate / in_sampling_rate)
        self.down_factor = round(rate / out_sampling_rate)
        up_taps = filter_size * self.up_factor if self.up_factor > 1 and not is_torgb else 1
        down_taps = filter_size * self.down_factor if self.down_factor > 1 and not is_torgb else 1
        radial = use_radial_filters and not is_critically_sampled
        self.tmp_sampling_rate, self.up_taps, self.down_taps, self.down_radial = rate, up_taps, down_taps, radial
        self.register_buffer("up_filter", lowpass_filter(up_taps, in_cutoff, in_half_width * 2, rate))
        self.register_buffer("down_filter", lowpass_filter(down_taps, out_cutoff, out_half_width * 2, rate, radial))

        # What the filters and the kernel eat, so that the layer ends at out_size (Appendix C.3 places the samples).
        total = (out_size - 1) * self.down_factor + 1 - (in_size + self.conv_kernel - 1) * self.up_factor
        total += up_taps + down_taps - 2
        low = (total + self.up_factor) // 2
        self.padding = [low, total - low, low, total - low]

    def forward(self, x, w, update_emas=False):
        if update_emas:
            magnitude = x.detach().square().mean()
            self.magnitude_ema.copy_(magnitude.lerp(self.magnitude_ema, self.magnitude_ema_beta))
        styles = self.affine(w)
        weight = self.weight
        if self.is_torgb:
            styles = styles / math.sqrt(weight.shape[1] * self.conv_kernel**2)
        else:
            # Unit-size weights and styles keep the sums of the demodulation well scaled; the output is unchanged.
            weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
            styles = styles * styles.square().mean(dim=1, keepdim=True).rsqrt()
        x = ops.modulated_conv2d(
            x,
            weight,
            styles,
            demodulate=not self.is_torgb,
            padding=self.conv_kernel - 1,
            input_gain=self.magnitude_ema.rsqrt(),
        )
        return ops.filtered_lrelu(
            x,
            self.bias,
            fu=self.up_filter,
            fd=self.down_filter,
            up=self.up_factor,
            down=self.down_factor,
            padding=self.padding,
            gain=1 if self.is_torgb else math.sqrt(2),
            slope=1 if self.is_torgb else 0.2,
            clamp=self.conv_clamp,
        )


class SynthesisNetwork(torch.nn.Module):
    """Styles ws [N, num_layers + 2, w_dim] to images [N, img_channels, img_resolution, img_resolution]."""

    def __init__(
        self,
        w_dim,
        img_resolution,
        img_channels,
        channel_base=32768,
        channel_max=512,
        num_layers=14,
        num_critical=2,
        first_cutoff=2,
        first_stopband=2**2.1,
        last_stopband_rel=2**0.3,
        margin_size=10,
        output_scale=0.25,
        num_fp16_res=4,
        conv_kernel=3,
        filter_size=6,
        lrelu_upsampling=2,
        use_radial_filters=False,
        conv_clamp=256,
        magnitude_ema_beta=0.999,
    ):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.num_layers, self.num_critical, self.margin_size = num_layers, num_critical, margin_size
        self.num_ws, self.output_scale = num_layers + 2, output_scale

        # Geometric progression of cutoffs and minimum stopbands, and what follows from it for every layer.
        last_cutoff = img_resolution / 2
        exponents = np.minimum(np.arange(num_layers + 1) / (num_layers - num_critical), 1)
        cutoffs = first_cutoff * (last_cutoff / first_cutoff) ** exponents
        stopbands = first_stopband * (last_cutoff * last_stopband_rel / first_stopband) ** exponents
        rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, img_resolution))))
        half_widths = np.maximum(stopbands, rates / 2) - cutoffs
        sizes = rates + margin_size * 2
        sizes[-2:] = img_resolution
        channels = np.rint(np.minimum((channel_base / 2) / cutoffs, channel_max))
        channels[-1] = img_channels

        self.input = SynthesisInput(w_dim, int(channels[0]), int(sizes[0]), float(rates[0]), float(cutoffs[0]))
        self.layer_names = []
        for i in range(num_layers + 1):
            prev = max(i - 1, 0)
            layer = SynthesisLayer(
                w_dim,
                is_torgb=i == num_layers,
                is_critically_sampled=i >= num_layers - num_critical,
                in_channels=int(channels[prev]),
                out_channels=int(channels[i]),
                in_size=int(sizes[prev]),
                out_size=int(sizes[i]),
                in_sampling_rate=int(rates[prev]),
                out_sampling_rate=int(rates[i]),
                in_cutoff=cutoffs[prev],
                out_cutoff=cutoffs[i],
                in_half_width=half_widths[prev],
                out_half_width=half_widths[i],
                conv_kernel=conv_kernel,
                filter_size=filter_size,
                lrelu_upsampling=lrelu_upsampling,
                use_radial_filters=use_radial_filters,
                conv_clamp=conv_clamp,
                magnitude_ema_beta=magnitude_ema_beta,
            )
            name = f"L{i}_{int(sizes[i])}_{int(channels[i])}"
            setattr(self, name, layer)
            self.layer_names.append(name)

    def forward(self, ws, noise_mode="const", force_fp32=True, update_emas=False):
        """Images of ws. StyleGAN3 has no noise inputs: `noise_mode` is checked and changes nothing.

        With `update_emas`, the layers' average magnitudes move on towards those of these features first.
        """
        check_noise_mode(noise_mode)
        ws = ws.to(torch.float32).unbind(dim=1)
        x = self.input(ws[0])
        for name, w in zip(self.layer_names, ws[1:]):
            x = getattr(self, name)(x, w, update_emas=update_emas)
        return x * self.output_scale


class StyleGAN3Generator(StyleGenerator):
    """StyleGAN3-T, and with 1×1 kernels and radial filters StyleGAN3-R; the official constructor."""

    family = "stylegan3"
    mapping_class = MappingNetwork
    synthesis_class = SynthesisNetwork
