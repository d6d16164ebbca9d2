"""The entropy of generated points: that of the prior plus the mean log-volume."""

import torch

from latent_plugins.geometry.density import entropy_of
from latent_plugins.geometry.piecewise import log_product, rank_tolerance
from latent_plugins.geometry.report.subject import Section, summary
from latent_plugins.priors import prior_of

FULL = (
    "differential entropy on the generated manifold, h(p_z) + E log √det(JᵀJ), where the map is injective; where it "
    "folds, an upper bound. Monte Carlo over the prior, to first order"
)
PARTIAL = (
    "no differential entropy: Jacobians of {deficient} of {n} latents lack the full rank of {rank}, so the volume is "
    "the product of the top_k largest singular values. value is its mean log plus the prior's entropy: it compares "
    "generators of the same prior and top_k"
)


def entropy(subject):
    """The Section of the Monte Carlo estimate over `sizes.latents` latents.

    With full rank everywhere the volume is the whole one, on the sphere that of the tangent space, and the prior's
    entropy that on the sphere; else the top-k product.
    """
    if not subject.space_map.space.from_latents:
        raise ValueError(
            "styles have no known density, so there is no entropy in w:pixel: use the space style or pixel"
        )
    spectra = subject.spectra()
    needed = subject.space_map.in_dim - subject.on_sphere
    full = log_product(spectra.double(), needed, rank_tolerance(torch.float32))
    deficient = int(full.isneginf().sum())
    prior = prior_of(subject.generator, subject.space_map.domain)
    facts = dict(exact=False, unit="nats", prior=prior.text, prior_entropy=prior.entropy, full_rank=needed)
    if deficient:
        volumes = log_product(spectra.double(), subject.top_k, rank_tolerance(torch.float32))
        facts.update(
            is_differential_entropy=False,
            note=PARTIAL.format(deficient=deficient, n=len(spectra), rank=needed),
            top_k=subject.top_k,
        )
    else:
        volumes = full
        facts.update(is_differential_entropy=True, note=FULL)
    found = entropy_of(volumes, prior)
    facts.update(
        value=found.value,
        standard_error=found.standard_error,
        draws=found.n,
        draws_without_that_rank=found.singular,
        log_volume=summary(volumes),
    )
    return Section(facts)
