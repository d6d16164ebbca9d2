"""The objective of latent reweighting, term by term: pure functions of what the networks said.

The critic D and the weights w play for the Wasserstein distance between the data and the weighted generator,
sup_D E[D(x)] − E_z[w(z) D(G(z))] over 1-Lipschitz D ("Latent reweighting", Issenhuth et al. 2022).
"""

import torch

TINY = 1e-12  # keeps the derivative of a norm finite where it vanishes, and means of no weight at all


def distance(real, fake, w, term="normalised"):
    """E[D(x)] − E[w D(G(z))] / E[w], a scalar: the critic's estimate of the distance of data and weighted generator.

    term `published`: E[D(x)] − E[w D(G(z))], the paper's, which leaves out E[w]: λ1 keeps it near 1, but as long as the
    mean differs from 1 a constant added to D changes the estimate, and the critic can spend its steps on growing it.
    `normalised`: divided by the mean, w is a density relative to the prior, and such a constant changes nothing. With
    weights that are all zero the second term is zero. real: D(x) [M]; fake: D(G(z)) [N]; w: w(z) [N].
    """
    return real.mean() - weighted_mean(w, fake, term)


def weighted_mean(w, x, term="normalised"):
    """E[w x] / E[w] of w [N] and x [N], zero without any weight; E[w x] for the term `published`."""
    if term == "published":
        return (w * x).mean()
    return (w * x).sum() / w.sum().clamp(min=TINY)


def critic_loss(real, fake, w, kind="wasserstein", term="normalised"):
    """What the critic minimises without its penalty, a scalar. Arguments as in `distance`.

    `wasserstein`: the distance with the other sign. `hinge`: E max(0, 1 − D(x)) + E[w max(0, 1 + D(G(z)))], the loss of
    generators that were trained with it; scores beyond ±1 earn nothing there, so that the critic keeps to what tells
    single images apart. `logistic`: E softplus(−D(x)) + E[w softplus(D(G(z)))], that of StyleGAN's. The second terms
    are divided by E[w] unless the `term` is `published`.
    """
    return CRITIC_LOSSES[kind](real, fake, w, term)


def hinge_loss(real, fake, w, term):
    return (1 - real).relu().mean() + weighted_mean(w, (1 + fake).relu(), term)


def logistic_loss(real, fake, w, term):
    return torch.nn.functional.softplus(-real).mean() + weighted_mean(w, torch.nn.functional.softplus(fake), term)


def wasserstein_loss(real, fake, w, term):
    return -distance(real, fake, w, term)


CRITIC_LOSSES = {"wasserstein": wasserstein_loss, "hinge": hinge_loss, "logistic": logistic_loss}
TERMS = ("normalised", "published")
# What is squared of slopes minus 1.
PENALTIES = {"one-sided": lambda excess: excess.clamp(min=0), "two-sided": lambda excess: excess}


def gradient_penalty(critic, real, fake, random, kind="one-sided"):
    """A scalar, at points x̂ between paired real and generated samples [N, …].

    kind `two-sided`: E (‖∇D(x̂)‖ − 1)², that of "Improved training of Wasserstein GANs" (Gulrajani et al. 2017), which
    the paper takes. `one-sided`: E max(0, ‖∇D(x̂)‖ − 1)² as in "On the regularization of Wasserstein GANs" (Petzka et
    al. 2018), since slopes below 1 are allowed to a Lipschitz function: a penalty that forces them up to 1 also fixes a
    sign that is wrong at the start, in one dimension for good. The pairs are those of
    the batch, whatever the weights: the critic has to be Lipschitz also where the weights are small, since they may
    grow there. random: a CPU torch.Generator, for the place between the two.
    """
    u = torch.rand(len(real), generator=random).to(real.device).reshape(-1, *[1] * (real.ndim - 1))
    between = (real + u * (fake - real)).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm = (gradient.flatten(1).square().sum(dim=1) + TINY).sqrt()
    return PENALTIES[kind](norm - 1).square().mean()


def rewards(fake):
    """D(G(z)) − Δ [N] with Δ the batch's least: what a weight earns, never negative and free of the critic's offset."""
    return fake - fake.min()


def weight_loss(w, reward, lambda1, lambda2, m, smoothing=0.0):
    """What the weights minimise, −E[w · reward] + λ1 (E w − 1)² + λ2 E max(0, w − m)² + s σ E (w − 1)², a scalar.

    w, reward: [N]. λ1 keeps w a density relative to the prior (self-normalisation), λ2 keeps it below m, whose inverse
    is the least share of latents that rejection accepts (soft clipping). The last term, where σ is the standard
    deviation of the batch's rewards, is ours: without it the loss is linear in w between 0 and m, the first direction
    in which rewards rise drives all weights to these ends, and little is learnt after that; with it w is a regression
    on the reward, 1/2s wide.
    """
    normalisation = (w.mean() - 1).square()
    clipping = (w - m).clamp(min=0).square().mean()
    smoothness = reward.std(correction=0) * (w - 1).square().mean()
    return lambda1 * normalisation + lambda2 * clipping + smoothing * smoothness - (w * reward).mean()
