"""Train the GAN of the MNIST experiment: hinge loss with a gradient penalty ("HGP").

    python -m benchmarks.paper.mnist_gan --outdir=runs/mnist-gan --steps=10000

The critic's loss is E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))) + λ E (‖∇D‖ − 1)², the last on segments between real and
generated images ("Improved Training of Wasserstein GANs", Gulrajani et al. 2017, Algorithm 1); the generator's is
−E D(G(z)). One step of each network by Adam, a learning rate that falls to zero over the second half, an exponential
moving average of the generator's weights. A checkpoint is written every `--snap` steps, and an interrupted run goes on
from the last one. With each checkpoint come `generator.npz` (the average, without batch norm), `discriminator.npz`,
both plain files, and a grid of samples.
"""

import copy
import os
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.paper.losses import gradient_penalty
from benchmarks.paper.mnist_networks import CNNDiscriminator, CNNGenerator, folded, renew_statistics
from benchmarks.training_data import load_zip
from dnnlib_compat.plain_files import write_npz
from dnnlib_compat.util import atomic_output
from latent_plugins.pictures.contact_sheet import image_grid
from latent_plugins.pictures.files import save_png, to_uint8

ROOT = Path(__file__).resolve().parents[2]
PENALTY = 10.0
AVERAGING = 0.999


def data_folder():
    """The folder with the data sets: the environment variable LATENT_PLUGINS_DATA, by default ../shared."""
    return ROOT / os.environ.get("LATENT_PLUGINS_DATA", "../shared")


class Trainer:
    """Networks, optimizers and counters of one run; everything that a checkpoint holds."""

    def __init__(self, z_dim, width, batch, lr, steps, seed):
        self.batch, self.lr, self.steps = batch, lr, steps
        self.random = torch.Generator().manual_seed(seed)
        channels = (4 * width, 2 * width, width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.G = CNNGenerator(z_dim, channels, normalized=True)
            self.D = CNNDiscriminator(channels[::-1])
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        self.opt_G = torch.optim.Adam(self.G.parameters(), lr=lr, betas=(0.5, 0.9), fused=True)
        self.opt_D = torch.optim.Adam(self.D.parameters(), lr=lr, betas=(0.5, 0.9), fused=True)
        self.step = 0

    def parts(self):
        return {name: getattr(self, name) for name in ("G", "G_ema", "D", "opt_G", "opt_D")}

    def save(self, path):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        with atomic_output(path) as tmp:
            torch.save(dict(state, step=self.step, random=self.random.get_state()), tmp)

    def load(self, path):
        state = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]
        self.random.set_state(state["random"])

    def train_step(self, real):
        """One update of both networks on real images [N, 1, 32, 32] in [−1, 1]; the critic's and generator's losses."""
        lr = self.lr * min(1.0, 2 * (1 - self.step / self.steps))
        for group in (*self.opt_G.param_groups, *self.opt_D.param_groups):
            group["lr"] = lr
        fake = self.G.images(self.G.sample_prior(self.batch, self.random), None)
        loss_D = F.relu(1 - self.D(real)).mean() + F.relu(1 + self.D(fake.detach())).mean()
        mixing = torch.rand(self.batch, generator=self.random)
        penalty = PENALTY * gradient_penalty(self.D, real, fake.detach(), mixing)
        self.opt_D.zero_grad(set_to_none=True)
        (loss_D + penalty).backward()
        self.opt_D.step()

        self.D.requires_grad_(False)
        loss_G = -self.D(fake).mean()
        self.opt_G.zero_grad(set_to_none=True)
        loss_G.backward()
        self.opt_G.step()
        self.D.requires_grad_(True)

        self.step += 1
        beta = min(AVERAGING, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, current in zip(self.G_ema.parameters(), self.G.parameters()):
                average.lerp_(current, 1 - beta)
        return loss_D.item(), penalty.item(), loss_G.item()

    def generator(self):
        """The averaged generator without batch norm, for its users."""
        random = torch.Generator().manual_seed(self.step)
        return folded(renew_statistics(copy.deepcopy(self.G_ema), random))


def export(trainer, outdir):
    """Both networks as plain files, and a grid of 10 × 16 samples."""
    generator = trainer.generator()
    write_npz(generator, outdir / "generator.npz")
    write_npz(trainer.D, outdir / "discriminator.npz")
    with torch.no_grad():
        images = generator.images(generator.sample_prior(160, torch.Generator().manual_seed(0)), None)
    save_png(image_grid(to_uint8(images), columns=16), outdir / f"samples{trainer.step:06d}.png")


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), help="dataset zip; default: MNIST in $LATENT_PLUGINS_DATA")
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--steps", type=int, default=10_000, show_default=True)
@click.option("--batch", type=int, default=64, show_default=True)
@click.option("--lr", type=float, default=3e-4, show_default=True)
@click.option("--zdim", type=int, default=64, show_default=True)
@click.option("--width", type=int, default=32, show_default=True, help="channels at 16×16; twice at 8×8, …")
@click.option("--snap", type=int, default=1000, show_default=True, help="steps between checkpoints")
@click.option("--seed", type=int, default=0, show_default=True)
def main(data, outdir, steps, batch, lr, zdim, width, snap, seed):
    outdir.mkdir(parents=True, exist_ok=True)
    images = torch.from_numpy(load_zip(data or data_folder() / "datasets" / "mnist32-train.zip")[0])
    trainer = Trainer(zdim, width, batch, lr, steps, seed)
    checkpoint = outdir / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"going on from step {trainer.step}", flush=True)
    start, first = time.time(), trainer.step
    per_epoch = len(images) // batch
    while trainer.step < steps:
        epoch, position = divmod(trainer.step, per_epoch)
        order = np.random.RandomState(seed + 1000 * epoch).permutation(len(images))
        real = images[order[position * batch : (position + 1) * batch]].float() / 127.5 - 1
        loss_D, penalty, loss_G = trainer.train_step(real)
        if trainer.step % 100 == 0:
            rate = (time.time() - start) / (trainer.step - first)
            losses = f"D {loss_D:6.3f}  penalty {penalty:6.3f}  G {loss_G:6.3f}"
            print(f"step {trainer.step:6d}  {losses}  {1000 * rate:5.0f} ms/step", flush=True)
        if trainer.step % snap == 0 or trainer.step == steps:
            trainer.save(checkpoint)
            export(trainer, outdir)


if __name__ == "__main__":
    main()
