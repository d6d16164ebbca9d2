"""What is taken when nobody says: figures of the papers, and the methods that measurements favour."""

from latent_plugins.spectrum.registry import METHODS

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


def default_method(space_map, top_k=None):
    """`exact` or `subspace`, whichever takes fewer products for top_k singular values (None: as many as are stored).

    benchmarks/spectra.py: a product costs about the same in both, and the rank correlation of `subspace` with `exact`
    is 0.9999; so `subspace` wins in pixel spaces with many latent dimensions, and `exact` wherever the Jacobian is
    small, such as in style space, whose mapping network is cheap besides.
    """
    exact, iterated = METHODS["exact"](), METHODS["subspace"]()
    top_k = top_k or iterated.stored
    small = space_map.name.endswith(":w") or iterated.cost(space_map, top_k) >= exact.cost(space_map, top_k)
    return exact.name if small else iterated.name
