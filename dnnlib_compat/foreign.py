"""Load a network pickle by running the Python code inside it: only where the user has said so.

Official pickles embed the source of their networks. A fork with changed networks cannot be rebuilt from this package's
own classes, so here its source is executed, on top of the user's checkout of the fork or of the stand-ins in `shims`.
The result is wrapped in this package's generator interface.
"""

import functools
import inspect
import io
import operator
import pickle
import re

import click
import torch

from dnnlib_compat.errors import NetworkFileError, naming, shown, text_of
from dnnlib_compat.networks.interface import Generator
from dnnlib_compat.pickle_scan import CHANGED, line_ends_changed
from dnnlib_compat.shims import MissingNameError, stand_ins
from dnnlib_compat.unpickle import check_pickle

SIZES = ("z_dim", "c_dim", "w_dim", "num_ws", "img_resolution", "img_channels")
PARTS = ("mapping", "synthesis")
RECONSTRUCT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
LOAD_STORAGE = ("torch.storage", "_load_from_bytes")


def load_with_code(path, key):
    """The generator under `key` of the pickle at `path`, made by **executing the code in the file**; on the CPU.

    Says so first, in one red line on stderr. Raises NetworkFileError, one line, for whatever goes wrong in the file or
    in its code; OSError when the file cannot be opened.
    """
    return execute(path, lambda content: ForeignGenerator(select_network(content, key)).float())


def load_module_with_code(path):
    """The one module that the pickle at `path` holds, a feature detector, say; otherwise as `load_with_code`."""
    return execute(path, select_module)


def execute(path, choose):
    """`choose(content)` of the pickle at `path`, after executing the code in the file."""
    with open(path, "rb") as file:
        # Of a damaged file no code is worth running, and the budgets hold for trusted files too.
        if line_ends_changed(file.read(1 << 20)):
            raise NetworkFileError(f"{path}: {CHANGED}")
        with naming(path):
            check_pickle(file)
        file.seek(0)
        click.secho(
            f"{path}: the Python code inside this file now runs, with all your rights on this machine",
            fg="red",
            err=True,
        )
        try:
            with stand_ins():
                return choose(CodeUnpickler(file).load())
        except NetworkFileError as error:
            raise NetworkFileError(f"{path}: {error}") from error
        except MemoryError:
            raise
        except (EOFError, pickle.UnpicklingError) as error:
            detail = one_line(error) or "the data ends too early"
            raise NetworkFileError(f"{path}: truncated or damaged, download it again ({detail})") from error
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            raise NetworkFileError(f"{path}: {describe(error)}") from error


class Missing:
    """Takes the place of an object that could not be made, until somebody needs it. `reason` says why.

    A file holds networks that nobody asks for (the discriminator, say), and those may need what isn't installed.
    """

    reason = ""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


def missing_class(error):
    """The subclass of Missing that stands for what failed with `error`."""
    return type("Missing", (Missing,), {"reason": describe(error)})


def describe(error):
    """One line on an exception of the file's code: what it lacks and the remedy, or what it raised."""
    missing = missing_name(error)
    if missing is None:
        return f"its own code failed ({type(error).__name__}: {one_line(error)})"
    return (
        f"its code needs {missing}, which cannot be imported; put the fork's checkout on PYTHONPATH, or install the "
        "package that has it"
    )


def missing_name(error):
    """The dotted name whose import failed, None when `error` is of another kind."""
    if isinstance(error, MissingNameError):
        return error.missing
    if not isinstance(error, ImportError):
        return None
    pair = re.match(r"cannot import name '([^']+)' from '([^']+)'", str(error))
    return f"{pair[2]}.{pair[1]}" if pair else error.name or one_line(error)


def one_line(error, limit=300):
    """The message of an exception without line breaks, escaped, cut at `limit` characters."""
    return shown(" ".join(text_of(error).split()), limit)


def storage_on_cpu(data):
    """A tensor storage of its encoded bytes, wherever it was saved from."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class CodeUnpickler(pickle.Unpickler):
    """The ordinary unpickler, with tensors on the CPU, and with `Missing` objects for what cannot be made."""

    def __init__(self, file):
        super().__init__(file)
        self.failed = {}  # source: the Missing object of its first failure, so that no source runs twice

    def find_class(self, module, name):
        if (module, name) == LOAD_STORAGE:
            return storage_on_cpu
        try:
            found = super().find_class(module, name)
        except Exception as error:  # importing runs code, which may raise anything
            return missing_class(error)
        return functools.partial(self.reconstruct, found) if (module, name) == RECONSTRUCT else found

    def reconstruct(self, function, meta):
        """`function(meta)`: the object of a record with source; a Missing object when its code fails."""
        source = meta.get("module_src")
        if source not in self.failed:
            try:
                return function(meta)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # the file's code may raise anything
                self.failed[source] = missing_class(error)()
        return self.failed[source]


def select_network(content, key):
    """The module under `key` of an unpickled file. Raises NetworkFileError when there is none or a part is Missing."""
    network = content
    if isinstance(content, dict):
        network = content.get(key)
    elif not isinstance(content, (torch.nn.Module, Missing)):  # some forks pickle the generator alone
        raise NetworkFileError(f"holds a {type(content).__name__}, not the dictionary of an official pickle")
    missing = first_missing(network, set())
    if missing is not None:
        raise NetworkFileError(missing.reason)
    if not isinstance(network, torch.nn.Module):
        names = [str(name) for name, value in content.items() if isinstance(value, (torch.nn.Module, Missing))]
        raise NetworkFileError(f"has no network under {key!r}; its networks: {', '.join(names) or 'none'}")
    return network


def select_module(content):
    """The module that an unpickled file consists of. Raises NetworkFileError when it is none, or a part is Missing."""
    missing = first_missing(content, set())
    if missing is not None:
        raise NetworkFileError(missing.reason)
    if not isinstance(content, torch.nn.Module):
        raise NetworkFileError(f"holds a {type(content).__name__}, not a network")
    return content


def first_missing(value, seen):
    """Some Missing object in a tree of modules and containers, None when there is none. `seen`: ids of visited ones."""
    if isinstance(value, Missing):
        return value
    if isinstance(value, torch.nn.Module):
        children = vars(value).values()
    elif isinstance(value, dict):
        children = value.values()
    else:
        children = value if isinstance(value, (list, tuple, set)) else ()
    if id(value) in seen:
        return None
    seen.add(id(value))
    found = (first_missing(child, seen) for child in children)
    return next((missing for missing in found if missing is not None), None)


class ForeignGenerator(Generator):
    """A generator made by a file's own code, whose module is `network`. Mapping and synthesis are the file's.

    Raises NetworkFileError when `network` lacks a part of the interface.
    """

    family = "foreign"
    normalizes_z = True

    def __init__(self, network):
        sizes = {name: size_of(network, name) for name in SIZES}
        absent = [name for name in PARTS if not callable(getattr(network, name, None))]
        absent += [name for name, size in sizes.items() if size is None]
        if absent:
            raise NetworkFileError(f"its {type(network).__name__} has no usable {', '.join(absent)}")
        num_ws = sizes.pop("num_ws")
        recorded = getattr(network, "_init_kwargs", None)
        super().__init__(**sizes, init_kwargs=dict(recorded) if isinstance(recorded, dict) else {})
        self.num_ws = num_ws
        self.network = network
        self.accepted = {
            name
            for part, names in (
                (network.mapping, ("truncation_psi", "truncation_cutoff")),
                (network.synthesis, ("noise_mode", "force_fp32")),
            )
            for name in names
            if accepts(part, name)
        }

    @property
    def w_avg(self):
        """The average style [w_dim] of the file's mapping network, or None."""
        return getattr(self.network.mapping, "w_avg", None)

    @property
    def input_transform(self):
        """The 3×3 transform buffer of the file's synthesis network, or None."""
        return getattr(getattr(self.network.synthesis, "input", None), "transform", None)

    def mapping(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False):
        """ws [N, num_ws, w_dim] of z [N, z_dim] and c [N, c_dim]. Raises ValueError where it cannot truncate.

        `update_emas` is passed on where it says something and the file's code takes it, here and in `synthesis`.
        """
        kwargs = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff}
        for name, neutral in (("truncation_psi", 1), ("truncation_cutoff", None)):
            if name not in self.accepted and kwargs.pop(name) != neutral:
                raise ValueError(f"the mapping network of this file takes no {name}")
        if update_emas and accepts(self.network.mapping, "update_emas"):
            kwargs["update_emas"] = True
        return self.call(self.network.mapping, z, c, **kwargs)

    def synthesis(self, ws, noise_mode="const", force_fp32=True, update_emas=False, **kwargs):
        """Images [N, img_channels, img_resolution, img_resolution] of ws [N, num_ws, w_dim].

        The options are passed on where the file's code takes them. `force_fp32` False is for GPUs; CPUs compute in
        float32 always.
        """
        if "noise_mode" in self.accepted:
            kwargs["noise_mode"] = noise_mode
        if "force_fp32" in self.accepted:
            kwargs["force_fp32"] = force_fp32 or ws.device.type == "cpu"
        if update_emas and accepts(self.network.synthesis, "update_emas"):
            kwargs["update_emas"] = True
        images = self.call(self.network.synthesis, ws, **kwargs)
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            raise NetworkFileError(f"the synthesis network of this file returns a {type(images).__name__}, not images")
        return images.to(torch.float32)

    def call(self, part, *args, **kwargs):
        """`part(*args, **kwargs)`. Raises NetworkFileError when its code asks for what cannot be imported."""
        try:
            return part(*args, **kwargs)
        except (MissingNameError, ImportError) as error:
            raise NetworkFileError(describe(error)) from error


def size_of(network, name):
    """The attribute `name` of a generator, or of its synthesis or mapping, as an int; None where there is none."""
    for owner in (network, getattr(network, "synthesis", None), getattr(network, "mapping", None)):
        try:
            return operator.index(getattr(owner, name))
        except (AttributeError, TypeError):
            continue
    return None


def accepts(part, name):
    """Whether the callable `part` takes the keyword `name`: by name, or passed down to a submodule that names it."""
    is_module = isinstance(part, torch.nn.Module)
    parameters = inspect.signature(part.forward if is_module else part).parameters
    if name in parameters:
        return True
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    below = part.modules() if is_module and passes_on else ()
    return any(name in inspect.signature(module.forward).parameters for module in below)
