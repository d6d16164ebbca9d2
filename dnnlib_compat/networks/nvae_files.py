"""Official NVAE checkpoints (NVlabs/NVAE): from their tensors and training arguments to an `NVAEGenerator`."""

import torch

from dnnlib_compat.arguments import check_arguments
from dnnlib_compat.assemble import fit_tensors
from dnnlib_compat.errors import NetworkFileError, naming, quoted
from dnnlib_compat.networks.nvae import NVAEGenerator
from dnnlib_compat.networks.nvae_cells import ARCHITECTURES, NormedConv2d
from dnnlib_compat.networks.nvae_outputs import BernoulliOutput, LogisticMixtureOutput, NormalOutput

# Tensors of the encoder and its normalising flows; the flows act on the encoder's distributions only.
ENCODER = ("stem.", "pre_process.", "enc_tower.", "enc0.", "enc_sampler.", "nf_cells.")
# Counters nobody reads, and second names of filters that training refers to.
REDUNDANT = (".num_batches_tracked", ".weight_normalized")
WRAPPER = "module."  # what DataParallel puts before every name
CONSTANT, HEAD = "prior_ftr0", "image_conditional.1"
LOG_NORM = "log_weight_norm"
NORM_EPS = 1e-5
MAX_DOUBLINGS = 12

COUNTS = {
    "num_latent_scales": None,
    "num_groups_per_scale": None,
    "num_latent_per_group": None,
    "num_channels_dec": None,
    "num_cell_per_cond_dec": None,
    "num_postprocess_blocks": None,
    "num_postprocess_cells": None,
    "min_groups_per_scale": 1,  # older releases lack the last two arguments
}
SWITCHES = {"use_se": None, "ada_groups": False}


def is_nvae(names):
    """Whether tensors of these names are those of an NVAE."""
    names = {name.removeprefix(WRAPPER) for name in names}
    return {CONSTANT, f"{HEAD}.weight"} <= names


def convert_nvae(tensors, args, path):
    """(constructor arguments, state dict) of an `NVAEGenerator` from an official checkpoint.

    tensors: {official name: tensor}, its "state_dict"; the encoder's are ignored. args: its training arguments as a
    dictionary; those that older releases lack get the values of the time. The output distribution and the resolution
    follow from the tensors, so data sets that the official code does not know are fine. The stored values count for
    res_elu too, whose convolutions the official code initialises anew from the first batch after loading. The tensors
    returned are float32 and independent of the given ones. Raises NetworkFileError for anything missing, surplus or
    misfit.
    """
    with naming(path):
        return _convert({name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}, args)


def _convert(tensors, args):
    if not isinstance(args, dict):
        raise NetworkFileError(f"its training arguments are a {type(args).__name__}, not an argparse.Namespace")
    kwargs = constructor_arguments(tensors, args)
    check_arguments(kwargs, "its training arguments")
    try:
        with torch.device("meta"):
            network = NVAEGenerator(**kwargs)
    except (ValueError, RuntimeError) as error:  # sizes that do not fit together, or that no machine holds
        raise NetworkFileError(f"its arguments do not build an NVAE: {error}") from None
    ignored = ENCODER if network.start is not None else (*ENCODER, CONSTANT)
    tensors = {k: v for k, v in tensors.items() if not k.startswith(ignored) and not k.endswith(REDUNDANT)}
    expected = network.state_dict()
    names = {} if network.start is None else {CONSTANT: "start"}
    for ours, theirs in layer_names(network):
        layer = network.get_submodule(ours)
        names |= {f"{theirs}.{part}": f"{ours}.{part}" for part in layer.state_dict()}
        if isinstance(layer, NormedConv2d):
            names[f"{theirs}.{LOG_NORM}"] = f"{ours}.{LOG_NORM}"
            expected[f"{ours}.{LOG_NORM}"] = torch.empty(layer.out_channels, 1, 1, 1, device="meta")
    state = fit_tensors(tensors, names, expected, "an NVAE of its arguments")
    folded = {}
    for name in (name for name in state if name.endswith(f".{LOG_NORM}")):
        weight = f"{name.removesuffix(LOG_NORM)}weight"
        folded[weight] = filters(state[weight], state[name])
    return kwargs, {k: folded.get(k, state[k]) for k in network.state_dict()}


def filters(direction, log_norm):
    """Filters [n_out, n_in, k, k] of a direction of any length and a logarithmic length [n_out, 1, 1, 1]."""
    length = direction.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    return log_norm.exp() * direction / (length + NORM_EPS)


def constructor_arguments(tensors, args):
    """The keyword arguments of `NVAEGenerator` from a file's tensors and training arguments."""
    counts = {name: argument(args, name, int, default) for name, default in COUNTS.items()}
    switches = {name: argument(args, name, bool, default) for name, default in SWITCHES.items()}
    architecture = argument(args, "arch_instance", str)
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise NetworkFileError(f"its arch_instance is {quoted(architecture)}, not one of {known}")
    scales, blocks, per_group = (
        counts[f"num_{name}"] for name in ("latent_scales", "postprocess_blocks", "cell_per_cond_dec")
    )
    if scales < 1 or scales - 1 + blocks > MAX_DOUBLINGS:
        raise NetworkFileError(
            f"its arguments say {scales} scales and {blocks} blocks behind them, not a network's sizes"
        )
    finest = counts["num_groups_per_scale"]
    groups = [finest]
    for _ in range(scales - 1):
        groups.append(max(groups[-1] // 2, counts["min_groups_per_scale"]) if switches["ada_groups"] else finest)
    # Sizes are bounded by what the file holds before anything is built from them.
    check_cells(tensors, "dec_tower", 0 if groups == [1] else sum(groups) * (per_group + 1) - per_group + scales - 1)
    check_cells(tensors, "post_process", blocks * counts["num_postprocess_cells"])
    output, components = output_of(shape_of(tensors, f"{HEAD}.weight", 4)[0])
    return dict(
        img_resolution=shape_of(tensors, CONSTANT, 3)[-1] << scales - 1 + blocks,
        output=output,
        channels=counts["num_channels_dec"],
        latent_channels=counts["num_latent_per_group"],
        groups_per_scale=groups[::-1],
        cells_per_group=per_group,
        post_blocks=blocks,
        post_cells=counts["num_postprocess_cells"],
        use_se=switches["use_se"],
        architecture=architecture,
        components=components,
    )


def argument(args, name, kind, default=None):
    """One training argument of the right kind; counts are non-negative."""
    value = args.get(name, default)
    if value is None:
        raise NetworkFileError(f"its training arguments lack {name}, which tells the shape of an NVAE")
    if type(value) is not kind or kind is int and not 0 <= value <= 1 << 16:
        raise NetworkFileError(f"its training argument {name} is {quoted(value)}, not a usable {kind.__name__}")
    return value


def check_cells(tensors, part, expected):
    found = len({name.split(".")[1] for name in tensors if name.startswith(f"{part}.")})
    if found != expected:
        raise NetworkFileError(f"its training arguments make {expected} cells of {part}, but it holds {found}")


def shape_of(tensors, name, ndim):
    if not torch.is_tensor(tensors.get(name)):
        raise NetworkFileError(f"does not fit an NVAE: {name} is missing")
    if tensors[name].ndim != ndim:
        raise NetworkFileError(f"does not fit an NVAE: {name} is {list(tensors[name].shape)}, not of {ndim} dimensions")
    return tensors[name].shape


def output_of(parameters):
    """(name, components) of the output distribution with so many parameters per pixel."""
    fixed = {cls.parameters: cls.name for cls in (BernoulliOutput, NormalOutput)}
    if parameters in fixed:
        return fixed[parameters], 0
    if parameters and parameters % 10 == 0:
        return LogisticMixtureOutput.name, parameters // 10
    raise NetworkFileError(f"its last layer has {parameters} channels: 1, 6 or a multiple of 10 would be an NVAE's")


def layer_names(network):
    """(our name, official name) of every layer with tensors."""
    place = 0  # in the official list, which holds cells and mergers in one row
    for k, group in enumerate(network.tower):
        for j, cell in enumerate(group.cells):
            yield from cell_names(cell, f"tower.{k}.cells.{j}", f"dec_tower.{place}")
            place += 1
        if group.prior is not None:
            yield f"tower.{k}.prior", f"dec_sampler.{k - 1}.1"
        yield f"tower.{k}.merge", "stem_decoder" if network.start is None else f"dec_tower.{place}.conv"
        place += 1
    for k, cell in enumerate(network.post):
        yield from cell_names(cell, f"post.{k}", f"post_process.{k}")
    yield "head", HEAD


def cell_names(cell, ours, theirs):
    if cell.skip is not None:
        yield f"{ours}.skip", f"{theirs}.skip.1"
    for k, op in enumerate(cell.ops):
        for name, official in op.official.items():
            if getattr(op, name) is not None:
                yield f"{ours}.ops.{k}.{name}", f"{theirs}._ops.{k}.{official}"
    if cell.se is not None:
        yield f"{ours}.se.squeeze", f"{theirs}.se.se.0"
        yield f"{ours}.se.excite", f"{theirs}.se.se.2"
