"""`torch.no_grad` as a decorator that needs no torch before the function is called."""

import functools
import inspect

import torch


def no_grad(function):
    """The function (or generator function) with gradients switched off while it runs."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def run(*args, **kwargs):
            return torch.no_grad()(function)(*args, **kwargs)

    else:

        @functools.wraps(function)
        def run(*args, **kwargs):
            with torch.no_grad():
                return function(*args, **kwargs)

    return run
