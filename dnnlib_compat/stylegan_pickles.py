"""Official StyleGAN2-ADA and StyleGAN3 pickles: from records to this package's own networks."""

import inspect

from dnnlib_compat.assemble import ALLOW_CODE_HINT, assemble
from dnnlib_compat.budgets import MAX_SIZE
from dnnlib_compat.errors import NetworkFileError, quoted, shown
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator
from dnnlib_compat.pickle_records import PersistentRecord
from dnnlib_compat.unpickle import refuse_inert

# A family is told by the class names inside a pickle; the record of the whole network says only "Generator".
FAMILY_MARKS = {
    "SynthesisInput": StyleGAN3Generator,
    "SynthesisBlock": StyleGAN2Generator,
    "DiscriminatorEpilogue": StyleGAN2Discriminator,
}

# What the constructors set themselves, so no file may.
DERIVED_ARGUMENTS = {"self", "z_dim", "c_dim", "w_dim", "num_ws", "img_resolution", "img_channels"}


def select_record(content, key, path):
    """The module record stored under `key` in an official pickle's dictionary; the others may be of any make."""
    refuse_inert(content.get(key) if isinstance(content, dict) else content, path)
    if isinstance(content, PersistentRecord):
        return content  # some forks pickle the generator alone
    if not isinstance(content, dict):
        raise NetworkFileError(f"{path}: holds a {type(content).__name__}, not the dictionary of an official pickle")
    record = content.get(key)
    if not isinstance(record, PersistentRecord):
        networks = [name for name, value in content.items() if isinstance(value, PersistentRecord)]
        listed = shown(", ".join(map(str, networks)) or "none")
        raise NetworkFileError(f"{path}: has no network under {quoted(key)}; its networks: {listed}")
    return record


def build_from_record(record, path):
    """Our own network with the constructor arguments and tensors of an official one."""
    family = family_of(record, path)
    arguments = discriminator_arguments if family is StyleGAN2Discriminator else generator_arguments
    kwargs = arguments(record, family, path)
    tensors = {}
    for name, value in record.tensors().items():
        try:
            tensors[name] = value.decode()
        except NetworkFileError as error:
            raise NetworkFileError(f"{path}: {shown(name)}: {error}; download the file again") from None
    return assemble(family, kwargs, tensors, path)


def family_of(record, path):
    names = record.class_names()
    for mark, family in FAMILY_MARKS.items():
        if mark in names:
            return family
    listed = shown(", ".join(sorted(map(str, names))))
    raise NetworkFileError(
        f"{path}: not a StyleGAN2 or StyleGAN3 generator, its classes are {listed}; {ALLOW_CODE_HINT}"
    )


def recorded_call(record, sizes, further, path):
    """Keyword arguments of the recorded constructor call. sizes: the names of its first parameters, which are checked;
    further: of those that may follow by position."""
    args, kwargs = record.state.get("_init_args"), record.state.get("_init_kwargs")
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise NetworkFileError(f"{path}: does not record how its {shown(record.class_name).lower()} was constructed")
    positional = [*sizes, *further]
    twice = [name for name in positional[: len(args)] if name in kwargs]
    if twice or len(args) > len(positional):
        raise NetworkFileError(f"{path}: its constructor call lacks names for its arguments")
    kwargs = dict(zip(positional, args)) | dict(kwargs)
    missing = [name for name in sizes if name not in kwargs]
    if missing:
        raise NetworkFileError(f"{path}: its constructor call lacks {', '.join(missing)}")
    for name in sizes:
        if type(kwargs[name]) is not int or not 0 <= kwargs[name] <= MAX_SIZE:
            raise NetworkFileError(f"{path}: {name} is {quoted(kwargs[name])}, not a size")
    return kwargs


def generator_arguments(record, family, path):
    """Keyword arguments of a generator's recorded call, checked name by name against what the family accepts."""
    sizes = ["z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"]
    further = ["mapping_kwargs", "synthesis_kwargs"]
    args = record.state.get("_init_args")
    if isinstance(args, tuple) and len(args) > len(sizes) and type(args[len(sizes)]) is bool:
        further = ["square", *further]  # a fork for pictures of people
    kwargs = recorded_call(record, sizes, further, path)
    for place in (kwargs, kwargs.get("synthesis_kwargs")):
        if isinstance(place, dict) and place.pop("square", True) is not True:
            raise NetworkFileError(
                f"{path}: makes images that are not square (square=False), which this project does not know; "
                "if you trust the file, --allow-code runs its own code"
            )
    flat = {name: value for name, value in kwargs.items() if name not in sizes}
    check_keywords(flat.pop("mapping_kwargs", None) or {}, family.mapping_class, "mapping", path)
    if family is StyleGAN2Generator and is_ada_release(record, flat):
        kwargs["synthesis_kwargs"] = flat.pop("synthesis_kwargs", None) or {}
        check_keywords(kwargs["synthesis_kwargs"], family.synthesis_class, "synthesis", path)
    check_keywords(flat, family.synthesis_class, "synthesis", path)
    return kwargs


def discriminator_arguments(record, family, path):
    """Keyword arguments of a discriminator's recorded call, checked name by name.

    The releases differ in their default clamp, so where the call names none, the last block's convolution does.
    """
    sizes = ["c_dim", "img_resolution", "img_channels"]
    further = ["architecture", "channel_base", "channel_max", "num_fp16_res", "conv_clamp", "cmap_dim"]
    kwargs = recorded_call(record, sizes, [*further, "block_kwargs", "mapping_kwargs", "epilogue_kwargs"], path)
    for name in ("block", "mapping", "epilogue"):
        check_keywords(kwargs.get(f"{name}_kwargs") or {}, getattr(family, f"{name}_class"), name, path)
    check_keywords({k: v for k, v in kwargs.items() if k not in sizes}, family, "discriminator", path)
    if "conv_clamp" not in kwargs:
        layer = record.children()["b4"].children().get("conv") if "b4" in record.children() else None
        clamp = layer.state.get("conv_clamp") if layer else None
        kwargs["conv_clamp"] = clamp if type(clamp) in (int, float) else None
    return kwargs


def is_ada_release(record, kwargs):
    """Whether a StyleGAN2 pickle comes from the StyleGAN2-ADA release, whose `conv_clamp` defaults to None.

    That release nests the synthesis arguments; where there are none, its blocks lack the attribute
    `fused_modconv_default` of the later one.
    """
    if "synthesis_kwargs" in kwargs:
        return True
    blocks = record.children()["synthesis"].children().values() if "synthesis" in record.children() else ()
    return not any("fused_modconv_default" in block.state for block in blocks)


def check_keywords(kwargs, cls, where, path):
    if not isinstance(kwargs, dict):
        raise NetworkFileError(f"{path}: its {where} arguments are a {type(kwargs).__name__}, not keywords")
    accepted = set(inspect.signature(cls.__init__).parameters) - DERIVED_ARGUMENTS
    unknown = [str(name) for name in kwargs if name not in accepted]
    if unknown:
        raise NetworkFileError(f"{path}: unknown {where} argument {shown(', '.join(unknown))}; {ALLOW_CODE_HINT}")
