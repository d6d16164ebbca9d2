"""Train the embedded generator: a small unconditional StyleGAN2 on MNIST at 32×32.

    python -m benchmarks.train_embedded --data=mnist32-train.zip --outdir=runs/mnist32

Non-saturating logistic loss with lazy R1, an exponential moving average of the weights, no augmentation. Small batches
on a small network collapse onto one digit at first and stay there for long; a recovery network that must tell 16
coordinates of z from a blurred, noisy image keeps the generator spread out from the start (the idea of InfoGAN). A
checkpoint is written every `--snap` thousand images and an interrupted run goes on from the last one. At the end the
averaged generator is stored as `mnist32.npz`.
"""

import copy
import math
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.training_data import load_zip
from dnnlib_compat.networks.layers import FullyConnectedLayer
from dnnlib_compat.networks.stylegan2 import Conv2dLayer, StyleGAN2Generator
from dnnlib_compat.plain_files import write_npz
from dnnlib_compat.util import atomic_output
from latent_plugins.pictures.contact_sheet import image_grid
from latent_plugins.pictures.files import save_png, to_uint8

R1_INTERVAL = 16
Z_DIM = 64
RECOVERED_DIMS = 16


def minibatch_stddev(x, group_size=4):
    """Append one channel: the mean standard deviation of the features within groups of images ("ProGAN", Sec. 3)."""
    n, _, h, w = x.shape
    groups = x.reshape(group_size, n // group_size, -1)
    y = ((groups - groups.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=1)
    return torch.cat([x, y.repeat(group_size).reshape(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)


class Discriminator(torch.nn.Module):
    """Residual StyleGAN2 discriminator: images [N, C, R, R] → logits [N]."""

    def __init__(self, img_resolution, img_channels, channel_base):
        super().__init__()
        resolutions = [2**i for i in range(int(math.log2(img_resolution)), 2, -1)]
        channels = {res: channel_base // res for res in [*resolutions, 4]}
        self.fromrgb = Conv2dLayer(img_channels, channels[img_resolution], 1, activation="lrelu")
        self.blocks = torch.nn.ModuleList()
        for res in resolutions:
            n_in, n_out = channels[res], channels[res // 2]
            block = torch.nn.ModuleDict(
                dict(
                    skip=Conv2dLayer(n_in, n_out, 1, bias=False, down=2),
                    conv0=Conv2dLayer(n_in, n_in, 3, activation="lrelu"),
                    conv1=Conv2dLayer(n_in, n_out, 3, activation="lrelu", down=2),
                )
            )
            self.blocks.append(block)
        self.conv = Conv2dLayer(channels[4] + 1, channels[4], 3, activation="lrelu")
        self.fc = FullyConnectedLayer(channels[4] * 16, channels[4], activation="lrelu")
        self.out = FullyConnectedLayer(channels[4], 1)

    def forward(self, img):
        x = self.fromrgb(img)
        for block in self.blocks:
            y = block["skip"](x, gain=math.sqrt(0.5))
            x = y + block["conv1"](block["conv0"](x), gain=math.sqrt(0.5))
        x = self.conv(minibatch_stddev(x))
        return self.out(self.fc(x.flatten(1))).squeeze(1)


class Recovery(torch.nn.Module):
    """Guesses the first coordinates of z from an image: [N, 1, 32, 32] → [N, RECOVERED_DIMS].

    The image is halved and drowned in noise first, so that z has to show in the digit and cannot hide in faint texture.
    """

    def __init__(self, noise=0.3):
        super().__init__()
        self.noise = noise
        self.conv0 = Conv2dLayer(1, 32, 3, activation="lrelu", down=2)
        self.conv1 = Conv2dLayer(32, 64, 3, activation="lrelu", down=2)
        self.out = FullyConnectedLayer(64 * 16, RECOVERED_DIMS)

    def forward(self, img):
        img = F.avg_pool2d(img, 2)
        x = self.conv1(self.conv0(img + self.noise * torch.randn_like(img)))
        return self.out(x.flatten(1))


def recovery_weight(images):
    """1 for the first 200,000 images, then falling to 0.1 at 300,000: by then the classes are there to stay."""
    return min(max(1 - 0.9 * (images - 200_000) / 100_000, 0.1), 1.0)


class Trainer:
    """Networks, optimizers and counters of one run; everything that a checkpoint holds."""

    def __init__(self, device, channel_base, lr, r1_gamma, batch, seed):
        torch.manual_seed(seed)
        self.device, self.batch, self.r1_gamma = device, batch, r1_gamma
        kwargs = dict(z_dim=Z_DIM, c_dim=0, w_dim=Z_DIM, img_resolution=32, img_channels=1, channel_base=channel_base)
        kwargs.update(conv_clamp=None, mapping_kwargs=dict(num_layers=2))
        self.G = StyleGAN2Generator(**kwargs).to(device)
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        self.D = Discriminator(32, 1, channel_base).to(device)
        self.Q = Recovery().to(device)
        lazy = R1_INTERVAL / (R1_INTERVAL + 1)  # keeps Adam's time scale with a gradient step for R1 in between
        parameters_G = [*self.G.parameters(), *self.Q.parameters()]
        self.opt_G = torch.optim.Adam(parameters_G, lr=lr, betas=(0.0, 0.99), fused=True)
        self.opt_D = torch.optim.Adam(self.D.parameters(), lr=lr * lazy, betas=(0.0, 0.99**lazy), fused=True)
        self.step = 0

    def parts(self):
        return {name: getattr(self, name) for name in ("G", "G_ema", "D", "Q", "opt_G", "opt_D")}

    def save(self, path):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        with atomic_output(path) as tmp:
            torch.save(dict(state, step=self.step, rng=torch.get_rng_state()), tmp)

    def load(self, path):
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]
        torch.set_rng_state(state["rng"].cpu())

    def train_step(self, real):
        """One update of both networks on real images [N, 1, 32, 32] in [−1, 1]; the losses of G, D and recovery."""
        z = torch.randn(self.batch, Z_DIM, device=self.device)
        c = torch.zeros(self.batch, 0, device=self.device)
        self.D.requires_grad_(False)
        ws = self.G.mapping(z, c)
        fake = self.G.synthesis(ws, noise_mode="random")
        recovery = 1 - F.cosine_similarity(self.Q(fake), z[:, :RECOVERED_DIMS]).mean()
        loss_G = F.softplus(-self.D(fake)).mean() + recovery * recovery_weight(self.step * self.batch)
        self.opt_G.zero_grad(set_to_none=True)
        loss_G.backward()
        self.D.requires_grad_(True)
        loss_D = F.softplus(self.D(fake.detach())).mean() + F.softplus(-self.D(real)).mean()
        self.opt_D.zero_grad(set_to_none=True)
        loss_D.backward()
        self.opt_G.step()
        self.opt_D.step()
        if self.step % R1_INTERVAL == 0:
            real = real.detach().requires_grad_(True)
            (grads,) = torch.autograd.grad(self.D(real).sum(), real, create_graph=True)
            penalty = grads.square().sum(dim=(1, 2, 3)).mean() * (self.r1_gamma / 2 * R1_INTERVAL)
            self.opt_D.zero_grad(set_to_none=True)
            penalty.backward()
            self.opt_D.step()
        self.step += 1
        self.update_averages(ws.detach())
        return loss_G.item(), loss_D.item(), recovery.item()

    @torch.no_grad()
    def update_averages(self, ws):
        w_avg = self.G.mapping.w_avg
        w_avg.copy_(ws[:, 0].mean(dim=0).lerp(w_avg, 0.998))
        self.G_ema.mapping.w_avg.copy_(w_avg)
        images = self.step * self.batch
        half_life = min(10_000, 0.05 * images)  # in images, with the ramp-up of the StyleGAN2 recipe
        beta = 0.5 ** (self.batch / max(half_life, 1e-8))
        for average, current in zip(self.G_ema.parameters(), self.G.parameters()):
            average.lerp_(current, 1 - beta)


def sample_grid(G, path, device):
    z = torch.from_numpy(np.random.RandomState(0).randn(160, G.z_dim)).float().to(device)
    with torch.no_grad():
        images = G(z, torch.zeros(len(z), 0, device=device))
    save_png(image_grid(to_uint8(images), columns=16), path)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True), required=True, help="dataset zip")
@click.option("--outdir", type=Path, required=True)
@click.option("--kimg", type=int, default=500, show_default=True, help="thousand images to train on")
@click.option("--batch", type=int, default=32, show_default=True)
@click.option("--lr", type=float, default=0.0025, show_default=True)
@click.option("--gamma", type=float, default=0.3, show_default=True, help="weight of R1")
@click.option("--cbase", type=int, default=512, show_default=True, help="channel base")
@click.option("--snap", type=int, default=20, show_default=True, help="thousand images between checkpoints")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(data, outdir, kimg, batch, lr, gamma, cbase, snap, seed, device):
    device = torch.device(device)
    outdir.mkdir(parents=True, exist_ok=True)
    images = torch.from_numpy(load_zip(data)[0])
    trainer = Trainer(device, cbase, lr, gamma, batch, seed)
    checkpoint = outdir / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"going on from {trainer.step * batch / 1000:.1f} kimg")
    start, first = time.time(), trainer.step
    per_epoch = len(images) // batch
    while trainer.step * batch < kimg * 1000:
        epoch, position = divmod(trainer.step, per_epoch)
        order = np.random.RandomState(seed + 1000 * epoch).permutation(len(images))
        real = images[order[position * batch : (position + 1) * batch]].to(device).float() / 127.5 - 1
        loss_G, loss_D, recovery = trainer.train_step(real)
        seen = trainer.step * batch
        if trainer.step % 200 == 0:
            rate = (trainer.step - first) * batch / (time.time() - start)
            losses = f"G {loss_G:6.3f}  D {loss_D:6.3f}  z {recovery:5.3f}"
            print(f"kimg {seen / 1000:7.1f}  {losses}  {rate:5.0f} images/s", flush=True)
        if seen // (snap * 1000) > (seen - batch) // (snap * 1000) or seen >= kimg * 1000:
            trainer.save(checkpoint)
            sample_grid(trainer.G_ema, outdir / f"samples{seen // 1000:05d}.png", device)
    write_npz(trainer.G_ema, outdir / "mnist32.npz", dtype=torch.float16)


if __name__ == "__main__":
    main()
