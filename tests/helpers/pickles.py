"""Writes pickles with the structure of official ones, from our own networks; and hostile ones."""

import pickle

import torch
from conftest import small_stylegan2


class Named:
    """A global of a pickle: written by name alone, whether it exists here or not."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self, *args):
        raise AssertionError("only a name")


class Call:
    """Pickles as a call of the global `function` with `args`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class _Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def save_named(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch[Named] = save_named


def write_pickle(path, content, protocol=4):
    with open(path, "wb") as file:
        _Pickler(file, protocol).dump(content)
    return path


PERSISTENT = Named("torch_utils.persistence", "_reconstruct_persistent_obj")


def record(class_name, state, source="# left out"):
    meta = dict(type="class", version=6, module_src=source, class_name=class_name, state=state)
    return Call(PERSISTENT, meta)


def module_record(module, class_name=None, init_kwargs=None, attributes=None):
    """The record of a module and everything below it, as the ecosystem pickles them."""
    state = dict(
        training=False,
        _parameters=dict(module._parameters),
        _buffers=dict(module._buffers),
        _modules={name: module_record(child) for name, child in module._modules.items()},
        _init_args=(),
        _init_kwargs=init_kwargs or {},
        **(attributes or {}),
    )
    return record(class_name or type(module).__name__, state)


def official_content(network, **changes):
    """The dictionary of an official pickle holding `network` as G_ema; `changes` alter its constructor arguments."""
    kwargs = {**network.init_kwargs, **changes}
    return dict(
        G=None,
        D=None,
        G_ema=module_record(network, "Generator", kwargs),
        augment_pipe=None,
        training_set_kwargs=dict(path="/data/set.zip", resolution=network.img_resolution),
    )


def write_official(path, network, **changes):
    return write_pickle(path, official_content(network, **changes))


def storage_saved_on_gpu(tensor):
    """The bytes of a tensor's storage as a machine with a GPU would have written them."""
    data = tensor.storage().__reduce__()[1][0]
    here, there = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    assert data.count(here) == 1
    return data.replace(here, there)


def gpu_tensor(tensor):
    """Pickles as a tensor whose storage lies on a GPU."""
    storage = Call(Named("torch.storage", "_load_from_bytes"), storage_saved_on_gpu(tensor))
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, 0, tuple(tensor.shape), tensor.stride(), False, {})


def with_gpu_tensors(network):
    """A copy of official_content(network) in which every parameter was saved on a GPU."""

    def convert(module):
        moved = torch.nn.Module()
        moved._parameters = {name: gpu_tensor(p.detach().clone()) for name, p in module._parameters.items()}
        moved._buffers = dict(module._buffers)
        state = dict(
            _parameters=moved._parameters,
            _buffers=moved._buffers,
            _modules={name: convert(child) for name, child in module._modules.items()},
            _init_args=(),
            _init_kwargs=getattr(module, "init_kwargs", {}),
        )
        return record("Generator" if hasattr(module, "init_kwargs") else type(module).__name__, state)

    return dict(G_ema=convert(network))


def content_with(network, attributes=None, **changes):
    """The dictionary of an official pickle with `network` as D; `changes` alter its recorded arguments."""
    kwargs = {k: v for k, v in {**network.init_kwargs, **changes}.items() if v != "left out"}
    content = official_content(small_stylegan2())
    content["D"] = module_record(network, "Discriminator", kwargs, attributes)
    return content
