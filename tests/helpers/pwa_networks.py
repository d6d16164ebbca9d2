"""Piecewise affine networks whose regions are known, and random ones."""

import torch
from torch import nn


def one_hidden_layer(weight, bias, out, out_bias, activation=None):
    """Linear, activation (ReLU by default), Linear, in float64."""
    first, last = nn.Linear(len(weight[0]), len(weight)), nn.Linear(len(weight), len(out))
    network = nn.Sequential(first, activation or nn.ReLU(), last).double()
    with torch.no_grad():
        for parameter, numbers in zip(network.parameters(), (weight, bias, out, out_bias)):
            parameter.copy_(torch.tensor(numbers, dtype=torch.float64))
    return network.eval()


def corner_network():
    """z ↦ (2 z₀⁺ − z₀⁻, z₁⁺ − 3 z₁⁻, 3 (z₀ + z₁ − 1)⁺) with a⁺ = max(a, 0), a⁻ = max(−a, 0)."""
    weight = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0]]
    out = [[2.0, -1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -3.0, 0.0], [0.0, 0.0, 0.0, 0.0, 3.0]]
    return one_hidden_layer(weight, [0.0, 0.0, 0.0, 0.0, -1.0], out, [0.0, 0.0, 0.0])


# The regions of corner_network on [−1, 1]². Its lines are z₀ = 0, z₁ = 0 and z₀ + z₁ = 1; the third goes through (1, 0)
# and (0, 1) and meets the other quadrants in these points only. Slopes are diagonal, A = diag(2 or 1, 1 or 3), but for
# the corner beyond the third line: A = [[2, 0], [0, 1], [3, 3]], AᵀA = [[13, 9], [9, 10]], det = 49.
# name: (a latent inside, area, √det(AᵀA), neighbours, bounded)
CORNER_REGIONS = {
    "corner": ((0.8, 0.7), 0.5, 7.0, {"triangle"}, False),
    "triangle": ((0.3, 0.2), 0.5, 2.0, {"corner", "left", "below"}, True),
    "left": ((-0.5, 0.5), 1.0, 1.0, {"triangle", "both"}, False),
    "below": ((0.5, -0.5), 1.0, 6.0, {"triangle", "both"}, False),
    "both": ((-0.5, -0.5), 1.0, 3.0, {"left", "below"}, False),
}


def folding_network():
    """z ↦ (|z₀ − 0.25|, 2 |z₁ + 8| − 16): the plane folded along z₀ = 0.25 and stretched by 2; near 0 no other fold."""
    unit = [[1.0, 0.0], [0.0, 1.0]]
    return one_hidden_layer(unit, [-0.25, 8.0], [[1.0, 0.0], [0.0, 2.0]], [0.0, -16.0], nn.LeakyReLU(-1.0))


def flat_network():
    """z ↦ (z₀⁺, z₁⁺): three quadrants lose a dimension or both."""
    unit = [[1.0, 0.0], [0.0, 1.0]]
    return one_hidden_layer(unit, [0.0, 0.0], unit, [0.0, 0.0])


def random_network(seed, widths, activations):
    """Linear layers of these widths with activations in between, in float64.

    Among the rows of each layer are zeros (with and without a bias) and multiples of earlier rows.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = []
    for n_in, n_out, activation in zip(widths, widths[1:], [*activations, None]):
        layer = nn.Linear(n_in, n_out).double()
        weight = torch.randn(n_out, n_in + 1, generator=generator, dtype=torch.float64)
        for row, factor, source in ((2, 0, 2), (3, -2, 0), (5, 1, 4)):
            if row < n_out:
                weight[row] = factor * weight[source]
        weight[6:7, :-1] = 0
        with torch.no_grad():
            layer.weight.copy_(weight[:, :-1])
            layer.bias.copy_(weight[:, -1])
        modules += [layer] if activation is None else [layer, activation]
    return nn.Sequential(*modules).eval()


def convolutional_network():
    """Two latents to images [2, 4, 4] by transposed convolutions, batch norms and an upsampling, in float64."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Linear(2, 8),
        nn.Unflatten(1, (8, 1, 1)),
        nn.Sequential(nn.ConvTranspose2d(8, 4, 2), nn.BatchNorm2d(4), nn.LeakyReLU(0.2, inplace=True)),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(4, 2, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2, 2, 2, stride=2),
        nn.AvgPool2d(2),
        nn.Dropout(),
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        network[2][1].running_mean.uniform_(-1, 1, generator=generator)
        network[2][1].running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()
