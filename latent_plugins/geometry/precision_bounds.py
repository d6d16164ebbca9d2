"""How precise a generator of disconnected modes can be: the published bounds, as functions of numbers.

Source: Tanielian, Issenhuth, Dohmatob and Mary, "Learning disconnected manifolds: a no GANs land" (ICML 2020), and
Issenhuth, Tanielian, Mary and Picard, "Unveiling the latent space geometry of push-forward generative models" (ICML
2023); numbers are those of T. Issenhuth's thesis, which has both (Sec. 3.2 and 3.3, proofs in Appendices A.1 and B.1).

An L-Lipschitz generator takes latents of N(0, I) to M modes that lie D or more apart; precision is the share of its
images within them. What lies between the preimages of two modes is at least D/L wide, so that precision is bounded by
ε = D/(2L) (Sec. 3.2) or ε_min = D/L (Sec. 3.3, D between the centres of the nearest modes). All values are floats, cut
to [0, 1] where a bound says nothing. Raises ValueError for numbers out of range and where a theorem's own conditions do
not hold.
"""

import math

import scipy.optimize
import scipy.special

FEWEST_MODES = 4  # covered: Theorem A.1.1 is for shares of at most 1/4


def half_width(distance, lipschitz):
    """ε = D/(2L) of the distance D between modes and the Lipschitz constant L, in the same units."""
    if not (0 <= distance < math.inf and 0 < lipschitz < math.inf):
        text = f"D = {distance:g}, L = {lipschitz:g}"
        raise ValueError(f"a distance of modes and a Lipschitz constant are finite and positive, not {text}")
    return distance / (2 * lipschitz)


def two_modes(epsilon):
    """Theorem 3.2.2: the largest α with α + ε√(2/π) exp(−Φ⁻¹(α/2)²/2) ≤ 1, for two equally drawn modes.

    The left side grows with α, so that there is one. Its published statement has D/(√(2π) L), which is the same.
    """
    check_epsilon(epsilon)
    height = epsilon * math.sqrt(2 / math.pi)
    # In t = Φ⁻¹(α/2), from −∞ to 0 as α goes from 0 to 1.
    over = lambda t: 2 * scipy.special.ndtr(t) + height * math.exp(-(t**2) / 2) - 1  # noqa: E731
    if epsilon == 0:
        return 1.0
    t = scipy.optimize.brentq(over, -40 - 2 * math.sqrt(math.log1p(height)), 0.0, xtol=1e-14)
    return float(2 * scipy.special.ndtr(t))


def two_modes_lambert(epsilon):
    """Theorem 3.2.2's explicit form, 1 − √(2/π) W(ε²), W the Lambert function: for precisions of 3/4 or more.

    As it is printed, example included (0.5475 at ε = 1, where `two_modes` is 0.4220). The equation before it in its
    proof (A.1.3), x = ε√(2/π) exp(−πx²/4) for the precision 1 − x, is solved by x = √(2 W(ε²)/π), whose root the print
    lacks: for ε below 1.6 the printed value is the larger, a true but weaker bound.
    """
    check_epsilon(epsilon)
    return cut(1 - math.sqrt(2 / math.pi) * float(scipy.special.lambertw(epsilon**2).real))


def two_modes_isoperimetric(epsilon):
    """2Φ(−ε): what the Gaussian isoperimetric inequality gives in Theorem 3.2.2's proof, before it is relaxed.

    The smallest of the three; half-spaces reach it.
    """
    check_epsilon(epsilon)
    return float(2 * scipy.special.ndtr(-epsilon))


def equal_modes(epsilon, modes, recall=1.0):
    """Theorem 3.2.3: (1 + x²)/x² exp(−ε²/2) exp(−εx), x = Φ⁻¹(1 − 1/(βM)), for M modes of equal measure and recall β.

    The enlarged preimages fill the latents in equal parts. Its proof covers βM ≥ 4 (Theorem A.1.1), below which
    ValueError is raised.
    """
    check_epsilon(epsilon)
    covered = check_modes(modes, recall)
    if covered < FEWEST_MODES:
        text = f"{modes} modes with recall {recall:g} are {covered:g}"
        raise ValueError(f"Theorem 3.2.3 is for {FEWEST_MODES} covered modes or more; {text}")
    return cut(enlargement(epsilon, 1 / covered))


def unequal_modes(epsilon, largest, rest=0.0):
    """The general setting (A.1.7): (1 + x²)/x² exp(−ε²/2) exp(−εx) − w°, x = Φ⁻¹(1 − max(w°, w_max)).

    largest: w_max, the greatest share of the latents in the ε-enlarged preimage of a mode; rest: w°, the share in none
    of them. Both at most 1/4 (Theorem A.1.1).
    """
    check_epsilon(epsilon)
    if not (0 < largest <= 1 / FEWEST_MODES and 0 <= rest <= 1 / FEWEST_MODES):
        raise ValueError(f"(A.1.7) is for shares of at most 1/4 of the latents, not {largest:g} and {rest:g}")
    return cut(enlargement(epsilon, max(largest, rest)) - rest)


def enlargement(epsilon, share):
    """(1 + x²)/x² exp(−ε²/2) exp(−εx) for x = Φ⁻¹(1 − share), not cut."""
    x = float(-scipy.special.ndtri(share))
    return (1 + x**2) / x**2 * math.exp(-(epsilon**2) / 2 - epsilon * x)


def many_modes(epsilon, modes, recall=1.0):
    """(3.2.1): exp(−ε²/2) exp(−ε√(2 log(βM))), what Theorem 3.2.3 tends to for M → ∞. The same as (3.3.5), ε_min = 2ε.

    No bound at a finite M: it is then below Theorem 3.2.3's (0.302 against 0.748 at ε = 0.5, M = 10).
    """
    check_epsilon(epsilon)
    covered = check_modes(modes, recall)
    return math.exp(-(epsilon**2) / 2 - epsilon * math.sqrt(2 * math.log(covered)))


def balanced_modes(epsilon_min, modes, smallest=None):
    """Corollary 3.3.1: 1 − ε_min √(log m) e^(−3/2) for well-balanced generators and m ≤ d + 1 modes of equal measure.

    smallest: w_min, the smallest weight of modes of unequal measure: 1 − m ε_min w_min √(log 1/w_min) e^(−3/2). The
    corollary is for Lipschitz constants of at least D√(log m) (D√(log 1/w_min)), beyond which ValueError is raised.
    """
    check_epsilon(epsilon_min)
    check_modes(modes)
    weight = 1 / modes if smallest is None else smallest
    if not 0 < weight <= 1 / modes:
        raise ValueError(f"the smallest of {modes} weights is above 0 and at most 1/{modes}, not {weight:g}")
    root = math.sqrt(math.log(1 / weight))
    if epsilon_min * root > 1:
        raise ValueError(
            f"Corollary 3.3.1 is for generators that are steep enough, L ≥ D √(log m): ε_min {epsilon_min:g} is above "
            f"{1 / root:.4g}"
        )
    return cut(1 - modes * weight * epsilon_min * root * math.exp(-1.5))


def simplicial_cluster(epsilon_max, modes, constant):
    """Theorem 3.3.1: 1 − ε_max √(m log(Cm)), which a generator with the cells of a simplex reaches or exceeds, m ≤ d.

    A lower bound, of the best generator and not of any given one. ε_max = D/L, D between the two modes that are
    farthest apart; constant: C, "large enough" and not known. For L ≥ D√m √(π log(Cm)), below which ValueError is
    raised. As it is printed: the proof (B.1.3) arrives at 1 − 2 ε_max √(π m log(Cm)), which is lower.
    """
    check_epsilon(epsilon_max)
    check_modes(modes)
    if not constant * modes > 1:
        raise ValueError(f"C must be large enough, and {constant:g} times {modes} modes is not above 1")
    inside = modes * math.log(constant * modes)
    if epsilon_max * math.sqrt(math.pi * inside) > 1:
        raise ValueError(
            f"Theorem 3.3.1 is for generators that are steep enough, L ≥ D √(π m log(Cm)): ε_max {epsilon_max:g} is "
            f"above {1 / math.sqrt(math.pi * inside):.4g}"
        )
    return cut(1 - epsilon_max * math.sqrt(inside))


def cut(value):
    """A bound of a share, within [0, 1]."""
    return min(max(value, 0.0), 1.0)


def check_epsilon(epsilon):
    """Raise ValueError unless ε is a number from 0 on."""
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"ε must be a finite number from 0 on, not {epsilon}")


def check_modes(modes, recall=1.0):
    """βM, the modes that are covered. Raises ValueError unless there is more than one."""
    if not (modes >= 2 and 0 < recall <= 1 and recall * modes > 1):
        raise ValueError(f"more than one mode must be covered, with a recall of at most 1: not {recall:g} of {modes}")
    return recall * modes
