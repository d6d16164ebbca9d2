"""Any network: a Generator of any differentiable map from latents to images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnlib_compat import wrapping
from latent_plugins.priors import BASES, Prior, SpherePrior, base_measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import torch

    from dnnlib_compat.networks.interface import Generator
    from latent_plugins.priors import Prior


def wrap(
    module: torch.nn.Module | Callable[..., torch.Tensor], z_dim: int, *, prior: str | Prior = "prior", **options: Any
) -> Generator:
    """A Generator of any module or function z → image, for every sampler, space, atlas, metric and command.

    prior: the law of latents: a name (`prior`, N(0, I); `truncated`, `uniform`, `ball`, `sphere`), or the Prior that
    such a name stands for. Everything else, and what is raised, is as for `dnnlib_compat.wrapping.wrap`: label=10 for
    a module (z, c) → image with ten classes, z_shape=(100, 1, 1) for DCGANs, image_range=(0, 1), name, copy.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 4, 4)))
    >>> generator = wrap(net, z_dim=4)
    >>> generator.img_resolution, generator.img_channels
    (4, 1)
    """
    if isinstance(prior, Prior):
        prior = name_of(prior, z_dim)
    return wrapping.wrap(module, z_dim, prior=prior, **options)


def name_of(prior, z_dim):
    """The name that stands for a Prior. Raises ValueError for one of other dimensions, or without a name."""
    if prior.dim != z_dim:
        raise ValueError(f"a prior of {prior.dim} dimensions for latents of z_dim {z_dim}")
    if isinstance(prior, SpherePrior):
        return "sphere"
    for name in BASES:
        if base_measure(name, z_dim) == prior:
            return name
    raise ValueError(
        f"latents that are {prior.text} have no name here ({', '.join(BASES)}, sphere do): let the module map one of "
        "those to its own"
    )
