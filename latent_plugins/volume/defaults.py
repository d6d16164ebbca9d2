"""What is taken when nobody says: figures of the papers, and the methods that measurements favour."""

from latent_plugins.volume.spectrum.composition import parts_of
from latent_plugins.volume.spectrum.registry import METHODS

# Singular values that make the volume in MaGNET: of StyleGAN2 by space, and of the other families.
PAPER_TOP_K = {"z:w": 40}
PAPER_TOP_K_IMAGES = 30  # of every other space; the least of Polarity's 30 to 100
FAMILY_TOP_K = {"progan": 20, "biggan": 15, "biggan-deep": 15, "biggan-deep-hf": 15, "nvae": 30}

# Candidates of an atlas: what a couple of minutes on a small machine allow.
DEFAULT_CANDIDATES = {"z:w": 20_000}
DEFAULT_CANDIDATES_IMAGES = 2_000  # of every other space


def paper_top_k(space, family):
    """How many singular values the papers used for a family of networks in a canonical space."""
    return FAMILY_TOP_K.get(family, PAPER_TOP_K.get(space, PAPER_TOP_K_IMAGES))


def default_candidates(space):
    """How many candidates an atlas of a canonical space has."""
    return DEFAULT_CANDIDATES.get(space, DEFAULT_CANDIDATES_IMAGES)


# The method shared as a default: what its basis is learned from, its directions beyond top_k, and the largest latents
# for which it was compared with exact.
SHARED_LABELS, SHARED_SPARE, SHARED_IN_DIM = 32, 3, 64


def default_atlas_method(space_map, candidates, top_k=None):
    """(name, {setting: value}) of the method for an atlas: `shared` where that is cheaper and accurate enough, else
    `default_method`. top_k: None for as many values as are stored.

    The cost is counted in products with the Jacobian, of all candidates and of learning the basis. On the embedded
    network in pixel space (docs/measurements.md, benchmarks/default_method.py) `shared` so takes 0.3 of the products of
    `exact` for k = 15; its rank correlation with the exact log-volumes is 0.996 and they differ by 0.45 nats, beside a
    constant that no weight sees, where the candidates' spread is 7 nats: far less than what so few candidates
    themselves leave uncertain. That was measured for a generator with styles, whose directions are each latent's own.
    With a fixed basis (0.49 nats and 0.99 for a DCGAN, whose spread is smaller), in feature spaces, with classes and
    for large latents, where nobody has compared them, volumes stay those of each latent's own spectrum.
    """
    direct = default_method(space_map, top_k)
    compared = parts_of(space_map) is not None and space_map.space.to_pixels and not space_map.generator.c_dim
    if not compared or space_map.in_dim > SHARED_IN_DIM:
        return direct, {}
    wanted = top_k or METHODS["shared"].stored
    basis = min(wanted + SHARED_SPARE, space_map.in_dim)
    shared = candidates * basis + SHARED_LABELS * space_map.in_dim
    if shared >= candidates * METHODS[direct]().cost(space_map, top_k or METHODS[direct].stored):
        return direct, {}
    return "shared", dict(basis=basis, labels=SHARED_LABELS)


def default_method(space_map, top_k=None):
    """The method for volumes of single latents: `exact` or `subspace`, whichever takes fewer products.

    top_k: how many singular values; None: as many as are stored.

    benchmarks/spectra.py: a product costs about the same in both, and the rank correlation of `subspace` with `exact`
    is 0.9999; so `subspace` wins in pixel spaces with many latent dimensions, and `exact` wherever the Jacobian is
    small, such as in style space, whose mapping network is cheap besides.
    """
    exact, iterated = METHODS["exact"](), METHODS["subspace"]()
    top_k = top_k or iterated.stored
    small = space_map.space.to_styles or iterated.cost(space_map, top_k) >= exact.cost(space_map, top_k)
    return exact.name if small else iterated.name
