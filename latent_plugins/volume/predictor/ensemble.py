"""A small ensemble of networks that predict a number and how uncertain it is."""

import torch
import torch.nn.functional as F

from dnnlib_compat.gradients import no_grad

MEMBERS, WIDTH, DROPOUT = 4, 192, 0.1
LOG_VARIANCE_BOUND = 10.0


class Ensemble(torch.nn.Module):
    """`MEMBERS` networks with two hidden layers, side by side: [N, F] → mean and log-variance [MEMBERS, N] each."""

    def __init__(self, inputs, random=None):
        super().__init__()
        sizes = [inputs, WIDTH, WIDTH, 2]
        for number, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
            weight = torch.randn(MEMBERS, n_in, n_out, generator=random) * (2 / n_in) ** 0.5
            self.register_parameter(f"weight{number}", torch.nn.Parameter(weight))
            self.register_parameter(f"bias{number}", torch.nn.Parameter(torch.zeros(MEMBERS, 1, n_out)))
        self.layers = len(sizes) - 1

    def forward(self, x, random=None):
        """x: [N, F], or [MEMBERS, N, F] with rows of each member's own. random: dropout's generator, None without."""
        x = x if x.ndim == 3 else x.expand(MEMBERS, -1, -1)
        for number in range(self.layers):
            x = torch.baddbmm(getattr(self, f"bias{number}"), x, getattr(self, f"weight{number}"))
            if number < self.layers - 1:
                x = F.silu(x)
                if random is not None:
                    x = x * (torch.rand(x.shape, generator=random) >= DROPOUT) / (1 - DROPOUT)
        return x[..., 0], x[..., 1].clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)


def train(inputs, targets, *, seed, steps, batch=128, rate=1e-3, decay=1e-2, watch=iter):
    """An Ensemble for standardised inputs [N, F] and targets [N], float32 on the CPU.

    Gaussian likelihood whose gradient is weighed by the predicted deviation (Seitzer et al. 2022, beta 0.5), so that
    rows that are hard to predict are not given up early; AdamW, a one-cycle learning rate, dropout, batches of each
    member's own. `watch` wraps the steps, for progress.
    """
    random = torch.Generator().manual_seed(seed)
    network = Ensemble(inputs.shape[1], random)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in watch(range(steps)):
        rows = torch.randint(len(inputs), (MEMBERS, batch), generator=random)
        mean, log_variance = network(inputs[rows], random)
        likelihood = 0.5 * ((targets[rows] - mean).square() * (-log_variance).exp() + log_variance)
        loss = (likelihood * (0.5 * log_variance.detach()).exp()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False)


@no_grad
def combined(network, inputs):
    """(mean, standard deviation) [N] of the ensemble's mixture at inputs [N, F]."""
    mean, log_variance = network(inputs)
    variance = log_variance.exp().mean(dim=0) + mean.var(dim=0, unbiased=False)
    return mean.mean(dim=0), variance.sqrt()
