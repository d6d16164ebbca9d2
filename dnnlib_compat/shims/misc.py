"""Stand-in for `torch_utils.misc`: what network code calls of it, without the parts that only training needs."""

import contextlib
import functools
import warnings

import numpy as np
import torch


def constant(value, shape=None, dtype=None, device=None, memory_format=None):
    """`value` as a new tensor, broadcast to `shape` if one is given. Default: the default dtype, on the CPU."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    tensor = torch.as_tensor(np.array(value), dtype=dtype, device=device or "cpu")
    if shape is not None:
        tensor = tensor.expand(tuple(shape))
    return tensor.clone(memory_format=memory_format or torch.contiguous_format)


@contextlib.contextmanager
def suppress_tracer_warnings():
    """Silence `torch.jit.TracerWarning` inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=torch.jit.TracerWarning)
        yield


def assert_shape(tensor, ref_shape):
    """Raises AssertionError unless `tensor` has the shape `ref_shape`, where None stands for any size."""
    fits = tensor.ndim == len(ref_shape)
    if not fits or any(want is not None and int(want) != int(is_) for is_, want in zip(tensor.shape, ref_shape)):
        raise AssertionError(f"a tensor has the shape {list(tensor.shape)} where {list(ref_shape)} is expected")


def profiled_function(fn):
    """`fn`, shown under its name by the profiler."""

    @functools.wraps(fn)
    def profiled(*args, **kwargs):
        with torch.autograd.profiler.record_function(fn.__name__):
            return fn(*args, **kwargs)

    return profiled


def named_params_and_buffers(module):
    """[(name, tensor)] of all parameters, then all buffers."""
    return [*module.named_parameters(), *module.named_buffers()]


def params_and_buffers(module):
    """All parameters, then all buffers."""
    return [tensor for _, tensor in named_params_and_buffers(module)]


@torch.no_grad()
def copy_params_and_buffers(src_module, dst_module, require_all=False):
    """Copy tensors of equal names. Raises KeyError for one that the source lacks, if `require_all`."""
    source = dict(named_params_and_buffers(src_module))
    for name, tensor in named_params_and_buffers(dst_module):
        if name in source:
            tensor.copy_(source[name])
        elif require_all:
            raise KeyError(f"the source network has no tensor {name}")


PUBLIC = {
    f.__name__: f
    for f in (
        constant,
        suppress_tracer_warnings,
        assert_shape,
        profiled_function,
        named_params_and_buffers,
        params_and_buffers,
        copy_params_and_buffers,
    )
}
PUBLIC |= {"nan_to_num": torch.nan_to_num, "symbolic_assert": torch._assert}
