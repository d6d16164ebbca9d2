"""Singular values of a map's Jacobian: one method a file, one signature.

`spectrum(map, x, top_k=..., method="exact")` → [N, top_k] float32, descending.
"""

import torch

from latent_plugins.spectrum.exact import exact
from latent_plugins.spectrum.memory import full_precision
from latent_plugins.spectrum.projected import projected

METHODS = {"exact": exact, "projected": projected}


def spectrum(space_map, x, *, top_k, method="exact", generator=None, max_memory=None, projection=256):
    """The `top_k` largest singular values of the Jacobian of `space_map` at each row of x.

    space_map: callable [N, in] → [N, out] with `in_dim`, `out_dim` and `max_rank`, rows independent of each other;
    x: [N, in] float32. method: `exact` (whole Jacobian) or `projected` (random orthonormal projection of the output to
    `projection` dimensions, MaGNET's recipe). generator: torch.Generator of the random projection (CPU).
    max_memory: bound in bytes for tensors that the products keep alive (the allocator and the
    convolutions' workspace come on top); None: `automatic_memory`.

    Returns [N, top_k] float32, descending, computed in float64 from the float32 Jacobian. Raises ValueError for an
    unknown method, a top_k beyond the rank, or a memory bound too small for a single latent.
    """
    if method not in METHODS:
        raise ValueError(f"unknown spectrum method {method!r}; known methods: {', '.join(METHODS)}")
    if not 1 <= top_k <= space_map.max_rank:
        raise ValueError(f"top_k {top_k} is outside 1 to {space_map.max_rank}, the rank of the space {space_map.name}")
    options = dict(max_memory=max_memory)
    if method == "projected":
        if top_k > projection:
            raise ValueError(f"top_k {top_k} exceeds the {projection} dimensions of the projection")
        options.update(projection=projection, generator=generator)
    with torch.no_grad(), full_precision():
        return METHODS[method](space_map, x, top_k=top_k, **options)
