"""Marginal precision: that of the images which are newly kept as a truncation gets weaker."""

import dataclasses

import numpy as np
import torch

from latent_plugins.metrics.neighbours import MAX_MEMORY, ball_memberships, check_features, kth_neighbour_distances
from latent_plugins.metrics.shares import wilson_interval


def precise(real, generated, *, k=3, max_memory=MAX_MEMORY):
    """Which generated features [M, D] lie within the real ones' [N, D] manifold: bool [M].

    The terms of improved precision (Kynkäänniemi et al. 2019): the closed balls that reach each real feature's k-th
    nearest neighbour, with exact distances. Raises ValueError for fewer than k + 1 features in a set.
    """
    real, generated = check_features("precision", k, real, generated)
    radii = kth_neighbour_distances(real, k, max_memory=max_memory)
    (found,) = ball_memberships(real, generated, radii, closed=True, max_memory=max_memory)
    return found.points > 0


@dataclasses.dataclass(frozen=True)
class MarginalPrecision:
    """Precision along an order of images, in B parts of nearly one size.

    kept: the share of all that is kept once each part is [B]; marginal: precision of each part [B]; low, high: its
    Wilson interval of 95 % [B]; kept_precision: precision of all that is kept [B]; images: sizes of the parts [B].
    """

    kept: np.ndarray
    marginal: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kept_precision: np.ndarray
    images: np.ndarray


def marginal_precision(inside, order, parts=10):
    """The MarginalPrecision of images `inside` [M] bool the real manifold, kept by rising `order` [M], such as ‖J‖_F.

    Source: "Learning disconnected manifolds: a no GANs land" (Tanielian et al. 2020), Sec. 4.1, "the precision of newly
    added samples when increasing the ratio of kept samples", Fig. 3.3d and 3.4 of T. Issenhuth's thesis. Its intervals
    are of 97 % and over repeats. Raises ValueError for other sizes, fewer images than parts, or numbers of the order
    that are not finite.
    """
    inside = torch.as_tensor(inside).cpu().numpy().astype(bool)
    order = torch.as_tensor(order).cpu().numpy().astype(np.float64)
    if inside.ndim != 1 or inside.shape != order.shape or not 1 <= parts <= len(inside):
        text = f"{list(inside.shape)} and {list(order.shape)} in {parts} parts"
        raise ValueError(f"marginal precision takes one number of the order an image, and an image a part: not {text}")
    if not np.isfinite(order).all():
        raise ValueError(f"{int((~np.isfinite(order)).sum())} of the numbers to order images by are not finite")
    groups = np.array_split(inside[np.argsort(order, kind="stable")], parts)
    images, right = (np.array([function(group) for group in groups]) for function in (len, np.sum))
    low, high = wilson_interval(right, images)
    return MarginalPrecision(
        kept=images.cumsum() / images.sum(),
        marginal=right / images,
        low=low,
        high=high,
        kept_precision=right.cumsum() / images.cumsum(),
        images=images,
    )
