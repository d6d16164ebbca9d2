"""Commands in which a number may be a list, as an axis of a sweep: --steps=2,5,10."""

import click

from cli.binding import SamplerCommand
from latent_plugins.samplers.options import settings_of

ALWAYS = {"candidates": "candidates", "top-k": "top_k"}  # spelling: keyword, of every sampler that has them
KEY = __name__


class VaryingCommand(SamplerCommand):
    """A SamplerCommand that takes several values, separated by commas, for any number of the sampler's.

    The first value stands in its place; `axes` has all of them.
    """

    def parse_args(self, ctx, args):
        try:
            settings = settings_of(self.named(args)).values()
        except ValueError:  # which the command tells of by itself
            settings = ()
        names = dict(ALWAYS)
        for each in settings:
            if each.kind in (int, float) and each.name != "rho":
                names.update(dict.fromkeys((each.spelled, *each.aliases), each.name))
        ctx.meta[KEY], taken = {}, []
        for previous, each in zip(["", *args], args):
            option, mark, value = each.partition("=")
            apart = previous.removeprefix("--") in names and previous.startswith("--")
            name = names.get((previous if apart else option).removeprefix("--"))
            values = each if apart else value
            if name is not None and "," in values and (apart or (mark and option.startswith("--"))):
                ctx.meta[KEY][name] = values.split(",")
                first = values.split(",")[0]
                each = first if apart else f"{option}={first}"
            taken.append(each)
        return super().parse_args(ctx, taken)


def axes():
    """{keyword: [value, …]} of the numbers that were given as lists, each value once. A click error for other texts."""
    context, found = click.get_current_context(), {}
    parameters = {each.name: each for each in context.command.get_params(context)}
    for name, values in context.meta.get(KEY, {}).items():
        parameter = parameters[name]
        converted = [parameter.type.convert(value.strip(), parameter, context) for value in values]
        found[name] = list(dict.fromkeys(converted))
    return found
