"""How well predictions agree with the truth on latents that they have not learned from."""

import dataclasses

import numpy as np

LEVELS = (0.5, 0.9)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Figures over `rows` held-out latents.

    r2: the share of the variance that is predicted; spearman: rank correlation; error: root mean square, in nats;
    within50, within90: the share of the truths in the central 50 % and 90 % of their predicted normal distributions.
    """

    rows: int
    r2: float
    spearman: float
    error: float
    within50: float
    within90: float

    def __str__(self):
        return (
            f"R² {self.r2:.3f}, Spearman {self.spearman:.4f}, error {self.error:.2f} nats; {100 * self.within50:.0f} % "
            f"of the truths within the predicted 50 %, {100 * self.within90:.0f} % within 90 % ({self.rows} held out)"
        )


def agreement(mean, deviation, truth):
    """The Agreement of predictions (mean and standard deviation [N]) with the truth [N]."""
    import scipy.stats  # takes a while, and looks at torch

    mean, deviation, truth = (np.asarray(values, dtype=np.float64) for values in (mean, deviation, truth))
    z = np.abs(truth - mean) / deviation
    within = [float((z < scipy.stats.norm.ppf((1 + level) / 2)).mean()) for level in LEVELS]
    error = float(np.sqrt(np.mean((truth - mean) ** 2)))
    constant = np.ptp(truth) == 0 or np.ptp(mean) == 0
    spearman = 0.0 if constant else float(scipy.stats.spearmanr(mean, truth).statistic)
    return Agreement(len(truth), 1 - error**2 / max(truth.var(), 1e-300), spearman, error, *within)
