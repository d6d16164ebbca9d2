"""StyleGAN2 discriminator with the parameter names of the official PyTorch networks.

The StyleGAN2-ADA and StyleGAN3 releases train with the same one. Everything runs in float32: `num_fp16_res` and the
other half-precision switches are accepted and change no number.
"""

import copy
import math

import torch

from dnnlib_compat.networks import ops
from dnnlib_compat.networks.layers import FullyConnectedLayer, MappingNetwork
from dnnlib_compat.networks.stylegan2 import Conv2dLayer

ARCHITECTURES = ("orig", "skip", "resnet")
REFERENCE_GROUP = 4  # images of a group where the network takes the whole batch for one


def minibatch_stddev(x, group_size, num_channels):
    """Append `num_channels` features that say how much the images of a group differ ("ProGAN", Karras et al., Sec. 3).

    x: [N, C, H, W], in which images i, i + N/G, i + 2N/G, … form a group of G = min(group_size, N), all images where
    group_size is None; the C features are shared out among the new ones. Returns [N, C + num_channels, H, W].
    Raises ValueError for a batch that the group size does not divide.
    """
    n, channels, h, w = x.shape
    size = n if group_size is None else min(group_size, n)
    if n % size:
        raise ValueError(f"a batch of {n} images cannot be split into groups of {size}: give a multiple of {size}")
    groups = x.reshape(size, -1, num_channels, channels // num_channels, h, w)
    spread = ((groups - groups.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    new = spread.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([x, new], dim=1)


def stddev_beside(x, references, num_channels):
    """The features of `minibatch_stddev` where each image is in a group of its own with the same references.

    x: [N, C, H, W]; references: [G − 1, C, H, W]. Returns [N, C + num_channels, H, W]: each row a function of its own.
    """
    n, channels, h, w = x.shape
    groups = torch.cat([x[None], references[:, None].expand(-1, n, -1, -1, -1)])
    groups = groups.reshape(len(groups), n, num_channels, channels // num_channels, h, w)
    spread = ((groups - groups.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    return torch.cat([x, spread[:, :, None, None].expand(-1, -1, h, w)], dim=1)


class DiscriminatorBlock(torch.nn.Module):
    """One resolution: two convolutions, the second halving the image; skip connection or image branch beside them."""

    def __init__(
        self,
        in_channels,
        tmp_channels,
        out_channels,
        img_channels,
        *,
        architecture,
        conv_clamp,
        activation="lrelu",
        resample_filter=(1, 3, 3, 1),
        fp16_channels_last=False,
        freeze_layers=0,
    ):
        super().__init__()
        self.in_channels, self.img_channels, self.architecture = in_channels, img_channels, architecture
        self.plane = ops.is_plane(resample_filter)
        self.register_buffer("resample_filter", ops.setup_filter(resample_filter))
        kwargs = dict(activation=activation, conv_clamp=conv_clamp)
        if in_channels == 0 or architecture == "skip":
            self.fromrgb = Conv2dLayer(img_channels, tmp_channels, 1, **kwargs)
        self.conv0 = Conv2dLayer(tmp_channels, tmp_channels, 3, **kwargs)
        self.conv1 = Conv2dLayer(tmp_channels, out_channels, 3, down=2, resample_filter=resample_filter, **kwargs)
        if architecture == "resnet":
            self.skip = Conv2dLayer(tmp_channels, out_channels, 1, bias=False, down=2, resample_filter=resample_filter)

    def forward(self, x, img):
        """x: features or None (first block); img: the image at this resolution or None. Returns both, halved."""
        if img is not None:
            y = self.fromrgb(img)
            x = y if x is None else x + y
            skips = self.architecture == "skip"
            img = ops.downsample2d(img, ops.separable_taps(self.resample_filter, self.plane)) if skips else None
        if self.architecture != "resnet":
            return self.conv1(self.conv0(x)), img
        gain = math.sqrt(0.5)
        return self.skip(x, gain=gain) + self.conv1(self.conv0(x), gain=gain), img


class DiscriminatorEpilogue(torch.nn.Module):
    """The last block, at 4×4: minibatch statistics, a convolution, two dense layers, the projection on the label.

    fromrgb_clamp: bound of what `skip` adds of the image here, which the PyTorch releases leave out of `conv_clamp`.
    """

    def __init__(
        self,
        in_channels,
        cmap_dim,
        resolution,
        img_channels,
        *,
        architecture,
        conv_clamp,
        mbstd_group_size=4,
        mbstd_num_channels=1,
        activation="lrelu",
        fromrgb_clamp=None,
    ):
        super().__init__()
        self.in_channels, self.resolution, self.img_channels = in_channels, resolution, img_channels
        self.architecture = architecture
        self.cmap_dim, self.group_size, self.num_channels = cmap_dim, mbstd_group_size, mbstd_num_channels
        self.references = None  # features [G − 1, in_channels, 4, 4] that each image's group is completed with
        if architecture == "skip":
            self.fromrgb = Conv2dLayer(img_channels, in_channels, 1, activation=activation, conv_clamp=fromrgb_clamp)
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels, in_channels, 3, activation=activation, conv_clamp=conv_clamp
        )
        self.fc = FullyConnectedLayer(in_channels * resolution**2, in_channels, activation=activation)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def features(self, x, img):
        """What the minibatch statistics are taken of: [N, in_channels, 4, 4]."""
        return x if img is None else x + self.fromrgb(img)

    def forward(self, x, img, cmap):
        """x: [N, in_channels, 4, 4]; img: [N, img_channels, 4, 4] or None; cmap: [N, cmap_dim] or None. → [N, 1]."""
        x = self.features(x, img)
        if self.num_channels > 0 and self.references is not None:
            x = stddev_beside(x, self.references, self.num_channels)
        elif self.num_channels > 0:
            x = minibatch_stddev(x, self.group_size, self.num_channels)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class StyleGAN2Discriminator(torch.nn.Module):
    """Images and labels to logits, high for what looks real; with the constructor of the official discriminators.

    `conv_clamp` defaults to None, as in the StyleGAN2-ADA release; the StyleGAN3 release's default is 256.

    Raises ValueError for a resolution that is no power of two from 8 on, and for an unknown architecture.
    """

    family = "stylegan2-discriminator"
    mapping_class = MappingNetwork
    block_class = DiscriminatorBlock
    epilogue_class = DiscriminatorEpilogue

    def __init__(
        self,
        c_dim,
        img_resolution,
        img_channels,
        architecture="resnet",
        channel_base=32768,
        channel_max=512,
        num_fp16_res=0,
        conv_clamp=None,
        cmap_dim=None,
        block_kwargs=None,
        mapping_kwargs=None,
        epilogue_kwargs=None,
    ):
        super().__init__()
        if img_resolution < 8 or img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution must be a power of two of at least 8, not {img_resolution}")
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be orig, skip or resnet, not {architecture!r}")
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        nested = dict(
            block_kwargs=dict(block_kwargs or {}),
            mapping_kwargs=dict(mapping_kwargs or {}),
            epilogue_kwargs=dict(epilogue_kwargs or {}),
        )
        self.init_args = ()
        self.init_kwargs = dict(
            c_dim=c_dim,
            img_resolution=img_resolution,
            img_channels=img_channels,
            architecture=architecture,
            channel_base=channel_base,
            channel_max=channel_max,
            conv_clamp=conv_clamp,
            cmap_dim=cmap_dim,
            **nested,
        )
        self.img_resolution_log2 = int(math.log2(img_resolution))
        self.block_resolutions = [2**i for i in range(self.img_resolution_log2, 2, -1)]
        channels = {res: min(channel_base // res, channel_max) for res in [*self.block_resolutions, 4]}
        cmap_dim = 0 if c_dim == 0 else channels[4] if cmap_dim is None else cmap_dim
        common = dict(img_channels=img_channels, architecture=architecture, conv_clamp=conv_clamp)
        for res in self.block_resolutions:
            n_in = channels[res] if res < img_resolution else 0
            block = self.block_class(n_in, channels[res], channels[res // 2], **common, **nested["block_kwargs"])
            block.resolution = res
            setattr(self, f"b{res}", block)
        if c_dim > 0:
            self.mapping = self.mapping_class(0, c_dim, cmap_dim, None, w_avg_beta=None, **nested["mapping_kwargs"])
        self.b4 = self.epilogue_class(channels[4], cmap_dim, 4, **common, **nested["epilogue_kwargs"])

    def forward(self, img, c=None, force_fp32=True, update_emas=False):
        """Logits [N, 1] of images [N, img_channels, R, R] in [−1, 1] and labels c [N, c_dim].

        The minibatch statistics make a logit depend on the other images of its group; a batch of one image is a group
        of its own. c may be None for an unconditional network. `force_fp32` is what this network always does, and it
        has no averages for `update_emas`; they are accepted for the ecosystem's callers. Raises ValueError for a batch
        that does not split into groups.
        """
        x, img = self._halved(img)
        return self.b4(x, img, self.mapping(None, c) if self.c_dim > 0 else None)

    def _halved(self, img):
        """What the last block takes, of images."""
        x, img = None, img.to(torch.float32)
        for res in self.block_resolutions:
            x, img = getattr(self, f"b{res}")(x, img)
        return x, img

    @property
    def references_needed(self):
        """How many images complete the group of one, for `scoring_alone`."""
        return (REFERENCE_GROUP if self.b4.group_size is None else self.b4.group_size) - 1

    @torch.no_grad()
    def scoring_alone(self, references):
        """The same discriminator whose logit of an image depends on that image alone, whatever else is in the batch.

        references: images [references_needed, img_channels, R, R] that stand in for the others of every group, so that
        the minibatch statistics have the values that the network knows from its training. It shares all weights.
        """
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.b4 = copy.copy(self.b4)
        twin.b4.references = self.b4.features(*self._halved(references)) if len(references) else None
        if not len(references):
            twin.b4.group_size = 1
        return twin


class ProGANBlock(DiscriminatorBlock):
    """A block of the `orig` architecture. pools_last: it halves what is activated already, by the mean of four."""

    def __init__(self, *args, pools_last=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.pools_last = pools_last
        if pools_last:
            self.conv1.down = 1

    def forward(self, x, img):
        x, img = super().forward(x, img)
        return (torch.nn.functional.avg_pool2d(x, 2) if self.pools_last else x), img


class ProGANDiscriminator(StyleGAN2Discriminator):
    """The discriminator of ProGAN ("Progressive Growing of GANs", Karras et al. 2018, Table 2), fully grown.

    It is an `orig` one of StyleGAN2 whose filter is [1, 1], so it has that constructor; see ProGANBlock for what its
    `block_kwargs` may have besides. Its releases train it by WGAN-GP, where a score is no log density ratio.
    """

    family = "progan-discriminator"
    block_class = ProGANBlock
    released_loss = "wasserstein"
