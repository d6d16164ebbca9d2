"""BigGAN, the generator of BigGAN-PyTorch's BigGAN.py (arXiv:1809.11096, appendix B)."""

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.biggan_layers import BigGANFrame, ConditionalBatchNorm, upsampled


class Block(torch.nn.Module):
    """Residual block that doubles the resolution: [N, n_in, H, W] → [N, n_out, 2H, 2W]."""

    def __init__(self, n_in, n_out, condition_dim, **norm):
        super().__init__()
        self.bn1 = ConditionalBatchNorm(n_in, condition_dim, **norm)
        self.conv1 = torch.nn.Conv2d(n_in, n_out, 3, padding=1)
        self.bn2 = ConditionalBatchNorm(n_out, condition_dim, **norm)
        self.conv2 = torch.nn.Conv2d(n_out, n_out, 3, padding=1)
        self.conv_sc = torch.nn.Conv2d(n_in, n_out, 1)

    def forward(self, x, condition, psi):
        h = self.conv1(upsampled(F.relu(self.bn1(x, condition, psi))))
        h = self.conv2(F.relu(self.bn2(h, condition, psi)))
        # A convolution of single pixels commutes with their repetition, and has less to do before it.
        return h + upsampled(self.conv_sc(x))


class BigGANGenerator(BigGANFrame):
    """z [N, z_dim] and one-hot c [N, n_classes] → images. Truncation psi scales z.

    n_classes: 1 for an unconditional network, which then takes c [N, 0]. channels: of the features at the bottom and
    after each block; every block doubles the resolution. attention: numbers of blocks after which self-attention
    follows. shared_dim: length of the classes' embedding that all blocks share, 0: none. hierarchical: z falls into
    equal chunks, one for the bottom and one for each block, which sees it beside the embedding; otherwise the bottom
    sees all of z and the blocks the class alone. eps: of the blocks' batch normalisation (the output layer has 1e-5
    always). adds_gain: as `convert_biggan` explains.

    Raises ValueError for sizes that do not fit together.
    """

    family = "biggan"

    def __init__(
        self,
        z_dim,
        n_classes,
        channels,
        attention=(),
        shared_dim=0,
        hierarchical=False,
        bottom_width=4,
        img_channels=3,
        eps=1e-5,
        adds_gain=False,
    ):
        n_blocks = len(channels) - 1
        if hierarchical and z_dim % len(channels):
            raise ValueError(f"z_dim {z_dim} does not fall into {len(channels)} equal chunks")
        chunk = z_dim // len(channels) if hierarchical else 0
        super().__init__(
            z_dim=z_dim,
            n_classes=n_classes,
            shared_dim=shared_dim,
            linear_in=chunk or z_dim,
            channels=channels,
            attention=attention,
            bottom_width=bottom_width,
            scale=2**n_blocks,
            img_channels=img_channels,
            n_stats=1,
            output_eps=1e-5,
            adds_gain=adds_gain,
            init_kwargs=dict(
                z_dim=z_dim,
                n_classes=n_classes,
                channels=list(channels),
                attention=list(attention),
                shared_dim=shared_dim,
                hierarchical=hierarchical,
                bottom_width=bottom_width,
                img_channels=img_channels,
                eps=eps,
                adds_gain=adds_gain,
            ),
        )
        self.chunk = chunk
        self.blocks = torch.nn.ModuleList(
            Block(n_in, n_out, self.label_dim + chunk, eps=eps, adds_gain=adds_gain)
            for n_in, n_out in zip(channels[:-1], channels[1:])
        )

    def images(self, z, c, psi):
        """Images [N, img_channels, img_resolution, img_resolution] in [−1, 1]."""
        z = z.to(torch.float32) * psi
        label = self.label(z, c)
        if self.chunk:
            first, *chunks = z.split(self.chunk, dim=1)
            conditions = [torch.cat([label, chunk], dim=1) for chunk in chunks]
        else:
            first, conditions = z, [label] * len(self.blocks)
        x = self.bottom(first)
        for place, (block, condition) in enumerate(zip(self.blocks, conditions), start=1):
            x = self.attend(block(x, condition, psi), place)
        return self.top(x, psi)
