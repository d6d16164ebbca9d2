"""Whether latent coordinates move the output in directions of their own."""

import functools
import math

import torch

from latent_plugins.geometry.disentanglement import LatentCosines, column_images, latent_cosines
from latent_plugins.geometry.figures import save_matrix
from latent_plugins.geometry.report.subject import Figure, Section
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png, to_uint8

SHOWN = 16  # columns of the sheet
NOTE = "cosines between columns of the Jacobian, first-order, at sampled latents; distances are ‖Q − I‖"
SPHERE = "; on the sphere the columns are those on the tangent space, whose coordinates depend on each other a little"


def disentanglement(subject):
    """The Section of column cosines at `sizes.disentanglement_latents` latents, and of columns as images at one."""
    x = subject.inputs(subject.sizes.disentanglement_latents, subject.random(2))
    parts = subject.in_steps(
        lambda rows: latent_cosines(subject.space_map, rows, max_memory=subject.max_memory), x, "column cosines"
    )
    cosines = LatentCosines.joined(parts)
    found, n = cosines.summary(), subject.space_map.in_dim
    facts = dict(
        exact=False,
        note=NOTE + (SPHERE if subject.on_sphere else ""),
        latents=found.latents,
        latents_left_out=found.left_out,
        zero_columns=found.zero_columns,
        column_cosine=dict(mean=found.cosine_mean, largest_of_a_latent=found.cosine_max),
        distance_from_orthogonal=dict(
            mean=found.distance_mean, largest=found.distance_max, if_all_columns_were_parallel=math.sqrt(n * (n - 1))
        ),
        spectral_distance_from_orthogonal=dict(
            mean=found.spectral_mean, largest=found.spectral_max, if_all_columns_were_parallel=n - 1
        ),
        cosines_summed_over_pairs=dict(mean=found.pair_sum_mean, largest=found.pair_sum_max),
    )
    matrix = cosines.mean_matrix.cpu().numpy()
    draw = functools.partial(
        save_matrix, matrix=matrix, label="mean absolute cosine", xlabel="latent coordinate", title="columns"
    )
    figures = [Figure("cosines.png", draw)]
    if subject.space_map.space.to_pixels:
        figures.append(sheet(subject, x[:1]))
        facts["column_sheet"] = f"the first {min(SHOWN, n)} columns at one latent, each scaled to its largest entry"
    return Section(facts, tuple(figures))


def sheet(subject, x):
    """The Figure of the first columns at one latent x [1, in]: grey is no change."""
    generator = subject.generator
    shape = generator.img_channels, generator.img_resolution, generator.img_resolution
    columns = torch.arange(min(SHOWN, subject.space_map.in_dim))
    images = to_uint8(in_colours(column_images(subject.space_map, x, columns, shape)))
    return Figure("columns.png", functools.partial(save_png, contact_sheet(images)), matplotlib=False)


def in_colours(images):
    """Images [n, C, H, W] with one channel or three: of other numbers the mean over channels."""
    return images if images.shape[1] in (1, 3) else images.mean(dim=1, keepdim=True)
