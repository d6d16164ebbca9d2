"""From a family, constructor arguments and tensors to a network, or to the name of what does not fit."""

import torch

from dnnlib_compat.arguments import check_arguments
from dnnlib_compat.errors import NetworkFileError, reason, shown

ALLOW_CODE_HINT = "a fork with changed source? If you trust the file, --allow-code runs its own code"


def assemble(family, kwargs, tensors, path):
    """Build `family(**kwargs)` and fill it. Raises NetworkFileError naming every missing, surplus or misfit tensor."""
    network = empty_network(family, kwargs, path)
    problems = misfits(network.state_dict(), {name: tensor.shape for name, tensor in tensors.items()})
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if broken:
        raise NetworkFileError(
            f"{path}: {shown(broken[0])} holds NaN or infinity; the file is of a failed training run"
        )
    refuse(problems, family, path)
    return fill(network, tensors)


def empty_network(family, kwargs, path):
    """`family(**kwargs)` without data, after its arguments are checked. Raises NetworkFileError."""
    check_arguments(kwargs, path)
    try:
        from dnnlib_compat.shapes_only import shapes_only  # whose class is torch's

        with shapes_only():  # no random initialisation that would be overwritten
            return family(**kwargs)
    except Exception as error:  # arguments that fit each other badly fail in many ways
        raise NetworkFileError(
            f"{path}: the recorded arguments do not build a {family.family} ({reason(error)})"
        ) from None


def misfits(expected, shapes):
    """What does not fit, in words: names and shapes {name: shape} against a state dict."""
    problems = [f"{name} is missing" for name in expected if name not in shapes]
    problems += [f"{shown(name)} is surplus" for name in shapes if name not in expected]
    for name, shape in shapes.items():
        if name in expected and tuple(shape) != tuple(expected[name].shape):
            problems.append(f"{name} is {list(shape)} instead of {list(expected[name].shape)}")
    return problems


def refuse(problems, family, path):
    """Raise NetworkFileError with the first of these `misfits`, if there are any."""
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise NetworkFileError(
            f"{path}: does not fit a {family.family}: {'; '.join(problems[:3])}{more}; {ALLOW_CODE_HINT}"
        )


def fill(network, tensors, strict=True):
    """A network without data, filled: its parameters and buffers are copies of `tensors`, as `owned` makes them."""
    dtypes = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    copies = {name: owned(tensor, dtypes.get(name, torch.float32)) for name, tensor in tensors.items()}
    network.load_state_dict(copies, assign=True, strict=strict)
    return network


def owned(tensor, dtype=None):
    """A contiguous copy in memory of torch's own, of float32 unless told otherwise.

    What was read from a file may lie in the file's buffer, at any alignment. Kernels differ by alignment and so do the
    last bits of their results: the same network from two formats would give two images. A file that is mapped into
    memory may be overwritten besides.
    """
    return torch.empty(tensor.shape, dtype=dtype or torch.float32, device=tensor.device).copy_(tensor.detach())


def is_finite(tensor):
    """Whether a tensor holds neither NaN nor infinity; NaN propagates through the extremes, and nothing is copied."""
    return tensor.numel() == 0 or all(bool(bound.isfinite()) for bound in tensor.aminmax())


def fit_tensors(tensors, names, expected, what):
    """{our name: float32 tensor} from a file's {name: tensor}. names: {the file's name: ours}, all of them required.

    expected: {our name: tensor of the right shape}; what: the network in words, for messages. Raises NetworkFileError
    naming the first missing, surplus or misfit tensors, or one that holds NaN or infinity.
    """
    problems = [f"{name} is missing" for name in names if name not in tensors]
    problems += [f"{shown(name)} is surplus" for name in tensors if name not in names]
    for name in (name for name in tensors if name in names):
        tensor, shape = tensors[name], expected[names[name]].shape
        if not torch.is_tensor(tensor) or not tensor.is_floating_point():
            problems.append(f"{name} is no tensor of floating-point numbers")
        elif tensor.shape != shape:
            problems.append(f"{name} is {list(tensor.shape)} instead of {list(shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise NetworkFileError(f"does not fit {what}: {'; '.join(problems[:3])}{more}")
    floats = {name: owned(tensor) for name, tensor in tensors.items()}  # as converters compute with them
    for name, tensor in floats.items():
        if not is_finite(tensor):
            raise NetworkFileError(f"{name} holds NaN or infinity; the file is damaged or of a failed training run")
    return {names[name]: tensor for name, tensor in floats.items()}
