"""NVIDIA's TensorFlow pickles without TensorFlow: the StyleGAN2, StyleGAN2-ADA and ProGAN releases.

Such a file holds three networks, (G, D, Gs), each as its variables, the name and source of the function that built it,
and that function's keyword arguments. The source is never run: what the functions of the releases compute is known, and
arguments that none of them has are refused by name. Variables keep TensorFlow's names and shapes up to the converters,
which return the arguments and state dict of our own networks.
"""

from dnnlib_compat.errors import NetworkFileError, quoted
from dnnlib_compat.networks.discriminator import ProGANDiscriminator, StyleGAN2Discriminator
from dnnlib_compat.networks.progan import ProGANGenerator
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.pickle_records import TFNetworkRecord
from dnnlib_compat.tf_discriminators import (
    STYLEGAN2_FUNCTIONS,
    convert_progan_discriminator,
    convert_stylegan2_discriminator,
)
from dnnlib_compat.tf_progan import THEANO_DISCRIMINATORS, THEANO_GENERATORS, convert_progan, is_theano, theano_spec
from dnnlib_compat.tf_records import encoded_variables
from dnnlib_compat.tf_stylegan2 import convert_tf_stylegan2
from dnnlib_compat.unpickle import refuse_inert

PLACES = {"G": 0, "D": 1, "G_ema": 2, "Gs": 2}  # our names of the networks in a file, and its own of the average
SUPPORTED = "of NVIDIA's TensorFlow networks, StyleGAN2, StyleGAN2-ADA and ProGAN can be read"


def is_tf_network(content):
    """Whether the content of a pickle is a TensorFlow network, or a tuple of which one is a part."""
    if isinstance(content, (tuple, list)):
        return any(isinstance(item, TFNetworkRecord) for item in content)
    return isinstance(content, TFNetworkRecord)


def select_tf_network(content, path, key="G_ema"):
    """The record of the network `key`: "G", "D", or "G_ema" for the averaged generator Gs. A lone network is any.

    Raises NetworkFileError when there is none.
    """
    if isinstance(content, TFNetworkRecord):
        refuse_inert(content, path)
        return content
    if len(content) != 3:
        raise NetworkFileError(f"{path}: holds {len(content)} objects instead of the three networks G, D and Gs")
    if key not in PLACES:
        raise NetworkFileError(f"{path}: has no network under {quoted(key)}; its networks: G, D, G_ema")
    record = content[PLACES[key]]
    refuse_inert(record, path)
    if not isinstance(record, TFNetworkRecord):
        raise NetworkFileError(f"{path}: has no network under {quoted(key)}, but a {type(record).__name__}")
    return record


def tf_family(record, path="this pickle"):
    """The `family` of a network: one of CONVERTERS. Raises NetworkFileError that says what another network is.

    Generators are told by their variables, whatever their function is called. Discriminators need its name: those of
    ProGAN and of the first StyleGAN have the same variables.
    """
    if is_theano(record):
        function, names = theano_spec(record, path).get("func"), set()
        if function in THEANO_GENERATORS:
            return "progan"
        if function in THEANO_DISCRIMINATORS:
            return "progan-discriminator"
    else:
        function, names = record.state.get("build_func_name"), set(encoded_variables(record, path))
        if "synthesis/4x4/Conv/mod_weight" in names:
            return "stylegan2"
        if "4x4/Dense/weight" in names and "ToRGB_lod0/weight" in names:
            return "progan"
        if "synthesis/4x4/Conv/StyleMod/weight" in names:
            raise NetworkFileError(f"{path}: a network of the first StyleGAN; {SUPPORTED}")
        if isinstance(function, str) and function in STYLEGAN2_FUNCTIONS:
            return "stylegan2-discriminator"
        if function == "D_paper":
            return "progan-discriminator"
        if function == "D_basic":
            raise NetworkFileError(f"{path}: a discriminator of the first StyleGAN (D_basic); {SUPPORTED}")
    if any("FromRGB" in name for name in names) or str(function).startswith("D_"):
        known = ", ".join([*STYLEGAN2_FUNCTIONS, "D_paper"])
        raise NetworkFileError(
            f"{path}: an unknown discriminator (built by {quoted(function, 60)}); those that can be read: {known}"
        )
    raise NetworkFileError(f"{path}: an unknown network (built by {quoted(function, 60)}); {SUPPORTED}")


CONVERTERS = {
    "stylegan2": (StyleGAN2Generator, convert_tf_stylegan2),
    "progan": (ProGANGenerator, convert_progan),
    "stylegan2-discriminator": (StyleGAN2Discriminator, convert_stylegan2_discriminator),
    "progan-discriminator": (ProGANDiscriminator, convert_progan_discriminator),
}


def convert(record, path):
    """(family's class, keyword arguments, state dict) of a network. Raises NetworkFileError for what cannot be read."""
    family, converter = CONVERTERS[tf_family(record, path)]
    return family, *converter(record, path)
