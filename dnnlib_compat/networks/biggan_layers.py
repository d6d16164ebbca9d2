"""What BigGAN and BigGAN-deep share (Brock, Donahue and Simonyan, ICLR 2019, arXiv:1809.11096).

Weights are those that evaluation uses: whoever fills these networks has divided them by their spectral norms.
"""

import math

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.interface import LatentGenerator


def at_truncation(table, psi):
    """The row [C] of statistics [n, C] for truncation psi, where row k is of psi = k / (n − 1); n 1: for every psi.

    Between two rows, pytorch-pretrained-BigGAN gives the weight that grows with psi to the *lower* one. Its images are
    made that way, so it stays, and so does its rounding of psi·(n − 1).
    """
    last = len(table) - 1
    if last == 0:
        return table[0]
    fraction, index = math.modf(psi / (1 / last))
    low, high = min(int(index), last), min(int(index) + 1, last)
    return table[low] if fraction == 0 else table[low] * fraction + table[high] * (1 - fraction)


class BatchNorm(torch.nn.Module):
    """Batch normalisation by stored statistics: `mean` and `var` [n_stats, channels], by truncation.

    adds_gain: standardised x + gain + bias, instead of · gain + bias.
    """

    def __init__(self, channels, n_stats, eps, adds_gain):
        super().__init__()
        self.eps, self.adds_gain = eps, adds_gain
        self.register_buffer("mean", torch.zeros(n_stats, channels))
        self.register_buffer("var", torch.ones(n_stats, channels))

    def normalise(self, x, gain, bias, psi):
        """x [N, C, H, W], gain and bias [N, C] or [C] → [N, C, H, W]."""
        scale = torch.rsqrt(at_truncation(self.var, psi) + self.eps)
        scale, bias = (scale, gain + bias) if self.adds_gain else (scale * gain, bias)
        mean = at_truncation(self.mean, psi)
        return (x - mean[:, None, None]) * scale[..., None, None] + bias[..., None, None]


class ConditionalBatchNorm(BatchNorm):
    """Batch normalisation whose gain and bias are linear in a condition [N, condition_dim]."""

    def __init__(self, channels, condition_dim, n_stats=1, eps=1e-5, adds_gain=False):
        super().__init__(channels, n_stats, eps, adds_gain)
        self.gain = torch.nn.Linear(condition_dim, channels, bias=False)
        self.bias = torch.nn.Linear(condition_dim, channels, bias=False)

    def forward(self, x, condition, psi):
        return self.normalise(x, 1 + self.gain(condition), self.bias(condition), psi)


class OutputBatchNorm(BatchNorm):
    """Batch normalisation with a gain and a bias per channel."""

    def __init__(self, channels, n_stats, eps, adds_gain):
        super().__init__(channels, n_stats, eps, adds_gain)
        self.gain = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))

    def forward(self, x, psi):
        return self.normalise(x, self.gain, self.bias, psi)


class SelfAttention(torch.nn.Module):
    """Non-local block (Zhang et al., arXiv:1805.08318): every pixel attends to the max-pooled picture."""

    def __init__(self, channels):
        super().__init__()
        if channels < 8:
            raise ValueError(f"self-attention needs at least 8 channels, not {channels}")
        self.theta = torch.nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.phi = torch.nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.g = torch.nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = torch.nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = torch.nn.Parameter(torch.zeros([]))

    def forward(self, x):
        query = self.theta(x).flatten(2)
        key, value = (F.max_pool2d(conv(x), 2).flatten(2) for conv in (self.phi, self.g))
        weights = (query.transpose(1, 2) @ key).softmax(dim=2)
        attended = value @ weights.transpose(1, 2)
        return x + self.gamma * self.o(attended.unflatten(2, x.shape[2:]))


def upsampled(x):
    """[N, C, H, W] → [N, C, 2H, 2W], every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class BigGANFrame(LatentGenerator):
    """What stands around the blocks: class embedding, first linear layer, self-attention, output layer.

    n_classes: labels are one-hot of this length; a network of one class takes none (c_dim 0). shared_dim: length of the
    classes' embedding, 0: the label itself conditions the blocks. linear_in: what the first layer sees. channels: of
    the features at the bottom and after each block. attention: numbers of blocks after which self-attention follows.
    scale: by how much the blocks enlarge. Raises ValueError for attention that has no place.
    """

    def __init__(
        self,
        *,
        z_dim,
        n_classes,
        shared_dim,
        linear_in,
        channels,
        attention,
        bottom_width,
        scale,
        img_channels,
        n_stats,
        output_eps,
        adds_gain,
        init_kwargs,
    ):
        super().__init__(
            z_dim=z_dim,
            c_dim=n_classes if n_classes > 1 else 0,
            img_resolution=bottom_width * scale,
            img_channels=img_channels,
            init_kwargs=init_kwargs,
        )
        self.bottom_width = bottom_width
        self.label_dim = shared_dim or n_classes
        self.shared = torch.nn.Embedding(n_classes, shared_dim) if shared_dim else None
        self.linear = torch.nn.Linear(linear_in, channels[0] * bottom_width**2)
        if not set(attention) <= set(range(len(channels))):
            raise ValueError(f"attention {list(attention)} is not after 0 to {len(channels) - 1} blocks")
        self.attention = torch.nn.ModuleDict({str(place): SelfAttention(channels[place]) for place in attention})
        self.output_norm = OutputBatchNorm(channels[-1], n_stats, output_eps, adds_gain)
        self.output_conv = torch.nn.Conv2d(channels[-1], img_channels, 3, padding=1)

    def label(self, z, c):
        """What the blocks see of the class: [N, label_dim]."""
        c = c.to(torch.float32) if self.c_dim else z.new_ones(len(z), 1)
        return c if self.shared is None else c @ self.shared.weight

    def bottom(self, h):
        """[N, linear_in] → the first features, after any attention that precedes the blocks."""
        x = self.linear(h).unflatten(1, (-1, self.bottom_width, self.bottom_width))
        return self.attend(x, 0)

    def attend(self, x, place):
        """x after `place` blocks, through the attention that stands there, if any."""
        return self.attention[str(place)](x) if str(place) in self.attention else x

    def top(self, x, psi):
        """The last features → images in [−1, 1]."""
        return torch.tanh(self.output_conv(F.relu(self.output_norm(x, psi))))
