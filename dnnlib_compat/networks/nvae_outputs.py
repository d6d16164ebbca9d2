"""NVAE's output distributions: what the last layer's numbers [N, parameters, H, W] say about the pixels.

Each has the image channels, the number of parameters per pixel, `mean` and `sample`. Images lie in [−1, 1].
"""

import torch
import torch.nn.functional as F

from dnnlib_compat.networks.nvae_cells import soft_clamp, standard_deviation

UNIFORM_MARGIN = 1e-5  # uniform numbers keep this distance from 0 and 1


class BernoulliOutput:
    """Black or white with a probability per pixel (binarised MNIST, OMNIGLOT)."""

    name, channels, parameters = "bernoulli", 1, 1

    def mean(self, logits):
        """2p − 1 for the probability p of white."""
        return 2 * torch.sigmoid(logits) - 1

    def sample(self, logits, generator):
        """−1 or 1."""
        white = random_like(torch.rand, logits, generator) < torch.sigmoid(logits)
        return 2 * white.to(logits.dtype) - 1


class NormalOutput:
    """A normal distribution per pixel and channel."""

    name, channels, parameters = "normal", 3, 6

    def mean(self, logits):
        """The distribution's centre, clamped to [−1, 1] as the official samples are."""
        mu, _ = logits.chunk(2, dim=1)
        return soft_clamp(mu).clamp(-1, 1)

    def sample(self, logits, generator):
        mu, log_sigma = logits.chunk(2, dim=1)
        eps = random_like(torch.randn, mu, generator)
        return (eps * standard_deviation(log_sigma) + soft_clamp(mu)).clamp(-1, 1)


class LogisticMixtureOutput:
    """A mixture of logistic distributions per pixel, in which green depends on red, and blue on both (PixelCNN++).

    Per pixel: a logit for each of the M components; then for each colour M means, M log scales and M coefficients,
    of which green uses those of the first colour, and blue those of the second and third.
    """

    name, channels = "logistic-mixture", 3

    def __init__(self, components):
        self.components = components
        self.parameters = 10 * components

    def split(self, logits):
        """Component logits [N, 1, M, H, W]; means, log scales, coefficients [N, 3, M, H, W]."""
        weights, rest = logits.split([self.components, 9 * self.components], dim=1)
        means, log_scales, coefficients = rest.unflatten(1, (3, 3, self.components)).unbind(dim=2)
        return weights.unsqueeze(1), means, log_scales.clamp(min=-7), torch.tanh(coefficients)

    def mean(self, logits):
        """What the official FID evaluation takes for the mean: first the components averaged, then the colours coupled.

        It is not quite the expectation of `sample`, whose colours are coupled within each component, and clamped.
        """
        weights, means, _, coefficients = self.split(logits)
        weights = weights.softmax(dim=2)
        return couple_colours((weights * means).sum(dim=2), (weights * coefficients).sum(dim=2))

    def sample(self, logits, generator):
        weights, means, log_scales, coefficients = self.split(logits)
        gumbel = -torch.log(-torch.log(random_like(open_uniform, weights[:, 0], generator)))
        chosen = (weights[:, 0] + gumbel).argmax(dim=1)
        one_hot = F.one_hot(chosen, self.components).movedim(-1, 1).unsqueeze(1).to(logits.dtype)
        centre, log_scale, coefficient = ((x * one_hot).sum(dim=2) for x in (means, log_scales, coefficients))
        u = random_like(open_uniform, centre, generator)
        return couple_colours(centre + torch.exp(log_scale) * torch.logit(u), coefficient)


def couple_colours(x, coefficients):
    """Images in [−1, 1] of colours [N, 3, H, W] that add multiples of the ones before, clamped one after the other."""
    (red, green, blue), (a, b, c) = x.unbind(dim=1), coefficients.unbind(dim=1)
    red = red.clamp(-1, 1)
    green = (green + a * red).clamp(-1, 1)
    blue = (blue + b * red + c * green).clamp(-1, 1)
    return torch.stack([red, green, blue], dim=1)


def random_like(draw, x, generator):
    """draw(shape, …) on the generator's device, moved to that of x."""
    return draw(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)


def open_uniform(shape, **options):
    """Uniform numbers in (0, 1) away from both ends."""
    return torch.rand(shape, **options) * (1 - 2 * UNIFORM_MARGIN) + UNIFORM_MARGIN


def output_distribution(name, components):
    """The output distribution of a name. Raises ValueError for an unknown one."""
    if name == LogisticMixtureOutput.name:
        return LogisticMixtureOutput(components)
    for cls in (BernoulliOutput, NormalOutput):
        if name == cls.name:
            return cls()
    raise ValueError(f"output must be bernoulli, normal or logistic-mixture, not {name!r}")
