"""ProGAN of TensorFlow, and of the Theano code before it: arguments and variables of our own network."""

import math

import numpy as np

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.progan import ProGANGenerator
from dnnlib_compat.tf_records import Arguments, decoded, level_of_detail, variables
from dnnlib_compat.tf_variables import CONV, DENSE, UPSCALED_CONV, Source, expected_state, fit_variables

# The channel counts are read off the variables, and so is whether upscaling is fused with its convolution. The last
# three have no effect on images; the TensorFlow code leaves them in networks that it imports from Theano.
PROGAN_WITHOUT_EFFECT = (
    *("fmap_base", "fmap_decay", "fmap_max", "fused_scale", "structure"),
    *("mbstd_group_size", "use_gdrop", "use_layernorm"),
)


def opened(record, path, without_effect):
    """(Arguments, {variable: array}) of a record of either code. without_effect: arguments that change no number."""
    if is_theano(record):
        given, values = theano_network(record, path)
    else:
        given, values = record.state.get("static_kwargs"), variables(record, path)
    args = Arguments(given, path)
    args.ignore(*without_effect)
    args.choice("dtype", "float32", ("float32", "float16"))
    return args, values


def convert_progan(record, path):
    """(keyword arguments, state dict) of a `ProGANGenerator` from the record of a ProGAN network.

    Networks of the older Theano code are converted as the TensorFlow code does when it imports them. Raises
    NetworkFileError for what does not fit, or is no generator of either.
    """
    args, values = opened(record, path, PROGAN_WITHOUT_EFFECT)
    resolution, c_dim = args.size("resolution", 32, 4), args.size("label_size", 0, 0)
    args.expect(resolution & (resolution - 1) == 0, "resolution", resolution, "a power of two")
    scaled = args.flag("use_wscale", True)
    kwargs = dict(
        z_dim=args.size("latent_size", inferred_z_dim(values, c_dim)),
        c_dim=c_dim,
        img_resolution=resolution,
        img_channels=args.size("num_channels", 1),
        channels=[],
        normalize_latents=args.flag("normalize_latents", True),
        pixel_norm=args.flag("use_pixelnorm", True),
        epsilon=args.number("pixelnorm_epsilon", 1e-8),
        slope=0.2 if args.flag("use_leakyrelu", True) else 0.0,
    )
    args.finish()
    # Level of detail: the top `level` blocks are not in use yet, the next one is fading in.
    top = int(math.log2(resolution)) - 2
    lod = min(max(level_of_detail(values, path), 0), top)
    level, kwargs["fade"] = int(lod), lod - int(lod)
    used = [4 << i for i in range(top + 1 - level)]
    kwargs["channels"] = [values[name].size if (name := progan_conv(r) + "/bias") in values else 1 for r in used]

    expected = expected_state(ProGANGenerator, kwargs, path)
    sources = {name: progan_source(name, expected[name].shape, level, values, scaled) for name in expected}
    state = fit_variables(values, sources, expected, unused_names(level, top), "a progan", path)
    return kwargs, state


def inferred_z_dim(values, c_dim):
    """How many latents the first layer takes besides the label (1 when it cannot be: then the layer will not fit)."""
    first = values.get("4x4/Dense/weight", np.zeros((1, 1)))
    return max(first.shape[0] - c_dim, 1) if first.ndim == 2 else 1


def progan_conv(resolution):
    """The scope of the last layer of a block."""
    return f"{resolution}x{resolution}/{'Conv' if resolution == 4 else 'Conv1'}"


def unused_names(level, top):
    """Variables that a network has besides: the level itself, and the layers that it does not use."""
    scopes = {f"ToRGB_lod{i}" for i in range(top + 1)}
    for resolution in (4 << i for i in range(top + 1 - level, top + 1)):
        scopes |= {f"{resolution}x{resolution}/{layer}" for layer in ("Conv0_up", "Conv0", "Conv1")}
    return {"lod"} | {f"{scope}/{part}" for scope in scopes for part in ("weight", "bias")}


def progan_source(ours, shape, level, values, scaled):
    """The Source of a parameter of our ProGAN. shape: its shape; level: of the last block in use.

    scaled: whether the layers scale their weights when they run, to the standard deviation of He's initialisation.
    """
    block, _, part = ours.partition(".")
    layout, gain, fan_in = CONV, math.sqrt(2), math.prod(shape[1:])
    if block.startswith("torgb"):
        scope, gain = f"ToRGB_lod{level + (block == 'torgb_before')}", 1
    elif part.startswith("conv."):
        scope, part = progan_conv(int(block[1:])), part.removeprefix("conv.")
    elif block == "b4":
        scope, layout, gain = "4x4/Dense", DENSE, math.sqrt(2) / 4
    else:
        scope, fan_in = f"{block[1:]}x{block[1:]}/Conv0", 9 * shape[0]
        if f"{scope}/weight" in values:
            layout = UPSCALED_CONV
        else:
            scope += "_up"  # fused, and stored as [height, width, out, in]
    if part == "bias":
        return Source(f"{scope}/bias")
    return Source(f"{scope}/weight", layout, gain / math.sqrt(fan_in) if scaled else 1)


# Theano: parameters in a fixed order, without names

THEANO_GENERATORS = ("G_paper", "G_progressive_8")
THEANO_DISCRIMINATORS = ("D_paper", "D_progressive_8")


def is_theano(record):
    return "build_func_spec" in record.state


def theano_spec(record, path):
    spec = record.state["build_func_spec"]
    if not isinstance(spec, dict):
        raise NetworkFileError(f"{path}: does not record how its network was built, download it again")
    return spec


def theano_network(record, path):
    """(arguments, variables) as the TensorFlow code would have them, of a network of the Theano code."""
    spec = Arguments(theano_spec(record, path), path)
    discriminates = spec.take("func") in THEANO_DISCRIMINATORS
    spec.ignore("use_gdrop")
    spec.choice("label_size", 0, (0,))
    for name in ("use_batchnorm", "use_layernorm"):
        spec.choice(name, False, (False,))
    spec.choice("tanh_at_end", None, (None,))
    resolution, scaled = spec.size("resolution", 32, 4), spec.flag("use_wscale", True)
    arguments = dict(resolution=resolution, use_wscale=False)
    if discriminates:
        spec.choice("mbstat_func", "Tstdeps", ("Tstdeps",))
        spec.choice("mbstat_avg", "all", ("all",))
        spec.choice("mbdisc_kernels", None, (None,))
        arguments["mbstd_group_size"] = 16  # there is no other in that code
    scopes = (discriminator_scopes if discriminates else generator_scopes)(int(math.log2(resolution)))
    parts = ("weight", "scale", "bias") if scaled else ("weight", "bias")
    names = [f"{scope}/{part}" for scope in scopes for part in parts]
    values = record.state.get("param_values")
    if not isinstance(values, (list, tuple)) or len(values) != len(names):
        raise NetworkFileError(f"{path}: does not have the {len(names)} parameters of a progan of that resolution")
    arrays = {name: decoded(value, name, path) for name, value in zip(names, values)}
    found = {name: array for name, array in arrays.items() if name.endswith("/bias")}
    for name in (name for name in arrays if name.endswith("/weight")):
        weight, scale = arrays[name], arrays[name.replace("/weight", "/scale")] if scaled else np.float32(1)
        if scale.shape != () or weight.ndim not in (2, 4):
            shapes = f"{list(weight.shape)}, scaled by {list(scale.shape)}"
            raise NetworkFileError(f"{path}: {name} is {shapes}: not the weights of a progan layer and their scale")
        found[name] = theano_weight(name, weight * scale)
    toplevel = record.state.get("toplevel_params")
    level = toplevel.get("cur_lod", 0.0) if isinstance(toplevel, dict) else 0.0
    found["lod"] = decoded(level, "cur_lod", path)
    return spec.given | arguments, found


def generator_scopes(levels):
    """The layers of Theano's generator of 2^levels pixels, in the order of their parameters."""
    blocks = [f"{2**i}x{2**i}/Conv{k}" for i in range(3, levels + 1) for k in (0, 1)]
    return ["4x4/Dense", "4x4/Conv", *blocks, *(f"ToRGB_lod{i}" for i in range(levels - 1))]


def discriminator_scopes(levels):
    """The layers of Theano's discriminator of 2^levels pixels, in the order of their parameters."""
    scopes = ["FromRGB_lod0"]
    for i in range(levels, 2, -1):
        scopes += [f"{2**i}x{2**i}/Conv0", f"{2**i}x{2**i}/Conv1", f"FromRGB_lod{levels + 1 - i}"]
    return [*scopes, "4x4/Conv", "4x4/Dense0", "4x4/Dense1"]


def theano_weight(name, weight):
    """A weight in TensorFlow's layout.

    Theano's is [out, in, height, width], flipped, or [in, out] for 1×1 kernels and the last dense layer.
    """
    if weight.ndim == 2:
        return weight if name.startswith("4x4/Dense") else weight[None, None]
    if name.startswith("4x4/Dense0"):
        return weight[:, :, ::-1, ::-1].reshape(len(weight), -1).T
    if name.startswith("4x4/Dense"):
        return weight.transpose(1, 0, 2, 3).reshape(weight.shape[1], -1)
    return weight.transpose(2, 3, 1, 0)[::-1, ::-1]
