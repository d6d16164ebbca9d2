"""Concentration: how much of what a generator makes lies around given images, and in how many clusters.

The questions belong to MaGNET (Humayun, Balestriero and Baraniuk, ICLR 2022): a sampler that follows the manifold's
volume rather than the training data's density may leave fewer samples close to training images, and need more clusters
of a Gaussian mixture. Both are to be measured.
"""

import dataclasses

import torch

from latent_plugins.geometry.latent_classes import scikit_learn
from latent_plugins.metrics.neighbours import MAX_MEMORY, ball_memberships, distance_dtype

COVARIANCES = ("full", "tied", "diag", "spherical")
MAX_ITERATIONS = 200


def _features(name, x):
    """x as a floating-point tensor [N, F]. Raises ValueError for other shapes, or numbers that are not finite."""
    x = torch.as_tensor(x).detach()
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"the {name} features must be [N, F] with at least one row, not of shape {list(x.shape)}")
    x = x if x.is_floating_point() else x.double()
    if not x.isfinite().all():
        raise ValueError(f"the {name} features are not all finite")
    return x


def _same_width(name, a, other, b):
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{name} features have {a.shape[1]} dimensions, {other} ones {b.shape[1]}")


@dataclasses.dataclass(frozen=True)
class BallShare:
    """What lies within distances `epsilons` [E] of real features.

    `share` [E] float64: the part of the generated features that are within ε of at least one real one, a figure of
    ours; `counts` [E, m]: how many generated features are within ε of each real one, of which MaGNET shows histograms
    (Figs. 3, 13 and 14).
    """

    epsilons: torch.Tensor
    share: torch.Tensor
    counts: torch.Tensor


def ball_share(generated, real, epsilons, *, max_memory=MAX_MEMORY):
    """The BallShare of generated [n, F] features or flattened images around real [m, F] ones.

    epsilons: Euclidean distances, at least 0; what is exactly as far counts as within. Distances are those of
    `latent_plugins.metrics.neighbours`, exact to the rounding of the features' dtype. max_memory: bytes for a block of
    them. Raises ValueError for shapes that do not fit, features that are not finite, or no or impossible epsilons.
    """
    generated, real = _features("generated", generated), _features("real", real)
    _same_width("generated", generated, "real", real)
    epsilons = torch.as_tensor(epsilons, dtype=torch.float64).flatten()
    if not len(epsilons) or not (epsilons >= 0).all():
        raise ValueError(f"epsilons must be distances of at least 0, not {epsilons.tolist()}")
    dtype = torch.promote_types(generated.dtype, real.dtype)
    generated, real = generated.to(dtype), real.to(dtype)
    share, counts = [], []
    for epsilon in epsilons.tolist():
        radii = torch.full((len(real),), epsilon, dtype=distance_dtype(real), device=real.device)
        (found,) = ball_memberships(real, generated, radii, closed=True, max_memory=max_memory)
        share.append((found.points > 0).double().mean())
        counts.append(found.balls)
    return BallShare(epsilons, torch.stack(share).cpu(), torch.stack(counts).cpu())


@dataclasses.dataclass(frozen=True)
class MixtureLikelihood:
    """Mean log-likelihood `log_likelihood` [K] float64, in nats, of held-out features for `clusters` [K] int64.

    `converged` [K]: whether the fit settled within 200 iterations.
    """

    clusters: torch.Tensor
    log_likelihood: torch.Tensor
    converged: torch.Tensor


def mixture_likelihood(fit_features, held_out, *, clusters=(1, 2, 4, 8, 16), seed=0, covariance="full"):
    """The MixtureLikelihood of held_out [m, F] under Gaussian mixtures fitted to fit_features [n, F].

    One mixture for each number of `clusters`, by expectation maximisation from a k-means start that `seed` decides
    (scikit-learn's, with 1e-6 added to variances). covariance: of a cluster `full`, `diag` or `spherical`, or one full
    one for all, `tied`. Raises ValueError without scikit-learn, for an unknown covariance, shapes that do not fit,
    features that are not finite, or a number of clusters that is not from 1 to n.
    """
    if covariance not in COVARIANCES:
        raise ValueError(f"unknown covariance {covariance!r}; known ones: {', '.join(COVARIANCES)}")
    fit_features, held_out = _features("fitted", fit_features), _features("held-out", held_out)
    _same_width("fitted", fit_features, "held-out", held_out)
    clusters = torch.as_tensor(clusters, dtype=torch.long).flatten()
    if not len(clusters) or not 1 <= clusters.min() <= clusters.max() <= len(fit_features) or len(fit_features) < 2:
        raise ValueError(f"{len(fit_features)} features do not make mixtures of {clusters.tolist()} clusters")
    fixed = dict(covariance_type=covariance, max_iter=MAX_ITERATIONS, random_state=seed)
    gaussian_mixture = scikit_learn("mixture").GaussianMixture
    x, y = (features.double().cpu().numpy() for features in (fit_features, held_out))
    scores, converged = [], []
    for k in clusters.tolist():
        model = gaussian_mixture(k, **fixed).fit(x)
        scores.append(model.score(y))
        converged.append(model.converged_)
    return MixtureLikelihood(clusters, torch.tensor(scores, dtype=torch.float64), torch.tensor(converged))
