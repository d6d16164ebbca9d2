"""Progress of long loops: a bar with rate and time left on a terminal, nothing elsewhere, or with --progress lines."""

import contextlib
import sys
import time

import click

from latent_plugins.watching import Watch

ASKED = f"{__name__}.asked"  # where the context of a command keeps whether --progress was given
EVERY = 20  # seconds between the lines of a loop
EVERY_COUNT = 5  # and between those of a Counted


def remember(ctx, parameter, value):
    """Keep the flag for `asked`."""
    ctx.meta[ASKED] = value


progress_option = click.option(
    "--progress",
    is_flag=True,
    expose_value=False,
    callback=remember,
    help="Show progress also where the output is no terminal: lines now and then.",
)


def asked():
    """Whether the command that runs was told --progress."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(ASKED))


def with_progress(items, sizes, label, note=None):
    """Iterate over `items` of known `sizes` and show how far it is; note(item): a text that is shown, too."""
    return _shown(items, iter(sizes), sum(sizes), label, note)


def count_progress(counts, total, label):
    """Iterate over `counts`, numbers of things done that add up to `total`, and show how far it is."""
    return _shown(counts, None, total, label)


def _shown(items, sizes, total, label, note=None):
    with _display(total, label) as update:
        for item in items:
            yield item
            update(item if sizes is None else next(sizes), note(item) if note else "")


@contextlib.contextmanager
def _display(total, label):
    """Yield update(things done since the last one, text)."""
    start = time.monotonic()
    if sys.stdout.isatty():
        bar = click.progressbar(length=total, label=label, show_pos=True, show_eta=True, width=24,
                                item_show_func=lambda text: text)  # fmt: skip
        with bar:
            yield lambda size, text: bar.update(size, _joined(_rate(bar.pos + size, time.monotonic() - start), text))
    elif asked():
        lines = Lines(total, label, start)
        yield lines.update
        lines.say(last=True)
    else:
        yield lambda size, text: None


class Lines:
    """Progress in a log file: a line every so many seconds, and one at the end."""

    def __init__(self, total, label, start):
        self.total, self.label, self.start, self.last = total, label, start, start
        self.done, self.text = 0, ""

    def update(self, size, text):
        """Take note of things done."""
        self.done, self.text, now = self.done + size, text, time.monotonic()
        if now - self.last > EVERY and self.done < self.total:
            self.last = now
            self.say()

    def say(self, last=False):
        """Print how far it is and, unless this is the end, how long the rest will take."""
        seconds = time.monotonic() - self.start
        left = "" if last else f"{(self.total - self.done) * seconds / max(self.done, 1):.0f} s left"
        counted = f"{self.done} of {self.total} {self.label}"
        click.echo(_joined(counted, self.text, _rate(self.done, seconds), left))


def _rate(done, seconds):
    rate = done / max(seconds, 1e-9)
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


def _joined(*parts):
    return ", ".join(filter(None, parts))


class Counted:
    """A callable over rows that prints now and then how many it has computed, where progress is shown."""

    def __init__(self, function, things):
        self.function, self.things = function, things
        self.done, self.start = 0, time.monotonic()
        self.last = self.start

    @property
    def inputs(self):
        """That of a LogVolume."""
        return self.function.inputs

    def __call__(self, rows):
        result = self.function(rows)
        self.done += len(rows)
        now = time.monotonic()
        if now - self.last > EVERY_COUNT and (sys.stdout.isatty() or asked()):
            self.last = now
            click.echo(f"{self.done} {self.things}, {_rate(self.done, now - self.start)}")
        return result


class Terminal(Watch):
    """A Watch that prints what it hears of, progress where it is shown."""

    def say(self, text):
        """See Watch."""
        click.echo(text)

    def items(self, items, sizes, label):
        """See Watch."""
        return with_progress(items, sizes, label)

    def counts(self, counts, total, label):
        """See Watch."""
        return count_progress(counts, total, label)

    def counted(self, function, things):
        """See Watch."""
        return Counted(function, things)


TERMINAL = Terminal()
