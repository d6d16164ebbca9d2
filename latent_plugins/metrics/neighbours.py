"""Nearest neighbours and balls around features, block by block: no matrix of all distances is ever held.

Matrix products find, float64 decides: products of centred features give squared distances with a known bound on their
rounding error, and whatever the error could turn is taken from plain differences in float64. Results therefore depend
neither on the block size nor on the machine, and equal rows are at distance zero.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from latent_plugins.volume.spectrum.precision import full_precision

MAX_MEMORY = 1 << 29
# A distance of a block, and what searching it takes.
BYTES_PER_DISTANCE = 5
LARGEST_BLOCK = 8192
# Blocks are searched in groups of so many distances, and at most so many groups with a find are opened at once.
GROUP = 16
OPENED = 1 << 16
# Neighbours kept beyond the wanted one, so that the wanted one is among them in spite of rounding.
SPARE = 4
# The share of balls smaller than rounding errors from which on they are looked for in float64.
BLURRED = 0.1
# Numbers of features that are held in float64 at once.
CHUNK = 1 << 20


def unwatched(counts, total, label):
    """The progress that shows nothing."""
    return counts


def _spans(n, size):
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _chunks(n, x):
    """Spans of n rows like those of x that are held in float64 at once."""
    return _spans(n, max(CHUNK // max(x.shape[1], 1), 1))


def check_features(what, k, real, generated):
    """(real, generated) as floating-point tensors [N, D] and [M, D] where they already live, with more than k rows.

    Takes tensors and arrays; integers become float64. Raises ValueError for other shapes, too few rows, features that
    are not finite, and k below 1; `what` starts the message.
    """
    if k < 1:
        raise ValueError(f"{what}: k must be at least 1, not {k}")
    sets = {"real": torch.as_tensor(real).detach(), "generated": torch.as_tensor(generated).detach()}
    for name, x in sets.items():
        if x.ndim != 2:
            raise ValueError(f"{what}: the {name} features must be [N, D], not of shape {list(x.shape)}")
        if len(x) <= k:
            raise ValueError(f"{what} with k = {k} need at least {k + 1} features per set, the {name} set has {len(x)}")
        if not x.is_floating_point():
            sets[name] = x = x.double()
        if not all(x[s].isfinite().all() for s in _chunks(len(x), x)):
            raise ValueError(f"{what}: the {name} features are not all finite")
    dtype = torch.promote_types(*(x.dtype for x in sets.values()))
    real, generated = (x.to(dtype) for x in sets.values())
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"{what}: real features have {real.shape[1]} dimensions, generated {generated.shape[1]}")
    return real, generated


def distance_dtype(x):
    """The dtype that distances of features x are rounded to: float32, or float64 for float64 features."""
    return torch.promote_types(x.dtype, torch.float32)


def pair_distances(a, b, i, j):
    """Distances of a[i] and b[j], [P] in a's distance dtype, from differences in float64.

    Squared distances are rounded before the root is taken, as float32 programs do. torch's float32 root is not always
    the nearest number; float64's, rounded, is.
    """
    dtype = distance_dtype(a)
    distances = torch.empty(len(i), dtype=dtype, device=a.device)
    for span in _chunks(len(i), a):
        difference = a.index_select(0, i[span]).double() - b.index_select(0, j[span]).double()
        distances[span] = difference.square_().sum(1).to(dtype).double().sqrt()
    return distances


class _Points:
    """Features x [N, D] relative to `centre` [D] in units of `scale`; norms: their squared lengths, float64 [N].

    Rows are cast where they are needed; only x itself stays in memory.
    """

    def __init__(self, x, centre):
        self.x, self.centre, self.scale = x, centre, 1.0
        self.norms = torch.cat([self.rows(s, torch.float64).square_().sum(1) for s in _chunks(len(x), x)])

    def rescale(self, scale):
        self.norms /= scale**2
        self.scale = scale

    def rows(self, index, dtype):
        wide = torch.promote_types(self.x.dtype, dtype)
        return (self.x[index].to(wide) - self.centre.to(wide)).div_(self.scale).to(dtype)

    def slack(self, index, radii, dtype):
        """How far from radii² a squared distance to the points of `index` must be for products to tell: float64 [n].

        A sum of D products is off by at most D roundings of |x| |y|, and whoever is at distance r from a point of
        length |x| is no longer than |x| + r. The factor leaves room for the roundings of centring and of the norms.
        Radii and the distances they are compared with are rounded on their own.
        """
        norms = self.norms[index]
        roundings = 2 * (self.x.shape[1] + 8) * torch.finfo(dtype).eps
        products = roundings * (norms + (norms.sqrt() + radii) ** 2)
        return products + 4 * torch.finfo(distance_dtype(self.x)).eps * radii**2 + torch.finfo(dtype).tiny * 1e6


def _frame(*sets):
    """Each of the sets as _Points around their common mean, scaled so that no point is longer than 1.

    Raises ValueError when squared distances would overflow.
    """
    total = sum(x[s].double().sum(0) for x in sets for s in _chunks(len(x), x))
    # Rounded, so that it is the same centre in either dtype.
    centre = (total / sum(map(len, sets))).float().double()
    points = [_Points(x, centre) for x in sets]
    longest = max(float(p.norms.max()) for p in points) ** 0.5
    if not 2 * longest < torch.finfo(distance_dtype(sets[0])).max ** 0.5:
        raise ValueError("the features are too large for distances between them")
    for p in points:
        p.rescale(longest or 1.0)
    return points


def block_size(max_memory, dimensions, dtype):
    """How many rows and columns of distances, with the features behind them, fit `max_memory` bytes at once.

    A multiple of GROUP where possible. Raises ValueError when not even one fits.
    """
    per_row = 4 * dimensions * dtype.itemsize
    per_pair = BYTES_PER_DISTANCE * dtype.itemsize / 4
    size = int(((per_row**2 + 4 * per_pair * max_memory) ** 0.5 - per_row) / (2 * per_pair))
    if size < 1:
        raise ValueError(f"{max_memory} bytes do not hold a single distance of {dimensions}-dimensional features")
    return min(size - size % GROUP or size, LARGEST_BLOCK)


class _Products:
    """Squared distances of blocks of a's rows to blocks of b's, from one matrix product each.

    |x|² + |y|² − 2 x·y is the product of (x, |x|², 1) and (−2 y, 1, |y|²). The block is written over the last one's: a
    fresh one each time would cost as much as the operations on it.
    """

    def __init__(self, a, b, size, dtype):
        self.a, self.b, self.dtype = a, b, dtype
        self.room = torch.empty(min(size, len(a.x)) * min(size, len(b.x)), dtype=dtype, device=a.x.device)

    def left(self, rows):
        x, norms = self.a.rows(rows, self.dtype), self.a.norms[rows, None].to(self.dtype)
        return torch.cat([x, norms, torch.ones_like(norms)], 1)

    def block(self, left, columns):
        """Squared distances [rows, columns]; rounding may leave them slightly negative."""
        y, norms = self.b.rows(columns, self.dtype), self.b.norms[columns, None].to(self.dtype)
        right = torch.cat([y.mul_(-2), torch.ones_like(norms), norms], 1)
        d2 = self.room[: len(left) * len(right)].view(len(left), len(right))
        return torch.mm(left, right.T, out=d2)


def _group_minima(d2, axis):
    """Smallest entries of d2 in groups along the other axis, [size of `axis`, groups].

    They say where something small is at a fraction of the cost of looking for it everywhere.
    """
    size = d2.shape[1 - axis]
    group = math.gcd(size, GROUP)
    minima = d2.unflatten(1 - axis, (group, size // group)).amin(1 - axis)
    return minima.T.contiguous() if axis else minima


def _members(groups, d2, axis):
    """Positions along the other axis of the members of the groups [...]: [..., group]."""
    size = d2.shape[1 - axis]
    step = size // math.gcd(size, GROUP)
    return groups[..., None] + torch.arange(0, size, step, device=groups.device)


def _pick(d2, axis, own, other):
    """The entries of d2 at positions `own` along `axis` and `other` along the other one."""
    rows, columns = (other, own) if axis else (own, other)
    return d2.flatten().take(rows * d2.shape[1] + columns)


def _below(d2, axis, limits):
    """Find the entries of d2 up to limits [size of `axis`].

    Yields some at a time: positions along `axis`, positions along the other one, entries.
    """
    hits = (_group_minima(d2, axis) <= limits[:, None]).nonzero()
    for own, groups in (part.unbind(1) for part in hits.split(OPENED)):
        other = _members(groups, d2, axis)
        own = own[:, None].expand_as(other)
        entries = _pick(d2, axis, own, other)
        keep = entries <= limits[own]
        yield own[keep], other[keep], entries[keep]


def _run(rounds):
    for _ in rounds:
        pass


class _Nearest:
    """The `count` nearest points so far of each of n: squared distances (ascending) and indices, both [n, count]."""

    def __init__(self, n, count, dtype, device):
        self.distances = torch.full((n, count), torch.inf, dtype=dtype, device=device)
        self.index = torch.zeros(n, count, dtype=torch.long, device=device)

    def merge(self, span, d2, axis, offset):
        """Take in squared distances of the points of `span`, along `axis` of d2, to those from `offset` on."""
        distances, index = self.distances[span], self.index[span]
        count = distances.shape[1]
        minima = _group_minima(d2, axis)
        gains = (minima.amin(1) < distances[:, -1]).nonzero()[:, 0]  # after a few blocks many have nothing to gain
        # The groups of the `count` smallest minima hold the `count` smallest distances.
        groups = minima[gains].topk(min(count, minima.shape[1]), largest=False).indices
        where = _members(groups, d2, axis).flatten(1)
        near = _pick(d2, axis, gains[:, None], where)
        near, order = torch.cat([distances[gains], near], 1).topk(count, largest=False)
        distances[gains] = near
        index[gains] = torch.cat([index[gains], where + offset], 1).gather(1, order)


def _search(points, nearest, dtype, size):
    """Fill `nearest` with the other points nearest to each; yields how many distances each block took.

    Distances within a set are symmetric: a block serves its rows and its columns.
    """
    spans, products = _spans(len(points.x), size), _Products(points, points, size, dtype)
    for first, rows in enumerate(spans):
        left = products.left(rows)
        for columns in spans[first:]:
            d2 = products.block(left, columns)
            if columns == rows:
                d2.fill_diagonal_(torch.inf)
            else:
                nearest.merge(columns, d2, 1, rows.start)
            nearest.merge(rows, d2, 0, columns.start)
            yield d2.numel()


def _search_some(points, chosen, nearest, dtype, size):
    """As `_search`, for the points of the indices `chosen` [n] alone."""
    products = _Products(points, points, size, dtype)
    for part in _spans(len(chosen), size):
        left = products.left(chosen[part])
        for columns in _spans(len(points.x), size):
            d2 = products.block(left, columns)
            own = chosen[part] - columns.start
            here = ((own >= 0) & (own < d2.shape[1])).nonzero()[:, 0]
            d2[here, own[here]] = torch.inf
            nearest.merge(part, d2, 0, columns.start)
            yield d2.numel()


def _kth(x, chosen, nearest, k):
    """Exact distance of each of x[chosen] to the k-th nearest of its candidates."""
    i = chosen.repeat_interleave(nearest.index.shape[1])
    exact = pair_distances(x, x, i, nearest.index.flatten()).view(nearest.index.shape)
    return exact.where(nearest.distances < torch.inf, torch.inf).kthvalue(k, 1).values  # unused places are empty


def kth_neighbour_distances(x, k, *, dtype=None, max_memory=MAX_MEMORY, progress=unwatched):
    """Distance of every row of x [N, D] to its k-th nearest other row: [N], float32 (float64 for float64 features).

    dtype: what the products are calculated in, float32 unless told; it changes the speed, not the result. max_memory:
    bytes for a block of distances. progress(counts, total, label) wraps the loop over blocks. x must be finite and have
    more than k rows.
    Raises ValueError for features so large that distances overflow. Source: the radii of Kynkäänniemi et al. 2019,
    "Improved Precision and Recall Metric for Assessing Generative Models".
    """
    dtype = dtype or torch.float32
    (points,) = _frame(x)
    everyone = torch.arange(len(x), device=x.device)
    size = block_size(max_memory, x.shape[1], dtype)
    nearest = _Nearest(len(x), k + SPARE, dtype, x.device)
    total = sum((s.stop - s.start) * (len(x) - s.start) for s in _spans(len(x), size))
    with full_precision(x.device):
        _run(progress(_search(points, nearest, dtype, size), total, "distances between neighbours"))
    distances = _kth(x, everyone, nearest, k)

    # Whoever was left out is farther than the last one kept, up to rounding; nobody is nearer than zero.
    radii = distances.double() / points.scale
    doubtful = (nearest.distances[:, -1] <= radii**2 + points.slack(slice(None), radii, dtype)) & (distances > 0)
    chosen = everyone[doubtful]
    if len(chosen) and dtype != torch.float64:
        size = block_size(max_memory, x.shape[1], torch.float64)
        nearest = _Nearest(len(chosen), k + SPARE, torch.float64, x.device)
        rounds = _search_some(points, chosen, nearest, torch.float64, size)
        _run(progress(rounds, len(chosen) * len(x), "distances between close neighbours"))
        distances[chosen] = _kth(x, chosen, nearest, k)
    return distances


@dataclasses.dataclass(frozen=True)
class Membership:
    """How many points each of the `balls` holds [N], and in how many balls each of the `points` is [M]."""

    balls: torch.Tensor
    points: torch.Tensor


class _Balls:
    """Balls of `radii` around the points of sides[axis], and the counts of their Membership of the other side."""

    def __init__(self, sides, axis, radii, closed):
        self.sides, self.axis, self.radii, self.closed = sides, axis, radii, closed
        self.counts = [torch.zeros(len(side.x), dtype=torch.long, device=side.x.device) for side in sides]

    def borders(self, span, dtype):
        """(squared radii, their slack) of a span of balls, float64 [n]."""
        points = self.sides[self.axis]
        radii = self.radii[span].double() / points.scale
        return radii**2, points.slack(span, radii, dtype)

    def blurred(self, dtype):
        """Whether many balls are so small that products of this dtype see their whole inside as border."""
        squared, slack = self.borders(slice(None), dtype)
        return ((slack > squared / 4) & (squared > 0)).double().mean() > BLURRED

    def count(self, d2, spans):
        """Count the pairs of a block that are inside, and measure again what is too near a border to tell."""
        span = spans[self.axis]
        squared, slack = self.borders(span, d2.dtype)
        low = (squared - slack).nan_to_num(torch.inf).to(d2.dtype)  # an infinite ball has no border
        for own, other, near in _below(d2, self.axis, (squared + slack).to(d2.dtype)):
            doubtful = near > low[own]
            i, j = (other, own) if self.axis else (own, other)
            i, j = i + spans[0].start, j + spans[1].start
            distances = pair_distances(*(side.x for side in self.sides), i[doubtful], j[doubtful])
            radii = self.radii[span][own[doubtful]]
            inside = ~doubtful
            inside[doubtful] = distances <= radii if self.closed else distances < radii
            for counts, index in zip(self.counts, (i, j)):
                counts += torch.bincount(index[inside], minlength=len(counts))

    def membership(self):
        return Membership(self.counts[self.axis], self.counts[1 - self.axis])


def _walk(a, b, families, dtype, size):
    """Show every block of distances to the _Balls of `families`; yields how many distances each block took."""
    products = _Products(a, b, size, dtype)
    for rows in _spans(len(a.x), size):
        left = products.left(rows)
        for columns in _spans(len(b.x), size):
            d2 = products.block(left, columns)
            for balls in families:
                balls.count(d2, (rows, columns))
            yield d2.numel()


def ball_memberships(a, b, radii_a, radii_b=None, *, closed, dtype=None, max_memory=MAX_MEMORY, progress=unwatched):
    """Who of b [M, D] is in the balls of radii_a around a [N, D], and the reverse: [Membership, Membership], one walk.

    A ball holds what is nearer than its radius and, if `closed`, what is as far. Without radii_b there are no balls
    around b, and only the first Membership. Arguments otherwise as for `kth_neighbour_distances`.
    """
    dtype = dtype or torch.float32
    sides = _frame(a, b)
    families = [_Balls(sides, axis, r, closed) for axis, r in enumerate((radii_a, radii_b)) if r is not None]
    if any(balls.blurred(dtype) for balls in families):
        dtype = torch.float64  # one product in float64 costs less than most distances again
    size = block_size(max_memory, a.shape[1], dtype)
    with full_precision(a.device):
        _run(progress(_walk(*sides, families, dtype, size), len(a) * len(b), "distances between the sets"))
    return [balls.membership() for balls in families]
