"""Inversion: the latent whose output is nearest to a target, by gradient descent or from region to region.

Within a region the generator is affine, so that its nearest output to a target is a least-squares problem; solving it
leads to another region, and so on, to a local minimum. That is how "Max-Affine Spline Insights into Deep Generative
Networks" (Balestriero, Paris and Baraniuk, arXiv:2002.11912) sees regions, but not its search over all of them
(Proposition 4), which is in `region_inversion`. For a map that is only nearly piecewise affine this is the Gauss–Newton
method.
"""

import dataclasses
import math

import torch
from torch.func import vjp

from latent_plugins.geometry.jacobians import check_rows, jacobians
from latent_plugins.spaces import to_sphere
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, in_chunks
from latent_plugins.volume.spectrum.precision import full_precision
from latent_plugins.volume.spectrum.subspace import RELATIVE_ROUNDING

TOLERANCE = 1e-3
# Adam's own constants (Kingma and Ba, ICLR 2015).
MOMENTS = 0.9, 0.999
EPSILON = 1e-8
# What a step must gain of what its slope promises (Armijo), and the parts of it that are tried.
SUFFICIENT = 1e-4
PARTS = 1, 1 / 2, 1 / 4
# Ridges that are tried in turn, as parts of the largest eigenvalue of AᵀA.
RIDGES = 1e-4, 1e-2, 1.0
# Steps that promise less than this part of the error lead nowhere.
STATIONARY = 1e-7


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What inverting n targets gave.

    `z` [n, in]: the best latents found; `error` [n] float64: mean squared difference per pixel, infinite where no
    output was finite; `iterations` [n]: steps taken, over all restarts; `evaluations` [n]: how often the map was run,
    where a gradient's way back and each column (or row) of a Jacobian count as a run; `success` [n]: whether the error
    is at most the tolerance times the target's variance over its pixels.
    """

    z: torch.Tensor
    error: torch.Tensor
    iterations: torch.Tensor
    evaluations: torch.Tensor
    success: torch.Tensor


class _Progress:
    """The best latent of each row so far, what it cost, and which rows go on."""

    def __init__(self, start, enough):
        self.best, self.enough = start.clone(), enough
        self.error = torch.full_like(enough, torch.inf)
        self.iterations, self.evaluations = torch.zeros(2, len(start), dtype=torch.long, device=start.device)
        self.active = torch.ones(len(start), dtype=torch.bool, device=start.device)

    def see(self, rows, z, error):
        """Take in the errors of the latents z of `rows`; rows that are good enough, or broken, stop."""
        better = error < self.error[rows]
        self.best[rows[better]], self.error[rows[better]] = z[better], error[better]
        self.active[rows] &= torch.isfinite(error) & (self.error[rows] > self.enough[rows])

    def going(self):
        return self.active.nonzero()[:, 0]


def _errors(outputs, target):
    """Mean squared difference per pixel, float64 [n]; infinite where it is not finite."""
    return (outputs.double() - target).square().mean(dim=1).nan_to_num(torch.inf, torch.inf, torch.inf)


def descent(space_map, target, progress, *, retract, iterations, learning_rate, max_memory):
    """Gradient descent on z by Adam; the learning rate falls to zero along a half cosine. Rows do not mix."""
    z = progress.best.clone()
    first, second = torch.zeros_like(z), torch.zeros_like(z)
    for step in range(iterations + 1):
        rows = progress.going()
        if not len(rows):
            break
        outputs, pullback = vjp(space_map, z[rows])
        progress.evaluations[rows] += 1
        progress.see(rows, z[rows], _errors(outputs, target[rows]))
        going = progress.active[rows]
        if step == iterations or not going.any():
            break
        (gradient,) = pullback(outputs - target[rows].to(outputs))
        rows, gradient = rows[going], gradient[going]
        progress.evaluations[rows] += 1
        progress.iterations[rows] += 1
        first[rows] = MOMENTS[0] * first[rows] + (1 - MOMENTS[0]) * gradient
        second[rows] = MOMENTS[1] * second[rows] + (1 - MOMENTS[1]) * gradient.square()
        mean, size = (m[rows] / (1 - beta ** (step + 1)) for m, beta in zip((first, second), MOMENTS))
        rate = learning_rate * (1 + math.cos(math.pi * step / iterations)) / 2
        z[rows] = retract(z[rows] - rate * mean / (size.sqrt() + EPSILON))


def regions(space_map, target, progress, *, retract, iterations, learning_rate, max_memory):
    """Least squares region by region: z ← z + t A⁺(x − G(z)), t halved until the error falls as its slope promises.

    A⁺ gives the shortest step; singular values below float32's rounding count as zero. Nearly singular slopes A make it
    lead far out of the region, where no t helps; then the ridge (AᵀA + λI)⁻¹Aᵀ takes the place of A⁺, first with a
    small λ. (The embedded network's slopes are nearly singular. From latents close to the wanted ones it took 2 to 9
    iterations with ridges, and 2 to 43 where the shortest step was halved up to ten times first.)
    """
    with torch.no_grad():
        rows = progress.going()
        outputs = space_map(progress.best).double()
        progress.evaluations += 1
        progress.see(rows, progress.best, _errors(outputs, target))
    for _ in range(iterations):
        rows = progress.going()
        if not len(rows):
            break
        z, residual = progress.best[rows], target[rows] - outputs[rows]
        steps, slopes = _least_squares(space_map, z, residual, max_memory)
        progress.iterations[rows] += 1
        progress.evaluations[rows] += min(space_map.in_dim, space_map.out_dim)
        # Rows with nothing to gain stop, and so do those where no step helps.
        progress.active[rows] = slopes[0] > STATIONARY * residual.square().sum(dim=1)
        waiting = progress.active[rows].nonzero()[:, 0]
        for step, slope in zip(steps, slopes):
            for t in PARTS:
                if not len(waiting):
                    break
                at = rows[waiting]
                with torch.no_grad():
                    trial = retract((z[waiting] + t * step[waiting]).to(z.dtype))
                    reached = space_map(trial).double()
                progress.evaluations[at] += 1
                error = _errors(reached, target[at])
                promised = 2 * t * slope[waiting] / target.shape[1]
                good = error <= progress.error[at] - SUFFICIENT * promised
                outputs[at[good]] = reached[good]
                progress.see(at[good], trial[good], error[good])
                waiting = waiting[~good]
        progress.active[rows[waiting]] = False


def _least_squares(space_map, z, residual, max_memory):
    """(steps, slopes): the shortest step and the ridges', and how fast ½ the squared residual falls along each.

    Float64 [1 + ridges, n, in] and [1 + ridges, n]; NaN where the Jacobian is not finite.
    """
    found = []
    start = 0
    for jacobian in jacobians(space_map, z, max_memory=max_memory, bytes_per_entry=BYTES_PER_ENTRY + 8):
        a = jacobian.double()
        r = residual[start : start + len(a), :, None]
        start += len(a)
        down = a.transpose(1, 2) @ r
        wide = a.shape[1] < a.shape[2]
        gram = a @ a.transpose(1, 2) if wide else a.transpose(1, 2) @ a
        broken = ~torch.isfinite(gram).flatten(1).all(dim=1)
        gram[broken] = 0  # LAPACK refuses NaN
        values, vectors = torch.linalg.eigh(gram)
        largest = values[:, -1:]
        inverses = [torch.where(values > RELATIVE_ROUNDING**2 * largest, 1 / values, 0)]
        inverses += [1 / (values + ridge * largest) for ridge in RIDGES]
        side = vectors.transpose(1, 2) @ (r if wide else down)
        steps = torch.stack([vectors @ (inverse[:, :, None] * side) for inverse in inverses])
        if wide:
            steps = a.transpose(1, 2) @ steps
        steps[:, broken] = torch.nan
        found.append((steps[..., 0], (down * steps).sum(dim=(2, 3))))
    return tuple(torch.cat(parts, dim=1) for parts in zip(*found))


# Method and the number of iterations that it takes by default.
METHODS = {"descent": (descent, 500), "regions": (regions, 50)}


def invert(
    space_map,
    target,
    start,
    *,
    method="regions",
    tolerance=TOLERANCE,
    iterations=None,
    learning_rate=0.1,
    max_memory=None,
):
    """The Inversion of targets [n, out]: latents whose outputs are near them.

    start: [n, in], or [n, restarts, in] to start each target several times and keep the best. method: `descent` (Adam
    on z with a `learning_rate` that falls to zero, 500 iterations by default) or `regions` (least squares from region
    to region, 50 by default). Each row stops as soon as its error is at most `tolerance` times the target's variance.
    Where the map's latents live on the sphere, every step ends there. max_memory: bound in bytes for tensors that the
    products keep alive; None: `automatic_memory`.

    Both find local minima: a target that the map can make may still fail. Failures, and targets or outputs that are not
    finite, are reported, never raised. Raises ValueError for an unknown method, numbers out of range or shapes that do
    not fit.
    """
    if method not in METHODS:
        raise ValueError(f"unknown inversion method {method!r}; known methods: {', '.join(METHODS)}")
    function, default_iterations = METHODS[method]
    iterations = default_iterations if iterations is None else iterations
    if iterations < 1 or not tolerance > 0 or not learning_rate > 0:
        raise ValueError(
            f"iterations {iterations}, tolerance {tolerance} and learning rate {learning_rate} must be above zero"
        )
    if target.ndim != 2 or target.shape[1] != space_map.out_dim or start.ndim not in (2, 3):
        raise ValueError(
            f"targets must be [n, {space_map.out_dim}] and starts [n, in] or [n, restarts, in], "
            f"not {list(target.shape)} and {list(start.shape)}"
        )
    if len(start) != len(target) or not start.numel():
        raise ValueError(f"{len(target)} targets need as many starts, not {len(start)}")
    restarts = start.shape[1] if start.ndim == 3 else 1
    start = start.reshape(-1, start.shape[-1])
    check_rows(space_map, start)

    retract = to_sphere if _on_sphere(space_map) else _unchanged
    target = target.double()
    enough = tolerance * target.var(dim=1, correction=0)
    rows = target.repeat_interleave(restarts, dim=0), retract(start), enough.repeat_interleave(restarts)
    options = dict(retract=retract, iterations=iterations, learning_rate=learning_rate, max_memory=max_memory)
    found = []
    with full_precision(start.device):
        with torch.no_grad():
            row_bytes = 2 * bytes_per_row(space_map, start)
        for aim, first, limit, _ in in_chunks(rows, 1, row_bytes, 0, max_memory, start.device):
            progress = _Progress(first, limit)
            function(space_map, aim, progress, **options)
            found.append(progress)
    return _best(found, restarts, enough)


def _on_sphere(space_map):
    """Whether the map's input lives on the sphere: styles do not, wherever their latents live."""
    return getattr(space_map, "on_sphere", False)


def _unchanged(z):
    return z


def _best(found, restarts, enough):
    """The Inversion of progresses [n · restarts] put together: the best restart of each target."""
    names = "best", "error", "iterations", "evaluations"
    z, error, iterations, evaluations = (torch.cat([getattr(p, name) for p in found]) for name in names)
    error, choice = error.reshape(-1, restarts).min(dim=1)
    z = z.reshape(len(enough), restarts, -1)[torch.arange(len(enough), device=z.device), choice]
    iterations, evaluations = (x.reshape(-1, restarts).sum(dim=1) for x in (iterations, evaluations))
    return Inversion(z.detach(), error.detach(), iterations, evaluations, error.detach() <= enough)


def compare_inversions(space_map, target, start, **options):
    """{method: Inversion} of every method from the same starts; `options` are those of `invert`."""
    return {method: invert(space_map, target, start, method=method, **options) for method in METHODS}
