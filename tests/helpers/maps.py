"""Functions as maps of spaces, for what needs only a map."""

import dataclasses

import torch

from latent_plugins.spaces import Space


@dataclasses.dataclass
class FunctionMap:
    """Any batched function as a space."""

    function: object
    in_dim: int
    out_dim: int
    name: str = "test"
    space: Space = Space("z", "pixel")

    domain = "gaussian"

    @property
    def on_sphere(self):
        return self.domain == "sphere"

    @property
    def max_rank(self):
        return min(self.in_dim, self.out_dim)

    def __call__(self, x):
        return self.function(x)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    """Standard normal numbers float64 of this shape."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def bent_map(n_in, n_out):
    generator = torch.Generator().manual_seed(n_in + 100 * n_out)
    a, b = torch.randn(n_in, 16, generator=generator), torch.randn(16, n_out, generator=generator)
    return FunctionMap(lambda x: torch.tanh(x @ a) @ b, n_in, n_out)
