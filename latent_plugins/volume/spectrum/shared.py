"""Spectra on few input directions that come from one set which all latents share.

Of most maps that set is a basis of the input space itself. Of a composition with a cheap first part (z → w → pixel) it
lies between the parts, in w: the mean metric of the second part. Each latent pulls it back through its own first
Jacobian, so that its directions are its own. On the embedded network, with 6 directions more than top_k = 15, the rank
correlation with exact volumes rises from 0.9976 for a basis in z to 0.9996.
"""

import torch

from latent_plugins.settings import Settings, setting
from latent_plugins.volume.spectrum.composition import first_part_bytes, parts_of, pulled_back
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.method import Block, Method
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.precision import full_precision
from latent_plugins.volume.spectrum.products import top_singular_values

BASIS_LABELS = 256  # latents that a basis is learned from
SPARE_DIRECTIONS = 6  # beyond top_k
# Columns of a composition's basis for each direction: the part of the mean metric that a pull-back may weigh.
METRIC_COLUMNS = 2


def shared_basis(space_map, x, q, *, max_memory):
    """What `q` directions of every latent come from, learned at x [N, in].

    Of a composition: B [mid, r] float32 with B Bᵀ the r = min(2q, mid) leading part of the mean over the latents of
    J₂ᵀJ₂ / trace. Of other maps: q orthonormal input directions [in, q] float32 that the top right-singular spaces have
    in common, the leading eigenvectors of the mean projector. Every latent counts alike, whatever its volume. Takes a
    whole Jacobian a latent, in forward mode. Raises ValueError when q is outside 1 to in, or no latent's Jacobian is
    finite.
    """
    return basis_of(space_map, mean_metric(space_map, x, q, max_memory=max_memory), q)


def mean_metric(space_map, x, q, *, max_memory):
    """The mean over x [N, in] that `shared_basis` decomposes: [mid, mid] of a composition, else [in, in]; float64."""
    if not 1 <= q <= space_map.in_dim:
        raise ValueError(f"a basis of {q} directions is outside 1 to {space_map.in_dim}, the inputs of the space")
    parts = parts_of(space_map)
    with torch.no_grad(), full_precision(x.device):
        if parts is not None:
            first, second = parts
            return sum(map(_sum_of_metrics, _grams(second, first(x), max_memory))) / len(x)
        # The radial null direction of the sphere must not count as a top direction.
        rank = min(q, space_map.max_rank)
        return sum(_sum_of_projectors(gram, rank) for gram in _grams(space_map, x, max_memory)) / len(x)


def basis_of(space_map, metric, q):
    """The basis float32 that belongs to a mean metric (or to a sum of some), see `shared_basis`."""
    if not metric.any():
        raise ValueError("no latent to learn a basis from has a finite Jacobian")
    eigenvalues, vectors = torch.linalg.eigh(metric)
    if parts_of(space_map) is None:
        return vectors.flip(1)[:, :q].float().contiguous()
    r = min(METRIC_COLUMNS * q, len(metric))
    return (vectors * eigenvalues.clamp(min=0).sqrt()).flip(1)[:, :r].float().contiguous()


def _grams(space_map, x, max_memory):
    """Yield JᵀJ [n, in, in] float64 at rows of x [N, in]; rows whose Jacobian is not finite are left out."""
    units = torch.eye(space_map.in_dim, dtype=x.dtype, device=x.device)
    block_bytes = space_map.in_dim * (space_map.in_dim + space_map.out_dim) * BYTES_PER_ENTRY
    operator = JacobianOperator(space_map, x, max_memory=max_memory)
    for part in operator.chunks(len(units), block_bytes):
        jacobian = part.columns(units).double()
        gram = jacobian.transpose(1, 2) @ jacobian
        yield gram[torch.isfinite(gram).flatten(1).all(dim=1)]  # LAPACK refuses NaN


def _sum_of_metrics(gram):
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
    return (gram[trace > 0] / trace[trace > 0, None, None]).sum(dim=0)


def _sum_of_projectors(gram, rank):
    top = torch.linalg.eigh(gram).eigenvectors[:, :, -rank:]
    return (top @ top.transpose(1, 2)).sum(dim=0)


class Shared(Method):
    """The singular values of J on `basis` input directions of each latent that come from one set for all.

    So many forward products, which share the primal. The values are bounds from below (Courant–Fischer): what the
    Jacobian does beyond these directions is missing, so volumes are too small, by about the same factor for latents
    like those that the basis was learned from and by more for unusual ones.
    """

    name = "shared"
    help = "along directions that all latents share"
    stored = 40
    with_basis = True

    class Settings(Settings):
        basis: int | None = setting(
            None, low=1, metavar="Q", default_text=f"{SPARE_DIRECTIONS} more than top-k", help="directions of a latent"
        )
        labels: int = setting(BASIS_LABELS, low=1, metavar="N", help="latents that the basis is learned from")

    def limit(self, space_map):
        """See Method.limit."""
        return min(space_map.max_rank, self.settings.basis or space_map.max_rank)

    def completed(self, space_map, top_k):
        """See Method.completed."""
        basis = self.settings.basis or min(top_k + SPARE_DIRECTIONS, space_map.in_dim)
        if not top_k <= basis <= space_map.in_dim:
            raise ValueError(f"a basis of {basis} directions is outside {top_k} (top-k) to {space_map.in_dim}")
        return self.replaced(basis=basis)

    def block(self, space_map, top_k):
        """See Method.block."""
        return Block(self.settings.basis, space_map.out_dim, False)

    def cost(self, space_map, top_k):
        """See Method.cost."""
        return self.completed(space_map, top_k).settings.basis

    def compute(self, operator, top_k, rng=None, basis=None):
        """See Method.compute. Without a number of directions: all of a plain map's basis, half the columns of a
        composition's."""
        check_basis(operator.map, basis, self.settings.basis, top_k)
        blocks = shared_products(operator, basis, self.settings.basis)
        return torch.cat([top_singular_values(block, top_k) for block in blocks])


def shared_products(operator, basis, directions=None):
    """Yield J(x)V [n, out, q] for the rows of a JacobianOperator in turn, V the `directions` of the method shared."""
    basis = basis.to(operator.x.device, operator.x.dtype)
    q = number_of_directions(operator.map, basis, directions)
    block_bytes = q * operator.out_dim * BYTES_PER_ENTRY + first_part_bytes(operator.map)
    for part in operator.chunks(q, block_bytes):
        if part.first is None:
            own = basis[:, :q].expand(len(part), -1, -1)
        else:
            with part.arithmetic():
                own = pulled_back(basis.T @ part.first, q)
        yield part.columns(own)


def number_of_directions(space_map, basis, directions=None):
    """How many directions the method shared takes on a basis."""
    if directions is not None:
        return directions
    columns = basis.shape[1]
    return columns if parts_of(space_map) is None else min(-(-columns // METRIC_COLUMNS), space_map.in_dim)


def check_basis(space_map, basis, directions, top_k):
    """Raise ValueError unless basis is one of the space that gives at least top_k directions."""
    if basis is None:
        raise ValueError("the method shared needs a basis: learn one with shared_basis")
    parts = parts_of(space_map)
    rows = space_map.in_dim if parts is None else parts[0].out_dim
    if basis.ndim != 2 or len(basis) != rows:
        raise ValueError(f"the basis has the shape {list(basis.shape)}, the space {space_map.name} needs [{rows}, q]")
    found = number_of_directions(space_map, basis, directions)
    if found > min(basis.shape[1], space_map.in_dim):
        raise ValueError(f"{found} directions are more than the basis gives, {min(basis.shape[1], space_map.in_dim)}")
    if top_k > found:
        raise ValueError(f"top_k {top_k} exceeds the {found} directions of the basis")
