"""Constructor arguments from files, checked by name before anything is built from them.

A wrong type would be noticed late, in the middle of an image, or not at all; a wrong number builds for ever. What is
not in the tables may still be a number, a switch, a short text or a list of those.
"""

import math

from dnnlib_compat.budgets import (
    MAX_CHANNEL_BASE,
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_LIST,
    MAX_NUMBER,
    MAX_SIZE,
    MAX_TAPS,
)
from dnnlib_compat.errors import NetworkFileError, quoted, shown
from dnnlib_compat.networks.ops import ACTIVATIONS

NUMBERS = (int, float)


def is_whole(value, low, high):
    return type(value) is int and low <= value <= high


def is_number(value, low=-MAX_NUMBER, high=MAX_NUMBER):
    return type(value) in NUMBERS and low <= value <= high  # NaN is not


def whole(low, high):
    return f"a whole number from {low} to {high}", lambda value: is_whole(value, low, high)


def optional(kind):
    text, check = kind
    return f"{text}, or None", lambda value: value is None or check(value)


def one_of(*choices):
    return " or ".join(map(str, choices)), lambda value: any(value is each or value == each for each in choices)


def is_filter(value):
    """None, a number, or a list of taps or of rows of taps, with a sum that can be divided by."""
    rows = value if isinstance(value, (list, tuple)) else [1 if value is None else value]
    if not 1 <= len(rows) <= MAX_TAPS:
        return False
    if all(isinstance(row, (list, tuple)) for row in rows):
        if len({len(row) for row in rows}) != 1 or not 1 <= len(rows[0]) <= MAX_TAPS:
            return False
        rows = [tap for row in rows for tap in row]
    return all(is_number(tap) for tap in rows) and sum(rows) != 0


SIZE = whole(0, MAX_SIZE)
SWITCH = "True or False", lambda value: type(value) is bool or value in (0, 1) and type(value) is int
NUMBER = "a number", is_number
POSITIVE = "a positive number", lambda value: is_number(value, 0) and value > 0
WIDTHS = optional((f"a whole number from 1 to {MAX_CHANNEL_BASE}", lambda value: is_whole(value, 1, MAX_CHANNEL_BASE)))
CLAMP = "a bound or None", lambda value: value is None or is_number(value, 0, math.inf)
ACTIVATION = " or ".join(ACTIVATIONS), lambda value: isinstance(value, str) and value in ACTIVATIONS
FILTER = "a list of filter taps", is_filter

KINDS = {
    **dict.fromkeys(("z_dim", "c_dim", "w_dim", "n_classes", "shared_dim", "bottom_width", "n_stats"), SIZE),
    **dict.fromkeys(("img_resolution", "img_channels", "latent_channels", "components"), whole(0, MAX_SIZE)),
    **dict.fromkeys(("embed_features", "layer_features", "cmap_dim"), optional(SIZE)),
    **dict.fromkeys(("channel_base", "channel_max"), WIDTHS),
    "num_layers": whole(0, MAX_LAYERS),
    "num_critical": whole(0, MAX_LAYERS),
    "num_fp16_res": NUMBER,
    "num_fp16_channels": whole(0, MAX_SIZE),
    **dict.fromkeys(("kernel_size", "conv_kernel"), whole(1, MAX_KERNEL)),
    **dict.fromkeys(("filter_size",), whole(1, MAX_TAPS)),
    "lrelu_upsampling": whole(1, 8),
    "margin_size": whole(0, 256),
    "mbstd_group_size": optional(whole(1, MAX_SIZE)),
    "mbstd_num_channels": whole(0, MAX_SIZE),
    "freeze_layers": whole(0, MAX_SIZE),
    **dict.fromkeys(("first_cutoff", "first_stopband", "last_stopband_rel"), POSITIVE),
    **dict.fromkeys(("output_scale", "lr_multiplier", "fade", "slope"), NUMBER),
    **dict.fromkeys(("w_avg_beta", "magnitude_ema_beta"), optional(NUMBER)),
    **dict.fromkeys(("eps", "output_eps", "epsilon"), ("a small number", lambda value: is_number(value, 0, 1))),
    **dict.fromkeys(("conv_clamp", "fromrgb_clamp"), CLAMP),
    "activation": ACTIVATION,
    "resample_filter": FILTER,
    "architecture": ("a name", lambda value: isinstance(value, str) and len(value) < 50),
    **dict.fromkeys(
        ("use_noise", "use_radial_filters", "fp16_channels_last", "pixel_norm", "normalize_latents", "hierarchical"),
        SWITCH,
    ),
    **dict.fromkeys(("adds_gain", "use_se", "square", "pools_last"), SWITCH),
    "fused_modconv_default": ("a switch", lambda value: SWITCH[1](value) or value == "inference_only"),
    **dict.fromkeys(("cells_per_group", "post_blocks", "post_cells"), whole(0, MAX_LIST)),
}


def check_arguments(kwargs, path, depth=2):
    """Raise NetworkFileError for keyword arguments, also nested ones (`mapping_kwargs`), that no network can have."""
    if depth == 0:
        raise NetworkFileError(f"{path}: the arguments of its network are nested too deeply")
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        raise NetworkFileError(f"{path}: the arguments of its network are no keywords")
    for name, value in kwargs.items():
        if name.endswith("_kwargs"):
            check_arguments({} if value is None else value, path, depth - 1)
            continue
        right, check = KINDS.get(name, ("a number, a switch, a text or a list of these", is_plain))
        if not check(value):
            raise NetworkFileError(f"{path}: {shown(name)} is {quoted(value)}, not {right}")


def is_plain(value, depth=2):
    """Whether a value is None, a switch, a number of a size that networks have, a short text, or a list of those, or of
    lists of those."""
    if isinstance(value, (list, tuple)):
        return depth > 0 and len(value) <= MAX_LIST and all(is_plain(each, depth - 1) for each in value)
    if isinstance(value, str):
        return len(value) <= 100
    return value is None or type(value) is bool or is_number(value)
