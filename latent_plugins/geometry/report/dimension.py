"""Intrinsic dimension over latents, where the singular values fall off, and what the layers allow at most."""

import functools

import torch

from latent_plugins.geometry.dimension import TOLERANCE, knee, numerical_rank, rank_bound, region_bounds
from latent_plugins.geometry.figures import save_curve, save_histograms
from latent_plugins.geometry.report.subject import Figure, Section, summary

NOTE = (
    "numerical ranks of whole Jacobians at sampled latents: singular values above the tolerance times the largest; "
    "weaker directions cannot be told from the rounding of float32"
)
BOUND = (
    "Proposition 1 in the region of each latent: the number of inputs, or the least rank of a layer's weights behind "
    "its activation pattern"
)
KNEE = "a statistic of ours: where the mean log singular values are farthest from the line between their ends"


def dimension(subject):
    """The Section of ranks and mean log singular values at `sizes.latents` latents."""
    spectra = subject.spectra()
    finite = torch.isfinite(spectra).all(dim=1)
    spectra = spectra[finite]
    if not len(spectra):
        raise ValueError("no latent has a finite Jacobian")
    ranks = numerical_rank(spectra)
    values, counts = ranks.unique(return_counts=True)
    facts = dict(
        exact=False,
        note=NOTE,
        latents=len(ranks),
        latents_left_out=int((~finite).sum()),
        tolerance=TOLERANCE,
        largest_possible=subject.space_map.max_rank,
        intrinsic_dimension=summary(ranks),
        latents_by_dimension=dict(zip(values.tolist(), counts.tolist())),
    )
    figures = [
        Figure(
            "dimension.png",
            functools.partial(
                save_histograms, groups={"": ranks.tolist()}, xlabel="intrinsic dimension at a latent", whole=True
            ),
        )
    ]
    if spectra.shape[1] >= 3:
        found = knee(spectra)
        facts["knee_of_singular_values"] = dict(
            note=KNEE, values_above=found.index, height_in_nats=found.height, mean_log_singular_values=found.curve
        )
        draw = functools.partial(
            save_curve,
            curve=found.curve.tolist(),
            mark=found.index,
            xlabel="singular value",
            ylabel="mean log over latents",
            title=f"knee after {found.index} values, {found.height:.2g} nats off the line",
        )
        figures.append(Figure("knee.png", draw))
    if subject.sequential is not None:
        try:
            facts["rank_bound_of_the_layers"] = rank_bound(subject.sequential)
        except ValueError as error:
            facts["rank_bound_note"] = f"unknown: {error}"
        try:
            bound = region_bounds(subject.sequential, subject.spectra_inputs()).cpu()[finite]
            facts["region_bound"] = dict(
                note=BOUND, bound=summary(bound), share_at_the_bound=(ranks == bound).double().mean()
            )
        except ValueError as error:
            facts["region_bound"] = dict(note=f"unknown: {error}")
    return Section(facts, tuple(figures))
