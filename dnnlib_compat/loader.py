"""Load a pre-trained generator, or its discriminator, from a file, a folder, an address or a short name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dnnlib_compat import formats
from dnnlib_compat.errors import NetworkFileError, quoted, reading
from dnnlib_compat.pretrained import catalogue, locate, locate_config, resolve
from dnnlib_compat.python_files import check_there, network_of_python, python_source

if TYPE_CHECKING:
    import os

    import torch

    from dnnlib_compat.networks.interface import Generator

# The modules that know networks are imported where one is read: their classes are torch's, which takes seconds.


def load_network(
    source: str | os.PathLike, *, key: str = "G_ema", device: str | torch.device = "cpu", allow_code: bool = False
) -> Generator:
    """The generator of `source`, or its discriminator, in evaluation mode, float32, without gradients of its own.

    source: a short name of the catalogue, an http(s) address, a file, or a folder of weights. Files: official PyTorch
    pickles of StyleGAN2-ADA and StyleGAN3; TensorFlow pickles of StyleGAN2 and ProGAN; state dicts of BigGAN-PyTorch
    (BigGAN and BigGAN-deep); pytorch-pretrained-BigGAN's `pytorch_model.bin` with its `config.json`; NVAE checkpoints;
    state dicts of DCGANs in the layout of PyTorch's tutorial; this project's own `.npz` and `.safetensors`. Or
    FILE.py:function, a function that makes a network (`python_files`). key: which network of an official pickle:
    "G_ema", "G" or "D", a StyleGAN2Discriminator or ProGANDiscriminator; "D" also opens a file of this project that
    holds a discriminator. Nothing from a file is executed, unless `allow_code` says so: then a pickle's own source
    code, or FILE.py, runs with your rights, and the network is a generator.

    Raises NetworkFileError (a ValueError) for a file that cannot be used, ValueError for an unknown name, OSError when
    a file or address cannot be read; each with one line that names the cause.

    >>> G = load_network("mnist32")
    >>> G.family, G.z_dim, G.img_resolution, G.source
    ('stylegan2', 64, 32, 'mnist32')
    """
    python = as_python(source)
    if python is not None:
        if key == "D":
            raise NetworkFileError(f"{python[0]}: a function in a Python file makes a generator, not a discriminator")
        network = network_of_python(*python, allow_code)
        return ready(network, source, device)
    from dnnlib_compat.networks.interface import Generator

    path, config = network_file(source), locate_config(source)
    with reading(path):
        network = read_network(path, key, allow_code, config)
        if isinstance(network, Generator) == (key == "D"):
            raise NetworkFileError(
                f"{path}: a {network.family}, not what key {quoted(key)} asks for; discriminators have 'D'"
            )
    return ready(network, source, device)


def ready(network, source, device):
    """A network for use, which knows where it came from."""
    network.source = str(source)
    return network.eval().requires_grad_(False).to(device)


def read_network(path, key, allow_code, config=None):
    """The network in a file, on the CPU; the arguments of `load_network`. config: see `checkpoint_networks.read`."""
    from dnnlib_compat import checkpoint_networks
    from dnnlib_compat.plain_files import read_npz, read_safetensors
    from dnnlib_compat.unpickle import read_pickle

    kind = formats.sniff(path)
    if kind == "npz":
        return read_npz(path)
    if kind == "safetensors":
        return checkpoint_networks.read_converted(path) or read_safetensors(path)
    if kind == "checkpoint":
        return checkpoint_networks.read(path, config)
    if not allow_code:
        return from_pickle(read_pickle(path), key, path)
    content = tf_content(path)
    if content is not None:  # TensorFlow's source is never run: its functions are known, and it is not installed
        return from_pickle(content, key, path)
    from dnnlib_compat.foreign import load_with_code

    return load_with_code(path, key)


def tf_content(path):
    """The content of a TensorFlow pickle, None of any other."""
    from dnnlib_compat import tf_networks
    from dnnlib_compat.unpickle import read_pickle

    try:
        content = read_pickle(path)
    except NetworkFileError:
        return None  # what is wrong shows when it is read for good
    return content if tf_networks.is_tf_network(content) else None


def check_source(source):
    """Raise what `load_network` raises of a source that names nothing; nothing is opened or downloaded."""
    python = as_python(source)
    if python is None:
        resolve(source)
    else:
        check_there(python[0])


def as_python(source):
    """(path, function's name) of FILE.py:function, None of any other source."""
    return None if source in catalogue() else python_source(source)


def network_file(source):
    """The local file of `source`: of a folder, the one in it that holds the network; of FILE.py:function, FILE.py."""
    from dnnlib_compat import checkpoint_networks

    python = as_python(source)
    if python is not None:
        return python[0]
    if source not in catalogue() and os.path.isdir(os.path.expanduser(source)):
        return checkpoint_networks.file_in(os.path.expanduser(source))
    path = locate(source)
    return checkpoint_networks.beside_config(path)


def from_pickle(content, key, path):
    """The network in the content of a pickle: NVIDIA's PyTorch networks, or their earlier ones of TensorFlow."""
    from dnnlib_compat import stylegan_pickles, tf_networks
    from dnnlib_compat.assemble import assemble

    if not tf_networks.is_tf_network(content):
        return stylegan_pickles.build_from_record(stylegan_pickles.select_record(content, key, path), path)
    return assemble(*tf_networks.convert(tf_networks.select_tf_network(content, path, key), path), path)


def own_discriminator(source):
    """The discriminator beside the generator in an official pickle; None where there is none that can be read."""
    if as_python(source) is not None or formats.sniff(network_file(source)) != "pickle":
        return None
    try:
        return load_network(source, key="D")
    except NetworkFileError:
        return None


def training_set(source):
    """What an official pickle says of the data set that it was trained on: {"path": …, "xflip": …}; else {}."""
    from dnnlib_compat.unpickle import read_pickle

    if as_python(source) is not None:
        return {}
    path = locate(source)
    try:
        recorded = read_pickle(path).get("training_set_kwargs") if formats.sniff(path) == "pickle" else None
    except (NetworkFileError, AttributeError, OSError):
        return {}  # a file that only --allow-code reads, or no dictionary
    return recorded if isinstance(recorded, dict) else {}
