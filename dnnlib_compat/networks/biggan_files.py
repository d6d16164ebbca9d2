"""Weights of BigGAN-PyTorch and pytorch-pretrained-BigGAN for our networks.

Both store weights undivided, beside vectors that their spectral norms are estimated from (Miyato et al.,
arXiv:1802.05957). What the official evaluation mode divides by in every call is divided by here once.

The converters move the tensors out of the dictionary that they are given, and divide them one by one, so that a large
file is not in memory twice.
"""

import math
import re

import torch
import torch.nn.functional as F

from dnnlib_compat.assemble import fit_tensors, owned
from dnnlib_compat.errors import NetworkFileError, naming, quoted
from dnnlib_compat.networks.biggan import BigGANGenerator
from dnnlib_compat.networks.biggan_deep import BigGANDeepGenerator, BigGANDeepHFGenerator

PREFIX = "module."  # of every name in a file that torch.nn.DataParallel has saved
EPS, TFHUB_EPS = 1e-5, 1e-4
LARGEST_SIZE, MOST_LAYERS = 1 << 16, 64

# pytorch-pretrained-BigGAN's configuration for what a config.json lacks: that of 128 pixels. The keys `output_dim` and
# `class_embed_dim` change nothing there.
HF_CHANNELS = (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1)
HF_DEFAULTS = dict(
    z_dim=128,
    channel_width=128,
    num_classes=1000,
    layers=[[k % 2 == 1, *pair] for k, pair in enumerate(zip(HF_CHANNELS[:-1], HF_CHANNELS[1:]))],
    attention_layer_position=8,
    eps=1e-4,
    n_stats=51,
)


def is_biggan(names):
    """Whether tensors of these names are a generator or a discriminator of BigGAN-PyTorch, plain or deep."""
    names = set(without_prefix(names))
    return "blocks.0.0.conv1.weight" in names and not names.isdisjoint({"linear.weight", "output_layer.2.weight"})


def is_biggan_hf(names):
    """Whether tensors of these names are a generator of pytorch-pretrained-BigGAN."""
    return {"embeddings.weight", "generator.gen_z.weight_orig"} <= set(without_prefix(names))


def without_prefix(names):
    """{name without the prefix that all of them have, if they have it: the name itself}."""
    names = list(names)
    cut = len(PREFIX) if names and all(name.startswith(PREFIX) for name in names) else 0
    return {name[cut:]: name for name in names}


def take(tensors):
    """The tensors without the prefix of their names, moved out of the dictionary `tensors`."""
    for name, tensor in tensors.items():
        if not torch.is_tensor(tensor):
            raise NetworkFileError(f"{name} is no tensor but of type {type(tensor).__name__}")
    return {name: tensors.pop(theirs) for name, theirs in without_prefix(tensors).items()}


def pop(tensors, name):
    if name not in tensors:
        raise NetworkFileError(f"{name} is missing")
    return tensors.pop(name)


def divided(weight, name, sigma):
    """weight / sigma(weight as a matrix [n_out, the rest]), in float32."""
    weight = owned(weight)
    norm = sigma(weight.flatten(1)) if weight.ndim > 1 else torch.tensor(torch.nan)
    if not 0 < norm < math.inf:
        raise NetworkFileError(f"{name} of shape {list(weight.shape)} has the spectral norm {norm:.4g}; damaged file?")
    return weight / norm


def vector(tensors, name, length):
    """Take the vector `name` out, whatever its shape."""
    tensor = pop(tensors, name)
    if tensor.numel() != length:
        raise NetworkFileError(f"{name} is {list(tensor.shape)} instead of {length} numbers")
    return owned(tensor.flatten())


# ---------------------------------------------------------------------------------------------------------------------
# BigGAN-PyTorch


def convert_biggan(tensors, path):
    """(network class, constructor arguments, state dict) from {name: tensor} of BigGAN-PyTorch, plain or deep.

    Empties `tensors`. The architecture is read off names and shapes: see `biggan_architecture`. Batch-norm statistics
    are found in one of these forms:

    * `stored_mean`, `stored_var`: used as they are. With `--norm_style nonorm` the blocks have none, and do not
      standardise.
    * `bn.stored_mean`, `bn.stored_var` (`--mybn`): divided by `bn.accumulation_counter` if that is above 1. They are
      "standing statistics" then, sums over as many batches; otherwise running averages, used as they are.
    * `bn.running_mean`, `bn.running_var` (`--cross_replica`): used as they are; see `adds_gain` there.

    Raises NetworkFileError for a discriminator and for missing, surplus or misfit tensors.
    """
    with naming(path):
        tensors = take(tensors)
        if "embed.weight" in tensors and "output_layer.2.weight" not in tensors:
            raise NetworkFileError("a BigGAN discriminator, which makes no images; take G_ema.pth or G.pth beside it")
        family, kwargs = biggan_architecture({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        with torch.device("meta"):
            expected = family(**kwargs).state_dict()
        names = {biggan_name(ours): ours for ours in expected}
        gather_statistics(tensors)
        if not any(re.fullmatch(r"blocks\..*\.stored_(mean|var)", name) for name in tensors):
            tensors |= indifferent_statistics(names, expected, kwargs["eps"])
        classwise = set() if kwargs["shared_dim"] else {name for name in names if re.search(r"\.bn\d\..*weight$", name)}
        divide_by_power_iteration(
            tensors, [name for name in names if name.endswith(".weight") and name not in classwise | {"shared.weight"}]
        )
        stored = dict(expected)
        for theirs, ours in names.items():
            if theirs.endswith(("stored_mean", "stored_var")):
                stored[ours] = expected[ours][0]
            elif theirs in classwise:
                stored[ours] = expected[ours].t()
            elif theirs.endswith(".gamma") and theirs in tensors and tensors[theirs].shape == (1,):
                stored[ours] = torch.empty(1, device="meta")  # what the converter of the TF Hub modules leaves
        state = fit_tensors(tensors, names, stored, f"a {family.family} generator")
        for ours, tensor in state.items():
            transposed = biggan_name(ours) in classwise
            state[ours] = tensor.t().contiguous() if transposed else tensor.reshape(expected[ours].shape)
        return family, kwargs, {name: state[name] for name in expected}


def biggan_architecture(shapes):
    """(network class, constructor arguments) from the official {name: shape}.

    These are what the official scripts take, for want of a trace in the file: ReLU; 3×3 convolutions; every block of
    BigGAN doubles the resolution; BigGAN-deep does it in the last block of a stage, and a stage has two blocks, except
    where all blocks have the same channels: that pattern is of the 32-pixel network, which has three stages. `eps` is
    the default 1e-5, but 1e-4 in a file that lacks the estimates `sv0` of the spectral norms: those were converted from
    the TF Hub modules, whose configuration has 1e-4. `adds_gain`: in the form of `--cross_replica`, the official
    evaluation mode adds the gain to the standardised features, where training on several devices multiplies.

    Raises NetworkFileError for names and shapes that are no generator's.
    """
    n_blocks = 1 + max(
        (int(match[1]) for name in shapes if (match := re.match(r"blocks\.(\d+)\.0\.", name))), default=0
    )
    convs = [f"blocks.{k}.0.conv1.weight" for k in range(n_blocks)]
    bottom = axis(shapes, convs[0], 1)
    linear_out, linear_in = axis(shapes, "linear.weight", 0), axis(shapes, "linear.weight", 1)
    bottom_width = math.isqrt(linear_out // bottom)
    if linear_out != bottom * bottom_width**2:
        raise NetworkFileError(f"linear.weight has {linear_out} rows, no square picture of {bottom} channels")
    n_classes, shared_dim = label_sizes(shapes, bottom)
    from_tfhub = any(name.endswith(".u0") for name in shapes) and not any(name.endswith(".sv0") for name in shapes)
    common = dict(
        n_classes=n_classes,
        attention=[k + 1 for k in range(n_blocks) if f"blocks.{k}.1.gamma" in shapes],
        shared_dim=shared_dim,
        bottom_width=bottom_width,
        img_channels=axis(shapes, "output_layer.2.weight", 0),
        eps=TFHUB_EPS if from_tfhub else EPS,
        adds_gain=any(name.endswith(".bn.running_mean") for name in shapes),
    )
    if "blocks.0.0.conv4.weight" in shapes:
        if linear_in <= shared_dim or not shared_dim:
            raise NetworkFileError(f"linear.weight has {linear_in} columns, too few for z and a shared embedding")
        pairs = [(axis(shapes, conv, 1), axis(shapes, conv.replace("conv1", "conv4"), 0)) for conv in convs]
        uniform = len({n for pair in pairs for n in pair}) == 1
        depth = n_blocks // 3 if uniform and n_blocks % 3 == 0 else 2
        blocks = [[n_in, n_out, k % depth == depth - 1] for k, (n_in, n_out) in enumerate(pairs)]
        return BigGANDeepGenerator, dict(z_dim=linear_in - shared_dim, blocks=blocks, **common)
    chunk = axis(shapes, "blocks.0.0.bn1.gain.weight", 1) - shared_dim if shared_dim else 0
    if chunk not in (0, linear_in):
        raise NetworkFileError(
            f"blocks.0.0.bn1.gain.weight has {shared_dim + chunk} columns instead of {shared_dim}, or "
            f"{shared_dim + linear_in} with hierarchical latents"
        )
    channels = [bottom] + [axis(shapes, conv, 0) for conv in convs]
    z_dim = linear_in * len(channels) if chunk else linear_in
    return BigGANGenerator, dict(z_dim=z_dim, channels=channels, hierarchical=chunk > 0, **common)


def axis(shapes, name, k):
    if name not in shapes:
        raise NetworkFileError(f"{name} is missing")
    if len(shapes[name]) <= k or shapes[name][k] == 0:
        raise NetworkFileError(f"{name} is {list(shapes[name])}, which is no weight")
    return shapes[name][k]


def label_sizes(shapes, bottom):
    """(number of classes, length of the shared embedding or 0). bottom: the first block's channels."""
    if "shared.weight" in shapes:
        return axis(shapes, "shared.weight", 0), axis(shapes, "shared.weight", 1)
    gain = "blocks.0.0.bn1.gain.weight"  # now one row for each class, and never with a spectral norm
    if axis(shapes, gain, 1) != bottom or "blocks.0.0.bn1.gain.u0" in shapes:
        raise NetworkFileError("shared.weight is missing")
    return axis(shapes, gain, 0), 0


def biggan_name(ours):
    """BigGAN-PyTorch's name of one of our tensors."""
    name = re.sub(r"^blocks\.(\d+)\.", r"blocks.\1.0.", ours)
    name = re.sub(r"^attention\.(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}.1.", name)
    name = name.replace("output_norm.", "output_layer.0.").replace("output_conv.", "output_layer.2.")
    return re.sub(r"\.(mean|var)$", r".stored_\1", name)


def gather_statistics(tensors):
    """Bring the statistics of `--mybn` and `--cross_replica` into the plain form, in place."""
    for name in list(tensors):
        if match := re.fullmatch(r"(.+)\.bn\.(stored|running)_(mean|var)", name):
            norm, form, part = match.groups()
            if f"{norm}.stored_{part}" in tensors:
                raise NetworkFileError(f"{name} and {norm}.stored_{part} are both there")
            count = batches(tensors, f"{norm}.bn.accumulation_counter") if form == "stored" else 1
            tensors[f"{norm}.stored_{part}"] = tensors.pop(name) / count
    for name in list(tensors):
        if name.endswith((".bn.accumulation_counter", ".bn.num_batches_tracked")):
            del tensors[name]


def batches(tensors, name):
    """How many batches the standing statistics of this counter are sums over; 1 for running averages."""
    if name not in tensors:
        raise NetworkFileError(f"{name} is missing")
    count = tensors[name]
    if count.numel() != 1 or not 0 <= count.item() < math.inf:
        raise NetworkFileError(f"{name} is {count.tolist()}, not a number of batches")
    return max(1.0, count.item())


def indifferent_statistics(names, expected, eps):
    """{official name: tensor}: statistics that make standardising the identity, for all blocks."""
    values = dict(stored_mean=0.0, stored_var=1 - eps)
    return {
        theirs: torch.full(expected[ours][0].shape, values[theirs.rpartition(".")[2]])
        for theirs, ours in names.items()
        if re.fullmatch(r"blocks\..*\.stored_(mean|var)", theirs)
    }


def divide_by_power_iteration(tensors, weights):
    """Divide the named weights by their spectral norms, in place, if the file has any estimates `u0`.

    v = u W normalised, sigma = |W v|: one step of the power iteration, which evaluation does in every call and does
    not store. Further singular vectors (u1, …) do not enter the first.
    """
    if not any(name.endswith(".u0") for name in tensors):
        return
    for name in weights:
        layer, weight = name.removesuffix(".weight"), pop(tensors, name)
        u = vector(tensors, f"{layer}.u0", len(weight) if weight.ndim else 1)
        tensors[name] = divided(weight, name, lambda w, u=u: (w @ F.normalize(u @ w, dim=0)).norm())
    layers = {name.removesuffix(".weight") for name in weights}
    for name in list(tensors):
        layer, _, part = name.rpartition(".")
        if layer in layers and re.fullmatch(r"sv\d+|u[1-9]\d*", part):
            del tensors[name]


# ---------------------------------------------------------------------------------------------------------------------
# pytorch-pretrained-BigGAN


def convert_biggan_hf(tensors, config, path):
    """(network class, constructor arguments, state dict) from {name: tensor} and config.json's dictionary.

    Empties `tensors`. The network sees the class before z, has channels before pixels, and has no output channels
    beyond RGB: the weights are rearranged accordingly. Raises NetworkFileError for an impossible configuration and for
    missing, surplus or misfit tensors.
    """
    with naming(path):
        kwargs = hf_architecture(config)
        tensors = take(tensors)
        with torch.device("meta"):
            expected = BigGANDeepHFGenerator(**kwargs).state_dict()
        names = {hf_name(ours, kwargs["attention"]): ours for ours in expected}
        what = "the BigGAN-deep of its config.json"
        weights = [name for name in names if name.endswith(".weight")]
        for name in [name for name in weights if name not in ("embeddings.weight", "generator.bn.weight")]:
            if f"{name}_orig" not in tensors:
                raise NetworkFileError(f"does not fit {what}: {name}_orig is missing")
            divide_by_stored_vectors(tensors, name)
        width = kwargs["blocks"][-1][1]
        stored = expected | {
            "shared.weight": expected["shared.weight"].t(),
            "output_conv.weight": torch.empty(width, width, 3, 3, device="meta"),
            "output_conv.bias": torch.empty(width, device="meta"),
        }
        stored |= {name: tensor[None] for name, tensor in expected.items() if name.endswith(".gamma")}
        state = fit_tensors(tensors, names, stored, what)
        tensors.clear()  # what is rearranged below is not needed twice
        for name in expected:
            state[name] = rearranged(name, state[name], kwargs)
        return BigGANDeepHFGenerator, kwargs, {name: state[name] for name in expected}


def hf_architecture(config):
    """Constructor arguments from the dictionary of a config.json; what it lacks has the original's default.

    Raises NetworkFileError for a configuration that cannot be built.
    """
    if not isinstance(config, dict):
        raise NetworkFileError(f"config.json holds a {type(config).__name__}, not an object of settings")
    config = HF_DEFAULTS | {key: value for key, value in config.items() if key in HF_DEFAULTS}
    for key, lowest in dict(z_dim=1, channel_width=3, num_classes=1, n_stats=2).items():
        if type(config[key]) is not int or not lowest <= config[key] <= LARGEST_SIZE:
            raise NetworkFileError(
                f"config.json: {key} is {quoted(config[key])}, not a whole number from {lowest} to {LARGEST_SIZE}"
            )
    place, eps, layers = config["attention_layer_position"], config["eps"], config["layers"]
    if type(place) is not int:
        raise NetworkFileError(f"config.json: attention_layer_position is {quoted(place)}, not a whole number")
    if type(eps) not in (int, float) or not 0 < eps < 1:
        raise NetworkFileError(f"config.json: eps is {quoted(eps)}, not a number between 0 and 1")
    check_hf_layers(layers)
    width = config["channel_width"]
    return dict(
        z_dim=config["z_dim"],
        n_classes=config["num_classes"],
        blocks=[[width * n_in, width * n_out, bool(upsamples)] for upsamples, n_in, n_out in layers],
        attention=[place] if 0 <= place < len(layers) else [],
        shared_dim=config["z_dim"],
        n_stats=config["n_stats"],
        eps=float(eps),
        output_eps=float(eps),
    )


def check_hf_layers(layers):
    """Raise NetworkFileError unless layers are [doubles the resolution, channels in, channels out], from 16 to 1."""
    if not isinstance(layers, list | tuple) or not 1 <= len(layers) <= MOST_LAYERS:
        raise NetworkFileError(f"config.json: layers is not a list of 1 to {MOST_LAYERS} layers")
    before = 16
    for k, layer in enumerate(layers):
        sound = isinstance(layer, list | tuple) and len(layer) == 3 and layer[0] in (False, True)
        if not sound or not all(type(n) is int and n > 0 for n in layer[1:]):
            raise NetworkFileError(
                f"config.json: layer {k} is {quoted(layer)}, not [true or false, channels in, channels out]"
            )
        _, n_in, n_out = layer
        if n_in != before or n_out not in (n_in, n_in / 2):
            raise NetworkFileError(
                f"config.json: layer {k} is from {n_in} to {n_out} channels, not from {before} to {before} or half"
            )
        before = n_out
    if before != 1:
        raise NetworkFileError(f"config.json: the last layer has {before} channels out instead of 1")


def hf_name(ours, attention):
    """pytorch-pretrained-BigGAN's name of one of our tensors; there attention counts as a layer."""
    if match := re.match(r"blocks\.(\d+)\.(.+)", ours):
        layer = int(match[1]) + sum(place <= int(match[1]) for place in attention)
        inner = re.sub(r"^(conv|bn)(\d)", lambda m: f"{m[1]}_{int(m[2]) - 1}", match[2])
        inner = inner.replace(".gain.", ".scale.").replace(".bias.weight", ".offset.weight")
        name = f"generator.layers.{layer}.{inner}"
    elif match := re.match(r"attention\.(\d+)\.(.+)", ours):
        inner = match[2].replace("o.weight", "o_conv.weight")
        name = f"generator.layers.{match[1]}.{inner if inner == 'gamma' else 'snconv1x1_' + inner}"
    else:
        name = ours.replace("shared.", "embeddings.").replace("linear.", "generator.gen_z.")
        name = name.replace("output_conv.", "generator.conv_to_rgb.").replace("output_norm.", "generator.bn.")
        name = name.replace("bn.gain", "bn.weight")
    return re.sub(r"\.(mean|var)$", r".running_\1s", name)


def divide_by_stored_vectors(tensors, name):
    """Divide the weight `name`, stored as NAME_orig, by u · W v of the stored vectors NAME_u and NAME_v, in place."""
    weight = tensors.pop(f"{name}_orig")
    rows = len(weight) if weight.ndim else 1
    u = vector(tensors, f"{name}_u", rows)
    v = vector(tensors, f"{name}_v", weight.numel() // max(rows, 1))
    tensors[name] = divided(weight, f"{name}_orig", lambda w: u @ (w @ v))  # instead of the copy in very old files


def rearranged(name, tensor, kwargs):
    """A tensor of the file in the order of our network."""
    if name == "shared.weight":
        return tensor.t().contiguous()
    if name.startswith("output_conv."):
        return tensor[:3].clone()
    if name.endswith(".gamma"):
        return tensor.reshape([])
    if name.startswith("linear."):  # its rows: pixels, then channels
        channels = kwargs["blocks"][0][0]
        tensor = tensor.unflatten(0, (-1, channels)).transpose(0, 1).flatten(0, 1)
    if name == "linear.weight" or name.endswith((".gain.weight", ".bias.weight")):
        tensor = tensor.roll(kwargs["shared_dim"], dims=1)  # z and the class have equally many columns
    return tensor
