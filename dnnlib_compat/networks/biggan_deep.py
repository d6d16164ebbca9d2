"""BigGAN-deep (arXiv:1809.11096, appendix B): the generator of BigGAN-PyTorch and of pytorch-pretrained-BigGAN."""

import numpy as np
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F

from dnnlib_compat.networks.biggan_layers import BigGANFrame, ConditionalBatchNorm, upsampled

LARGEST = 2  # of the truncated normal distribution of pytorch-pretrained-BigGAN


class BottleneckBlock(torch.nn.Module):
    """Residual block with a quarter of the channels inside, whose shortcut drops channels: [N, n_in, H, W] →
    [N, n_out, H, W], or twice the resolution when `upsamples`."""

    def __init__(self, n_in, n_out, upsamples, condition_dim, **norm):
        super().__init__()
        if not 4 <= n_in >= n_out:
            raise ValueError(f"a block from {n_in} to {n_out} channels; it needs at least 4, and keeps or drops some")
        hidden = n_in // 4
        self.n_out, self.upsamples = n_out, upsamples
        self.bn1 = ConditionalBatchNorm(n_in, condition_dim, **norm)
        self.conv1 = torch.nn.Conv2d(n_in, hidden, 1)
        self.bn2 = ConditionalBatchNorm(hidden, condition_dim, **norm)
        self.conv2 = torch.nn.Conv2d(hidden, hidden, 3, padding=1)
        self.bn3 = ConditionalBatchNorm(hidden, condition_dim, **norm)
        self.conv3 = torch.nn.Conv2d(hidden, hidden, 3, padding=1)
        self.bn4 = ConditionalBatchNorm(hidden, condition_dim, **norm)
        self.conv4 = torch.nn.Conv2d(hidden, n_out, 1)

    def forward(self, x, condition, psi):
        h = self.conv1(F.relu(self.bn1(x, condition, psi)))
        h = F.relu(self.bn2(h, condition, psi))
        x = x[:, : self.n_out]
        if self.upsamples:
            h, x = upsampled(h), upsampled(x)
        h = self.conv3(F.relu(self.bn3(self.conv2(h), condition, psi)))
        return x + self.conv4(F.relu(self.bn4(h, condition, psi)))


class BigGANDeepGenerator(BigGANFrame):
    """z [N, z_dim] and one-hot c [N, n_classes] → images. Truncation psi scales z.

    The bottom and all blocks see the whole of z beside the class. blocks: [channels in, channels out, whether it
    doubles the resolution] of each. n_stats: how many truncations, evenly from 0 to 1, there are statistics of
    activations for. eps, output_eps: of the batch normalisation in the blocks and in the output layer. The other
    arguments are those of `BigGANGenerator`. Raises ValueError for sizes that do not fit together.
    """

    family = "biggan-deep"

    def __init__(
        self,
        z_dim,
        n_classes,
        blocks,
        attention=(),
        shared_dim=0,
        bottom_width=4,
        img_channels=3,
        n_stats=1,
        eps=1e-5,
        output_eps=1e-5,
        adds_gain=False,
    ):
        blocks = [(n_in, n_out, bool(upsamples)) for n_in, n_out, upsamples in blocks]
        channels = [blocks[0][0]] + [n_out for _, n_out, _ in blocks]
        if [n_in for n_in, _, _ in blocks] != channels[:-1]:
            raise ValueError(f"blocks {blocks} do not follow on one another: channels in must be channels out before")
        condition_dim = z_dim + (shared_dim or n_classes)
        super().__init__(
            z_dim=z_dim,
            n_classes=n_classes,
            shared_dim=shared_dim,
            linear_in=condition_dim,
            channels=channels,
            attention=attention,
            bottom_width=bottom_width,
            scale=2 ** sum(upsamples for _, _, upsamples in blocks),
            img_channels=img_channels,
            n_stats=n_stats,
            output_eps=output_eps,
            adds_gain=adds_gain,
            init_kwargs=dict(
                z_dim=z_dim,
                n_classes=n_classes,
                blocks=[list(block) for block in blocks],
                attention=list(attention),
                shared_dim=shared_dim,
                bottom_width=bottom_width,
                img_channels=img_channels,
                n_stats=n_stats,
                eps=eps,
                output_eps=output_eps,
                adds_gain=adds_gain,
            ),
        )
        norm = dict(n_stats=n_stats, eps=eps, adds_gain=adds_gain)
        self.blocks = torch.nn.ModuleList(BottleneckBlock(*block, condition_dim, **norm) for block in blocks)

    def images(self, z, c, psi):
        """Images [N, img_channels, img_resolution, img_resolution] in [−1, 1]."""
        z = z.to(torch.float32) * psi
        condition = torch.cat([self.label(z, c), z], dim=1)
        x = self.bottom(condition)
        for place, block in enumerate(self.blocks, start=1):
            x = self.attend(block(x, condition, psi), place)
        return self.top(x, psi)


class BigGANDeepHFGenerator(BigGANDeepGenerator):
    """BigGAN-deep of pytorch-pretrained-BigGAN: latents of a truncated normal distribution, statistics by truncation.

    z is the unscaled latent, in [−2, 2]; that project's own functions scale it by psi outside of the network.
    """

    family = "biggan-deep-hf"
    prior = "truncated"
    prior_text = f"N(0, I) truncated to [−{LARGEST}, {LARGEST}]"
    truncation_text = "scales z and selects the statistics of the batch normalisation (psi above 0 and at most 1)"

    def check_psi(self, psi):
        """Raise ValueError for a truncation outside of (0, 1], which there are no statistics for."""
        if not 0 < psi <= 1:
            raise ValueError(
                f"a {self.family} network has statistics for truncation psi above 0 and at most 1, not {psi}"
            )

    def seed_latent(self, seed):
        """z [1, z_dim] float32 of a seed, as `truncated_noise_sample` draws it for truncation 1."""
        random = np.random.RandomState(seed)
        z = scipy.stats.truncnorm.rvs(-LARGEST, LARGEST, size=(1, self.z_dim), random_state=random)
        return torch.tensor(z.astype(np.float32))

    def sample_prior(self, n, random):
        """n latents [n, z_dim] float32 of the prior. random: a torch.Generator on the CPU."""
        low, high = scipy.special.ndtr([-LARGEST, LARGEST])
        u = torch.rand(n, self.z_dim, generator=random, dtype=torch.float64).numpy()
        return torch.tensor(scipy.special.ndtri(low + u * (high - low)).astype(np.float32))
