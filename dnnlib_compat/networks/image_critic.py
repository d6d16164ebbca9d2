"""A plain convolutional critic of images, without batch statistics of any kind."""

import torch


class ImageCritic(torch.nn.Module):
    """Images [N, channels, resolution, resolution] → scores [N]: halved by strided convolutions down to 4×4.

    There is no normalisation across the batch, so that a score is that of its image alone; so is the gradient penalty
    of "Improved training of Wasserstein GANs" (Gulrajani et al. 2017, Sec. 4). Layers at resolution R have
    channel_base / R channels, 8 to channel_max of them.

    Raises ValueError for a resolution that is no power of two from 4 on, or channels that are neither 1 nor 3.
    """

    family = "image-critic"
    kind = "image"  # in files of trained weights
    c_dim = 0

    def __init__(self, resolution, channels, channel_base, channel_max):
        super().__init__()
        if resolution < 4 or resolution & (resolution - 1):
            raise ValueError(f"a critic of images with {resolution} pixels: give a power of two, 4 or more")
        if channels not in (1, 3):
            raise ValueError(f"a critic of images with {channels} channels: give 1 (grayscale) or 3 (RGB)")
        self.resolution, self.channels = resolution, channels
        self.channel_base, self.channel_max = channel_base, channel_max
        layers = [torch.nn.Conv2d(channels, self._width(resolution), 3, padding=1), torch.nn.LeakyReLU(0.2)]
        while resolution > 4:
            sizes = self._width(resolution), self._width(resolution // 2)
            layers += [torch.nn.Conv2d(*sizes, 4, stride=2, padding=1), torch.nn.LeakyReLU(0.2)]
            resolution //= 2
        self.layers = torch.nn.Sequential(*layers)
        self.out = torch.nn.Linear(16 * self._width(4), 1)

    @property
    def init_kwargs(self):
        return {name: getattr(self, name) for name in ("resolution", "channels", "channel_base", "channel_max")}

    @property
    def settings(self):
        return dict(kind=self.kind, **self.init_kwargs)

    def forward(self, x):
        return self.out(self.layers(x).flatten(1)).squeeze(1)

    def _width(self, resolution):
        return min(self.channel_max, max(8, self.channel_base // resolution))
