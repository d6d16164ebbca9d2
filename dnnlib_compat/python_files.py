"""Networks that a Python file makes, named as FILE.py:function: run only where the user has said so."""

import contextlib
import hashlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from pathlib import Path

import click
import torch

from dnnlib_compat.errors import NetworkFileError, reason, shown

NAMED = re.compile(r"(?P<file>.+\.py):(?P<function>\w+)", re.DOTALL | re.IGNORECASE)
ENDING = re.compile(r"\.py($|:)", re.IGNORECASE)
RETURNS = "return a Generator (latent_plugins.wrap makes one), or (module, dict(z_dim=…)) with wrap's arguments"


def python_source(source):
    """(path, function's name) of FILE.py:function; None where `source` is something else.

    Raises NetworkFileError for a Python file without a function, or behind an address.
    """
    source = os.fspath(source)
    match = NAMED.fullmatch(source)
    if not match and not ENDING.search(source):
        return None
    if "://" in source:
        raise NetworkFileError(f"{source}: code is not run from addresses; download the file and give its path")
    if match and match["function"].isidentifier():
        return Path(os.path.expanduser(match["file"])), match["function"]
    file = source[: ENDING.search(source).start()] + ".py"
    if not match and os.path.isdir(os.path.expanduser(source)):
        return None
    raise NetworkFileError(
        f"{source}: of a Python file name the function that makes the network, as {file}:function, with --allow-code"
    )


def check_there(path):
    """Raise FileNotFoundError where there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path")


def network_of_python(path, function, allow_code):
    """The Generator that a function in a Python file returns, or wraps what it returns.

    Called without arguments, it returns a Generator, or (module, keyword arguments of `wrap`). Its folder is the first
    place where imports are looked for meanwhile. Says in one red line that code runs. Raises NetworkFileError, one
    line, without `allow_code` and for whatever goes wrong in the code (whose exception is the cause); OSError where
    there is no such file.
    """
    check_there(path)
    if not allow_code:
        raise NetworkFileError(f"{path}: Python code, which runs with your rights; if you trust it, give --allow-code")
    click.secho(
        f"{path}: the Python code in this file now runs, with all your rights on this machine", fg="red", err=True
    )
    with code_of_others(path):
        module = executed(path)
        maker = getattr(module, function, None)
        if not callable(maker):
            own = [
                each
                for each in vars(module).values()
                if inspect.isfunction(each) and each.__module__ == module.__name__
            ]
            known = [each.__name__ for each in own]
            raise NetworkFileError(f"has no function {function}; its functions: {', '.join(known) or 'none'}")
        made = maker()
    try:
        return generator_of(made, function)
    except ValueError as error:
        raise NetworkFileError(f"{path}: {error}") from error


def generator_of(made, function):
    """The Generator itself, or the wrapped module. Raises ValueError for anything else."""
    from dnnlib_compat.networks.interface import Generator
    from dnnlib_compat.wrapping import wrap

    if isinstance(made, Generator):
        return made
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], dict):
        module, options = made
        known = set(inspect.signature(wrap).parameters) - {"module"}
        surplus = [name for name in options if name not in known]
        if surplus or "z_dim" not in options:
            wrong = f"wrap takes no {shown(surplus[0])}" if surplus else "z_dim is missing"
            raise ValueError(f"{function}() returns arguments of which {wrong}; known ones: {', '.join(sorted(known))}")
        return wrap(module, **({"copy": False} | options))
    kind = "a module alone" if isinstance(made, torch.nn.Module) else f"a {type(made).__name__}"
    raise ValueError(f"{function}() returns {kind}; {RETURNS}")


def executed(path):
    """The file as a module, executed anew, and known by a name of its own, so that its source can be looked up."""
    name = f"network_file_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def code_of_others(path):
    """Imports look in the file's folder first; any exception becomes a NetworkFileError that says where it arose."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    except NetworkFileError as error:
        raise NetworkFileError(f"{path}: {error}") from error
    except MemoryError:
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # the file's code may raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        lines = lines or [error.lineno] if isinstance(error, SyntaxError) else lines
        where = f" in line {lines[-1]}" if lines else ""
        raise NetworkFileError(f"{path}: its code failed{where} ({type(error).__name__}: {reason(error)})") from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
