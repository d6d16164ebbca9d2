"""Settings that describe themselves: default, bounds, choices, help and unit stand beside the value."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing

MISSING = dataclasses.MISSING
KEY = "setting"
CONVERTIBLE = {float: (int,), int: (), bool: (), str: ()}  # what else a value of a type may be given as


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known of one setting.

    name: the keyword; kind: int, float, bool or str; optional: whether None stands for "nobody said"; default: MISSING
    where it must be given; help: half a sentence, with its unit; low, high: bounds, which count as within unless
    low_open or high_open; infinite: whether ±∞ is a value (NaN is none); choices: the only values; unit: what one is a
    number of (for records and tables); option: how commands spell it; aliases: former spellings; default_text: what
    stands for None in help; metavar: what stands for the value there.
    """

    name: str
    kind: type
    optional: bool
    default: object
    help: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    infinite: bool = False
    choices: tuple | None = None
    unit: str | None = None
    option: str | None = None
    aliases: tuple = ()
    default_text: str | None = None
    metavar: str | None = None

    @property
    def required(self):
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def spelled(self):
        """The name of the option, without dashes."""
        return self.option or self.name.replace("_", "-")

    @property
    def range(self):
        """The bounds in words, or ""."""
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f"above {self.low:g}" if self.low_open else f"at least {self.low:g}"
        if self.low is None:
            return f"below {self.high:g}" if self.high_open else f"at most {self.high:g}"
        low = f"above {self.low:g}" if self.low_open else f"{self.low:g}"
        return f"{low} to {'below ' if self.high_open else ''}{self.high:g}"

    def check(self, value):
        """The value as its kind. Raises ValueError, with the name, the value and what would be right."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) and self.kind is not bool:
            raise ValueError(self._not_among(value) if self.kind is str else f"{self.name} is a number, not {value}")
        if self.kind is float and isinstance(value, CONVERTIBLE[float]):
            value = float(value)
        value = native(value)
        if not isinstance(value, self.kind):
            raise ValueError(f"{self.name} must be {NAMES[self.kind]}, not {value!r:.60}")
        if self.choices is not None and value not in self.choices:
            raise ValueError(self._not_among(value))
        if self.kind in (int, float):
            self._check_number(value)
        return value

    def _not_among(self, value):
        if self.choices is None:
            return f"{self.name} must be {NAMES[self.kind]}, not {value!r:.60}"
        return f"unknown {self.name} {value!r:.60}; known ones: {', '.join(map(str, self.choices))}"

    def _check_number(self, value):
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            raise ValueError(f"{self.name} must be a {'' if self.infinite else 'finite '}number, not {value}")
        below = self.low is not None and (value <= self.low if self.low_open else value < self.low)
        above = self.high is not None and (value >= self.high if self.high_open else value > self.high)
        if below or above:
            raise ValueError(f"{self.name} must be {self.range}, not {value:g}")


NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


def native(value):
    """A NumPy scalar as Python's own number; everything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def setting(default=MISSING, *, help, **about):
    """A field of Settings. default: left out where it must be given; help and `about`: as for Setting.

    >>> class Steps(Settings):
    ...     steps: int = setting(400, low=8, help="steps of a chain")
    >>> Steps(steps=10).record()
    {'steps': 10}
    >>> Steps(steps=3)
    Traceback (most recent call last):
    ValueError: steps must be at least 8, not 3
    """
    return dataclasses.field(default=default, kw_only=True, metadata={KEY: dict(about, help=help)})


class Settings:
    """Base of the settings of a sampler, a filter, a method and so on: frozen, by keyword, checked when they are made.

    Subclasses are dataclasses without a decorator; every field is a `setting`. A subclass may say in `check` what must
    hold between them. Raises ValueError for a value that its field does not allow.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True)(cls)

    def __post_init__(self):
        for each in self.described().values():
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        self.check()

    def check(self):
        """Raise ValueError where values do not go together."""

    @classmethod
    def described(cls):
        """{name: Setting} in the order in which they are declared."""
        return described(cls)

    def record(self):
        """{name: value} of all of them, defaults included, as JSON can hold them (infinite numbers as text)."""
        return {name: plain(getattr(self, name)) for name in self.described()}

    def replace(self, **changes):
        """The same settings but for `changes`, checked."""
        return dataclasses.replace(self, **changes)


@functools.cache
def described(cls):
    """See Settings.described."""
    if not dataclasses.is_dataclass(cls):
        return {}
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        kind, optional = kind_of(hints[field.name])
        if KEY not in field.metadata or kind not in CONVERTIBLE:
            raise TypeError(f"{cls.__qualname__}.{field.name} is no setting of int, float, bool or str, or None")
        found[field.name] = Setting(field.name, kind, optional, field.default, **field.metadata[KEY])
    return found


def kind_of(hint):
    """(type, whether None is allowed) of an annotation."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kinds = [each for each in typing.get_args(hint) if each is not type(None)]
        return (kinds[0] if len(kinds) == 1 else None), len(kinds) < len(typing.get_args(hint))
    return hint, False


def plain(value):
    """A value as JSON can hold it: infinite numbers are texts."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
