"""How the classes of a classifier lie among the latents."""

import functools

import torch

from dnnlib_compat.detectors import FEATURES, PROBABILITIES
from latent_plugins.geometry.figures import save_scatter
from latent_plugins.geometry.latent_classes import (
    class_precision_correlation,
    convexity_accuracy,
    linear_separability,
    simplicial_structure,
)
from latent_plugins.geometry.report.subject import Figure, Section
from latent_plugins.metrics.precision_recall import exact_precision_recall

FEWEST = 8  # latents of a class that counts
NEIGHBOURS = 3
PIECE = 100  # points between two steps of a progress bar
MOST_DRAWN = 20  # latents for each that is wanted
NOTE = "classes are the classifier's, of images at sampled latents; read each number as an estimate"
BY_REAL = "share of the class's images within the balls around real images (improved precision, third neighbour)"
BY_CONFIDENCE = "mean confidence of the classifier in the class: without real images there is no precision"


def latent_classes(subject):
    """The Section of separability, convexity and simplicial structure of a classifier's classes.

    Raises ValueError for a network without a classifier, or with fewer than two classes among its images.
    """
    if subject.detector is None:
        raise ValueError("this network has no classifier in the catalogue")
    z, features, confidence, labels, sure = classified(subject, subject.random(7))
    classes, sizes = labels.unique(return_counts=True)
    kept = torch.isin(labels, classes[sizes >= FEWEST])
    z, labels, features, confidence = z[kept.to(z.device)].cpu(), labels[kept], features[kept], confidence[kept]
    classes = labels.unique()
    if len(classes) < 2:
        raise ValueError(f"fewer than two classes have {FEWEST} of {len(kept)} images")
    random = subject.random(8)
    held_out = subject.sizes.classes_held_out
    share = {} if held_out is None else dict(held_out=held_out / len(z))
    separability = linear_separability(z, labels, generator=random, **share)
    convexity = convexity_in_pieces(subject, z, labels, random)
    precision, meaning = precision_of(subject, classes, labels, features, confidence)
    facts = dict(
        exact=False,
        note=NOTE,
        classifier=subject.detector.name,
        latents=len(kept),
        latents_of_rare_classes_left_out=int((~kept).sum()),
        least_confidence=subject.sizes.classes_confidence,
        share_of_latents_this_sure=sure,
        linear_separability=dict(
            accuracy=separability.accuracy,
            accuracy_of_guessing=separability.largest,
            latents_held_out=separability.held_out,
        ),
        convexity=dict(accuracy=convexity["accuracy"], points=subject.sizes.classes_points),
    )
    if len(classes) >= 3:
        shuffled = labels[torch.randperm(len(labels), generator=random)]
        facts["simplicial_structure"] = dict(
            score=simplicial_structure(z, labels).score,
            score_of_shuffled_labels=simplicial_structure(z, shuffled).score,
        )
    per_class = [
        dict(name=int(k), latents=int((labels == k).sum()), convexity=convexity["per_class"][i], precision=precision[i])
        for i, k in enumerate(classes)
    ]
    facts["classes"] = per_class
    correlation = dict(precision_means=meaning)
    try:
        found = class_precision_correlation(convexity["per_class"], precision)
        correlation.update(spearman=found.spearman, p_value=found.p_value)
    except ValueError as error:
        correlation["note"] = str(error)
    facts["convexity_with_precision"] = correlation
    points = {each["name"]: (float(each["convexity"]), float(each["precision"])) for each in per_class}
    draw = functools.partial(save_scatter, points=points, xlabel="convexity of a class", ylabel="precision of a class")
    return Section(facts, (Figure("classes.png", draw),))


def classified(subject, random):
    """(z [N, d], features [N, F], confidence [N], labels [N], share of them) of N = `classes_latents` latents.

    Only those count of whose class the classifier is sure by `classes_confidence`. Raises ValueError where hardly any.
    """
    n, least, found, drawn = subject.sizes.classes_latents, subject.sizes.classes_confidence, [], 0
    while sum(len(each[0]) for each in found) < n:
        if drawn >= MOST_DRAWN * n:
            many = sum(len(each[0]) for each in found)
            raise ValueError(
                f"of {drawn} images the classifier is sure of {many} by {least:g}, where {n} are wanted: ask for less "
                "confidence, or for fewer latents"
            )
        z = subject.latents(n, random)
        features, probabilities = subject.seen(z, [FEATURES, PROBABILITIES], "images to classify")
        confidence, labels = probabilities.max(dim=1)
        sure = confidence >= least
        found.append((z[sure.to(z.device)], features[sure], confidence[sure], labels[sure]))
        drawn += n
    share = sum(len(each[0]) for each in found) / drawn
    return *(torch.cat(parts)[:n] for parts in zip(*found)), share


def convexity_in_pieces(subject, z, labels, random):
    """{"accuracy", "per_class" [m]} of `convexity_accuracy`, from pieces so that there is progress."""
    domain = subject.space_map.domain
    pieces = subject.in_steps(
        lambda rows: convexity_accuracy(
            lambda points: subject.images(points.to(subject.device)), subject.classes_of, z, labels, len(rows), random,
            domain,
        ),
        torch.empty(subject.sizes.classes_points),
        "points between latents",
        step=PIECE,
    )  # fmt: skip
    pairs = torch.stack([piece.pairs for piece in pieces])
    right = torch.stack([piece.per_class.nan_to_num(0) for piece in pieces]) * pairs
    return dict(accuracy=right.sum() / pairs.sum(), per_class=right.sum(dim=0) / pairs.sum(dim=0))


def precision_of(subject, classes, labels, features, confidence):
    """(precision [m] of each class, what it means): against real features where there are some."""
    if subject.real is None:
        return torch.stack([confidence[labels == k].double().mean() for k in classes]), BY_CONFIDENCE
    shares = [exact_precision_recall(subject.real, features[labels == k], k=NEIGHBOURS)[0] for k in classes]
    return torch.tensor(shares, dtype=torch.float64), f"{BY_REAL}, {len(subject.real)} of {subject.real_name}"
