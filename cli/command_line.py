"""The command line of a command, as somebody would type it again."""

import shlex

import click

ARGUMENTS = f"{__name__}.arguments"  # where the context of a command keeps them


class RememberingCommand(click.Command):
    """A command that remembers its arguments for `command_line`."""

    def parse_args(self, ctx, args):
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def command_line():
    """The name of the RememberingCommand that runs and its arguments, quoted for a shell."""
    context = click.get_current_context()
    name = (context.info_name or "command").removeprefix("python -m ").removeprefix("cli.")
    return shlex.join([name, *context.meta[ARGUMENTS]])
