"""A generator for anybody's loop whose latents go through a sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latent_plugins.samplers.keys import latent_keys
from latent_plugins.truncation import by_truncation

if TYPE_CHECKING:
    from latent_plugins.samplers.base import Sampler

SIZES = ("z_dim", "c_dim", "w_dim", "num_ws", "img_resolution", "img_channels")
MADE_OF = ("init_args", "init_kwargs")  # what official code builds another network of the same kind from


def attach(generator: torch.nn.Module, sampler: Sampler) -> AttachedGenerator:
    """A module with the official interface, G(z, c, …), G.mapping(z, c, …), G.synthesis(ws, …), that samples better.

    generator: one of this package's Generators, or a network that somebody else's checkout loaded: a module with z_dim,
    c_dim and forward, and mapping and synthesis where it has styles. sampler: a Sampler for the same network. A
    caller's Gaussian z is taken as the source of randomness alone: see AttachedGenerator.

    Raises ValueError for a network without sizes of z and c, and for a sampler that cannot answer for any latent that
    comes (`Sampler.independent`).

    >>> import torch, latent_plugins as lp
    >>> G = lp.load("mnist32")
    >>> better = lp.attach(G, lp.sampler("truncated-normal", G, threshold=1.0))
    >>> better(torch.randn(2, better.z_dim), torch.zeros(2, 0), truncation_psi=0.8).shape
    torch.Size([2, 1, 32, 32])
    """
    missing = [name for name in ("z_dim", "c_dim") if not isinstance(getattr(generator, name, None), int)]
    if missing:
        raise ValueError(
            f"a network of the class {type(generator).__name__} has no {missing[0]}, so it is no generator"
        )
    return AttachedGenerator(generator, sampler).train(generator.training)


class Source:
    """Callable (z, c) → the sampler's Latents for the keys of z's rows.

    Copies of a network share it: samplers do not change, and their atlases can be large.
    """

    def __init__(self, sampler, c_dim):
        self.sampler, self.c_dim = sampler.independent(), c_dim

    def __deepcopy__(self, memo):
        return self

    def __call__(self, z, c):
        return self.sampler.draw(latent_keys(z), c if self.c_dim else None)


class Delegate(torch.nn.Module):
    """A module whose parameters and buffers have the names that they have in the network behind it.

    So official code finds and copies them by name, in both directions, and a state dict fits either. Subclasses give
    the `network`.
    """

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        return self.network.named_parameters(prefix, recurse, remove_duplicate)

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        return self.network.named_buffers(prefix, recurse, remove_duplicate)

    def state_dict(self, *args, **kwargs):
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args, **kwargs):
        return self.network.load_state_dict(*args, **kwargs)


class AttachedMapping(Delegate):
    """The mapping network behind a Source. Whatever else is asked of it (w_avg, num_ws, …), the network answers."""

    def __init__(self, mapping, source):
        super().__init__()
        self.network, self.source = mapping, source

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network" or name.startswith("__"):
                raise
            return getattr(self.network, name)

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **kwargs):
        """ws [N, num_ws, w_dim] of the latents that the sampler draws for z [N, z_dim] and c [N, c_dim]."""
        options = official_options(truncation_cutoff, update_emas) | kwargs
        return drawn_through(self.network, self.source(z, c), z, c, truncation_psi, options)


class AttachedGenerator(Delegate):
    """A generator whose `forward` and `mapping` draw through a sampler.

    The bytes of a row of z are hashed to a seed, and the network gets the sampler's latent for that seed and label: the
    same z gives the same image in every batch, and Gaussian z give independent draws of the sampler. Latents of a
    sampler that truncates keep their own psi. Nothing flows back to z, and images are no continuous function of it:
    interpolation and projection need the generator itself.
    `generator` is the network; it moves, freezes and is copied with this module, which gives its parameters and buffers
    by its names, and its `init_kwargs` where it has some.
    """

    def __init__(self, generator, sampler):
        super().__init__()
        self.generator, self.source = generator, Source(sampler, generator.c_dim)
        for name in (*SIZES, *MADE_OF):
            if hasattr(generator, name):
                setattr(self, name, getattr(generator, name))
        if hasattr(generator, "mapping"):
            self.mapping = AttachedMapping(generator.mapping, self.source)

    @property
    def network(self):
        """The generator, as `Delegate` asks for it."""
        return self.generator

    @property
    def synthesis(self):
        """The generator's own synthesis network."""
        return self.generator.synthesis

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        """Images [N, C, H, W] of the latents that the sampler draws for z [N, z_dim] and c [N, c_dim]."""
        options = official_options(truncation_cutoff, update_emas) | synthesis_kwargs
        return drawn_through(self.generator, self.source(z, c), z, c, truncation_psi, options)


def drawn_through(network, latents, z, c, psi, options):
    """What a network makes of Latents in the place of z, on z's device; psi: truncation of rows without their own."""

    def made(z, c, psi):
        return network(z, c, truncation_psi=psi, **options)

    return by_truncation(latents.psi, psi, made, latents.z.to(z.device), c)


def official_options(truncation_cutoff, update_emas):
    """Keyword arguments for a network. update_emas, which only some know, is named only where it says something."""
    return dict(truncation_cutoff=truncation_cutoff) | ({"update_emas": True} if update_emas else {})
