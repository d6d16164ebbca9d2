"""Load a pre-trained generator from a file, an address or a short name."""

import inspect
import json
import zipfile
from pathlib import Path

import numpy as np
import torch

from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator
from dnnlib_compat.pretrained import locate
from dnnlib_compat.unpickle import PersistentRecord, read_pickle
from dnnlib_compat.util import atomic_output

# A family is told by the class names inside a pickle; the record of the whole network says only "Generator".
FAMILY_MARKS = {"SynthesisInput": StyleGAN3Generator, "SynthesisBlock": StyleGAN2Generator}
FAMILIES = {cls.family: cls for cls in FAMILY_MARKS.values()}

ALLOW_CODE_HINT = "a fork with changed source? If you trust the file, --allow-code runs its own code"

# What the constructors set themselves, so no file may.
DERIVED_ARGUMENTS = {"self", "z_dim", "c_dim", "w_dim", "num_ws", "img_resolution", "img_channels"}
TORCH_SAVE_MAGIC = 0x1950A86A20F9469CFC6C  # what files of old versions of torch.save begin with
MAX_DIMENSION = 1 << 16


def load_network(source, *, key="G_ema", device="cpu", allow_code=False):
    """The generator of `source`, in evaluation mode, float32, without gradients of its own.

    source: a short name of the catalogue, an http(s) address, or a file: an official StyleGAN2-ADA or StyleGAN3
    PyTorch pickle, or this project's own `.npz` format. key: which network of a pickle. Nothing from the file is
    executed, unless `allow_code` says so: then a pickle's own source code runs with your rights.

    Raises NetworkFileError (a ValueError) for a file that cannot be used, ValueError for an unknown name, OSError when
    a file or address cannot be read; each with one line that names the cause.
    """
    path = locate(source)
    kind = sniff(path)
    if kind == "npz":
        network = read_npz(path)
    elif allow_code:
        from dnnlib_compat.foreign import load_with_code

        network = load_with_code(path, key)
    else:
        network = build_from_record(select_record(read_pickle(path), key, path), path)
    return network.eval().requires_grad_(False).to(device)


def training_set(source):
    """What an official pickle says of the data set that it was trained on: {"path": …, "xflip": …}; else {}."""
    path = locate(source)
    try:
        recorded = read_pickle(path).get("training_set_kwargs") if sniff(path) == "pickle" else None
    except (NetworkFileError, AttributeError):
        return {}  # a file that only --allow-code reads, or no dictionary
    return recorded if isinstance(recorded, dict) else {}


def sniff(path):
    """ "npz" or "pickle", told from the first bytes. Raises NetworkFileError for anything else, and says what it is."""
    head, names = first_look(path)
    if names is not None:
        if "config.npy" in names:
            return "npz"
        raise NetworkFileError(
            f"{path}: an archive of another kind (a torch.save checkpoint or data set), not a StyleGAN network pickle"
        )
    if head[0] == 0x80 or head[:1] in b"(}]cd":
        return "pickle"
    raise NetworkFileError(f"{path}: not a network pickle (it starts with {head[:8]!r})")


def first_look(path):
    """(first bytes, names inside if it is a zip archive, else None) of a file that somebody takes for a network.

    Raises NetworkFileError for what downloads and checkouts leave behind instead: nothing, web pages, pointers, halves.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise NetworkFileError(f"{path}: the file is empty, download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise NetworkFileError(f"{path}: a web page, not a network; the server refused the download, get the file anew")
    if head.startswith(b"version https://git-lfs"):
        raise NetworkFileError(f"{path}: a Git LFS pointer, not a network; run `git lfs pull` or download the file")
    if not head.startswith(b"PK"):
        return head, None
    try:
        with zipfile.ZipFile(path) as archive:
            return head, archive.namelist()
    except zipfile.BadZipFile:
        raise NetworkFileError(f"{path}: a truncated or damaged archive, download it again") from None


def select_record(content, key, path):
    """The module record stored under `key` in an official pickle's dictionary."""
    if isinstance(content, PersistentRecord):
        return content  # some forks pickle the generator alone
    if content == TORCH_SAVE_MAGIC:
        raise NetworkFileError(f"{path}: a torch.save checkpoint, not a StyleGAN network pickle")
    if not isinstance(content, dict):
        raise NetworkFileError(f"{path}: holds a {type(content).__name__}, not the dictionary of an official pickle")
    record = content.get(key)
    if not isinstance(record, PersistentRecord):
        networks = [name for name, value in content.items() if isinstance(value, PersistentRecord)]
        listed = ", ".join(map(str, networks)) or "none"
        raise NetworkFileError(f"{path}: has no network under {key!r}; its networks: {listed}")
    return record


def build_from_record(record, path):
    """Our own network with the constructor arguments and tensors of an official one."""
    family = family_of(record, path)
    kwargs = constructor_arguments(record, family, path)
    tensors = {}
    for name, value in record.tensors().items():
        try:
            tensors[name] = value.decode()
        except NetworkFileError as error:
            raise NetworkFileError(f"{path}: {name}: {error}; download the file again") from None
    return assemble(family, kwargs, tensors, path)


def family_of(record, path):
    names = record.class_names()
    for mark, family in FAMILY_MARKS.items():
        if mark in names:
            return family
    listed = ", ".join(sorted(map(str, names)))
    raise NetworkFileError(
        f"{path}: not a StyleGAN2 or StyleGAN3 generator, its classes are {listed}; {ALLOW_CODE_HINT}"
    )


def constructor_arguments(record, family, path):
    """Keyword arguments of the recorded constructor call, checked name by name against what the family accepts."""
    args, kwargs = record.state.get("_init_args"), record.state.get("_init_kwargs")
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise NetworkFileError(f"{path}: does not record how its generator was constructed")
    positional = ["z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"]
    kwargs = dict(zip(positional, args)) | dict(kwargs)
    missing = [name for name in positional if name not in kwargs]
    if missing or len(args) > len(positional):
        raise NetworkFileError(f"{path}: its constructor call lacks {', '.join(missing) or 'names for its arguments'}")
    for name in positional:
        if type(kwargs[name]) is not int or not 0 <= kwargs[name] <= MAX_DIMENSION:
            raise NetworkFileError(f"{path}: {name} is {kwargs[name]!r}, not a size")

    flat = {name: value for name, value in kwargs.items() if name not in positional}
    check_keywords(flat.pop("mapping_kwargs", None) or {}, family.mapping_class, "mapping", path)
    if family is StyleGAN2Generator and is_ada_release(record, flat):
        kwargs["synthesis_kwargs"] = flat.pop("synthesis_kwargs", None) or {}
        check_keywords(kwargs["synthesis_kwargs"], family.synthesis_class, "synthesis", path)
    check_keywords(flat, family.synthesis_class, "synthesis", path)
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
        raise NetworkFileError(f"{path}: unknown {where} argument {', '.join(unknown)}; {ALLOW_CODE_HINT}")


def assemble(family, kwargs, tensors, path):
    """Build `family(**kwargs)` and fill it. Raises NetworkFileError naming every missing, surplus or misfit tensor."""
    try:
        with torch.device("meta"):  # sizes only: no random initialisation that would be overwritten
            network = family(**kwargs)
    except (TypeError, ValueError, KeyError, RuntimeError, ZeroDivisionError, AttributeError) as error:
        raise NetworkFileError(f"{path}: the recorded arguments do not build a {family.family} ({error})") from None
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is surplus" for name in tensors if name not in expected]
    for name, tensor in tensors.items():
        if name in expected and tensor.shape != expected[name].shape:
            problems.append(f"{name} is {list(tensor.shape)} instead of {list(expected[name].shape)}")
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise NetworkFileError(f"{path}: {broken[0]} holds NaN or infinity; the file is of a failed training run")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise NetworkFileError(
            f"{path}: does not fit a {family.family}: {'; '.join(problems[:3])}{more}; {ALLOW_CODE_HINT}"
        )
    floats = {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
    network.load_state_dict(floats, assign=True)
    return network


def write_npz(network, path, dtype=np.float16):
    """Store a generator in this project's own format: a compressed `.npz` of its tensors and constructor arguments.

    No pickle is involved. `dtype` float16 halves the size; scalars and filters stay float32. Raises ValueError for a
    network of another make (a fork's), whose classes this format does not know.
    """
    if network.family not in FAMILIES:
        raise ValueError(f"a network of the family {network.family!r} cannot be stored without its code")
    config = json.dumps(dict(family=network.family, kwargs=network.init_kwargs))
    arrays = {}
    for name, tensor in network.state_dict().items():
        keep = tensor.ndim == 0 or name.endswith("filter")
        arrays[f"state/{name}"] = tensor.cpu().numpy().astype(np.float32 if keep else dtype)
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        np.savez_compressed(file, config=np.array(config), **arrays)


def read_npz(path):
    """The generator stored by `write_npz`. Raises NetworkFileError when the file is damaged or of another make."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            config = json.loads(str(file["config"]))
            tensors = {name[6:]: torch.from_numpy(file[name]) for name in file.files if name.startswith("state/")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise NetworkFileError(f"{path}: a truncated or damaged network file ({error})") from None
    if config.get("family") not in FAMILIES:
        raise NetworkFileError(f"{path}: a network of the unknown family {config.get('family')!r}")
    return assemble(FAMILIES[config["family"]], config["kwargs"], tensors, path)
