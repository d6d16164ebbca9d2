"""StyleGAN2 and StyleGAN2-ADA of TensorFlow: arguments and variables of our own network."""

import math
import re

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks import ops
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.tf_records import MORE_LAYERS, Arguments, components, level_of_detail, variables
from dnnlib_compat.tf_variables import (
    CONST,
    CONV,
    DENSE,
    FLIPPED_CONV,
    NOISE,
    SAME,
    STYLE_BIAS,
    Source,
    expected_state,
    fit_variables,
)

# Arguments that concern training, choose what a user chooses anyway, or whose effect the variables show.
STYLEGAN2_WITHOUT_EFFECT = (
    *("truncation_psi", "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "randomize_noise"),
    *("style_mixing_prob", "dlatent_avg_beta", "w_avg_beta", "structure", "conditioning", "fused_modconv"),
    *("num_fp16_res", "mapping_fmaps", "label_fmaps", "dlatent_broadcast"),
)
SYNTHESIS_FUNCTIONS = ("G_synthesis_stylegan2", "G_synthesis", "G_synthesis_stylegan_revised")


def convert_tf_stylegan2(record, path):
    """(keyword arguments, state dict) of a `StyleGAN2Generator` from the record of a network of either release.

    Besides the final architecture (configurations E and F of the paper, skip, resnet and orig) that is the
    progressively grown one of configurations B to D, of which a finished network is an `orig`. Conditional networks
    must be of StyleGAN2-ADA. Raises NetworkFileError for anything else.
    """
    values = variables(record, path)
    if "mapping/LabelConcat/weight" in values:
        raise NetworkFileError(
            f"{path}: a conditional network of the first StyleGAN2 release, which scales z and label together; "
            "conditional networks are read from StyleGAN2-ADA files"
        )
    grown = "synthesis/ToRGB_lod0/weight" in values
    if grown and level_of_detail(values, path) > 0:
        raise NetworkFileError(f"{path}: saved while the network was still growing; use one of the end of its training")
    kwargs = stylegan2_arguments(record, values, grown, path)
    expected = expected_state(StyleGAN2Generator, kwargs, path)
    sources = {name: stylegan2_source(name, grown) for name in expected if not name.endswith("resample_filter")}
    torgbs = [name for name in values if grown and re.match(r"synthesis/ToRGB_lod[1-9]", name)]
    state = fit_variables(values, sources, expected, {"lod", "synthesis/lod", *torgbs}, "a stylegan2", path)
    for name in expected.keys() - state:  # layers that do not resample have the default filter, and no use for it
        state[name] = ops.setup_filter((1, 3, 3, 1) if ".conv1." in name else kwargs["resample_filter"])
    return kwargs, {name: state[name] for name in expected}


def stylegan2_arguments(record, values, grown, path):
    """The arguments of our constructor. Those of the components count where the network itself says nothing."""
    merged = {}
    for part in reversed(components(record).values()):
        given = part.state.get("static_kwargs")
        merged |= given if isinstance(given, dict) else {}
    args = Arguments(merged, path)
    args.ignore(*STYLEGAN2_WITHOUT_EFFECT)
    args.choice("mapping_func", "G_mapping", ("G_mapping",))
    args.choice("synthesis_func", "G_synthesis", SYNTHESIS_FUNCTIONS)
    args.choice("normalize_latents", True, (True,))
    sizes, layout = shared_arguments(args, "skip", grown)
    coarsest = min(layout["channel_base"] // 4, layout["channel_max"])
    args.choice("fmap_const", None, (None, coarsest))
    layers = args.size("mapping_layers", 8)
    args.expect(layers <= MORE_LAYERS, "mapping_layers", layers, "a number of layers")
    mapping = dict(
        num_layers=layers,
        activation=args.choice("mapping_nonlinearity", "lrelu", tuple(ops.ACTIVATIONS)),
        lr_multiplier=args.number("mapping_lrmul", 0.01),
    )
    # The releases have different defaults for these two, and the variables show them.
    if layers > 1 and "mapping/Dense0/bias" in values:
        mapping["layer_features"] = values["mapping/Dense0/bias"].size
    if "mapping/LabelEmbed/bias" in values:
        mapping["embed_features"] = values["mapping/LabelEmbed/bias"].size
    kwargs = dict(
        z_dim=args.size("latent_size", 512),
        w_dim=args.size("dlatent_size", 512),
        **sizes,
        mapping_kwargs=mapping,
        **layout,
        use_noise=args.flag("use_noise", True),
    )
    args.finish()
    return kwargs


def shared_arguments(args, architecture, grown):
    """(sizes of labels and images, layout of the layers) of the arguments that generators and discriminators share.

    Both are keywords of our constructors. architecture: where the file says nothing; grown: progressively, to `orig`.
    """
    args.choice("dtype", "float32", ("float32", "float16"))
    args.choice("fmap_decay", 1, (1, 1.0))
    resolution, base, most = args.size("resolution", 1024, 4), args.size("fmap_base", 16384), args.size("fmap_max", 512)
    finest, least = min(2 * base // resolution, most), args.size("fmap_min", 1)
    args.expect(least <= finest, "fmap_min", least, f"at most {finest}, the feature maps of the last block")
    architecture = args.choice("architecture", architecture, ("skip", "resnet", "orig"))
    taps = args.take("resample_kernel", [1, 3, 3, 1])
    taps = [1, 1] if taps is None else taps  # TensorFlow's code then repeats pixels, or takes their mean
    plain = isinstance(taps, (list, tuple)) and taps and all(type(tap) in (int, float) for tap in taps)
    args.expect(plain and 0 < sum(taps) < math.inf, "resample_kernel", taps, "a list of taps")
    clamp = args.take("conv_clamp")
    args.expect(
        clamp is None or type(clamp) in (int, float) and 0 <= clamp < math.inf, "conv_clamp", clamp, "a bound or None"
    )
    sizes = dict(
        c_dim=args.size("label_size", 0, 0),
        img_resolution=resolution,
        img_channels=args.size("num_channels", 3),
    )
    return sizes, dict(
        channel_base=2 * base,
        channel_max=most,
        architecture="orig" if grown else architecture,
        resample_filter=list(taps),
        conv_clamp=clamp,
        activation=args.choice("nonlinearity", "lrelu", tuple(ops.ACTIVATIONS)),
    )


LAYER_PARTS = {
    "bias": ("bias", SAME),
    "noise_strength": ("noise_strength", SAME),
    "affine.weight": ("mod_weight", DENSE),
    "affine.bias": ("mod_bias", STYLE_BIAS),
}


def stylegan2_source(ours, grown):
    """The Source of a parameter or buffer of our StyleGAN2."""
    block, _, rest = ours.removeprefix("synthesis.").partition(".")
    if ours == "mapping.w_avg":
        return Source("dlatent_avg")
    if block == "mapping":
        layer, part = rest.split(".")
        scope = "LabelEmbed" if layer == "embed" else f"Dense{layer.removeprefix('fc')}"
        return Source(f"mapping/{scope}/{part}", DENSE if part == "weight" else SAME)
    resolution = int(block.removeprefix("b"))
    scope = f"synthesis/{resolution}x{resolution}"
    if rest == "const":
        return Source(f"{scope}/Const/const", CONST)
    layer, _, part = rest.partition(".")
    if part == "noise_const":
        return Source(f"synthesis/noise{2 * int(math.log2(resolution)) - 5 + (layer == 'conv1')}", NOISE)
    if layer == "torgb" and grown:
        scope = "synthesis/ToRGB_lod0"
    elif layer == "conv1" and resolution == 4:
        scope += "/Conv"
    else:
        scope += {"conv0": "/Conv0_up", "conv1": "/Conv1", "torgb": "/ToRGB", "skip": "/Skip"}[layer]
    if part == "weight":
        return Source(f"{scope}/weight", CONV if layer in ("conv1", "torgb") else FLIPPED_CONV)
    theirs, layout = LAYER_PARTS[part]
    return Source(f"{scope}/{theirs}", layout)
