"""Small MLPs trained in the plane as WGAN-GP ("Improved Training of Wasserstein GANs", Gulrajani et al. 2017)."""

import torch
import torch.nn.functional as F

from benchmarks.paper.data2d import distribution
from benchmarks.paper.losses import gradient_penalty
from dnnlib_compat.families import FAMILIES
from dnnlib_compat.networks.interface import LatentGenerator
from latent_plugins.reweighting.networks import CRITICS

PENALTY = 0.1  # a weak penalty suits toy data, whose critics need steep slopes
CRITIC_STEPS = 5


def layers(n_in, n_out, width, depth):
    """`depth` hidden layers of `width` and an output layer, as a ModuleList."""
    sizes = [n_in] + [width] * depth + [n_out]
    return torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))


def mlp(x, linear):
    """x [N, …] through linear layers with ReLU between."""
    for layer in linear[:-1]:
        x = F.relu(layer(x))
    return linear[-1](x)


class PlaneGenerator(LatentGenerator):
    """z [N, z_dim] to points of the plane as images [N, 2, 1, 1], piecewise affine; `points` gives them as [N, 2]."""

    family = "mlp-plane"

    def __init__(self, z_dim=2, width=128, depth=3):
        kwargs = dict(z_dim=z_dim, width=width, depth=depth)
        super().__init__(z_dim=z_dim, c_dim=0, img_resolution=1, img_channels=2, init_kwargs=kwargs)
        self.layers = layers(z_dim, 2, width, depth)

    def points(self, z):
        """Points [N, 2] of latents [N, z_dim]."""
        return mlp(z, self.layers)

    def images(self, z, c, psi=1):
        """See LatentGenerator: psi scales z, there are no labels."""
        return self.points(z * psi)[:, :, None, None]


class PlaneCritic(torch.nn.Module):
    """Points of the plane [N, 2] or [N, 2, 1, 1] to real numbers [N], higher for what looks real."""

    family = kind = "mlp-plane-critic"

    def __init__(self, width=128, depth=3):
        super().__init__()
        self.init_kwargs = dict(width=width, depth=depth)
        self.layers = layers(2, 1, width, depth)

    @property
    def settings(self):
        """See latent_plugins.reweighting.networks: the training of importance weights can go on from this network."""
        return dict(kind=self.kind, **self.init_kwargs)

    def forward(self, x):
        return mlp(x.flatten(1), self.layers).squeeze(1)


def train_gan2d(name, seed=0, steps=4000, *, z_dim=2, width=128, depth=3, batch=256, lr=1e-3, report=None):
    """(PlaneGenerator, PlaneCritic) after `steps` steps of the generator on a distribution of `data2d`.

    Adam (0.5, 0.9) with a learning rate that falls linearly to zero over the second half. The same arguments give the
    same networks on the same machine; torch's global generator is left alone. report: called with (step, estimate of
    the Wasserstein distance) after every hundredth of the training. Raises ValueError for an unknown distribution and
    for fewer than one step.
    """
    draw_real = distribution(name)
    if steps < 1:
        raise ValueError(f"{steps} steps of training: give 1 or more")
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, critic = PlaneGenerator(z_dim, width, depth), PlaneCritic(width, depth)
    opt_generator, opt_critic = optimizers = [
        torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.9), fused=True) for network in (generator, critic)
    ]
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = lr * min(1.0, 2 * (1 - step / steps))
        for _ in range(CRITIC_STEPS):
            real = draw_real(batch, random)
            with torch.no_grad():
                fake = generator.points(generator.sample_prior(batch, random))
            distance = critic(real).mean() - critic(fake).mean()
            loss = PENALTY * gradient_penalty(critic, real, fake, torch.rand(batch, generator=random)) - distance
            opt_critic.zero_grad(set_to_none=True)
            loss.backward()
            opt_critic.step()
        critic.requires_grad_(False)
        loss = -critic(generator.points(generator.sample_prior(batch, random))).mean()
        opt_generator.zero_grad(set_to_none=True)
        loss.backward()
        opt_generator.step()
        critic.requires_grad_(True)
        if report and (step + 1) % max(steps // 100, 1) == 0:
            report(step + 1, float(distance.detach()))
    return tuple(net.eval().requires_grad_(False) for net in (generator, critic))


# Plain files of these networks, and weights with this critic, are read wherever this module is imported.
FAMILIES.add(PlaneGenerator, PlaneCritic)
CRITICS[PlaneCritic.kind] = PlaneCritic
