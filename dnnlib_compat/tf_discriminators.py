"""Discriminators of TensorFlow's StyleGAN2, StyleGAN2-ADA and ProGAN: arguments and variables of our own networks."""

import math
import re

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks import ops
from dnnlib_compat.networks.discriminator import ProGANDiscriminator, StyleGAN2Discriminator
from dnnlib_compat.tf_progan import opened
from dnnlib_compat.tf_records import LARGEST, MORE_LAYERS, Arguments, level_of_detail, variables
from dnnlib_compat.tf_stylegan2 import shared_arguments
from dnnlib_compat.tf_variables import CONV, DENSE, SAME, Source, expected_state, fit_variables

# The functions, and how many images a group of the minibatch statistics has where the file does not say: None for all.
STYLEGAN2_FUNCTIONS = {"D_stylegan2": 4, "D_stylegan": 4, "D_main": None}

# How a network is run or trained, and what the variables show.
STYLEGAN2_WITHOUT_EFFECT = ("structure", "num_fp16_res", "mapping_fmaps", "freeze_layers", "pagan_num", "pagan_fade")
PROGAN_WITHOUT_EFFECT = ("fmap_decay", "fused_scale", "structure", "use_gdrop", "use_layernorm")


def convert_stylegan2_discriminator(record, path):
    """(keyword arguments, state dict) of a `StyleGAN2Discriminator` from the record of a network of either release.

    A finished network of the configurations B to D, which grew progressively, is an `orig` one. Raises NetworkFileError
    for what does not fit, for the comparison methods of StyleGAN2-ADA, and for labels in a network before that release.
    """
    values = variables(record, path)
    grown = "FromRGB_lod0/weight" in values
    kwargs = stylegan2_arguments(record, values, grown, path)
    if kwargs["c_dim"] and record.state["build_func_name"] != "D_main":
        raise NetworkFileError(
            f"{path}: a conditional discriminator of the first StyleGAN2 release; conditional networks are read from "
            "StyleGAN2-ADA files"
        )
    names = dict(fromrgb="FromRGB_lod0") if grown else {}
    return kwargs, fitted(StyleGAN2Discriminator, kwargs, values, names, {}, path)


def stylegan2_arguments(record, values, grown, path):
    """The arguments of our constructor."""
    args = Arguments(record.state.get("static_kwargs"), path)
    args.ignore(*STYLEGAN2_WITHOUT_EFFECT)
    for name in ("use_pagan", "use_spectral_norm"):
        args.choice(name, False, (False,))
    args.choice("adaptive_dropout", 0, (0, 0.0))
    for name in ("score_size", "score_max"):
        args.choice(name, 1, (1,))
    sizes, layout = shared_arguments(args, "resnet", grown)
    function = record.state["build_func_name"]
    ada, features = function == "D_main", args.size("mbstd_num_features", 1, 0)
    group = args.take("mbstd_group_size", STYLEGAN2_FUNCTIONS[function])
    whole = type(group) is int and ada <= group <= LARGEST
    args.expect(whole or ada and group is None, "mbstd_group_size", group, "a number of images")
    group, features = (group, features) if ada else statistics(group, features)
    activation = layout.pop("activation")
    mapping = dict(
        num_layers=args.size("mapping_layers", 0, 0),
        activation=activation,
        lr_multiplier=args.number("mapping_lrmul", 0.1),
    )
    args.expect(mapping["num_layers"] <= MORE_LAYERS, "mapping_layers", mapping["num_layers"], "a number of layers")
    epilogue = dict(mbstd_group_size=group, mbstd_num_channels=features, activation=activation)
    if layout["architecture"] == "skip":
        epilogue["fromrgb_clamp"] = layout["conv_clamp"]
    args.finish()
    return dict(
        **sizes,
        **{name: layout[name] for name in ("architecture", "channel_base", "channel_max", "conv_clamp")},
        cmap_dim=values["LabelEmbed/bias"].size if "LabelEmbed/bias" in values else None,
        block_kwargs=dict(activation=activation, resample_filter=layout["resample_filter"]),
        mapping_kwargs=mapping,
        epilogue_kwargs=epilogue,
    )


def convert_progan_discriminator(record, path):
    """(keyword arguments, state dict) of a `ProGANDiscriminator` from the record of a network of either code.

    TensorFlow's leaky ReLU has no gain, which its weights have instead: the biases of ours are smaller by that. What
    guesses the label is left out. Raises NetworkFileError for what does not fit.
    """
    args, values = opened(record, path, PROGAN_WITHOUT_EFFECT)
    labels, scaled = args.size("label_size", 0, 0), args.flag("use_wscale", True)
    group, features = statistics(args.size("mbstd_group_size", 4, 0), 1)
    resolution = args.size("resolution", 32, 4)
    unfused = f"{resolution}x{resolution}/Conv1/weight" in values
    kwargs = dict(
        c_dim=0,
        img_resolution=resolution,
        img_channels=args.size("num_channels", 1),
        architecture="orig",
        channel_base=2 * args.size("fmap_base", 8192),
        channel_max=args.size("fmap_max", 512),
        conv_clamp=None,
        block_kwargs=dict(resample_filter=[1, 1], pools_last=unfused),
        epilogue_kwargs=dict(mbstd_group_size=group, mbstd_num_channels=features),
    )
    args.finish()
    values |= {
        name: values[name][..., :1]
        for name in ("4x4/Dense1/weight", "4x4/Dense1/bias")
        if name in values and values[name].shape[-1:] == (1 + labels,)
    }
    expected = expected_state(ProGANDiscriminator, kwargs, path)
    gains = {name: progan_gain(name, expected[name].shape, scaled) for name in expected}
    names = dict(fromrgb="FromRGB_lod0", out="4x4/Dense1", conv1="Conv1" if unfused else "Conv1_down")
    return kwargs, fitted(ProGANDiscriminator, kwargs, values, names, gains, path)


def statistics(group, features):
    """(images of a group, features) of our minibatch statistics: a group of one image stands for none."""
    return (group, features) if group > 1 else (None, 0)


def progan_gain(ours, shape, scaled):
    """The factor from a variable to our parameter. scaled: whether the layer scales its weights when it runs."""
    gain = 1 if ours.startswith("b4.out.") else math.sqrt(2)
    if ours.endswith(".bias"):
        return 1 / gain
    return 1 if scaled else math.sqrt(math.prod(shape[1:])) / gain


def fitted(family, kwargs, values, names, gains, path):
    """The state dict of family(**kwargs) from {name: array}.

    names: {layer of ours: its scope} where that is not as in SCOPES; gains: {parameter of ours: factor}.
    """
    if level_of_detail(values, path) > 0:
        raise NetworkFileError(f"{path}: saved while the network was still growing; use one of the end of its training")
    expected = expected_state(family, kwargs, path)
    ours = [name for name in expected if not name.endswith("resample_filter")]
    sources = {name: Source(*place(name, SCOPES | names), gains.get(name, 1)) for name in ours}
    coarser = [name for name in values if "fromrgb" in names and re.match(r"FromRGB_lod[1-9]", name)]
    state = fit_variables(values, sources, expected, {"lod", *coarser}, f"a {family.family}", path)
    for name in expected.keys() - state:  # layers that do not halve have the default filter, and no use for it
        halves = not re.search(r"\.(fromrgb|conv0|conv)\.", name)
        state[name] = ops.setup_filter(kwargs["block_kwargs"]["resample_filter"] if halves else (1, 3, 3, 1))
    return {name: state[name] for name in expected}


# Of the layers: in the scope of their resolution, or by themselves.
SCOPES = dict(fromrgb="FromRGB", conv0="Conv0", conv1="Conv1_down", skip="Skip", conv="Conv", fc="Dense0", out="Output")
ALONE = ("FromRGB_lod0", "Output", "4x4/Dense1")


def place(ours, scopes):
    """(variable's name, layout) of a parameter of ours."""
    block, layer, part = ours.split(".")
    if block == "mapping":
        scope = "LabelEmbed" if layer == "embed" else f"Mapping{layer.removeprefix('fc')}"
    else:
        resolution = block.removeprefix("b")
        scope = scopes[layer] if scopes[layer] in ALONE else f"{resolution}x{resolution}/{scopes[layer]}"
    if part == "bias":
        return f"{scope}/bias", SAME
    return f"{scope}/weight", DENSE if block == "mapping" or layer in ("fc", "out") else CONV
