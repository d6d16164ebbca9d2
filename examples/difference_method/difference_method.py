"""The method of this example: singular values of a Jacobian of finite differences."""

import torch

from latent_plugins.settings import Settings, setting
from latent_plugins.volume.spectrum import Method
from latent_plugins.volume.spectrum.products import top_singular_values


class Difference(Method):
    """The singular values of (f(x + h eᵢ) − f(x − h eᵢ)) / 2h, for networks without derivatives."""

    name = "difference"
    help = "of finite differences"

    class Settings(Settings):
        width: float = setting(1e-2, low=0, low_open=True, help="Half the distance of the two points.")

    def compute(self, operator, top_k, rng=None, basis=None):
        """The top_k largest singular values [N, top_k] of a JacobianOperator."""
        h, parts = self.settings.width, []
        for part in operator.chunks(2 * operator.in_dim, 0):
            steps = h * torch.eye(part.in_dim, device=part.x.device)
            ends = [torch.cat([part.map(row + s * steps)[None] for row in part.x]) for s in (1, -1)]
            parts.append(top_singular_values((ends[0] - ends[1]).mT / (2 * h), top_k))
        return torch.cat(parts)
