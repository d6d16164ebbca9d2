"""`torch.no_grad` as a decorator that needs no torch before the function is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
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
