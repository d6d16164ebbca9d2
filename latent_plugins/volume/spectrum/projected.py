"""Spectra of a randomly projected Jacobian, the papers' recipe."""

import torch

from latent_plugins.settings import Settings, setting
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY
from latent_plugins.volume.spectrum.method import Block, Method
from latent_plugins.volume.spectrum.products import top_singular_values

# Output dimensions that the papers keep (MaGNET, section 4 and the appendix): of NVAE fewer than of all others.
PAPER_PROJECTION, FAMILY_PROJECTION = 256, {"nvae": 128}


def orthonormal_projection(n_out, projection, generator):
    """`projection` orthonormal directions of R^n_out as rows [projection, n_out]; all of them when there are fewer."""
    if projection >= n_out:
        return torch.eye(n_out)
    gaussian = torch.randn(n_out, projection, generator=generator)
    return torch.linalg.qr(gaussian).Q.T.contiguous()


class Projected(Method):
    """The singular values of Qᵀ J, Q a random orthonormal basis of `projection` output dimensions.

    Reverse mode: one product a projected dimension (MaGNET, Sec. 4). The values are smaller than the Jacobian's own by
    about √(projection / out), the same factor for every latent, which sampling weights do not see.
    """

    name = "projected"
    help = "of a random projection of the output (the papers' recipe)"

    class Settings(Settings):
        projection: int | None = setting(
            None, low=1, metavar="P", default_text="256; of NVAE 128", help="output dimensions that are kept"
        )

    def kept(self, space_map):
        """How many output dimensions of a map are kept: the number given, or the papers' for its family of networks."""
        family = getattr(getattr(space_map, "generator", None), "family", None)
        return self.settings.projection or FAMILY_PROJECTION.get(family, PAPER_PROJECTION)

    def limit(self, space_map):
        """See Method.limit."""
        return min(space_map.max_rank, self.kept(space_map))

    def completed(self, space_map, top_k):
        """See Method.completed."""
        return type(self)(projection=self.kept(space_map))

    def block(self, space_map, top_k):
        """See Method.block."""
        return Block(self.kept(space_map), space_map.in_dim, True)

    def compute(self, operator, top_k, rng=None, basis=None):
        """See Method.compute."""
        directions = orthonormal_projection(operator.out_dim, self.kept(operator.map), rng).to(operator.x.device)
        k = len(directions)
        parts = operator.chunks(k, k * operator.in_dim * BYTES_PER_ENTRY, reverse=True)
        return torch.cat([top_singular_values(part.rows(directions), top_k) for part in parts])
