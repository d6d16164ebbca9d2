"""From TensorFlow's arrays to tensors of ours: layouts, and which variable is which tensor."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from dnnlib_compat.assemble import empty_network
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.tf_records import FORK_HINT, printable


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an array of a file becomes a tensor of ours, and which shape it has in the file for a shape of ours."""

    convert: Callable
    file_shape: Callable


SAME = Layout(lambda x: x, lambda s: s)
DENSE = Layout(lambda x: x.T, lambda s: s[::-1])
CONV = Layout(lambda x: x.transpose(3, 2, 0, 1), lambda s: (*s[2:], s[1], s[0]))
FLIPPED_CONV = Layout(lambda x: x[::-1, ::-1].transpose(3, 2, 0, 1), CONV.file_shape)
CONST = Layout(lambda x: x[0], lambda s: (1, *s))
NOISE = Layout(lambda x: x[0, 0], lambda s: (1, 1, *s))
STYLE_BIAS = Layout(lambda x: x + 1, lambda s: s)  # ours contains the 1 that the official layer adds
# Where ProGAN's upscaling is not fused with its convolution; ours is [in, out, 3, 3], as for a transposed convolution.
UPSCALED_CONV = Layout(lambda x: x[::-1, ::-1].transpose(2, 3, 0, 1), lambda s: (*s[2:], *s[:2]))


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a tensor of ours comes from: the variable's name, its layout, and a factor."""

    name: str
    layout: Layout = SAME
    gain: float = 1


def fit_variables(values, sources, expected, ignored, what, path):
    """{our name: float32 tensor} from a file's {name: array}.

    sources: {our name: Source}; expected: {our name: tensor of the right shape}; ignored: names that the file may have
    besides; what: the network in words. Raises NetworkFileError naming the first missing, surplus or misfit variables.
    """
    wanted = {source.name: (ours, source) for ours, source in sources.items()}
    problems = [f"{name} is missing" for name in wanted if name not in values]
    problems += [f"{printable(name)} is surplus" for name in values if name not in wanted and name not in ignored]
    for name, (ours, source) in wanted.items():
        shape = tuple(source.layout.file_shape(expected[ours].shape))
        if name in values and values[name].shape != shape:
            problems.append(f"{name} is {list(values[name].shape)} instead of {list(shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise NetworkFileError(f"{path}: does not fit {what}: {'; '.join(problems[:3])}{more}; {FORK_HINT}")
    arrays = {
        ours: source.layout.convert(values[source.name]) * np.float32(source.gain) for ours, source in sources.items()
    }
    return {ours: torch.from_numpy(np.array(array, order="C")) for ours, array in arrays.items()}


def expected_state(family, kwargs, path):
    """The state dict, without data, of family(**kwargs). Raises NetworkFileError when there is no such network."""
    return empty_network(family, kwargs, path).state_dict()
