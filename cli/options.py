"""Option types, shared option groups and error reporting of the commands."""

import functools
import math
import os
import re
import tempfile
import traceback
import warnings
from pathlib import Path

import click
import torch

from cli.paths import DetectorSource, NetworkSource
from cli.streams import prepare_streams, reader_has_left
from dnnlib_compat.budgets import MAX_MESSAGE, MAX_NUMBERS
from dnnlib_compat.errors import escaped, what
from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue, default_name
from dnnlib_compat.util import remove_leftovers
from latent_plugins.volume.methods import method_names
from latent_plugins.watching import ArgumentError

CHECKED = ("psi", "psis", "translate", "rhos")  # in words of their own
MAX_SEED = 2**32 - 1  # numpy.random.RandomState takes no more


class IntRanges(click.ParamType):
    """`0,2,5-7` → [0, 2, 5, 6, 7], as the official commands read seeds, each once."""

    name = "ints"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        ranges, count = [], 0
        if not value.strip(" ,"):
            self.fail("it holds no number; write for example 0,2,5-7, or leave the option out", param, ctx)
        for part in value.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
            if not match:
                self.fail(f"{part!r} is neither a number nor a range; write for example 0,2,5-7", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"the range {part.strip()} runs backwards; write {last}-{first}", param, ctx)
            if last > MAX_SEED:
                self.fail(f"{last} is too large, the largest number is {MAX_SEED}", param, ctx)
            count += last - first + 1
            if count > MAX_NUMBERS:
                self.fail(f"{value!r:.60} has more than ten million numbers; take fewer at once", param, ctx)
            ranges.append(range(first, last + 1))
        return list(dict.fromkeys(number for each in ranges for number in each))


class Numbers(click.ParamType):
    """`-1,0.5,1` → [-1.0, 0.5, 1.0], each once."""

    name = "numbers"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            return list(dict.fromkeys(float(part) for part in value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers; write for example -0.5,0,0.5", param, ctx)


class Vector2(click.ParamType):
    """`0.3,1` → (0.3, 1.0)."""

    name = "vec2"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            x, y = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a pair of numbers; write for example 0.3,1", param, ctx)
        return x, y


class MemorySize(click.ParamType):
    """`512MB`, `2GB`, `2GiB` or bytes → bytes."""

    name = "size"
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)i?b?\s*", value.lower())
        if not match:
            self.fail(f"{value!r} is not a size; write for example 512MB or 2GB", param, ctx)
        return int(float(match[1]) * self.units[match[2]])


class MethodName(click.ParamType):
    """The name of a method, whenever and by whomever it was registered."""

    name = "method"

    def convert(self, value, param, ctx):
        known = method_names()
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, known))}.", param, ctx)
        return value


class Device(click.ParamType):
    """The name of a device that exists here, as `chosen_device` takes it."""

    name = "device"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"cpu|cuda(:\d{1,4})?", value):
            self.fail(f"{value!r} is not supported; write cpu, cuda or cuda:1", param, ctx)
        if value != "cpu":  # only then is torch asked
            device = torch.device(value)
            if (device.index or 0) >= torch.cuda.device_count():
                found = f"{torch.cuda.device_count()} GPUs found"
                self.fail(f"{value} is not available here ({found}); use cpu", param, ctx)
        return value


def chosen_device(name):
    """The torch.device of a --device; None, where nobody said: a GPU if there is one."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def apply_options(options):
    """One decorator for several click options, kept in their order."""
    options = list(options)

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


allow_code_option = click.option(
    "--allow-code", is_flag=True, help="Run code: in pickles, TorchScript, FILE.py. Only if you trust the files."
)

network_options = apply_options(
    [
        click.option(
            "--network",
            type=NetworkSource(),
            metavar="FILE|URL|NAME",
            help="Network file, folder, address, short name, or FILE.py:function.  [default: the embedded MNIST "
            "network]",
        ),
        click.option("--device", type=Device(), help="cpu, cuda or cuda:N.  [default: a GPU if any]"),
        allow_code_option,
    ]
)

detector_option = click.option(
    "--detector",
    type=DetectorSource(),
    metavar="NAME|FILE",
    help="Feature detector of the space.  [default: the official one of vgg, inception]",
)

gpus_option = click.option(
    "--gpus", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Processes, a GPU each."
)

cutoff_option = click.option(
    "--trunc-cutoff",
    "cutoff",
    type=click.IntRange(min=0),
    metavar="N",
    help="Truncate the first N layers.  [default: all]",
)


def open_network(network, device, allow_code, say=True):
    """(generator, source, catalogue entry or {}) for the options of `network_options`."""
    source = network or default_name()
    if say:
        click.echo(f'Loading networks from "{source}"...')
    generator = load_network(source, device=chosen_device(device), allow_code=allow_code)
    return generator, source, catalogue().get(source, {})


def check_psi(psi):
    """psi itself; a click error when it is no usable number."""
    if psi is not None and not -10 <= psi <= 10:
        raise click.BadParameter(f"{psi} is not a truncation psi; it lies between 0 and 1, sometimes a little beyond")
    return psi


def check_folder(path):
    """A click error for a path at which there is something else than a folder."""
    if path.exists() and not path.is_dir():
        raise click.ClickException(f"{path}: a file and no folder; give another --outdir")


def prepare_folder(path):
    """Create the output folder and make sure that files can be written there, before any work is done.

    What a killed command had not finished goes.
    """
    path = Path(path)
    check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    with tempfile.TemporaryFile(dir=path):
        pass
    return path


debug_option = click.option("--debug", is_flag=True, help="Show where an error came from, as a Python traceback.")


def reports_errors(command):
    """Turn whatever a command raises into one line and exit code 1; show warnings as one line each.

    Adds the option --debug, which shows the traceback as well.
    """

    @debug_option
    @functools.wraps(command)
    def wrapped(*args, debug=False, **kwargs):
        prepare_streams()
        refuse_nan(kwargs)
        said = set()

        def failure(text):
            if debug:
                traceback.print_exc()
            return click.ClickException(text)

        def show(message, category, *rest, **options):
            if category.__name__ == "DecompressionBombWarning":  # Pillow's, of an image that is refused right after
                return
            text = one_line(message)
            if text not in said:  # sweeps and repeats meet the same thing again and again
                said.add(text)
                click.secho(f"warning: {text}", fg="yellow", err=True)

        with warnings.catch_warnings():
            warnings.showwarning = show
            warnings.simplefilter("always", UserWarning)
            try:
                return command(*args, **kwargs)
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except ArgumentError as error:
                raise failure(one_line(in_options(str(error)))) from None
            except ValueError as error:
                raise failure(one_line(error)) from None
            except MemoryError:
                raise failure("out of memory: lower --batch or --max-memory") from None
            except BrokenPipeError:
                reader_has_left()
            except OSError as error:
                raise failure(os_message(error)) from None
            except Exception as error:
                if type(error).__name__ == "OutOfMemoryError":  # torch's
                    raise failure("out of GPU memory: lower --batch or --max-memory") from None
                if "t allocate memory" in str(error) or "not enough memory" in str(error):  # torch's words on CPUs
                    raise failure("out of memory: lower --batch or --max-memory") from None
                name = click.get_current_context().info_name
                raise failure(f"{name}: unexpected error ({what(error)}); --debug shows the traceback") from None

    return wrapped


def refuse_nan(values):
    """Raise a click error for an option that is not a number, which compares as false with every bound.

    Those that have a check of their own before any work are left to it.
    """
    for name, value in values.items():
        if name in CHECKED:
            continue
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(number, float) and math.isnan(number) for number in numbers):
            context = click.get_current_context()
            option = next((each for each in context.command.params if each.name == name), None)
            raise click.BadParameter(f"{name} must be a finite number, not nan", context, option)


def in_options(text):
    """The text of an ArgumentError with options in the place of arguments, and --sampler=NAME of `the sampler NAME`."""
    text = re.sub(r"\bthe sampler (\S+)", r"--sampler=\1", text)
    return re.sub(r"`(\w+)`", lambda match: "--" + match[1].replace("_", "-"), text)


def one_line(message):
    """A message on one line that a terminal can be shown."""
    return escaped(" ".join(str(message).split()), MAX_MESSAGE)


def os_message(error):
    """`path: reason` for an operating system's error; our own messages as they are."""
    if error.strerror is None:
        return one_line(error)
    named = isinstance(error.filename, (str, bytes, os.PathLike))
    path = os.fsdecode(error.filename) if named else "standard output"
    return f"{escaped(path, MAX_MESSAGE)}: {error.strerror}"
