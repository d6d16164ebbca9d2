"""Dropout and dropconnect: what one draw of their noise makes of a generator, and of the dimensions of its regions.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912),
Proposition 2, Fig. 2 and Appendix J: the noise makes an ensemble of generators, whose regions have dimensions from 0 to
the largest of the network itself.
"""

import copy
import dataclasses

import torch
import torch.nn.functional as F

from latent_plugins.geometry.dimension import CHUNK_ENTRIES, TOLERANCE, known_layers, numerical_rank

KINDS = ("dropout", "dropconnect")
# Fig. 2: 6 inputs, 10 outputs, 3 layers, 2,000 regions and 2,000 draws of the noise.
INPUTS, OUTPUTS = 6, 10
WIDTHS = (6, 8, 10, 12, 24, 48)
RATES = (0.1, 0.3)
DRAWS = 2000
# The text names no activation. A ReLU alone takes a layer of 6 units to 2.6 dimensions on average, without any noise,
# where Fig. 2 shows 6 with dropconnect; a slope other than zero loses none (Prop. 1). 0.2 is what we take.
SLOPE = 0.2


def dropped(sequential, rate, generator, kind="dropout", *, outputs=True):
    """A copy of a torch.nn.Sequential of linear and element-wise layers, with one draw of noise in it.

    kind: `dropout` silences units, each with probability `rate`; hidden ones by zeroing the weights that leave them,
    those of the last layer (`outputs`; eq. (7) of Appendix J has them) by zeroing the weights and the bias that make
    them. `dropconnect` zeroes every weight with that probability, and no bias. What stays is divided by 1 − rate, as in
    training, which changes no rank. generator: a CPU torch.Generator. Raises ValueError for a rate outside [0, 1), an
    unknown kind, or other layers.
    """
    check_noise(rate, kind)
    noisy = copy.deepcopy(sequential)
    linear = [layer for layer in known_layers(noisy) if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer in linear[1:] if kind == "dropout" else linear:
            shape = layer.weight.shape[1:] if kind == "dropout" else layer.weight.shape
            layer.weight.mul_(_kept(shape, rate, generator).to(layer.weight))
        if kind == "dropout" and outputs:
            last = linear[-1]
            kept = _kept(last.weight.shape[:1], rate, generator).to(last.weight)
            last.weight.mul_(kept[:, None])
            if last.bias is not None:
                last.bias.mul_(kept)
    return noisy


def check_noise(rate, kind):
    """Raise ValueError for a rate outside [0, 1) or an unknown kind of noise."""
    if not 0 <= rate < 1:
        raise ValueError(f"the rate must be at least 0 and below 1, not {rate}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind of noise {kind!r}; known kinds: {', '.join(KINDS)}")


def _kept(shape, rate, generator):
    """Bernoulli noise over its mean, float64: 1 / (1 − rate) for what stays, else 0."""
    return (torch.rand(shape, generator=generator, dtype=torch.float64) >= rate) / (1 - rate)


def random_generator(generator, *, inputs=INPUTS, width=12, outputs=OUTPUTS, hidden=2, slope=SLOPE):
    """A torch.nn.Sequential of `hidden` hidden layers of a width, leaky ReLUs between, in float64, with Xavier weights.

    Weights are uniform on ±√(6 / (n_in + n_out)) (Glorot and Bengio, 2010) and biases zero. slope: of negative
    pre-activations; 0 makes ReLUs. generator: a CPU torch.Generator.
    """
    widths, modules = [inputs, *[width] * hidden, outputs], []
    for n_in, n_out in zip(widths, widths[1:]):
        layer = torch.nn.Linear(n_in, n_out, dtype=torch.float64)
        with torch.no_grad():
            bound = (6 / (n_in + n_out)) ** 0.5
            layer.weight.copy_(bound * (2 * torch.rand(n_out, n_in, generator=generator, dtype=torch.float64) - 1))
            layer.bias.zero_()
        modules += [layer, torch.nn.LeakyReLU(slope)]
    return torch.nn.Sequential(*modules[:-1]).eval().requires_grad_(False)


@dataclasses.dataclass(frozen=True)
class NoisyDimensions:
    """The dimensions [draws, regions] int64 of regions of a network under noise, and `whole` [draws, regions], without
    it, at the same latents."""

    noisy: torch.Tensor
    whole: torch.Tensor


def noisy_dimensions(
    sequential, rate, generator, kind="dropout", *, draws=DRAWS, regions=1, outputs=True, tolerance=TOLERANCE
):
    """The NoisyDimensions of a Sequential over `draws` draws of the noise, each at `regions` latents z ~ N(0, I).

    Every draw has latents of its own. sequential: Linear layers, ReLUs and leaky ReLUs (and dropouts and identities,
    which count as nothing), the first of them linear; kind, rate and outputs: see `dropped`, whose law it is. The slope
    matrices are made in float64 from the activation patterns; `tolerance` is that of their numerical rank. generator: a
    CPU torch.Generator. Raises ValueError for other layers, no draws or regions, or what `dropped` raises it for.
    """
    check_noise(rate, kind)
    if draws < 1 or regions < 1:
        raise ValueError(f"{draws} draws at {regions} latents each are none: take at least 1 of both")
    stack = _stack(sequential)
    n_in = stack[0].in_features
    linear = [layer for layer in stack if isinstance(layer, torch.nn.Linear)]
    widest = max(max(layer.weight.shape) for layer in linear)
    entries = max(regions * widest * n_in, max(layer.weight.numel() for layer in linear))
    at_once, noisy, whole = max(1, CHUNK_ENTRIES // entries), [], []
    with torch.no_grad():
        for start in range(0, draws, at_once):
            count = min(at_once, draws - start)
            z = torch.randn(count, regions, n_in, generator=generator, dtype=torch.float64)
            noise = _noise(linear, count, rate, generator, kind, outputs)
            noisy.append(_ranks(stack, z, noise, tolerance))
            whole.append(_ranks(stack, z, None, tolerance))
    return NoisyDimensions(torch.cat(noisy), torch.cat(whole))


def _noise(linear, draws, rate, generator, kind, outputs):
    """{layer: noise [draws, out, in] on its weights} float64, of several draws."""
    noise = {}
    for number, layer in enumerate(linear):
        n_out, n_in = layer.weight.shape
        if kind == "dropconnect":
            noise[layer] = _kept((draws, n_out, n_in), rate, generator)
            continue
        noise[layer] = torch.ones(draws, n_out, n_in, dtype=torch.float64)
        if number:
            noise[layer] = noise[layer] * _kept((draws, 1, n_in), rate, generator)
        if layer is linear[-1] and outputs:
            noise[layer] = noise[layer] * _kept((draws, n_out, 1), rate, generator)
    return noise


def _stack(sequential):
    """The layers that count. Raises ValueError for layers whose noise is not known here."""
    stack = [m for m in known_layers(sequential) if not isinstance(m, (torch.nn.Dropout, torch.nn.Identity))]
    kinds = (torch.nn.Linear, torch.nn.ReLU, torch.nn.LeakyReLU)
    other = sorted({type(m).__name__ for m in stack if not isinstance(m, kinds)})
    if other or not isinstance(stack[0], torch.nn.Linear):
        raise ValueError(
            f"noise on regions takes Linear layers, ReLUs and leaky ReLUs, the first one linear, not "
            f"{', '.join(other) or type(stack[0]).__name__}"
        )
    return stack


def _ranks(stack, x, noise, tolerance):
    """The ranks [draws, regions] of the slopes at latents x [draws, regions, in] under the noise of each layer."""
    slope = torch.eye(x.shape[2], dtype=x.dtype).expand(*x.shape[:2], -1, -1)
    for layer in stack:
        if isinstance(layer, torch.nn.Linear):
            weight = layer.weight.detach().cpu().double()
            # [draws, out, in]: one weight a draw for all its regions.
            weight = weight.expand(len(x), -1, -1) if noise is None else weight * noise[layer]
            bias = 0 if layer.bias is None else layer.bias.detach().cpu().double()
            # A silent output's bias would move the output, and no rank.
            x, slope = x @ weight.transpose(1, 2) + bias, weight[:, None] @ slope
        else:
            below = layer.negative_slope if isinstance(layer, torch.nn.LeakyReLU) else 0.0
            slope = torch.where(x > 0, 1.0, below)[..., None] * slope
            x = F.leaky_relu(x, below)
    values = torch.linalg.svdvals(slope.flatten(0, 1))
    return numerical_rank(values, tolerance).reshape(x.shape[:2])


def published_dimensions(seed, *, draws=DRAWS, regions=1, widths=WIDTHS, rates=RATES, slope=SLOPE):
    """{(kind, rate, width): NoisyDimensions} of Fig. 2: a network of its own for each width, the same for all noise.

    As in the figure: 6 inputs, 10 outputs, two hidden layers of equal width from 6 to 48, rates 0.1 and 0.3. The figure
    is "over 2000 sampled regions and 2000 different noise realizations", read here as 2,000 pairs of both; `regions`
    2,000 takes every pair. seed: an integer.
    """
    random, found = torch.Generator().manual_seed(seed), {}
    for width in widths:
        network = random_generator(random, width=width, slope=slope)
        for kind in KINDS:
            for rate in rates:
                options = dict(kind=kind, draws=draws, regions=regions)
                found[kind, rate, width] = noisy_dimensions(network, rate, random, **options)
    return found
