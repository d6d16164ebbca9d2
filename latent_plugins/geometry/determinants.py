"""Log-determinants of a generator's regions, beside those of data with two modes and of rescaled weights.

Source: "Max-Affine Spline Insights into Deep Generative Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912),
section 5.2 and Figs. 7, 10 and 15: a continuous generator has to connect modes that are apart, and the more
concentrated they are, the larger are the log √det(AᵀA) of its regions. The text gives neither the distance of the modes
nor the width of the networks of Fig. 10. No network is trained here.
"""

import copy
import dataclasses
import math

import numpy as np
import torch

from latent_plugins.geometry.dimension import known_layers
from latent_plugins.geometry.dropout import random_generator
from latent_plugins.geometry.piecewise import activation_code, affine_map, log_volume

# Standard deviations of the modes in Fig. 15, and scales of the second half of the weights in Fig. 10.
DEVIATIONS = (0.002, 0.01, 0.05, 0.1, 0.3, 1.0, 2.0)
SCALES = (1.0, 2.0, 3.0)
REGIONS = 2000
WIDTH = 24
NODES = 200  # of the Gauss–Hermite quadrature


def two_gaussians(n, deviation, generator, *, distance=2.0, dimension=2):
    """n points [n, dimension] float64 of an even mixture of N(±(distance / 2) e₁, deviation² I), each side by a coin.

    generator: a CPU torch.Generator. Raises ValueError for a deviation that is not positive, or no dimension.
    """
    _check(deviation, distance, dimension)
    side = torch.randint(2, (n,), generator=generator, dtype=torch.float64) - 0.5
    points = deviation * torch.randn(n, dimension, generator=generator, dtype=torch.float64)
    points[:, 0] += distance * side
    return points


def two_gaussians_entropy(deviation, *, distance=2.0, dimension=2):
    """The differential entropy of `two_gaussians` in nats: what Figs. 7 and 15 compare the log-determinants with.

    That of one mode, (dimension / 2) log(2πe deviation²), and log 2, less what their overlap takes: the mean over
    u ~ N(0, 1) of log(1 + exp(−2 m (m + u))) for m = distance / (2 deviation), by quadrature.
    """
    _check(deviation, distance, dimension)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    half = distance / (2 * deviation)
    overlap = weights @ np.logaddexp(0, -2 * half * (half + nodes)) / math.sqrt(2 * math.pi)
    return dimension / 2 * math.log(2 * math.pi * math.e * deviation**2) + math.log(2) - float(overlap)


def _check(deviation, distance, dimension):
    if not deviation > 0 or not distance >= 0 or dimension < 1:
        raise ValueError(
            f"a deviation above 0, a distance of at least 0 and a dimension of at least 1 are needed, not {deviation}, "
            f"{distance} and {dimension}"
        )


@dataclasses.dataclass(frozen=True)
class RegionDeterminants:
    """What R regions of a network are: `log_determinant` [R] float64, log √det(AᵀA), and `latents` [R] int64, how many
    of the latents that were looked at lie in each."""

    log_determinant: torch.Tensor
    latents: torch.Tensor


def region_log_determinants(network, z, *, pseudo=False):
    """The RegionDeterminants of the regions that hold the latents z [N, in], each region once.

    network: see `check_piecewise_affine`; slopes are in its dtype. A slope without full rank has −inf, or with `pseudo`
    the product of its singular values above zero (Lemma 1). Raises ValueError as `activation_code`.
    """
    codes = activation_code(network, z)
    _, which, counts = codes.unique(dim=0, return_inverse=True, return_counts=True)
    first = torch.full_like(counts, len(z)).scatter_reduce(0, which, torch.arange(len(z), device=which.device), "amin")
    slope = affine_map(network, z[first.to(z.device)]).slope
    return RegionDeterminants(log_volume(slope, pseudo=pseudo).cpu(), counts.cpu())


def rescaled(sequential, scales, generator):
    """A copy of a Sequential of linear and element-wise layers with half of each layer's weights times scales[0].

    Which half (rounded down) is drawn at random; the other half is times scales[1], biases stay (Fig. 10). generator: a
    CPU torch.Generator. Raises ValueError for other layers or scales that are not two.
    """
    if len(scales) != 2:
        raise ValueError(f"two scales are needed, one for either half of the weights, not {len(scales)}")
    network = copy.deepcopy(sequential)
    with torch.no_grad():
        for layer in known_layers(network):
            if isinstance(layer, torch.nn.Linear):
                count = layer.weight.numel()
                factors = torch.full([count], float(scales[1]), dtype=torch.float64)
                factors[torch.randperm(count, generator=generator)[: count // 2]] = float(scales[0])
                layer.weight.mul_(factors.reshape(layer.weight.shape).to(layer.weight))
    return network


def published_determinants(seed, *, scales=SCALES, first=0.0, regions=REGIONS, width=WIDTH):
    """{scale: log √det [regions] float64 at so many latents z ~ N(0, I)} of Fig. 10, −inf without full rank.

    Three layers, 6 inputs and 10 outputs, Xavier weights (`random_generator`), half of them times `first` and the other
    half times the scale: the same network, halves and latents for all scales. With biases of zero and `first` 0 a scale
    then moves all of them alike, by 18 log(scale); the spread that grows in the figure needs other draws. seed: an
    integer.
    """
    found = {}
    for scale in scales:
        random = torch.Generator().manual_seed(seed)
        network = rescaled(random_generator(random, width=width), (first, scale), random)
        z = torch.randn(regions, network[0].in_features, generator=random, dtype=torch.float64)
        found[scale] = log_volume(affine_map(network, z).slope)
    return found
