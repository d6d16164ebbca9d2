"""Options of commands from settings that describe themselves, and commands whose options are those of their sampler."""

import dataclasses

import click

from cli.command_line import RememberingCommand
from cli.paths import FilePath
from latent_plugins.samplers.options import (
    ATLAS,
    OPTIONS,
    VOLUME,
    WEIGHTS,
    method_keyword,
    needs_of,
    own_settings,
    settings_of,
)
from latent_plugins.samplers.registry import available_filters, available_samplers, filters_and_base
from latent_plugins.settings import MISSING
from latent_plugins.volume.methods import method_class, method_names
from latent_plugins.volume.spectrum.method import NUMBERS

# Options that every sampler's command has, by what they are for; the others are for the network, or the output.
NETWORK = ("network", "device", "allow_code")
SAMPLING = ("sampler_name", "rho", "weights_path", "mixes", "repeats", "fresh_atlas", "psi", "psis", "cutoff")
SAMPLING += ("class_name", "seeds", "seed")
GROUPS = {"Network": NETWORK, "Sampling": SAMPLING, "Volume": VOLUME, "Atlas": ("atlas_path", *ATLAS)}


def option_type(setting):
    """The click type of a setting's values."""
    if setting.choices is not None:
        return click.Choice(setting.choices)
    if setting.unit == "file":
        return FilePath()
    bounds = dict(min=setting.low, max=setting.high, min_open=setting.low_open, max_open=setting.high_open)
    if setting.kind is int:
        return click.IntRange(**bounds)
    if setting.kind is float:
        return click.FloatRange(**bounds) if setting.low is not None or setting.high is not None else click.FLOAT
    return click.STRING


def setting_option(setting):
    """The click.Option of a setting. One without a default is not required: who asks for it says so in his words."""
    names = [f"--{name}" for name in (setting.spelled, *setting.aliases)]
    if setting.kind is bool:
        return click.Option([*names, setting.name], is_flag=True, help=setting.help)
    known = setting.default is not MISSING and setting.default is not None
    help = setting.help + (f"  [default: {setting.default_text}]" if setting.default_text else "")
    return click.Option(
        [*names, setting.name],
        type=option_type(setting),
        default=setting.default if known else None,
        show_default=known,
        metavar=setting.metavar,
        help=help,
    )


def owners(ctx):
    """{spelling of an option: {name of its owner: Setting}} over all samplers and filters, once a command."""
    key = f"{__name__}.owners"
    if key not in ctx.meta:
        ctx.meta[key] = all_owners()
    return ctx.meta[key]


def all_owners():
    """See `owners`."""
    found = {}
    for kinds in (available_filters(), available_samplers()):
        for name, each in kinds.items():
            for setting in each.Settings.described().values():
                for spelled in (setting.spelled, *setting.aliases):
                    found.setdefault(spelled, {})[name] = setting
    found.pop("rho", None)
    return found


def foreign_option(spelled, whose, sampler_name):
    """An option of other samplers: hidden, and an error that names its owners where it is given."""
    flag = all(setting.kind is bool for setting in whose.values())

    def refuse(context, parameter, value):
        if context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE:
            raise click.ClickException(
                f"--{spelled} is an option of {', '.join(whose)} and has no effect with --sampler={sampler_name}; "
                "leave it out"
            )

    names = [f"--{spelled}", f"foreign_{spelled.replace('-', '_')}"]
    return click.Option(names, is_flag=flag, hidden=True, expose_value=False, callback=refuse)


def given(name):
    """Whether an option of the command that runs was given on the command line."""
    context = click.get_current_context()
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def given_value(args, option):
    """The last value of an option like --sampler among arguments, or None."""
    found = None
    for i, each in enumerate(args):
        if each == "--":
            break
        if each.startswith(f"{option}="):
            found = each.removeprefix(f"{option}=")
        elif each == option and i + 1 < len(args):
            found = args[i + 1]
    return found


def check_method_options(method):
    """Raise a click error for the setting of a method that the named one does not have. method: None is none named."""
    for name in NUMBERS:
        if not given(name):
            continue
        owners = [each for each in method_names() if name in method_class(each).Settings.described()]
        if method is not None and method not in owners:
            raise click.ClickException(
                f"--{name} has no effect with --method={method}; it is a setting of {', '.join(owners)}"
            )


class MethodCommand(RememberingCommand):
    """A command with the option --method, which has the settings of the method that it names among its options."""

    def parse_args(self, ctx, args):
        ctx.meta[f"{__name__}.method"] = given_value(args, "--method")
        return super().parse_args(ctx, args)

    def method_options(self, ctx, taken=()):
        """The click.Options of the method that is named."""
        return [
            setting_option(dataclasses.replace(each, name=method_keyword(name, taken)))
            for name, each in own_settings(ctx.meta.get(f"{__name__}.method")).items()
        ]

    def get_params(self, ctx):
        *fixed, help = super().get_params(ctx)
        return [*fixed, *self.method_options(ctx), help]


class SamplerCommand(MethodCommand):
    """A command with the option --sampler, whose options are those of the sampler that it names.

    `--sampler=NAME --help` shows the options of that sampler and no other's; an option of another one is an error that
    names its owner.
    """

    def parse_args(self, ctx, args):
        name = self.named(args)
        try:
            settings_of(name)
        except ValueError as error:
            if "--help" not in args:
                raise click.ClickException(str(error)) from None
            name = self.default_name()
        ctx.meta[__name__] = name
        ctx.meta[f"{__name__}.chosen"] = given_value(args, "--sampler") is not None
        return super().parse_args(ctx, args)

    def default_name(self):
        """The sampler of a command line that names none."""
        return next(each.default for each in self.params if each.name == "sampler_name")

    def named(self, args):
        """The sampler that a command line names, or the default."""
        return given_value(args, "--sampler") or self.default_name()

    def get_params(self, ctx):
        name = ctx.meta.get(__name__) or self.default_name()
        settings = settings_of(name)
        own = [setting_option(each) for each in settings.values()] + self.method_options(ctx, settings)
        taken = {spelled for option in own for spelled in option.opts}
        fixed = [each for each in click.Command.get_params(self, ctx) if not taken & set(each.opts)]
        taken |= {spelled for option in fixed for spelled in option.opts}
        others = [foreign_option(each, who, name) for each, who in owners(ctx).items() if f"--{each}" not in taken]
        return [*fixed[:-1], *own, *others, fixed[-1]]  # --help stays last

    def format_options(self, ctx, formatter):
        name = ctx.meta.get(__name__) or self.default_name()
        needed = needs_of(name)
        hidden = set(VOLUME + ATLAS + WEIGHTS).difference(*(OPTIONS[each] for each in OPTIONS if each in needed))
        hidden |= {f"{each}_path" for each in hidden}
        if "rho" not in filters_and_base(name)[1].Settings.described():
            hidden.add("rho")
        own, rows = settings_of(name), {title: [] for title in (*GROUPS, "Output")}
        methods = {option.name for option in self.method_options(ctx, own)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or parameter.name in hidden:
                continue
            places = [title for title, names in GROUPS.items() if parameter.name in names]
            places = ["Sampling"] if parameter.name in own else ["Volume"] if parameter.name in methods else places
            rows[(places or ["Output"])[0]].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if not ctx.meta.get(f"{__name__}.chosen"):
            with formatter.section("Samplers (--sampler=NAME --help shows the options of each)"):
                formatter.write_dl([(each, cls.summary) for each, cls in available_samplers().items()])
                formatter.write_text(
                    f"Filters, which stand before another sampler as in jbt+polarity: {', '.join(available_filters())}."
                )
