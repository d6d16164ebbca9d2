"""Singular values of a map's Jacobian: one method a file, all of them on one JacobianOperator.

`spectrum(map, x, top_k=..., method="exact")` → [N, top_k] float32, descending.
"""

from latent_plugins.volume.spectrum.method import NUMBERS, Block, Method, settings_of
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.registry import METHODS, Registry
from latent_plugins.volume.spectrum.shared import check_basis

__all__ = [
    "METHODS",
    "NUMBERS",
    "Block",
    "JacobianOperator",
    "Method",
    "Registry",
    "check_basis",
    "products_of",
    "register",
    "settings_of",
    "spectrum",
]


def register(method):
    """Add a Method class, which every function then knows by its name, and return it (so that it can decorate one).

    An installed package does the same by an entry point of the group `latent_plugins.methods` with the method's name.
    Raises ValueError for a name that is taken, or settings that stand in the way of others.
    """
    from latent_plugins.volume.methods import register  # which knows predictors too

    return register(method)


def spectrum(
    space_map,
    x,
    *,
    top_k,
    method="exact",
    generator=None,
    max_memory=None,
    basis=None,
    directions=None,
    precision="float32",
    **settings,
):
    """The `top_k` largest singular values of the Jacobian of `space_map` at each row of x.

    space_map: callable [N, in] → [N, out] with `in_dim`, `out_dim` and `max_rank`, rows independent of each other;
    x: [N, in] float32. method: `exact` (whole Jacobian), `projected` (random orthonormal projection of the output to
    `projection` dimensions, MaGNET's recipe), `subspace` (randomized power iteration with `oversample` spare directions
    and `iterations` rounds), `shared` (the Jacobian along `directions` inputs that a `basis` gives, see
    `shared_basis`), or one that was registered; or a Method with its settings. settings: of the method.
    generator: torch.Generator (CPU) of the random projection or of the first directions. max_memory: bound in bytes for
    tensors that the products keep alive (the allocator and the convolutions' workspace come on top); None:
    `automatic_memory`. precision: one of PRECISIONS that the products are computed in.

    Returns [N, top_k] float32, descending, computed in float64 from the float32 Jacobian. Raises ValueError for an
    unknown method, settings that it does not have, a top_k beyond the rank or beyond what the method keeps, a basis
    that is missing or does not fit, or a memory bound too small for a single latent.
    """
    if directions is not None:
        settings["basis"] = directions
    if not isinstance(method, Method):
        if method not in METHODS:
            raise ValueError(f"unknown spectrum method {method!r}; known methods: {', '.join(METHODS)}")
        method = METHODS[method](settings_of(METHODS[method], settings))
    elif settings:
        raise ValueError(f"the method {method.name} has its settings already; leave out {', '.join(settings)}")
    if not 1 <= top_k <= space_map.max_rank:
        raise ValueError(f"top_k {top_k} is outside 1 to {space_map.max_rank}, the rank of the space {space_map.name}")
    operator = JacobianOperator(space_map, x, max_memory=max_memory, precision=precision)
    with operator.arithmetic():
        if top_k > method.limit(space_map):
            limit = method.limit(space_map)
            raise ValueError(f"top_k {top_k} is outside 1 to {limit}, what the method {method.name} gives here")
        return method.compute(operator, top_k, generator, basis)


def products_of(method, space_map, *, top_k=None, directions=None, **settings):
    """The Block of a method's name: what decides the memory that it takes. settings: None where it does not say."""
    known = METHODS[method].Settings.described()
    given = dict(settings, basis=directions)
    given = {name: value for name, value in given.items() if value is not None and name in known}
    return METHODS[method](**given).block(space_map, top_k or 0)
