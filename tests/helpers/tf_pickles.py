"""Writes pickles with the structure of NVIDIA's TensorFlow networks, from our own networks or from goldens."""

import json
import math
import pickle
import struct

import numpy as np
import torch
from conftest import GOLDENS

from helpers.pickles import Named, _Pickler

STYLEGAN2 = Named("dnnlib.tflib.network", "Network")
PROGAN = Named("tfutil", "Network")
THEANO = Named("network", "Network")


class Recorded:
    """Pickles as an object of the class `cls` (a Named) with what its `__getstate__` returned."""

    def __init__(self, cls, state):
        self.cls, self.state = cls, state


class Python2Array:
    """Pickles as a NumPy array in a file that Python 2 has written: its data are a string of that language."""

    def __init__(self, array):
        self.array = np.asarray(array, np.float32, order="C")


class Python2String:
    def __init__(self, data):
        self.data = data


class _RecordPickler(_Pickler):
    dispatch = _Pickler.dispatch.copy()

    def save_recorded(self, obj):
        self.save(obj.cls)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(obj)
        self.save(obj.state)
        self.write(pickle.BUILD)

    def save_python2_array(self, obj):
        self.save(Named("numpy.core.multiarray", "_reconstruct"))
        self.save((Named("numpy", "ndarray"), (0,), "b"))
        self.write(pickle.REDUCE)
        self.save((1, obj.array.shape, obj.array.dtype, False, Python2String(obj.array.tobytes())))
        self.write(pickle.BUILD)

    def save_python2_string(self, obj):
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj.data)) + obj.data)

    dispatch[Recorded] = save_recorded
    dispatch[Python2Array] = save_python2_array
    dispatch[Python2String] = save_python2_string


def write_tf_pickle(path, content, protocol=4):
    """Write `content`, of which networks are `Recorded`s."""
    with open(path, "wb") as file:
        _RecordPickler(file, protocol).dump(content)
    return path


def state_of_network(name, function, static_kwargs, variables, version, components=None):
    """What the official classes record. variables: {name: array}."""
    state = dict(version=version, name=name, static_kwargs=dict(static_kwargs))
    if components is not None:
        state["components"] = components
    state.update(build_module_src="# left out", build_func_name=function, variables=list(variables.items()))
    return state


def as_file(generator, rival=None):
    """The content (G, D, Gs) of a file: an untrained generator (without variables), `rival`, `generator`.

    rival: a discriminator as a `Recorded`, by default one that lacks variables.
    """
    idle = state_of_network("G", "G_main", {}, {}, 4, {})
    if rival is None:
        state = state_of_network("D", "D_stylegan2", dict(resolution=16), {"4x4/FromRGB/bias": np.zeros(8)}, 4, {})
        rival = Recorded(generator.cls, state)
    return (Recorded(generator.cls, idle), rival, generator)


# ---------------------------------------------------------------------------------------------------------------------
# From our own networks


def arrays_of(module):
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def layer_variables(scope, arrays, prefix, flip=False):
    """The variables of one modulated layer, `prefix` in our names."""
    weight = arrays[f"{prefix}.weight"].transpose(2, 3, 1, 0)
    found = {f"{scope}/weight": weight[::-1, ::-1] if flip else weight}
    found[f"{scope}/mod_weight"] = arrays[f"{prefix}.affine.weight"].T
    found[f"{scope}/mod_bias"] = arrays[f"{prefix}.affine.bias"] - 1
    if f"{prefix}.noise_strength" in arrays:
        found[f"{scope}/noise_strength"] = arrays[f"{prefix}.noise_strength"]
    return found | {f"{scope}/bias": arrays[f"{prefix}.bias"]}


def stylegan2_variables(network):
    """(variables of the mapping network, of the synthesis network) as TensorFlow has them."""
    arrays = arrays_of(network)
    mapping, noise, synthesis = {}, {}, {}
    for name, array in arrays.items():
        scope, _, part = name.removeprefix("mapping.").partition(".")
        if name.startswith("mapping.") and part:
            scope = "LabelEmbed" if scope == "embed" else f"Dense{scope[2:]}"
            mapping[f"{scope}/{part}"] = array.T
    for r in network.synthesis.block_resolutions:
        ours, theirs = f"synthesis.b{r}", f"{r}x{r}"
        if r == 4:
            synthesis["4x4/Const/const"] = arrays["synthesis.b4.const"][None]
        else:
            synthesis |= layer_variables(f"{theirs}/Conv0_up", arrays, f"{ours}.conv0", flip=True)
        synthesis |= layer_variables(f"{theirs}/Conv1" if r > 4 else "4x4/Conv", arrays, f"{ours}.conv1")
        if f"{ours}.torgb.weight" in arrays:
            synthesis |= layer_variables(f"{theirs}/ToRGB", arrays, f"{ours}.torgb")
        if f"{ours}.skip.weight" in arrays:
            synthesis[f"{theirs}/Skip/weight"] = arrays[f"{ours}.skip.weight"].transpose(2, 3, 1, 0)[::-1, ::-1]
        for layer in ("conv0", "conv1"):
            if f"{ours}.{layer}.noise_const" in arrays:
                noise[f"noise{len(noise)}"] = arrays[f"{ours}.{layer}.noise_const"][None, None]
    return mapping, noise | synthesis


def stylegan2_static_kwargs(network):
    """The arguments of TensorFlow's function, of those of our constructor."""
    kwargs = network.init_kwargs
    mapping = kwargs["mapping_kwargs"]
    given = dict(
        num_channels=network.img_channels,
        resolution=network.img_resolution,
        label_size=network.c_dim,
        latent_size=network.z_dim,
        dlatent_size=network.w_dim,
        fmap_base=kwargs.get("channel_base", 32768) // 2,
        fmap_max=kwargs.get("channel_max", 512),
        mapping_layers=mapping.get("num_layers", 8),
        mapping_lrmul=mapping.get("lr_multiplier", 0.01),
    )
    if mapping.get("layer_features"):
        given["mapping_fmaps"] = mapping["layer_features"]
    if mapping.get("embed_features"):
        given["label_fmaps"] = mapping["embed_features"]
    renamed = dict(architecture="architecture", conv_clamp="conv_clamp", use_noise="use_noise")
    renamed |= dict(resample_filter="resample_kernel", activation="nonlinearity")
    return given | {theirs: kwargs[ours] for ours, theirs in renamed.items() if ours in kwargs}


def tf_stylegan2(network, version=5, **static_kwargs):
    """A `StyleGAN2Generator` of ours as a TensorFlow network. version: 4 of the StyleGAN2, 5 of the ADA release.

    static_kwargs: further recorded arguments. Note that a `conv_clamp` left to its default is 256 in our network, and
    none in TensorFlow.
    """
    given = stylegan2_static_kwargs(network)
    mapping, synthesis = stylegan2_variables(network)
    function = "G_synthesis_stylegan2" if version == 4 else "G_synthesis"
    parts = dict(
        synthesis=state_of_network("G_synthesis", function, given, synthesis, version, {}),
        mapping=state_of_network(
            "G_mapping", "G_mapping", dict(dlatent_broadcast=network.num_ws, **given), mapping, version, {}
        ),
    )
    own = {"lod": np.float32(0)} if version == 4 else {}
    own["dlatent_avg"] = network.w_avg.numpy()
    parts = {name: Recorded(STYLEGAN2, state) for name, state in parts.items()}
    return Recorded(STYLEGAN2, state_of_network("Gs", "G_main", given | static_kwargs, own, version, parts))


def progan_variables(network, fused=True, scaled=True, lod=0.0):
    """The variables of a `ProGANGenerator` of ours as TensorFlow has them, with random ones for layers not in use."""
    arrays = arrays_of(network)
    top = int(math.log2(network.img_resolution)) - 2
    level = top + 1 - len(network.block_resolutions)
    random = np.random.RandomState(0)

    def gain(fan_in, relu=True):
        return math.sqrt(2 if relu else 1) / math.sqrt(fan_in) if scaled else 1

    found = {"lod": np.float32(lod)}
    for r in network.block_resolutions:
        weight, conv = arrays[f"b{r}.weight"], arrays[f"b{r}.conv.weight"].transpose(2, 3, 1, 0)
        if r == 4:
            first, fan_in = "4x4/Dense", weight.shape[1] * 16
            weight = weight.T
        else:
            first, fan_in = f"{r}x{r}/{'Conv0_up' if fused else 'Conv0'}", weight.shape[0] * 9
            weight = weight.transpose(2, 3, 1, 0) if fused else weight.transpose(2, 3, 0, 1)[::-1, ::-1]
        found[f"{first}/weight"] = weight / np.float32(gain(fan_in))
        found[f"{first}/bias"] = arrays[f"b{r}.bias"]
        second = f"{r}x{r}/{'Conv1' if r > 4 else 'Conv'}"
        found[f"{second}/weight"] = conv / np.float32(gain(conv.shape[2] * 9))
        found[f"{second}/bias"] = arrays[f"b{r}.conv.bias"]
    for r in (4 << i for i in range(top + 1 - level, top + 1)):
        for layer in ("Conv0_up" if fused else "Conv0", "Conv1"):
            found[f"{r}x{r}/{layer}/weight"] = random.randn(3, 3, 2, 2).astype(np.float32)
            found[f"{r}x{r}/{layer}/bias"] = np.zeros(2, np.float32)
    for i in range(top + 1):
        ours = {level: "torgb", level + 1: "torgb_before"}.get(i)
        if f"{ours}.weight" in arrays:
            weight, bias = arrays[f"{ours}.weight"].transpose(2, 3, 1, 0), arrays[f"{ours}.bias"]
            weight = weight / np.float32(gain(weight.shape[2], relu=False))
        else:
            weight, bias = random.randn(1, 1, 2, network.img_channels), random.randn(network.img_channels)
        found[f"ToRGB_lod{i}/weight"], found[f"ToRGB_lod{i}/bias"] = np.float32(weight), np.float32(bias)
    return found


def tf_progan(network, fused=True, scaled=True, **static_kwargs):
    """A `ProGANGenerator` of ours as a TensorFlow network. static_kwargs: further recorded arguments."""
    kwargs = network.init_kwargs
    given = dict(
        num_channels=network.img_channels,
        resolution=network.img_resolution,
        label_size=network.c_dim,
        latent_size=network.z_dim,
        use_wscale=scaled,
        fused_scale=fused,
        normalize_latents=kwargs["normalize_latents"],
        use_pixelnorm=kwargs["pixel_norm"],
        pixelnorm_epsilon=kwargs["epsilon"],
        use_leakyrelu=kwargs["slope"] != 0,
    )
    level = int(math.log2(network.img_resolution)) - 1 - len(network.block_resolutions)
    found = progan_variables(network, fused, scaled, lod=level + kwargs["fade"])
    return Recorded(PROGAN, state_of_network("Gs", "G_paper", given | static_kwargs, found, 2))


def write_tf_stylegan2(path, network, protocol=4, **kwargs):
    """A TensorFlow StyleGAN2 pickle of our network. kwargs: of `tf_stylegan2`."""
    return write_tf_pickle(path, as_file(tf_stylegan2(network, **kwargs)), protocol)


def write_tf_progan(path, network, protocol=4, **kwargs):
    """A TensorFlow ProGAN pickle of our network. kwargs: of `tf_progan`."""
    return write_tf_pickle(path, as_file(tf_progan(network, **kwargs)), protocol)


# ---------------------------------------------------------------------------------------------------------------------
# From goldens: networks of the official code, as their classes recorded them


def golden_record(name):
    """(the network of tests/goldens/NAME.npz as a `Recorded`, the golden's arrays)."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return record_of(arrays), arrays


def golden_discriminator(name):
    """(the network NAME of tests/goldens/discriminator-tf.npz as a `Recorded`, the golden's arrays)."""
    with np.load(GOLDENS / "discriminator-tf.npz") as file:
        arrays = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
        return record_of(arrays), arrays | dict(img=file["img"])


def record_of(arrays):
    """The network of a golden's arrays as a `Recorded`."""
    config = json.loads(str(arrays["config"]))
    if "build_func_spec" in config:
        names = sorted(key for key in arrays if key.startswith("parameters/"))
        parameters = [Python2Array(arrays[name]) for name in names]
        levels = dict(cur_lod=Python2Array(arrays["cur_lod"]))
        return Recorded(THEANO, config | dict(param_values=parameters, toplevel_params=levels))

    def record(config, prefix):
        names = [key for key in arrays if key.startswith(prefix) and not key.startswith(other_parts(config, prefix))]
        state = config | dict(variables=[(key.removeprefix(prefix), scalar(arrays[key])) for key in names])
        if "components" in config:
            parts = config["components"].items()
            state["components"] = {part: record(child, f"{prefix}{part}/") for part, child in parts}
        return Recorded(STYLEGAN2 if config["version"] > 2 else PROGAN, state)

    return record(config, "variables/")


def other_parts(config, prefix):
    return tuple(f"{prefix}{part}/" for part in config.get("components", ()))


def scalar(array):
    """TensorFlow returns variables without dimensions as NumPy's scalars."""
    return array[()] if array.ndim == 0 else array


def golden_inputs(arrays):
    return torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["c"])
