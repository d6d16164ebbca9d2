"""Equivariance of StyleGAN3: how well moving its input moves the image, as a PSNR in dB (EQ-T, EQ-T_frac, EQ-R).

Source: "Alias-Free Generative Adversarial Networks" (Karras et al. 2021), Appendix E; ranges and rounding as in
its official code.
"""

import math

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.metrics import image_transforms
from latent_plugins.metrics.path_length import fresh_noise, restored
from latent_plugins.volume.spectrum.precision import full_precision

KINDS = ("eqt_int", "eqt_frac", "eqr")
MAX_TRANSLATION = 0.125  # of the image's width, in either direction
PEAK_TO_PEAK = 2  # images are nominally in [−1, 1]


def draw_parameters(kind, u, resolution):
    """The transform of uniform numbers u in (0, 1): (tx, ty) of two for translations, an angle of the first for `eqr`.

    Translations are uniform within ±MAX_TRANSLATION in units of the width, for `eqt_int` rounded to whole pixels of an
    image with that `resolution`; angles are uniform in ±π radians. Raises ValueError for an unknown kind.
    """
    check_kind(kind)
    u = 2 * np.asarray(u, dtype=np.float64).ravel() - 1
    if kind == "eqr":
        return float(u[0] * math.pi)
    shift = u[:2] * MAX_TRANSLATION
    if kind == "eqt_int":
        shift = np.round(shift * resolution) / resolution
    return tuple(shift.tolist())


@no_grad
def equivariance_errors(generator, z, c, *, kind, parameters, noise_seed=None):
    """(sum of squared errors, number of values compared) of the images of z [N, z_dim] and c [N, c_dim], as floats.

    Compares moving the image with moving the generator's input. kind: `eqt_int` or `eqt_frac` with `parameters` (tx,
    ty), or `eqr` with an angle (`draw_parameters`). noise_seed: draw noise buffers, which StyleGAN3 has none of, anew.
    The sums are in float64 and add up over batches.

    `generator.input_transform` is the identity for the untransformed image and holds its previous content again
    afterwards. Raises ValueError for an unknown kind, and for a generator without input transforms.
    """
    check_kind(kind)
    transform = generator.input_transform
    if transform is None:
        raise ValueError("this network takes no image transforms; the metric is for StyleGAN3")
    with full_precision(transform.device), restored([transform]), fresh_noise(generator, noise_seed):
        ws = generator.mapping(z, c)
        transform.copy_(torch.eye(3))
        original = generator.synthesis(ws, noise_mode="const")
        transform.copy_(inverse_transform(kind, parameters))
        moved = generator.synthesis(ws, noise_mode="const")

        if kind == "eqr":
            # Turning the image loses frequencies beyond the rotated pixel grid's; the network's image loses them too.
            expected, mask = image_transforms.fractional_rotation(original, parameters)
            moved, moved_mask = image_transforms.pseudo_rotation(moved, parameters)
            mask = mask * moved_mask
        elif kind == "eqt_frac":
            expected, mask = image_transforms.fractional_translation(original, *parameters)
        else:
            expected, mask = image_transforms.integer_translation(original, *parameters)
        errors = (expected - moved).square() * mask
    return errors.to(torch.float64).sum().item(), mask.to(torch.float64).sum().item()


def inverse_transform(kind, parameters):
    """What StyleGAN3's input takes to move the image by `parameters`: the inverse 3×3 matrix, float64."""
    matrix = torch.eye(3, dtype=torch.float64)
    if kind == "eqr":
        matrix[:2, :2] = image_transforms.rotation_matrix(-parameters)
    else:
        matrix[:2, 2] = -torch.tensor(parameters, dtype=torch.float64)
    return matrix


def psnr(error_sum, mask_sum):
    """Peak signal-to-noise ratio in dB of summed squared errors over `mask_sum` values; infinite without errors.

    Raises ValueError when nothing was compared.
    """
    if not mask_sum > 0:
        raise ValueError("no pixel was compared; the images are too small for this metric")
    if error_sum == 0:
        return math.inf
    return 20 * math.log10(PEAK_TO_PEAK) - 10 * math.log10(error_sum / mask_sum)


def check_kind(kind):
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
