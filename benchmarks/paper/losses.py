"""What the critics of the experiments have in common."""

import torch


def gradient_penalty(critic, real, fake, mixing):
    """E (‖∇critic(x)‖ − 1)² between images ("Improved Training of Wasserstein GANs", Gulrajani et al. 2017, Sec. 4).

    x = mixing · real + (1 − mixing) · fake; real, fake: [N, …]; mixing: [N] in [0, 1].
    Returns a scalar through which gradients flow to the critic.
    """
    mixing = mixing.reshape([-1] + [1] * (real.ndim - 1))
    x = (mixing * real + (1 - mixing) * fake).requires_grad_(True)
    (gradients,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradients.flatten(1).norm(dim=1) - 1).square().mean()
