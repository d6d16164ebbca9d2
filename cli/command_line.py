"""The command line of this process, as somebody would type it again."""

import shlex
import sys

import click


def command_line():
    """The name of the command that runs and its arguments, quoted for a shell."""
    name = click.get_current_context().info_name or "command"
    return shlex.join([name.removeprefix("python -m cli."), *sys.argv[1:]])
