"""What is taken when nobody says: figures of the papers, and the methods that measurements favour."""

# Singular values that make the volume in MaGNET: of StyleGAN2 by space, and of the other families.
PAPER_TOP_K = {"z:w": 40}
PAPER_TOP_K_IMAGES = 30  # of every other space; the least of Polarity's 30 to 100
FAMILY_TOP_K = {"progan": 20, "biggan": 15, "biggan-deep": 15, "biggan-deep-hf": 15, "nvae": 30}

# Candidates of an atlas: what a couple of minutes on a small machine allow.
DEFAULT_CANDIDATES = {"z:w": 20_000}
DEFAULT_CANDIDATES_IMAGES = 2_000  # of every other space

# Singular values that an atlas stores: of whole Jacobians all up to the first number, else the second.
STORED, STORED_BY_ITERATION = 128, 40
OVERSAMPLE = 8


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
    products = 3 * ((top_k or STORED_BY_ITERATION) + OVERSAMPLE)
    small = space_map.name.endswith(":w") or products >= min(space_map.in_dim, space_map.out_dim)
    return "exact" if small else "subspace"
