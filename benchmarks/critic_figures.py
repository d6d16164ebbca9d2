"""What a critic that should be the log-odds of real against generated images is worth on new images."""

import numpy as np
import scipy.special

BINS = 15  # of the reliability, equal parts of [0, 1]


def figures(real, generated):
    """{name: number} of logits of real [M] and generated [N] images, both sides weighted alike.

    accuracy: of the sign; auc: the chance that a real image has the larger logit, ties counted half; log_loss: in nats
    an image, log 2 without any knowledge; calibration_error: the mean gap between the σ(logit) that a bin says and the
    share of real images in it (ECE, "On Calibration of Modern Neural Networks", Guo et al. 2017).
    """
    real, generated = (np.asarray(x, dtype=np.float64) for x in (real, generated))
    order = np.sort(generated)
    below = np.searchsorted(order, real, side="left") + np.searchsorted(order, real, side="right")
    return dict(
        accuracy=float(((real > 0).mean() + (generated <= 0).mean()) / 2),
        auc=float(below.mean() / (2 * len(generated))),
        log_loss=float((np.logaddexp(0, -real).mean() + np.logaddexp(0, generated).mean()) / 2),
        calibration_error=float(sum(share * abs(said - found) for said, found, share in reliability(real, generated))),
    )


def reliability(real, generated):
    """[(mean σ(logit), share of real images, share of all images)] of BINS equal parts of [0, 1] that hold any."""
    p = scipy.special.expit(np.concatenate([real, generated]))
    is_real = np.repeat([1.0, 0.0], [len(real), len(generated)])
    weights = np.repeat([0.5 / len(real), 0.5 / len(generated)], [len(real), len(generated)])
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = []
    for i in np.unique(place):
        here = place == i
        rows.append(tuple(float(np.average(x[here], weights=weights[here])) for x in (p, is_real)))
        rows[-1] += (float(weights[here].sum()),)
    return rows
