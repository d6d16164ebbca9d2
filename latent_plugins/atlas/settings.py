"""What an atlas is made with: its settings, completed and checked before any work.

The record stands in `record`, its files and maps in `shards`, reading in `checks`; their names are here too.
"""

from latent_plugins.atlas.checks import parse_settings, read_settings
from latent_plugins.atlas.record import FORMAT, HOW, READABLE, AtlasError, AtlasSettings, method_fields
from latent_plugins.atlas.shards import (
    candidates,
    compiled_map,
    named_source,
    number_of_shards,
    one_hot,
    opened_detector,
    plain_map,
    shard_files,
    shard_map,
    shard_rows,
)
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.priors import BASES, WITH_RADIUS
from latent_plugins.spaces import (
    check_space,
    default_detector,
    default_domain,
    default_space,
    get_space,
    is_feature_space,
)
from latent_plugins.volume.defaults import default_atlas_method, default_candidates, paper_top_k
from latent_plugins.volume.methods import PREDICTED, WITH_BASIS, method_class
from latent_plugins.volume.predictor.methods import HYBRID_DIRECTIONS
from latent_plugins.volume.spectrum.precision import PRECISIONS
from latent_plugins.volume.spectrum.registry import METHODS
from latent_plugins.volume.spectrum.shared import BASIS_LABELS
from latent_plugins.watching import ArgumentError

__all__ = [
    "BASIS_LABELS", "FORMAT", "HOW", "HYBRID_DIRECTIONS", "PREDICTED", "READABLE", "WITH_BASIS", "WITH_RADIUS",
    "AtlasError", "AtlasSettings", "candidates", "compiled_map", "make_settings", "number_of_shards", "one_hot",
    "parse_settings", "plain_map", "read_settings", "shard_files", "shard_map", "shard_rows",
]  # fmt: skip


def make_settings(
    generator,
    *,
    space=None,
    candidates=None,
    top_k=None,
    domain=None,
    base=None,
    radius=None,
    seed=0,
    psi=1,
    cutoff=None,
    method=None,
    precision="float32",
    compile=False,
    detector=None,
    layer=None,
    classes=None,
    max_memory=None,
    **method_settings,
):
    """AtlasSettings for a generator, with its defaults filled in and every value checked.

    top_k: singular values stored per candidate, by default as many as the method says (`stored`), at most all; of
    predicted volumes, which are those of one top_k, the papers' number. method: one of `method_names`; by default what
    `default_atlas_method` chooses for so many candidates. method_settings: those of the method (`projection`, `basis`
    and so on); None is its default, and those of other methods are left aside.
    precision: of the products (`spectrum`); compile: whether they go through torch.compile. detector: source (file or
    short name) of the feature detector of a feature space; layer: its layer. classes: class indices of a conditional
    network, by default all. Raises ValueError with the offending value and what would be right.
    """
    name = check_space(generator, space or default_space(generator))
    domain = domain or default_domain(generator)
    if generator.c_dim == 0 and classes is not None:
        raise ValueError("classes were given, but the network is unconditional")
    if generator.c_dim > 0:
        classes = tuple(range(generator.c_dim)) if classes is None else tuple(sorted(set(classes)))
        bad = [k for k in classes if not 0 <= k < generator.c_dim]
        if bad:
            raise ValueError(f"class {bad[0]} is out of range, the network has classes 0 to {generator.c_dim - 1}")
    base = generator.prior if base in (None, "prior") else base
    radius = 1.0 if radius is None else radius
    if base not in BASES:
        raise ValueError(f"unknown base measure {base!r}; known ones: {', '.join(BASES)}")
    if base in WITH_RADIUS and domain == "sphere":
        raise ArgumentError("on the sphere the prior is the uniform measure: use `base`=prior, or `domain`=gaussian")
    if base not in WITH_RADIUS and radius != 1:
        raise ArgumentError("`radius` has no effect with `base`=prior; add `base`=uniform, ball or normal")
    if not radius > 0:
        raise ValueError(f"the radius of a base measure must be positive, not {radius}")
    if method is not None:
        method_class(method)  # told before anything is opened
    check_known(method_settings)
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known ones: {', '.join(PRECISIONS)}")
    label = None if generator.c_dim == 0 else one_hot([0], generator.c_dim)
    if is_feature_space(name):
        detector = detector or default_detector(name)
    opened = detector and opened_detector(detector, next(generator.parameters()).device)
    space_map = get_space(generator, name, c=label, domain=domain, detector=opened, layer=layer)
    candidates = default_candidates(name) if candidates is None else candidates
    if candidates < 1:
        raise ValueError(f"the number of candidates must be positive, not {candidates}")
    if method is None:
        method, usual = default_atlas_method(space_map, candidates, top_k)
        method_settings = usual | {key: value for key, value in method_settings.items() if value is not None}
    if top_k is not None and not 1 <= top_k <= space_map.max_rank:
        raise ValueError(f"top-k {top_k} is outside 1 to {space_map.max_rank}, the rank of the space {name} here")
    made = chosen(method, method_settings)
    limit = made.limit(space_map)
    if top_k is None:
        top_k = min(limit, paper_top_k(name, generator.family) if made.predicted else made.stored)
    made = made.completed(space_map, top_k)
    if top_k > limit:
        raise ValueError(f"top-k {top_k} is outside 1 to {limit}, what the method {method} gives in the space {name}")
    if name == "z:w":
        psi, cutoff = 1, None  # truncation scales every volume by the same factor, which no weight sees
    return AtlasSettings(
        network=fingerprint(generator),
        z_dim=generator.z_dim,
        c_dim=generator.c_dim,
        space=name,
        domain=domain,
        candidates=candidates,
        top_k=top_k,
        base=base,
        radius=float(radius) if base in WITH_RADIUS else 1.0,
        seed=seed,
        psi=float(psi),
        cutoff=cutoff,
        method=method,
        **method_fields(made),
        precision=None if precision == "float32" else precision,
        compile=compile or None,
        detector=detector and named_source(detector),
        features=opened and opened.digest,
        layer=layer,
        classes=classes,
        max_memory=max_memory,
    )


def check_known(values):
    """Raise ValueError for {name: value} with a name that no method has a setting of."""
    known = {name for each in (*METHODS.loaded, *PREDICTED.loaded) for name in each.Settings.described()}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"no method has a setting {unknown[0]!r}; known ones: {', '.join(sorted(known))}")


def chosen(method, values):
    """The Method of a name with those of {name: value} that are its own; None is a setting's default."""
    made = method_class(method)
    theirs = made.Settings.described()
    return made(**{name: value for name, value in values.items() if name in theirs and value is not None})
