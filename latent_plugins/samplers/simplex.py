"""A regular simplex among the latents, the two published scores of how near its corners they lie, and their law.

Source: Issenhuth, Tanielian, Mary and Picard, "Unveiling the latent space geometry of push-forward generative models"
(ICML 2023), and T. Issenhuth's thesis, which prints it as Sec. 3.3 with Appendix B. The text (Sec. 3.3.4) keeps latents
with max_i z·u_i > τ (MAX here); its experiments (App. B.2.3) those with max_i p_i(z) > τ, where p(z) is the softmax of
the distances −‖z − u_i‖ (SOFTMAX).
"""

import dataclasses
import math

import numpy as np
import scipy.special

from latent_plugins.randomness import BLOCK, Stream, uniforms
from latent_plugins.watching import ArgumentError

MAX, SOFTMAX = RULES = ("max", "softmax")
# Substreams of SIMPLICIAL: a seed's proposals, the orientation, the estimate of an acceptance; samplers have the rest.
LATENTS, ROTATION, ESTIMATE, BULK = range(4)
TRIALS = 1 << 15  # of the estimate of an acceptance
SMALLEST_ACCEPTANCE = 1e-3


def simplex(m, d, seed=0):
    """The corners of a regular simplex around the origin: float64 [m, d], of length 1, pairwise cosine −1/(m − 1).

    seed: of the rotation that turns it, uniform over all rotations. Raises ValueError unless 2 ≤ m ≤ d + 1.
    """
    check_corners(m, d)
    corners = np.eye(m) - 1 / m
    # The corners span m − 1 dimensions; an orthonormal basis of them, then one of as many dimensions in the latents.
    basis = np.linalg.svd(corners)[2][: m - 1]
    flat = corners @ basis.T * np.sqrt(m / (m - 1))
    gaussian = scipy.special.ndtri(
        uniforms(np.arange(m - 1), d, seed=seed, stream=Stream.SIMPLICIAL, substream=ROTATION)
    )
    frame, triangle = np.linalg.qr(gaussian.T)
    return flat @ (frame * np.sign(np.diag(triangle))).T


def check_corners(m, d):
    """Raise ValueError unless a regular simplex in d dimensions can have m corners."""
    if not 2 <= m <= d + 1:
        raise ValueError(f"a regular simplex in {d} dimensions has 2 to {d + 1} corners, not {m}")


def largest(projections, squares, rule, radius):
    """The score of each latent, float64 [N]: max_i z·ru_i (MAX), or max_i softmax(−‖z − ru_i‖) (SOFTMAX).

    projections: z·u_i [N, m] on corners of length 1; squares: ‖z‖² [N]; radius: r.
    """
    if rule == MAX:
        return radius * projections.max(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] - 2 * radius * projections + radius**2, 0))
    return 1 / np.exp(distances.min(axis=1, keepdims=True) - distances).sum(axis=1)


def limits(m, rule=MAX, radius=1.0):
    """(least, least upper bound) of the scores of all latents, however unlikely.

    Corners sum to zero, so that the largest projection is at least 0; of m chances that sum to one the largest is at
    least 1/m, and it is largest at a corner, whose distance to the others is r√(2m/(m − 1)).
    """
    if rule == MAX:
        return 0.0, math.inf
    return 1 / m, 1 / (1 + (m - 1) * math.exp(-radius * math.sqrt(2 * m / (m - 1))))


def prior_scores(m, d, domain="gaussian", rule=MAX, radius=1.0):
    """Scores of TRIALS draws of the prior, ascending: float64.

    Only the m − 1 coordinates that the simplex spans take part: with m standard normal g_i, z·u_i is
    √(m/(m − 1))·(g_i − mean g). The other coordinates enter by their norm alone: on the sphere of radius √d, and in
    distances. Raises ValueError unless 2 ≤ m ≤ d + 1.
    """
    check_corners(m, d)
    scores = np.empty(TRIALS)
    for begin in range(0, TRIALS, BLOCK):
        rows = np.arange(begin, begin + BLOCK)
        u = uniforms(rows, m + 1, seed=0, stream=Stream.SIMPLICIAL, substream=ESTIMATE)
        g = scipy.special.ndtri(u[:, :m])
        g -= g.mean(axis=1, keepdims=True)
        squares = (g * g).sum(axis=1)
        if m <= d:
            squares += 2 * scipy.special.gammaincinv((d - m + 1) / 2, u[:, m])
        projections = np.sqrt(m / (m - 1)) * g
        if domain == "sphere":
            projections *= np.sqrt(d / squares)[:, None]
            squares = np.full(len(rows), float(d))
        scores[rows] = largest(projections, squares, rule, radius)
    return np.sort(scores)


def acceptance_rate(m, tau, d, domain="gaussian", rule=MAX, radius=1.0):
    """(share of the prior whose score is above τ, its standard error), by Monte Carlo with fixed random numbers.

    Raises ValueError unless 2 ≤ m ≤ d + 1.
    """
    return share_above(prior_scores(m, d, domain, rule, radius), tau)


def share_above(ordered, tau):
    """(share of `ordered` above tau, its standard error)."""
    share = float(1 - np.searchsorted(ordered, tau, side="right") / len(ordered))
    return share, float(np.sqrt(share * (1 - share) / len(ordered)))


@dataclasses.dataclass(frozen=True)
class Region:
    """The latents of d dimensions whose score is above `tau`, −∞ for all of them.

    corners: how many; rotation: seed of the orientation; domain: `sphere` brings z to the length √d first, for networks
    that normalise it; rule: RULES; radius: the corners' length. Raises ValueError unless 2 ≤ corners ≤ d + 1.
    """

    corners: int
    tau: float
    rotation: int
    d: int
    domain: str = "gaussian"
    rule: str = MAX
    radius: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "directions", simplex(self.corners, self.d, self.rotation))

    def scores(self, z):
        """The scores of z [N, d] (array): float64 [N]."""
        z = np.asarray(z, dtype=np.float64)
        if self.domain == "sphere":
            z = z * (np.sqrt(self.d) / np.linalg.norm(z, axis=1, keepdims=True))
        return largest(z @ self.directions.T, (z * z).sum(axis=1), self.rule, self.radius)

    def passes(self, z):
        """Which rows of z [N, d] are in it: bool [N]."""
        return self.scores(z) > self.tau

    def prior_scores(self):
        """See `prior_scores`."""
        return prior_scores(self.corners, self.d, self.domain, self.rule, self.radius)

    def check(self, ordered, *, certain=False):
        """The share of the prior in it. Raises ValueError where that is practically all (a τ of −∞ aside) or nothing.

        ordered: `prior_scores`. certain: refuse only a τ that every latent passes, or none, whatever their law.
        """
        share, (least, bound) = share_above(ordered, self.tau)[0], limits(self.corners, self.rule, self.radius)
        wrong = not SMALLEST_ACCEPTANCE <= share <= 1 - SMALLEST_ACCEPTANCE
        if certain:
            wrong = self.tau <= least or self.tau >= bound
        if wrong and self.tau != -math.inf:
            raise ArgumentError(self.refusal(share, ordered))
        return share

    def refusal(self, share, ordered):
        """What is wrong with τ, and which would do."""
        ends = np.quantile(ordered, [SMALLEST_ACCEPTANCE, 1 - SMALLEST_ACCEPTANCE], method="nearest")
        low, high = rounded_within(*ends)
        text = (
            f"`tau`={self.tau:g} lets {100 * share:.4g} % of the prior pass by `rule`={self.rule}, for {self.corners} "
            f"corners of length {self.radius:g} in {self.d} dimensions: any from {low} to {high} would do"
        )
        if self.rule == MAX and 0 < self.tau < 0.3:
            text += "; the published ones, 0.08 to 0.2, are for `rule`=softmax"
        if self.rule == SOFTMAX and share < 0.5:
            text += ", or a larger `corner_radius`"
        return text


def rounded_within(low, high):
    """(low, high) rounded towards each other to about a hundredth of what lies between, as short texts."""
    digits = max(0, math.ceil(-math.log10((high - low) / 100)))
    step = 10.0**-digits
    return f"{math.ceil(low / step) * step:.{digits}f}", f"{math.floor(high / step) * step:.{digits}f}"
