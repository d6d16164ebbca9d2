"""Top singular values by randomized block power iteration."""

import torch

from latent_plugins.settings import Settings, setting
from latent_plugins.volume.spectrum.composition import first_part_bytes, leading_directions
from latent_plugins.volume.spectrum.exact import Exact
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.method import Block, Method
from latent_plugins.volume.spectrum.products import top_singular_values

# The float64 copies of a block's entry that its orthonormalisation makes: the argument and Q.
QR_BYTES_PER_ENTRY = 8 + 8
# Singular values below this part of the largest one are float32 rounding, they must not enter the residual.
RELATIVE_ROUNDING = 1e-6


class Subspace(Method):
    """The top_k singular values of the Jacobian J, approached from below.

    Halko, Martinsson, Tropp, "Finding structure with randomness" (2011), Algorithm 4.4: Y = JΩ for
    q = top_k + oversample random orthonormal directions, then `iterations` times Z = Jᵀ orth(Y), Y = J orth(Z); the
    values are those of the last Y. One Ω serves all latents, so that their volumes are comparable; it comes from
    the generator. Of a composition with a cheap first part (z → w → pixel) the leading right-singular vectors of the
    first Jacobian take the place of Ω: a far better start, which depends on the latent alone. That is
    (2·iterations + 1)·q products: cheaper than `exact` only when the Jacobian's smaller side is longer. Where q reaches
    the rank the result is that of `exact`.
    """

    name = "subspace"
    help = "by subspace iteration"
    stored = 40

    class Settings(Settings):
        oversample: int = setting(8, low=0, metavar="N", help="spare directions")
        iterations: int = setting(1, low=0, metavar="N", help="power iterations")

    def directions(self, space_map, top_k):
        """How many directions it iterates, q."""
        return min(top_k + self.settings.oversample, space_map.max_rank, space_map.in_dim)

    def block(self, space_map, top_k):
        """See Method.block."""
        return Block(top_k + self.settings.oversample, space_map.out_dim, True)

    def cost(self, space_map, top_k):
        """See Method.cost."""
        q = self.directions(space_map, top_k)
        whole = Exact().cost(space_map, top_k)
        return whole if q == space_map.max_rank else (2 * self.settings.iterations + 1) * q

    def compute(self, operator, top_k, rng=None, basis=None):
        """See Method.compute."""
        return self.with_residual(operator, top_k, rng)[0]

    def with_residual(self, operator, top_k, rng=None):
        """(values, residual [N] float32): the values of `compute`, and how much the last products changed the
        log-volume.

        The residual is Σ log of the values of the last Y minus Σ log of those of the Z before. Both are bounds from
        below (Courant–Fischer) and the second is the smaller, so the residual is what the last products J orth(Z)
        gained: a small one says that another iteration would change little. It is an estimate and no bound. Zero where
        the result is exact; NaN without iterations, which leave nothing to compare.
        """
        q = self.directions(operator.map, top_k)
        if q == operator.map.max_rank:
            return Exact().compute(operator, top_k), operator.x.new_zeros(len(operator))
        start = orthonormal(torch.randn(operator.in_dim, q, generator=rng)).to(operator.x.device)
        block_bytes = q * (operator.in_dim + operator.out_dim) * (BYTES_PER_ENTRY + QR_BYTES_PER_ENTRY)
        block_bytes += first_part_bytes(operator.map)
        chunks = operator.chunks(q, block_bytes, reverse=self.settings.iterations > 0)
        parts = [self._iterate(part, start, top_k) for part in chunks]
        values, residual = (torch.cat(part) for part in zip(*parts))
        return values, residual

    def _iterate(self, operator, start, top_k):
        """(values, residual) of a few latents from the directions start [in, q]."""
        if operator.first is None:
            directions = start.expand(len(operator), -1, -1)
        else:
            directions = leading_directions(operator.first, start)
        y = operator.columns(directions)
        before = operator.x.new_full([len(operator), top_k], torch.nan)
        for _ in range(self.settings.iterations):
            z = operator.rows(orthonormal(y).transpose(1, 2))
            before = top_singular_values(z, top_k)
            y = operator.columns(orthonormal(z.transpose(1, 2)))
        values = top_singular_values(y, top_k)
        floor = RELATIVE_ROUNDING * values[:, :1]
        gained = torch.maximum(values, floor).double().log() - torch.maximum(before, floor).double().log()
        # A Jacobian of zeros has nothing to gain; with NaN in it the values and the residual stay NaN.
        return values, torch.where(values[:, 0] == 0, 0, gained.sum(dim=1)).float()


def orthonormal(block):
    """An orthonormal basis [..., a, q] float32 of the columns of [..., a, q], a at least q, computed in float64."""
    return torch.linalg.qr(block.double()).Q.float()
