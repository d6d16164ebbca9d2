"""Training a predictor and measuring it on latents that it has not seen."""

import numpy as np
import torch

from latent_plugins.volume.predictor.agreement import agreement
from latent_plugins.volume.predictor.volumes import VolumePredictor

STEPS_A_LABEL, FEWEST_STEPS, MOST_STEPS = 0.5, 300, 2500
MOST_INPUTS = 512  # more than so many are rotated to their leading principal components
HELD_OUT = 0.1  # of the labels to calibrate the uncertainty, and as many to measure the result


def fit(inputs, volumes, *, seed=0, steps=None, watch=iter):
    """(VolumePredictor, Agreement on held-out rows) from inputs [N, F] and log-volumes [N] in nats.

    The last tenth of the usable rows is held out for the figures, the tenth before it scales the predicted
    uncertainty, the rest is learned from in `steps` steps, by default half as many as there are rows. Rows that are not
    finite are left out. Raises ValueError for fewer than 50 usable rows.
    """
    from latent_plugins.volume.predictor.ensemble import (  # whose classes are torch's when it is imported
        combined,
        train,
    )

    volumes = torch.as_tensor(np.asarray(volumes, dtype=np.float64))
    usable = torch.isfinite(volumes) & torch.isfinite(inputs).all(dim=1)
    inputs, volumes = inputs[usable].double(), volumes[usable]
    if len(volumes) < 50:
        raise ValueError(f"{len(volumes)} usable labels are too few to learn from and to measure: give more --labels")
    steps = steps or int(min(MOST_STEPS, max(FEWEST_STEPS, STEPS_A_LABEL * len(volumes))))
    held = max(10, round(HELD_OUT * len(volumes)))
    learn, scale, test = torch.arange(len(volumes)).split([len(volumes) - 2 * held, held, held])

    center, matrix = standardisation(inputs[learn])
    level, spread = volumes[learn].mean(), volumes[learn].std().clamp(min=1e-6)
    x, y = ((inputs - center) @ matrix).float(), ((volumes - level) / spread).float()
    network = train(x[learn], y[learn], seed=seed, steps=steps, watch=watch)
    mean, deviation = combined(network, x[scale])
    temperature = ((y[scale] - mean) / deviation).square().mean().sqrt().clamp(min=1e-3)
    predictor = VolumePredictor(network, center, matrix, level, spread, temperature.double())
    return predictor, agreement(*predictor(inputs[test].float()), volumes[test])


def standardisation(inputs):
    """(center [F], matrix [F, F']) that take inputs [N, F] float64 to mean 0 and variance 1; constant ones vanish.

    Where F exceeds MOST_INPUTS, F' are the leading principal components, of variance 1 each.
    """
    center, scale = inputs.mean(dim=0), inputs.std(dim=0)
    inverse = torch.where(scale > 1e-9 * (1 + center.abs()), 1 / scale, 0)
    if len(center) <= MOST_INPUTS:
        return center, torch.diag(inverse)
    _, values, vectors = torch.linalg.svd((inputs - center) * inverse, full_matrices=False)
    kept = min(MOST_INPUTS, int((values > 1e-6 * values[0]).sum()))
    return center, inverse[:, None] * vectors[:kept].T * (len(inputs) ** 0.5 / values[:kept])
