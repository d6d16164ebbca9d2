"""Whether modes are what the bounds of Sec. 3.3 suppose: well balanced, and spheres that see each other (Assumption 4).

Source: Issenhuth, Tanielian, Mary and Picard, "Unveiling the latent space geometry of push-forward generative models"
(ICML 2023), Sec. 3.3.3 of T. Issenhuth's thesis.
"""

import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class Balance:
    """`shares` in % [m] of m classes, and their `variance_to_mean` ratio, 0 where all are alike.

    Published for GANs of ten classes: 9.2 to 10.9 % and 0.03 on MNIST, 8.3 to 11.9 % and 0.22 on CIFAR-10.
    """

    shares: torch.Tensor
    variance_to_mean: float


def class_balance(labels, m):
    """The Balance of integer labels [N] below m. Raises ValueError for no labels, or one that is m or more."""
    labels = torch.as_tensor(labels)
    if not len(labels) or labels.min() < 0 or labels.max() >= m:
        raise ValueError(f"labels of {m} classes are whole numbers from 0 to {m - 1}, at least one")
    shares = 100 * labels.bincount(minlength=m).double() / len(labels)
    return Balance(shares, (shares.var(correction=0) / shares.mean()).item())


@dataclasses.dataclass(frozen=True)
class Separation:
    """What Assumption 4 asks of modes. `radii` [m]: of each the farthest point from its mean; `room` [m]: half of the
    distance to the nearest other mean, which radii must be below (3.3.1); `seen` [m(m − 1)/2]: whether the middle of
    two means is nearer to them than to every other one (3.3.2)."""

    radii: torch.Tensor
    room: torch.Tensor
    seen: torch.Tensor


def separation(groups):
    """The Separation of modes given as points [n, F], one tensor each. Raises ValueError for fewer than two."""
    if len(groups) < 2:
        raise ValueError(f"there must be at least two modes, not {len(groups)}")
    centres = torch.stack([group.double().mean(dim=0) for group in groups])
    radii = torch.stack([(group.double() - centre).norm(dim=1).max() for group, centre in zip(groups, centres)])
    apart = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")
    others = apart + torch.diag(torch.full((len(groups),), torch.inf, dtype=apart.dtype, device=apart.device))
    seen = []
    for i in range(len(groups)):
        for j in range(i):
            third = torch.ones(len(groups), dtype=torch.bool)
            third[[i, j]] = False
            away = ((centres[i] + centres[j]) / 2 - centres[third]).norm(dim=1)
            seen.append(bool((away > apart[i, j] / 2).all()))
    return Separation(radii, others.amin(dim=1) / 2, torch.tensor(seen))
