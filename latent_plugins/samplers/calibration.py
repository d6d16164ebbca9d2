"""From a critic's raw scores to log density ratios, as the rejection and Markov-chain samplers need them."""

import dataclasses

import numpy as np
import scipy.special
import torch

ITERATIONS = 100
TOLERANCE = 1e-14


@dataclasses.dataclass(frozen=True)
class PlattCalibration:
    """score ↦ slope · score + intercept: the log-odds that an image is real, for as many real as generated ones.

    Which is the log of the density ratio of the data and the generator.
    """

    slope: float
    intercept: float

    def __call__(self, scores):
        """Log-odds of scores, tensors or arrays of any shape."""
        return self.slope * scores + self.intercept


def fit_platt(real, generated):
    """The PlattCalibration of raw scores of held-out real [N] and generated [M] images, as MH-GAN takes it.

    Logistic regression by Newton's method in float64, both sides weighted alike whatever their numbers; the targets are
    (n + 1)/(n + 2) and 1/(n + 2) instead of 1 and 0, which keeps the slope finite where the scores do not overlap
    ("Probabilistic outputs for support vector machines", Platt 1999). Raises ValueError for fewer than two scores on a
    side, for scores that are not finite, and for scores that are all the same.
    """
    real, generated = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (real, generated))
    if min(len(real), len(generated)) < 2:
        raise ValueError(f"{len(real)} real and {len(generated)} generated scores are too few to calibrate a critic")
    scores = np.concatenate([real, generated])
    if not np.isfinite(scores).all():
        raise ValueError("the critic's scores hold NaN or infinity, so it cannot be calibrated")
    mean, spread = scores.mean(), scores.std()
    if spread == 0:
        raise ValueError(f"the critic gives every image the score {mean:g}, so it cannot be calibrated")
    sizes = [np.full(len(real), len(real)), np.full(len(generated), len(generated))]
    weights = 0.5 / np.concatenate(sizes)
    targets = np.concatenate([(sizes[0] + 1) / (sizes[0] + 2), 1 / (sizes[1] + 2)])
    a, b = minimize_logistic((scores - mean) / spread, targets, weights)
    return PlattCalibration(float(a / spread), float(b - a * mean / spread))


def minimize_logistic(x, targets, weights):
    """(a, b) that minimise Σ w (log(1 + e^f) − t f) with f = a x + b, by Newton's method with step halving."""

    def loss(theta):
        f = design @ theta
        return weights @ (np.logaddexp(0, f) - targets * f)

    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    for _ in range(ITERATIONS):
        p = scipy.special.expit(design @ theta)
        gradient = design.T @ (weights * (p - targets))
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        if gradient @ step < TOLERANCE:  # twice what the loss can still fall
            break
        size = 1.0
        while loss(theta - size * step) > loss(theta):
            size /= 2
        theta = theta - size * step
    return theta


def calibrated(critic, calibration):
    """The critic images → calibration(critic(images)), as differentiable as the critic is."""
    return lambda images: calibration(critic(images))


def log_odds(critic, eps=1e-7):
    """The critic that scores by the log-odds of a critic of probabilities, which are clipped to [eps, 1 − eps]."""
    return lambda images: torch.logit(critic(images), eps=eps)
