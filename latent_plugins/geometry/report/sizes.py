"""How much is sampled for a report."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is sampled: `latents` for spectra and columns, and what the sections' names say.

    classes_held_out: latents that the linear classifier is asked about, None for a quarter of them; classes_confidence:
    how sure the network's classifier must be of a latent that counts.
    """

    partition_resolution: int
    latents: int
    dropout_draws: int
    dropout_regions: int
    disentanglement_latents: int
    angularity_paths: int
    angularity_crossings: int
    lipschitz_repeats: int
    lipschitz_samples: int
    inversion_targets: int
    inversion_iterations: dict
    classes_latents: int
    classes_points: int
    classes_held_out: int | None
    classes_confidence: float
    norms_latents: int
    concentration_samples: int
    real_images: int
    sampler_candidates: dict


DECENT = Sizes(
    partition_resolution=64,
    latents=300,
    dropout_draws=2000,
    dropout_regions=1,
    disentanglement_latents=200,
    angularity_paths=8,
    angularity_crossings=4,
    lipschitz_repeats=20,
    lipschitz_samples=20,
    inversion_targets=6,
    inversion_iterations={"descent": 500, "regions": 50},
    classes_latents=5000,
    classes_points=2000,
    classes_held_out=None,
    classes_confidence=0.0,
    norms_latents=2000,
    concentration_samples=4000,
    real_images=5000,
    sampler_candidates={"z:w": 20_000, "z:pixel": 2_000, "w:pixel": 2_000},
)
QUICK = Sizes(
    partition_resolution=24,
    latents=32,
    dropout_draws=200,
    dropout_regions=1,
    disentanglement_latents=16,
    angularity_paths=2,
    angularity_crossings=2,
    lipschitz_repeats=8,
    lipschitz_samples=4,
    inversion_targets=2,
    inversion_iterations={"descent": 150, "regions": 20},
    classes_latents=1000,
    classes_points=500,
    classes_held_out=None,
    classes_confidence=0.0,
    norms_latents=200,
    concentration_samples=800,
    real_images=1000,
    sampler_candidates={"z:w": 4_000, "z:pixel": 200, "w:pixel": 200},
)
