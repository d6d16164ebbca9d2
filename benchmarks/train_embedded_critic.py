"""Train the embedded network's discriminator, for the samplers that ask a critic.

    python -m benchmarks.train_embedded_critic --data=mnist32-train.zip --test=mnist32-test.zip --outdir=runs/critic

Real images against those of the finished generator, which stays as it is: logistic loss with lazy R1, a learning rate
that falls to zero as a half cosine, averaged weights. A logit is that of its image alone, without minibatch statistics:
at the optimum of this loss it is log p_data(x) − log p_generator(x). Both sides get Gaussian noise on their pixels:
real backgrounds are −1 exactly and generated ones nearly, which would tell them apart and say nothing about digits.
Of the training images KEPT are left out: by their loss the best of the checkpoints is chosen, their logits calibrate it
(Platt scaling, folded into the last layer). An interrupted run goes on from its last checkpoint.

At the end `mnist32-discriminator.npz` (float16) is written, with what it is worth on the test images.
"""

import copy
import dataclasses
import json
import math
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.critic_figures import figures
from benchmarks.training_data import load_zip
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.image_critic import ImageCritic
from dnnlib_compat.plain_files import write_npz
from dnnlib_compat.util import atomic_output
from latent_plugins.samplers.calibration import fit_platt

KEPT = 5_000
R1_INTERVAL = 16
HALF_LIFE = 10_000  # of the averaged weights, in images
FILE = "mnist32-discriminator.npz"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The numbers of a training: images in all and a batch, learning rate, weight of R1, noise (standard deviation),
    channels at the full resolution (twice as many at each halving), seed."""

    images: int
    batch: int
    lr: float
    gamma: float
    noise: float
    channels: int
    seed: int


class Trainer:
    """The discriminator, its average and the best one so far, its optimizer and the counter of one run."""

    def __init__(self, generator, plan):
        torch.manual_seed(plan.seed)
        self.generator, self.plan, self.step = generator, plan, 0
        size = generator.img_resolution
        self.D = ImageCritic(size, generator.img_channels, plan.channels * size, 8 * plan.channels)
        self.average = copy.deepcopy(self.D).eval().requires_grad_(False)
        self.best, self.least = copy.deepcopy(self.average), math.inf
        self.opt = torch.optim.Adam(self.D.parameters(), lr=plan.lr, betas=(0.9, 0.99), fused=True)

    def save(self, path):
        """Write everything that is needed to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("D", "average", "best", "opt")}
        own = dict(step=self.step, least=self.least, plan=dataclasses.asdict(self.plan), rng=torch.get_rng_state())
        with atomic_output(path) as tmp:
            torch.save(parts | own, tmp)

    def load(self, path):
        """Go on from what `save` wrote."""
        state = torch.load(path, weights_only=True)
        if state["plan"] != dataclasses.asdict(self.plan):
            raise click.ClickException(f"{path}: a training with other options; choose another --outdir")
        for name in ("D", "average", "best", "opt"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.least = state["step"], state["least"]
        torch.set_rng_state(state["rng"])

    def train_step(self, real):
        """One update on real images [N, C, R, R] in [−1, 1] and as many generated ones; the loss in nats an image."""
        plan, done = self.plan, min(self.step * self.plan.batch / self.plan.images, 1)
        for group in self.opt.param_groups:
            group["lr"] = plan.lr * 0.5 * (1 + math.cos(math.pi * done))
        fake = generated(self.generator, torch.randn(len(real), self.generator.z_dim))
        images = torch.cat([real, fake])
        images = images + plan.noise * torch.randn_like(images)
        logits = self.D(images)
        loss = F.softplus(-logits[: len(real)]).mean() / 2 + F.softplus(logits[len(real) :]).mean() / 2
        total = loss
        if self.step % R1_INTERVAL == 0:
            some = images[: len(real)].detach().requires_grad_(True)
            (grads,) = torch.autograd.grad(self.D(some).sum(), some, create_graph=True)
            total = loss + grads.square().sum(dim=(1, 2, 3)).mean() * (plan.gamma / 2 * R1_INTERVAL)
        self.opt.zero_grad(set_to_none=True)
        total.backward()
        self.opt.step()
        self.step += 1
        beta = 0.5 ** (plan.batch / min(HALF_LIFE, 0.05 * self.step * plan.batch))
        with torch.no_grad():
            for average, current in zip(self.average.parameters(), self.D.parameters()):
                average.lerp_(current, 1 - beta)
        return loss.item()

    def choose(self, kept):
        """Remember the averaged discriminator if its loss on the images `kept` is the least so far; its figures."""
        found = figures(*logits_of(self.average, self.generator, kept, seed=1))
        if found["log_loss"] < self.least:
            self.best.load_state_dict(self.average.state_dict())
            self.least = found["log_loss"]
        return found


@torch.no_grad()
def generated(generator, z):
    """Images [N, C, R, R] of latents z [N, z_dim], with the noise inputs that samplers' critics see."""
    return generator(z, torch.zeros(len(z), 0))


def to_float(images):
    """uint8 → float32 in [−1, 1]."""
    return torch.from_numpy(images).float() / 127.5 - 1


@torch.no_grad()
def logits_of(critic, generator, real, seed):
    """Logits float64 (of real uint8 images [N, C, R, R], of N generated ones)."""
    z = torch.randn(len(real), generator.z_dim, generator=torch.Generator().manual_seed(seed))
    parts = np.array_split(real, max(1, len(real) // 250))
    of_real = [critic(to_float(part)).reshape(-1) for part in parts]
    of_generated = [critic(generated(generator, part)).reshape(-1) for part in z.split(250)]
    return torch.cat(of_real).double().numpy(), torch.cat(of_generated).double().numpy()


def folded(discriminator, calibration):
    """The discriminator whose logit is calibration(logit)."""
    result = copy.deepcopy(discriminator)
    with torch.no_grad():
        result.out.weight.mul_(calibration.slope)
        result.out.bias.mul_(calibration.slope).add_(calibration.intercept)
    return result


def batches(images, plan, first):
    """Endless batches of real images, from batch `first` on; each epoch in an order of its own."""
    per_epoch, step = len(images) // plan.batch, first
    while True:
        epoch, place = divmod(step, per_epoch)
        order = np.random.RandomState(plan.seed + 1000 * epoch).permutation(len(images))
        yield to_float(images[order[place * plan.batch : (place + 1) * plan.batch]])
        step += 1


def train(trainer, images, kept, checkpoint, snap):
    """Train to the end of the plan, from the checkpoint if there is one; a checkpoint every `snap` images."""
    plan = trainer.plan
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"going on from {trainer.step * plan.batch / 1000:.1f} kimg")
    start, first, losses = time.time(), trainer.step, []
    for real in batches(images, plan, trainer.step):
        if trainer.step * plan.batch >= plan.images:
            break
        losses.append(trainer.train_step(real))
        seen = trainer.step * plan.batch
        if seen // snap > (seen - plan.batch) // snap or seen >= plan.images:
            found = trainer.choose(kept)
            trainer.save(checkpoint)
            rate = (trainer.step - first) * plan.batch / (time.time() - start)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(f"{seen / 1000:6.1f} kimg, training loss {np.mean(losses[-100:]):.4f}; kept images: {shown}; "
                  f"{rate:.0f} images/s", flush=True)  # fmt: skip


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True), required=True, help="Training zip.")
@click.option("--test", type=click.Path(exists=True), required=True, help="Zip of images that no choice is made by.")
@click.option("--outdir", type=Path, required=True)
@click.option("--network", default="mnist32", show_default=True)
@click.option("--kimg", type=click.IntRange(1), default=240, show_default=True, help="Thousand real images to see.")
@click.option("--batch", type=click.IntRange(2), default=64, show_default=True)
@click.option("--lr", type=float, default=0.001, show_default=True)
@click.option("--gamma", type=float, default=0.01, show_default=True, help="Weight of R1.")
@click.option("--noise", type=float, default=0.3, show_default=True, help="Standard deviation on the pixels.")
@click.option("--channels", type=click.IntRange(8), default=16, show_default=True, help="At the full resolution.")
@click.option("--snap", type=click.IntRange(1), default=15, show_default=True, help="Thousand images a checkpoint.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(data, test, outdir, network, kimg, batch, lr, gamma, noise, channels, snap, seed):
    outdir.mkdir(parents=True, exist_ok=True)
    images, kept = np.split(load_zip(data)[0], [-KEPT])
    plan = Plan(kimg * 1000, batch, lr, gamma, noise, channels, seed)
    trainer = Trainer(load_network(network), plan)
    train(trainer, images, kept, outdir / "checkpoint.pt", snap * 1000)
    calibration = fit_platt(*logits_of(trainer.best, trainer.generator, kept, seed=1))
    print(f"calibration: slope {calibration.slope:.3f}, intercept {calibration.intercept:.3f}")
    path = outdir / FILE
    write_npz(folded(trainer.best, calibration), path, dtype=torch.float16)
    held_out = load_zip(test)[0]
    found = figures(*logits_of(load_network(path, key="D"), trainer.generator, held_out, seed=2))
    about = dict(trained_against=network, plan=dataclasses.asdict(plan), held_out_images=len(held_out), held_out=found)
    write_npz(folded(trainer.best, calibration), path, dtype=torch.float16, about=about)
    print(f"{path}: {path.stat().st_size} bytes; {json.dumps(about)}")


if __name__ == "__main__":
    main()
