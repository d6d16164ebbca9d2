"""Singular values of a map's Jacobian: one method a file, one signature.

`spectrum(map, x, top_k=..., method="exact")` → [N, top_k] float32, descending.
"""

import torch

from latent_plugins.spectrum.composition import parts_of
from latent_plugins.spectrum.exact import exact
from latent_plugins.spectrum.precision import arithmetic
from latent_plugins.spectrum.projected import projected
from latent_plugins.spectrum.shared import number_of_directions, shared
from latent_plugins.spectrum.subspace import subspace

METHODS = {"exact": exact, "projected": projected, "subspace": subspace, "shared": shared}


def spectrum(
    space_map,
    x,
    *,
    top_k,
    method="exact",
    generator=None,
    max_memory=None,
    projection=256,
    oversample=8,
    iterations=1,
    basis=None,
    directions=None,
    precision="float32",
):
    """The `top_k` largest singular values of the Jacobian of `space_map` at each row of x.

    space_map: callable [N, in] → [N, out] with `in_dim`, `out_dim` and `max_rank`, rows independent of each other;
    x: [N, in] float32. method: `exact` (whole Jacobian), `projected` (random orthonormal projection of the output to
    `projection` dimensions, MaGNET's recipe), `subspace` (randomized power iteration with `oversample` spare directions
    and `iterations` rounds) or `shared` (the Jacobian along `directions` inputs that a `basis` gives, see
    `shared_basis`).
    generator: torch.Generator (CPU) of the random projection or of the first directions. max_memory: bound in bytes for
    tensors that the products keep alive (the allocator and the convolutions' workspace come on top); None:
    `automatic_memory`. precision: one of PRECISIONS that the products are computed in.

    Returns [N, top_k] float32, descending, computed in float64 from the float32 Jacobian. Raises ValueError for an
    unknown method, a top_k beyond the rank or beyond what the method keeps, a basis that is missing or does not fit, or
    a memory bound too small for a single latent.
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
    elif method == "subspace":
        if oversample < 0 or iterations < 0:
            raise ValueError(f"oversample {oversample} and iterations {iterations} must not be negative")
        options.update(oversample=oversample, iterations=iterations, generator=generator)
    elif method == "shared":
        check_basis(space_map, basis, directions, top_k)
        options.update(basis=basis, directions=directions)
    with torch.no_grad(), arithmetic(precision, x.device):
        return METHODS[method](space_map, x, top_k=top_k, **options)


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


def products_of(method, space_map, *, top_k=None, projection=None, oversample=None, directions=None):
    """(directions of one latent's largest block of products, length of the block's other side, whether in reverse mode)
    of a method: what decides the memory that it takes."""
    n_in, n_out = space_map.in_dim, space_map.out_dim
    return {
        "exact": (min(n_in, n_out), max(n_in, n_out), n_in > n_out),
        "projected": (projection, n_in, True),
        "subspace": ((top_k or 0) + (oversample or 0), n_out, True),
        "shared": (directions, n_out, False),
    }[method]
