"""State dicts of BigGANs in the shapes of the published files."""

import json
import math
import zlib

import numpy as np
import torch
from conftest import GOLDENS

from dnnlib_compat.networks.biggan_files import (
    HF_DEFAULTS,
    convert_biggan,
    convert_biggan_hf,
    is_biggan,
    is_biggan_hf,
)

VARIANTS = json.loads((GOLDENS / "biggan-variants.json").read_text())


WIDTHS = {  # resolution: multiples of the channels at the bottom and after each stage
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


def conv_shapes(name, n_in, n_out, kernel=3, bias=True):
    return {f"{name}.weight": (n_out, n_in, kernel, kernel)} | ({f"{name}.bias": (n_out,)} if bias else {})


def attention_shapes(name, n, theta="theta", phi="phi", g="g", o="o"):
    shapes = conv_shapes(f"{name}.{theta}", n, n // 8, 1, False) | conv_shapes(f"{name}.{phi}", n, n // 8, 1, False)
    return shapes | conv_shapes(f"{name}.{g}", n, n // 2, 1, False) | conv_shapes(f"{name}.{o}", n // 2, n, 1, False)


def block_shapes(name, n_in, n_out, deep):
    """Convolutions, and {normalisation: channels}."""
    if not deep:
        convs = conv_shapes(f"{name}.conv1", n_in, n_out) | conv_shapes(f"{name}.conv2", n_out, n_out)
        return convs | conv_shapes(f"{name}.conv_sc", n_in, n_out, 1), {"bn1": n_in, "bn2": n_out}
    h = n_in // 4
    convs = conv_shapes(f"{name}.conv1", n_in, h, 1) | conv_shapes(f"{name}.conv2", h, h)
    convs |= conv_shapes(f"{name}.conv3", h, h) | conv_shapes(f"{name}.conv4", h, n_out, 1)
    return convs, {"bn1": n_in, "bn2": h, "bn3": h, "bn4": h}


def statistics_shapes(name, n, form):
    if form == "mybn":
        return {f"{name}.bn.{k}": (n,) for k in ("stored_mean", "stored_var")} | {
            f"{name}.bn.accumulation_counter": (1,)
        }
    if form == "cross_replica":
        return {f"{name}.bn.running_{k}": (n,) for k in ("mean", "var")} | {f"{name}.bn.num_batches_tracked": ()}
    return {} if form == "nonorm" else {f"{name}.stored_{k}": (n,) for k in ("mean", "var")}


def official_shapes(
    deep=False,
    G_ch=64,
    resolution=128,
    dim_z=128,
    n_classes=1000,
    shared_dim=0,
    G_attn="64",
    hier=False,
    G_shared=True,
    G_param="SN",
    num_G_SVs=1,
    G_depth=2,
    mybn=False,
    cross_replica=False,
    norm_style="bn",
    **others,
):
    """{name: shape} of a generator's state dict in BigGAN-PyTorch, for the keywords of its constructor."""
    widths = [G_ch * k for k in WIDTHS[resolution]]
    shared_dim = shared_dim or dim_z
    chunk = dim_z // len(widths)
    form = "mybn" if mybn else "cross_replica" if cross_replica else norm_style
    if deep:
        linear_in = condition = dim_z + shared_dim
    else:
        linear_in, condition = (chunk, shared_dim + chunk) if hier else (dim_z, shared_dim)
    shapes = {"linear.weight": (widths[0] * 16, linear_in), "linear.bias": (widths[0] * 16,)}
    index = 0
    for stage, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:])):
        for turn in range(G_depth if deep else 1):
            name = f"blocks.{index}.0"
            convs, norms = block_shapes(name, n_in, n_in if deep and turn == 0 else n_out, deep)
            shapes |= convs
            for norm, n in norms.items():
                rows = (n, condition) if G_shared else (n_classes, n)
                shapes |= {f"{name}.{norm}.gain.weight": rows, f"{name}.{norm}.bias.weight": rows}
                shapes |= statistics_shapes(f"{name}.{norm}", n, form)
            index += 1
        if str(8 * 2**stage) in G_attn.split("_"):
            shapes |= {f"blocks.{index - 1}.1.gamma": ()} | attention_shapes(f"blocks.{index - 1}.1", n_out)
    shapes |= {f"output_layer.0.{k}": (widths[-1],) for k in ("gain", "bias")}
    shapes |= statistics_shapes("output_layer.0", widths[-1], form if form in ("mybn", "cross_replica") else "bn")
    shapes |= conv_shapes("output_layer.2", widths[-1], 3)
    for name in [name for name in shapes if name.endswith(".weight") and G_param == "SN"]:
        if G_shared or ".bn" not in name:
            layer = name.removesuffix(".weight")
            for k in range(num_G_SVs):
                shapes |= {f"{layer}.u{k}": (1, shapes[name][0]), f"{layer}.sv{k}": (1,)}
    return shapes | ({"shared.weight": (n_classes, shared_dim)} if G_shared else {})


def official_shapes_hf(**config):
    """{name: shape} of a generator's state dict in pytorch-pretrained-BigGAN, for its configuration."""
    config = HF_DEFAULTS | config
    ch, z_dim, place = config["channel_width"], config["z_dim"], config["attention_layer_position"]
    weights = {"generator.gen_z.weight": (256 * ch, 2 * z_dim)}
    shapes = {"generator.gen_z.bias": (256 * ch,), "embeddings.weight": (z_dim, config["num_classes"])}
    norms = {"generator.bn": ch}
    index = 0
    for k, (_, n_in, n_out) in enumerate(config["layers"]):
        if k == place:
            names = [f"snconv1x1_{part}" for part in ("theta", "phi", "g", "o_conv")]
            weights |= attention_shapes(f"generator.layers.{index}", ch * n_in, *names)
            shapes |= {f"generator.layers.{index}.gamma": (1,)}
            index += 1
        convs, sizes = block_shapes("block", ch * n_in, ch * n_out, deep=True)
        for name, shape in convs.items():
            part, suffix = name.split(".")[1:]
            (weights if suffix == "weight" else shapes)[
                f"generator.layers.{index}.conv_{int(part[-1]) - 1}.{suffix}"
            ] = shape
        for norm, n in enumerate(sizes.values()):
            name = f"generator.layers.{index}.bn_{norm}"
            weights |= {f"{name}.scale.weight": (n, 2 * z_dim), f"{name}.offset.weight": (n, 2 * z_dim)}
            norms[name] = n
        index += 1
    weights |= {"generator.conv_to_rgb.weight": (ch, ch, 3, 3)}
    shapes |= {"generator.conv_to_rgb.bias": (ch,), "generator.bn.weight": (ch,), "generator.bn.bias": (ch,)}
    for name, n in norms.items():
        shapes |= {f"{name}.running_{part}s": (config["n_stats"], n) for part in ("mean", "var")}
    for name, shape in weights.items():
        sizes = dict(orig=shape, u=shape[:1], v=(math.prod(shape[1:]),))
        shapes |= {f"{name}_{part}": size for part, size in sizes.items()}
    return shapes


def noise(name, shape):
    """A float32 tensor that depends on the name, the same to the bit everywhere, of a size that suits its part."""
    values = np.random.RandomState(zlib.crc32(name.encode())).randint(-128, 128, size=shape)
    values = np.asarray(values, np.float32) / 128
    part = name.rpartition(".")[2]
    if part == "accumulation_counter":
        return torch.full(shape, 16.0)
    if part == "num_batches_tracked":
        return torch.tensor(1000)
    if "var" in part:
        values = 1 + values / 2
    elif part in ("weight", "weight_orig") and len(shape) > 1:
        values = values * np.float32((3 / math.prod(shape[1:])) ** 0.5)
    elif name in ("output_layer.0.gain", "generator.bn.weight"):
        values = values / 4  # so that tanh does not saturate
    elif part == "bias":
        values = values / 16  # so that the latent matters
    elif part == "gamma":
        values = values + 2
    if ".bn.stored_" in name:
        values = values * 16  # the sum of as many batches as the counter says
    return torch.from_numpy(np.asarray(values, np.float32))


def noisy(shapes):
    """Noise for all names; singular vectors of pytorch-pretrained-BigGAN are nearly those of their weights."""
    tensors = {name: noise(name, shape) for name, shape in shapes.items()}
    for name in [name.removesuffix("_orig") for name in shapes if name.endswith("_orig")]:
        matrix, u = tensors[f"{name}_orig"].flatten(1).double(), tensors[f"{name}_u"].double()
        for _ in range(3):
            v = torch.nn.functional.normalize(u @ matrix, dim=0)
            u = torch.nn.functional.normalize(matrix @ v, dim=0)
        tensors |= {f"{name}_u": u.float(), f"{name}_v": v.float()}
    return tensors


def converted(tensors, config=None):
    """The network of a file's tensors, through JSON as a stored one goes, with nothing left over or random."""
    if config is None:
        assert is_biggan(tensors) and not is_biggan_hf(tensors)
        family, kwargs, state = convert_biggan(tensors, "file")
    else:
        assert is_biggan_hf(tensors) and not is_biggan(tensors)
        family, kwargs, state = convert_biggan_hf(tensors, config, "file")
    assert not tensors  # so that the caller's dictionary does not keep them in memory
    with torch.device("meta"):
        network = family(**json.loads(json.dumps(kwargs)))
    assert {name: t.shape for name, t in state.items()} == {name: t.shape for name, t in network.state_dict().items()}
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in state.values())
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def variant_network(name):
    config = VARIANTS[name]
    if name.startswith("hf"):
        return converted(noisy(official_shapes_hf(**config)), config)
    tensors = noisy(official_shapes(**config))
    if name == "tfhub":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(".sv0")}
    return converted(tensors)
