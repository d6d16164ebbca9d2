"""NVAE: the decoder and prior of a deep hierarchical variational autoencoder (Vahdat & Kautz, NeurIPS 2020)."""

import copy
import math

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.interface import LatentGenerator
from dnnlib_compat.networks.nvae_cells import ARCHITECTURES, BatchNorm, Cell, LatentGroup, NormedConv2d
from dnnlib_compat.networks.nvae_outputs import output_distribution


class NVAEGenerator(LatentGenerator):
    """Latents z [N, z_dim] ~ N(0, I) → images [N, img_channels, img_resolution, img_resolution] in [−1, 1].

    z is the concatenation of the groups' standard-normal draws, each [latent_channels, H, W] flattened, in the order
    in which the network uses them: the smallest resolution first. Every group turns its draw ε into μ + ψ σ ε, with μ
    and σ depending on what was decoded so far; ψ is the temperature. `groups` lists (scale, group, C, H, W) of all.

    The image is the mean of the output distribution: for "bernoulli" 2p − 1 (one channel), for "normal" the centre,
    for "logistic-mixture" (`components` of them) the centre of the official FID evaluation; both clamped to [−1, 1].
    `sample_output` draws from the distribution instead.

    channels: width of the last cells; it doubles with every halving of the resolution. groups_per_scale: numbers of
    groups, the smallest resolution first, each scale of twice the size. post_blocks: doublings behind the last group,
    of post_cells cells each. architecture: a key of nvae_cells.ARCHITECTURES. A network of a single group has no
    learned constant; its features come from the latent alone. Raises ValueError for sizes that do not fit together.
    """

    family = "nvae"
    prior_text = "N(0, I), the groups' draws in sampling order"
    truncation_text = "temperature of every group's prior"

    def __init__(
        self,
        img_resolution,
        output,
        channels,
        latent_channels,
        groups_per_scale,
        cells_per_group,
        post_blocks,
        post_cells,
        use_se,
        architecture,
        components=0,
    ):
        distribution = output_distribution(output, components)
        doublings = len(groups_per_scale) - 1 + post_blocks
        if not groups_per_scale or min(groups_per_scale) < 1 or img_resolution % 2**doublings:
            raise ValueError(f"{img_resolution} pixels do not fit {groups_per_scale} groups and {post_blocks} blocks")
        if post_blocks and not post_cells:
            raise ValueError("blocks without cells do not double the resolution")
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {architecture!r}")
        side = img_resolution >> doublings
        groups = [
            (scale, group, latent_channels, side << scale, side << scale)
            for scale, number in enumerate(groups_per_scale)
            for group in range(number)
        ]
        super().__init__(
            z_dim=sum(math.prod(shape) for _, _, *shape in groups),
            c_dim=0,
            img_resolution=img_resolution,
            img_channels=distribution.channels,
            init_kwargs=dict(
                img_resolution=img_resolution,
                output=output,
                channels=channels,
                latent_channels=latent_channels,
                groups_per_scale=groups_per_scale,
                cells_per_group=cells_per_group,
                post_blocks=post_blocks,
                post_cells=post_cells,
                use_se=use_se,
                architecture=architecture,
                components=components,
            ),
        )
        self.groups, self.output = groups, distribution
        inner, outer = ARCHITECTURES[architecture]
        width = channels << doublings
        alone = len(groups) == 1
        self.start = None if alone else torch.nn.Parameter(torch.rand(width, side, side))
        self.tower = torch.nn.ModuleList()
        for scale, group, *_ in groups:
            cells = []
            if scale and not group:
                cells.append(Cell(width, inner, up=True, use_se=use_se))
                width = cells[0].out_channels
            if scale or group:
                cells += [Cell(width, inner, up=False, use_se=use_se) for _ in range(cells_per_group)]
            features = 0 if alone else width
            self.tower.append(LatentGroup(cells, features, width, latent_channels, has_prior=bool(scale or group)))
        self.post = torch.nn.ModuleList()
        for cell in (cell for _ in range(post_blocks) for cell in range(post_cells)):
            self.post.append(Cell(width, outer, up=cell == 0, use_se=use_se))
            width = self.post[-1].out_channels
        self.head = NormedConv2d(width, distribution.parameters, 3, padding=1)

    def check_psi(self, psi):
        if not 0 <= psi < math.inf:
            raise ValueError(f"a temperature must be at least 0, not {psi}")

    def logits(self, z, psi=1):
        """The output distribution's parameters [N, parameters, H, W] of z [N, z_dim] at temperature psi."""
        shapes = [shape for _, _, *shape in self.groups]
        draws = z.to(self.head.weight.dtype).split([math.prod(shape) for shape in shapes], dim=1)
        x = None if self.start is None else self.start.expand(len(z), -1, -1, -1)
        for group, draw, shape in zip(self.tower, draws, shapes):
            x = group(x, draw.unflatten(1, shape), psi)
        for cell in self.post:
            x = cell(x)
        return self.head(F.elu(x))

    def images(self, z, c, psi):
        """Means of the output distributions [N, img_channels, H, W] in [−1, 1] of z [N, z_dim] at temperature psi."""
        return self.output.mean(self.logits(z, psi))

    def sample_output(self, z, c, psi, generator):
        """A draw from each output distribution, by a torch.Generator, in place of its mean. Same shape and range."""
        self.check_psi(psi)
        return self.output.sample(self.logits(z, psi), generator)


def readjust_batch_norm(network, *, psi, samples=8000, batch=16, generator):
    """A copy of an NVAE whose batch normalisation is adjusted to latents at temperature psi.

    The statistics of training suit temperature 1. As in the official evaluation (500 batches of 16), the network runs
    on random latents and normalises by the statistics of each batch, which the running ones follow with momentum 0.05.
    The latents come from `generator`, so equal seeds give equal copies. A last incomplete batch is left out.
    Raises ValueError for a temperature below 0, and if there is no complete batch.
    """
    network.check_psi(psi)
    if not 1 <= batch <= samples:
        raise ValueError(f"{samples} samples do not make a batch of {batch}")
    adjusted = copy.deepcopy(network)
    layers = [module for module in adjusted.modules() if isinstance(module, BatchNorm)]
    for layer in layers:
        layer.adapting = True
    device = adjusted.head.weight.device
    with torch.no_grad():
        for _ in range(samples // batch):
            z = torch.randn(batch, adjusted.z_dim, generator=generator, device=generator.device)
            adjusted.logits(z.to(device), psi)
    for layer in layers:
        layer.adapting = False
    return adjusted
