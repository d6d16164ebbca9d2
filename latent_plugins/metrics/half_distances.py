"""Distances in float16 as the StyleGAN programs have them, and shortcuts to what is asked of them."""

import torch

from latent_plugins.metrics.neighbours import block_size

# Numbers kept of a row beyond the wanted one, so that those that rounding could put in its place are among them.
SPARE = 8
# Doubtful rows that are looked at together.
GROUP = 64


def half_distances(a, b):
    """Distances of the rows of a [N, D] and b [M, D], all float16, as torch.cdist has them: float16 [N, M].

    The rule on every device: the rows of (−2x, |x|², 1) times those of (y, 1, |y|²), negative products set to zero,
    then the root. Squares, |x|², |y|², the product and the root are each rounded to float16; sums over dimensions are
    taken in float32 between. Hence a squared distance near 2,000 is a whole even number, and a row is at a distance of
    up to about 1 from itself.

    What differs between devices is the order of the product's sum, which moves about one in 10,000 distances to the
    next float16 number. CPU: one after the other, the same for blocks of any shape; processors with float16
    instructions leave it to oneDNN, in an order of its own. CUDA: cuBLAS sums in tiles that depend on the block's
    shape, and may add the parts of a split sum in float16 (torch.backends.cuda.matmul
    .allow_fp16_reduced_precision_reduction, on unless it is turned off). So the same torch operations are called
    rather than imitated. They are equal to the official ones bit for bit on CPUs that sum one after the other, and
    elsewhere for the same blocks, or up to that order. (The CPU's rule is measured; that of CUDA is what calling the
    same operations gives, and was not.)

    torch.cdist itself takes the product only where either side has more than 25 rows, and has no float16 distances for
    less; here the product serves those, too.
    """
    return torch.cdist(a[None], b[None], compute_mode="use_mm_for_euclid_dist")[0]


def squared_lengths(x):
    """|x|² as it stands in the product, float16 [N]; infinite beyond 65,504."""
    return x.pow(2).sum(1)


def _rounded_root(squared):
    """The distance of a float32 squared one."""
    return squared.half().clamp_min_(0).sqrt_()


def _highest_squares(distances):
    """Where a squared distance stops being rounded to at most each of `distances`, float32; infinite for infinite ones.

    The middle between the largest float16 number whose root is at most the distance and the next one.
    """
    halves = torch.arange(0x7C01, dtype=torch.int16).view(torch.float16)  # all that are not negative, with infinity
    last = torch.searchsorted(halves.sqrt().float(), distances.float(), right=True) - 1
    values = halves.float()
    values[-1] = 2.0**16  # what infinity stands for in rounding
    middles = torch.cat([(values[1:] + values[:-1]) / 2, values.new_tensor([torch.inf])])
    return middles[last]


class HalfDistances:
    """Questions about `half_distances` within and between sets of features, float16 [N, D], block by block.

    CPUs multiply float16 matrices several times more slowly than float32 ones. So there, float32 products of the same
    factors come first, and float16 is asked only where the float32 sums' rounding could change the answer: the answers
    are those of `half_distances`. That takes float32 sums in the float16 product, which CUDA does not promise, and
    finite lengths; elsewhere everything is asked of float16. max_memory: bytes for a block.
    """

    def __init__(self, *sets, max_memory):
        finite = all(squared_lengths(x).isfinite().all() for x in sets)
        self.shortcut = finite and sets[0].device.type == "cpu"
        self.size = block_size(max_memory, sets[0].shape[1], torch.float32)

    def _products(self, rows, columns):
        """(squared distances [n, m], how far those before rounding to float16 can be from them [n]), float32.

        Each of the two orders of summing D + 2 products, exact in float32, is off by at most D + 2 roundings of their
        absolute sum.
        """
        x, y = rows.float(), columns.float()
        x_norms, y_norms = (squared_lengths(z)[:, None].float() for z in (rows, columns))
        left = torch.cat([x.mul(-2), x_norms, torch.ones_like(x_norms)], 1)
        right = torch.cat([y, torch.ones_like(y_norms), y_norms], 1)
        lengths = [z.norm(dim=1) for z in (x, y)]
        absolute = x_norms[:, 0] + y_norms.amax() + 2 * lengths[0] * lengths[1].amax()
        error = 1.01 * (left.shape[1] + 2) * torch.finfo(torch.float32).eps * absolute
        return left @ right.T, error

    def kth(self, x, k):
        """Each row's k-th smallest distance to all rows of x, itself among them.

        Yields how many distances each block took, and returns the distances, float16 [N].
        """
        found = torch.empty(len(x), dtype=x.dtype, device=x.device)
        for rows, out in zip(x.split(self.size), found.split(self.size)):
            if self.shortcut:
                doubtful = yield from self._near(rows, x, k, out)
            else:
                doubtful = torch.arange(len(rows), device=x.device)
            left = rows[doubtful]
            if len(left):
                smallest = left.new_empty(len(left), 0)
                for columns in x.split(self.size):
                    near = half_distances(left, columns).topk(min(k, len(columns)), largest=False).values
                    smallest = torch.cat([smallest, near], 1)
                    smallest = smallest.topk(min(k, smallest.shape[1]), largest=False).values
                    if not self.shortcut:
                        yield len(rows) * len(columns)
                out[doubtful] = smallest.amax(1)
        return found

    def _near(self, rows, x, k, out):
        """Write the k-th smallest distances of `rows` that float32 and a few float16 ones tell; returns the others."""
        smallest, index = rows.new_empty(len(rows), 0, dtype=torch.float32), torch.empty(len(rows), 0, dtype=torch.long)
        error, first = torch.zeros(len(rows)), 0
        for columns in x.split(self.size):
            products, bound = self._products(rows, columns)
            near, where = products.topk(min(k + SPARE, len(columns)), largest=False)
            smallest, index = torch.cat([smallest, near], 1), torch.cat([index, where + first], 1)
            smallest, order = smallest.topk(min(k + SPARE, smallest.shape[1]), largest=False)
            index = index.gather(1, order)
            error, first = torch.maximum(error, bound), first + len(columns)
            yield products.numel()
        middle = smallest[:, k - 1]
        low, high = (_rounded_root(middle + sign * error) for sign in (-1, 1))
        out.copy_(low)
        doubtful = (low != high).nonzero()[:, 0]
        # A column that is not among the kept ones is farther than the wanted one if the last kept one is.
        kept = (smallest[doubtful, -1] > middle[doubtful] + 2 * error[doubtful]) | (index.shape[1] == len(x))
        for few in doubtful[kept].split(GROUP):
            columns, place = index[few].unique(return_inverse=True)
            distances = half_distances(rows[few], x[columns]).gather(1, place)
            out[few] = distances.float().kthvalue(k, 1).values.half()
        return doubtful[~kept]

    def inside(self, probes, centres, radii):
        """Which probes [M, D] are at most as far from any of the centres [N, D] as its radius, float16 [N].

        Yields how many distances each block took, and returns bool [M].
        """
        found = torch.zeros(len(probes), dtype=torch.bool, device=probes.device)
        for rows, out in zip(probes.split(self.size), found.split(self.size)):
            for columns, limits in zip(centres.split(self.size), radii.split(self.size)):
                if self.shortcut:
                    products, error = self._products(rows, columns)
                    margin = products.sub_(_highest_squares(limits)).amin(1)
                    left = ((margin <= error) & (margin >= -error) & ~out).nonzero()[:, 0]
                    out |= margin < -error
                else:
                    left = torch.arange(len(rows), device=probes.device)
                if len(left):
                    out[left] |= (half_distances(rows[left], columns) <= limits).any(1)
                yield len(rows) * len(columns)
        return found
