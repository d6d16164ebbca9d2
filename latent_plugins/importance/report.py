"""What a weighted draw of candidates came to: how uneven its weights are, and whether the draw is what they say."""

import dataclasses
import warnings

import numpy as np
import scipy.optimize

from latent_plugins.importance.weights import normalized

ROOM = 5  # effective samples for each one that is drawn, below which a warning says so
FLATTENED = 20  # the same for draws without replacement, whose law is flatter than the weights from there on
STEEPEST = 1e6  # change of rho that the effective one is looked for within


@dataclasses.dataclass(frozen=True)
class WeightedDraw:
    """One weighted draw of candidates, or several of different classes taken together.

    drawn: rows; distinct: different candidates among them; ess: effective sample size of the weights, of several
    classes the smallest one, None of extremes in order; law_log_volume: mean log-volume that the weights ask for;
    drawn_log_volume: that of the rows; effective_rho: of a draw without replacement, the polarity whose law has the
    mean of the rows; else None.
    """

    drawn: int
    distinct: int
    ess: float | None
    law_log_volume: float | None
    drawn_log_volume: float
    effective_rho: float | None = None

    def record(self):
        """{name: figure} for records; what there is none of is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def weighted_draw(log_volume, logw, index, *, ess, ordered=False, rho=None):
    """The WeightedDraw of rows `index` [n] by normalised log-weights [N] of candidates with log_volume [N].

    ess: of the weights; ordered: drawn without replacement; rho: the polarity asked for, infinite for the extremes in
    order, whose weights ask for no mean.
    """
    drawn = float(log_volume[index].mean())
    extremes = rho is not None and np.isinf(rho)
    effective = rho + tilt_to(drawn, log_volume, logw) if ordered and rho is not None and not extremes else None
    return WeightedDraw(
        drawn=len(index),
        distinct=len(np.unique(index)),
        ess=None if extremes else ess,
        law_log_volume=None if extremes else mean_log_volume(log_volume, logw),
        drawn_log_volume=drawn,
        effective_rho=effective,
    )


def together(draws):
    """The WeightedDraw of draws of several classes: means by rows. None of none."""
    if len(draws) < 2:
        return draws[0] if draws else None
    rows = np.array([draw.drawn for draw in draws])

    def mean(name):
        values = [getattr(draw, name) for draw in draws]
        return None if None in values else float(np.average(values, weights=rows))

    return WeightedDraw(
        drawn=int(rows.sum()),
        distinct=sum(draw.distinct for draw in draws),
        ess=None if any(draw.ess is None for draw in draws) else min(draw.ess for draw in draws),
        **{name: mean(name) for name in ("law_log_volume", "drawn_log_volume", "effective_rho")},
    )


def mean_log_volume(log_volume, logw):
    """Σ w·log-volume over the candidates [N] that have a weight."""
    usable = np.isfinite(logw)
    return float(np.exp(logw[usable]) @ log_volume[usable])


def tilt_to(mean, log_volume, logw):
    """The t whose weights ∝ w·volume^t have this mean log-volume; ±inf where none within STEEPEST has."""
    usable = np.isfinite(logw)
    volume, logw = log_volume[usable], logw[usable]

    def excess(t):
        return mean_log_volume(volume, normalized(logw + t * volume)) - mean

    if abs(excess(0.0)) < 1e-12:
        return 0.0
    low, high = -1e-3, 1e-3
    while excess(low) > 0:
        low *= 4
        if low < -STEEPEST:
            return -np.inf
    while excess(high) < 0:
        high *= 4
        if high > STEEPEST:
            return np.inf
    return float(scipy.optimize.brentq(excess, low, high))


def warn_if_uneven(found, asked):
    """Warn when there are fewer than ROOM effective candidates for each of `asked` samples, and say what would help.

    found: the Degeneracy of the weights.
    """
    if found.effective_sample_size < ROOM * asked:
        kind = "degenerate weights" if found.effective_sample_size < asked else "few candidates"
        warnings.warn(
            f"{kind}: {found}, but {asked} samples are drawn; they show what rho asks for only as far as these "
            "candidates go. More candidates, a smaller |rho| or a smaller top-k help",
            stacklevel=2,
        )


def warn_if_flattened(found, draw, rho):
    """Warn when a draw without replacement is too large for its law to be that of the weights."""
    if draw.drawn * FLATTENED > found.effective_sample_size and draw.effective_rho is not None:
        warnings.warn(
            f"without replacement {draw.drawn} of {found}: what is drawn has the mean log-volume of rho "
            f"{draw.effective_rho:.3g}, not {rho:g}. Draw with replacement, or from more candidates",
            stacklevel=2,
        )
