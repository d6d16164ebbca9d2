"""How classes lie in latent space: linearly separable, convex, as a simplex.

Source of the questions: "Unveiling the Latent Space Geometry of Push-Forward Generative Models" (Issenhuth, Tanielian,
Mary and Picard, ICML 2023): generators that keep apart the modes of their data best divide the latents into as many
cells as modes, whose directions form a regular simplex.
"""

import dataclasses
import importlib

import scipy.stats
import torch

from latent_plugins.spaces import DOMAINS, to_sphere

BATCH = 100
MAX_ITERATIONS = 1000


def scikit_learn(module):
    """The module sklearn.`module`. Raises ValueError that says what to install where there is no scikit-learn."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise ValueError("this needs scikit-learn: pip install 'latent-plugins[geometry]'") from None


def _classes(z, labels):
    """(classes [m] ascending, the class number of each latent [N]). Raises ValueError for labels that do not fit z."""
    labels = torch.as_tensor(labels).to(z.device)
    if z.ndim != 2 or labels.shape != z.shape[:1] or labels.is_floating_point():
        given = f"{list(z.shape)} with {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"latents must be [N, d] with N integer labels, not {given}")
    classes, number = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"there must be at least two classes, not {len(classes)}")
    return classes, number


@dataclasses.dataclass(frozen=True)
class Separability:
    """`accuracy`: share of the `held_out` latents whose class a linear classifier tells; `largest`: share of the most
    frequent class among them, which is what guessing it would reach."""

    accuracy: float
    largest: float
    held_out: int


def linear_separability(z, labels, *, generator, held_out=0.25):
    """The Separability of latents z [N, d] by their classes `labels` [N], integers.

    Multinomial logistic regression (scikit-learn's, an L2 penalty with C = 1, up to 1000 iterations of L-BFGS) learns
    from some latents and is asked about the others: of each class the share `held_out`, at least one, picked by
    `generator`, a CPU torch.Generator. In the paper it learns from 100,000 and is asked about 10,000 (1/11), of data
    sets of colour images those alone whose classifier is sure by 0.7 or more; its penalty is not told.

    Raises ValueError without scikit-learn, for labels that do not fit, fewer than two classes or fewer than two latents
    of one, or a share that is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"the share held out must lie between 0 and 1, not at {held_out}")
    linear_model = scikit_learn("linear_model")
    classes, number = _classes(z, labels)
    sizes = number.bincount(minlength=len(classes))
    if sizes.min() < 2:
        raise ValueError(f"class {classes[sizes.argmin()].item()} has a single latent; two are needed to hold one out")
    order = torch.randperm(len(z), generator=generator).to(z.device)
    kept, asked = [], []
    for k, size in enumerate(sizes.tolist()):
        members = order[number[order] == k]
        out = min(max(round(held_out * size), 1), size - 1)
        asked.append(members[:out])
        kept.append(members[out:])
    kept, asked = torch.cat(kept), torch.cat(asked)
    x, y = z.double().cpu().numpy(), number.cpu().numpy()
    model = linear_model.LogisticRegression(max_iter=MAX_ITERATIONS).fit(x[kept.cpu()], y[kept.cpu()])
    accuracy = float((model.predict(x[asked.cpu()]) == y[asked.cpu()]).mean())
    return Separability(accuracy, number[asked].bincount().max().item() / len(asked), len(asked))


@dataclasses.dataclass(frozen=True)
class Convexity:
    """`accuracy`: share of points between two latents of a class that are of this class too, 1 for convex classes.

    `classes` [m]; `per_class` [m] float64: the share for each, NaN without pairs; `pairs` [m]: how many there were.
    """

    accuracy: float
    classes: torch.Tensor
    per_class: torch.Tensor
    pairs: torch.Tensor


def convexity_accuracy(generator_fn, classifier_fn, z, labels, n, generator, domain="gaussian"):
    """The Convexity of classes from n points, each uniformly placed between two different latents of one class.

    generator_fn: latents [B, d] → images; classifier_fn: images → the class of each, integers [B], in the numbering of
    `labels` [N], those of z [N, d]. The first latent of a pair is any, so that classes count by their frequency.
    domain: `gaussian`, points on straight segments; `sphere`, points on the geodesics between latents rescaled to the
    length √d. generator: a CPU torch.Generator. Classes of a single latent are left out. Raises ValueError for an
    unknown domain, labels that do not fit, no pair, or n below 1.
    """
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
    if n < 1:
        raise ValueError(f"at least one point is needed, not {n}")
    classes, number = _classes(z, labels)
    first, second = _pairs(number.cpu(), n, generator)
    t = torch.rand(n, 1, generator=generator, dtype=z.dtype).to(z.device)
    points = _between(z[first], z[second], t, domain)
    with torch.no_grad():
        told = torch.cat([torch.as_tensor(classifier_fn(generator_fn(part))) for part in points.split(BATCH)]).cpu()
    if told.shape != (n,):
        raise ValueError(f"classifier_fn must give one class a point, {n} in all, not {list(told.shape)}")
    own = number.cpu()[first]
    right = told == classes.cpu()[own]
    pairs = own.bincount(minlength=len(classes))
    per_class = own[right].bincount(minlength=len(classes)).double() / pairs
    return Convexity(right.double().mean().item(), classes.cpu(), per_class, pairs)


def _pairs(number, n, generator):
    """Indices of n random pairs (first, second) of different latents with the same class number [N]."""
    sizes = number.bincount()
    order = number.argsort(stable=True)
    place = order.argsort()  # of each latent in that order
    candidates = (sizes[number] > 1).nonzero()[:, 0]
    if not len(candidates):
        raise ValueError("no class has two latents to go between")
    first = candidates[torch.randint(len(candidates), (n,), generator=generator)]
    size = sizes[number[first]]
    start = (sizes.cumsum(0) - sizes)[number[first]]
    ahead = 1 + (torch.rand(n, generator=generator, dtype=torch.float64) * (size - 1)).long()
    return first, order[start + (place[first] - start + ahead) % size]


def _between(a, b, t, domain):
    """Points at t [n, 1] on the way from a to b [n, d]: straight, or along the geodesic of the sphere."""
    if domain == "gaussian":
        return a.lerp(b, t)
    a, b = to_sphere(a), to_sphere(b)
    # This form of the angle is accurate near 0 and π.
    angle = 2 * torch.atan2((a - b).norm(dim=1, keepdim=True), (a + b).norm(dim=1, keepdim=True))
    sine = angle.sin()
    near = angle < 1e-3
    weights = [torch.where(near, s, (s * angle).sin() / sine) for s in (1 - t, t)]
    return to_sphere(weights[0] * a + weights[1] * b)


@dataclasses.dataclass(frozen=True)
class SimplicialStructure:
    """`score` in [0, 1], 1 for a regular simplex; `cosines` [m, m] float64 between the directions of the classes."""

    score: float
    cosines: torch.Tensor


def simplicial_structure(z, labels):
    """How nearly the class means of latents z [N, d] with integer `labels` [N] point to the corners of a simplex.

    The direction of a class is its mean latent minus the mean of all class means, at length 1. For m classes a regular
    simplex has the cosine −1/(m − 1) between any two directions. The score is 1 − (m − 1)/m · mean |c + 1/(m − 1)| over
    the pairs' cosines c: the factor takes a pair of equal directions, which is the farthest away, to 0.

    Lengths do not matter, and any m directions that are nearly orthogonal come near: in many dimensions random labels
    score about 1 − √(2/π) (m − 1)/(m √d), so compare with the score of shuffled labels. Raises ValueError for labels
    that do not fit, fewer than three classes (two directions are always opposite), or a class with the mean of all.
    """
    classes, number = _classes(z, labels)
    m = len(classes)
    if m < 3:
        raise ValueError(f"a simplex of class directions needs at least three classes, not {m}")
    z = z.double()
    means = torch.stack([z[number == k].mean(dim=0) for k in range(m)])
    directions = means - means.mean(dim=0)
    lengths = directions.norm(dim=1, keepdim=True)
    if not (lengths > 1e-12 * z.abs().max()).all():
        raise ValueError(f"class {classes[lengths[:, 0].argmin()].item()} has no direction: its mean is that of all")
    directions = directions / lengths
    cosines = directions @ directions.T
    apart = cosines[~torch.eye(m, dtype=torch.bool, device=z.device)] + 1 / (m - 1)
    return SimplicialStructure(1 - (m - 1) / m * apart.abs().mean().item(), cosines)


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation `spearman` and the `p_value` of there being none, two-sided."""

    spearman: float
    p_value: float


def class_precision_correlation(scores, precision):
    """The RankCorrelation of a score per class [m] with the precision of each class [m], m at least 3.

    The p-value is of a t distribution, approximate for few classes. Raises ValueError for other sizes, numbers that are
    not finite, or all equal.
    """
    sets = [torch.as_tensor(x).double().flatten() for x in (scores, precision)]
    if len(sets[0]) != len(sets[1]) or len(sets[0]) < 3:
        sizes = " and ".join(str(len(x)) for x in sets)
        raise ValueError(f"a rank correlation takes two numbers for each of at least three classes, not {sizes}")
    for name, x in zip(("scores", "precision"), sets):
        if not x.isfinite().all() or x.min() == x.max():
            raise ValueError(f"the {name} must be finite and not all equal, not {x[:4].tolist()}")
    found = scipy.stats.spearmanr(*(x.cpu().numpy() for x in sets))
    return RankCorrelation(float(found.statistic), float(found.pvalue))
