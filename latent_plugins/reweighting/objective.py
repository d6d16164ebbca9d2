"""The objective of latent reweighting, term by term: pure functions of what the networks said.

The critic D and the weights w play for the Wasserstein distance between the data and the weighted generator,
sup_D E[D(x)] − E_z[w(z) D(G(z))] over 1-Lipschitz D ("Latent reweighting", Issenhuth et al. 2022).
"""

import torch

TINY = 1e-12  # keeps the derivative of a norm finite where it vanishes, and means of no weight at all


def critic_loss(real, fake, w):
    """What the critic minimises without its penalty, E[w D(G(z))] / E[w] − E[D(x)], a scalar.

    Its negative is the critic's estimate of the distance. The paper leaves E[w] out, which λ1 only keeps near 1; but
    then a constant added to D would lower the loss as long as the mean differs from 1, and the critic would spend its
    steps on growing it. Divided by the mean, w is a density relative to the prior, and such a constant changes nothing.
    With weights that are all zero the first term is zero. real: D(x) [M]; fake: D(G(z)) [N]; w: w(z) [N].
    """
    return (w * fake).sum() / w.sum().clamp(min=TINY) - real.mean()


def gradient_penalty(critic, real, fake, random):
    """E max(0, ‖∇D(x̂)‖ − 1)², a scalar, at points x̂ between paired real and generated samples [N, …].

    Points as in "Improved training of Wasserstein GANs" (Gulrajani et al. 2017); one-sided as in "On the regularization
    of Wasserstein GANs" (Petzka et al. 2018), since slopes below 1 are allowed to a Lipschitz function: a penalty that
    forces them up to 1 also fixes a sign that is wrong at the start, in one dimension for good. The pairs are those of
    the batch, whatever the weights: the critic has to be Lipschitz also where the weights are small, since they may
    grow there. random: a CPU torch.Generator, for the place between the two.
    """
    u = torch.rand(len(real), generator=random).to(real.device).reshape(-1, *[1] * (real.ndim - 1))
    between = (real + u * (fake - real)).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm = (gradient.flatten(1).square().sum(dim=1) + TINY).sqrt()
    return (norm - 1).clamp(min=0).square().mean()


def rewards(fake):
    """D(G(z)) − Δ [N] with Δ the batch's least: what a weight earns, never negative and free of the critic's offset."""
    return fake - fake.min()


def weight_loss(w, reward, lambda1, lambda2, m):
    """What the weights minimise: −E[w · reward] + λ1 (E w − 1)² + λ2 E max(0, w − m)², a scalar.

    w, reward: [N]. λ1 keeps w a density relative to the prior (self-normalisation), λ2 keeps it below m, whose inverse
    is the least share of latents that rejection accepts (soft clipping).
    """
    normalisation = (w.mean() - 1).square()
    clipping = (w - m).clamp(min=0).square().mean()
    return lambda1 * normalisation + lambda2 * clipping - (w * reward).mean()
