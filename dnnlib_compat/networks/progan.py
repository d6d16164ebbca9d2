"""ProGAN generator ("Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018)."""

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.interface import LatentGenerator
from dnnlib_compat.networks.ops import normalize_2nd_moment


def upscale(x, factor):
    """Repeat every pixel of [N, C, H, W] `factor` times along both axes."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h, 1, w, 1).expand(n, c, h, factor, w, factor).reshape(n, c, h * factor, w * factor)


def upscaling_conv2d(x, weight):
    """Repeat every pixel of [N, I, H, W] twice, then convolve with 3×3 kernels: [N, O, 2H, 2W].

    weight: [I, O, 3, 3], flipped as in a transposed convolution. Both steps are one transposed convolution with 4×4
    kernels, each the sum of the 3×3 kernel at the four offsets that the copies of a pixel have.
    """
    padded = F.pad(weight, (1, 1, 1, 1))
    kernel = padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


class Layers(torch.nn.Module):
    """What the blocks share: a layer of their own (`first`), then a 3×3 convolution, each with bias and activation.

    Weights are the effective ones: the run-time scaling of the official layers is multiplied in when a file is read.
    slope: of the leaky ReLU. epsilon: of the pixel norm that follows it, None for none.
    """

    def __init__(self, weight_shape, channels, slope, epsilon):
        super().__init__()
        self.slope, self.epsilon = slope, epsilon
        self.weight = torch.nn.Parameter(torch.randn(weight_shape) * 0.1)
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)

    def activate(self, x):
        x = F.leaky_relu(x, self.slope)
        return x if self.epsilon is None else normalize_2nd_moment(x, self.epsilon)

    def forward(self, x):
        x = self.activate(self.first(x) + self.bias.reshape(1, -1, 1, 1))
        return self.activate(self.conv(x))


class FirstBlock(Layers):
    """Latents [N, n_in] to features [N, channels, 4, 4]."""

    def __init__(self, n_in, channels, **options):
        super().__init__((channels * 16, n_in), channels, **options)

    def first(self, x):
        return F.linear(x, self.weight).reshape(x.shape[0], -1, 4, 4)


class Block(Layers):
    """Features [N, n_in, H, W] to [N, channels, 2H, 2W]."""

    def __init__(self, n_in, channels, **options):
        super().__init__((n_in, channels, 3, 3), channels, **options)

    def first(self, x):
        return upscaling_conv2d(x, self.weight)


class ProGANGenerator(LatentGenerator):
    """The generator of the paper, with the official options.

    channels: feature maps of the blocks at 4×4, 8×8 and so on. Where the last block is below `img_resolution`, as in
    a network saved before it was fully grown, the image is enlarged. fade: the part, below 1, that the block before the
    last still has in the image while a new block fades in. normalize_latents: scale z, together with the label, to
    unit mean square. pixel_norm: do so with the features of every pixel after every layer. epsilon: added to either
    mean square. slope: of the leaky ReLU, 0 for a plain one.

    Raises ValueError for sizes that do not make a network.
    """

    family = "progan"
    normalizes_z = True
    prior_text = "N(0, I), of which the network sees the direction alone"
    truncation_text = "does not exist, because the network normalises z; psi must be 1"

    def __init__(
        self,
        z_dim,
        c_dim,
        img_resolution,
        img_channels,
        channels,
        normalize_latents=True,
        pixel_norm=True,
        epsilon=1e-8,
        slope=0.2,
        fade=0.0,
    ):
        sizes = dict(z_dim=z_dim, c_dim=c_dim, img_resolution=img_resolution, img_channels=img_channels)
        options = dict(normalize_latents=normalize_latents, pixel_norm=pixel_norm, epsilon=epsilon, slope=slope)
        super().__init__(**sizes, init_kwargs=dict(**sizes, channels=list(channels), **options, fade=fade))
        last = 2 << len(channels)
        if img_resolution < 4 or img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution must be a power of two of at least 4, not {img_resolution}")
        if not 4 <= last <= img_resolution:
            raise ValueError(
                f"{len(channels)} blocks reach {last}×{last}, which an image of {img_resolution} cannot be"
            )
        if not 0 <= fade < 1 or fade and len(channels) < 2:
            raise ValueError(f"fade must be at least 0 and below 1, and 0 for a single block, not {fade}")
        # With a label, or without normalisation, the length of z matters.
        self.normalizes_z = normalize_latents and c_dim == 0
        if not self.normalizes_z:
            self.prior_text, self.truncation_text = LatentGenerator.prior_text, LatentGenerator.truncation_text
        self.normalize_latents, self.epsilon, self.fade = normalize_latents, epsilon, fade
        self.enlargement = img_resolution // last
        self.block_resolutions = [4 << i for i in range(len(channels))]
        n = z_dim + c_dim
        for resolution, width in zip(self.block_resolutions, channels):
            block = Block if resolution > 4 else FirstBlock
            self.add_module(f"b{resolution}", block(n, width, slope=slope, epsilon=epsilon if pixel_norm else None))
            n = width
        self.torgb = torch.nn.Conv2d(n, img_channels, 1)
        if fade:
            self.torgb_before = torch.nn.Conv2d(channels[-2], img_channels, 1)

    def check_psi(self, psi):
        if self.normalizes_z and psi != 1:
            raise ValueError("this ProGAN normalises z, so scaling it would change no image; use truncation psi 1")

    def images(self, z, c, psi):
        """Images [N, img_channels, img_resolution, img_resolution], nominally in [−1, 1]; psi scales z."""
        x = torch.cat([z.to(torch.float32) * psi, c.to(torch.float32)], dim=1)
        if self.normalize_latents:
            x = normalize_2nd_moment(x, self.epsilon)
        before = None
        for resolution in self.block_resolutions:
            before, x = x, getattr(self, f"b{resolution}")(x)
        image = self.torgb(x)
        if self.fade:
            image = torch.lerp(image, upscale(self.torgb_before(before), 2), self.fade)
        return upscale(image, self.enlargement)
