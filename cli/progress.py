"""Progress of long loops: a bar with rate and time left; in a log file, a line every so many seconds."""

import sys
import time

import click

from latent_plugins.watching import Watch


def with_progress(items, sizes, label):
    """Iterate over `items` of known `sizes` under a progress bar."""
    return _shown(items, iter(sizes), sum(sizes), label)


def count_progress(counts, total, label):
    """Iterate over `counts`, numbers of things done that add up to `total`, under a progress bar."""
    return _shown(counts, None, total, label)


def _shown(items, sizes, total, label, every=20):
    start = last = time.monotonic()
    done = 0
    bar = click.progressbar(length=total, label=label, show_pos=True, show_eta=True, width=24,
                            item_show_func=lambda rate: rate)  # fmt: skip
    with bar:
        for item in items:
            yield item
            size = item if sizes is None else next(sizes)
            done += size
            now = time.monotonic()
            rate = done / max(now - start, 1e-9)
            bar.update(size, f"{rate:.0f}/s")
            if not sys.stdout.isatty() and now - last > every and done < total:
                last = now
                click.echo(f"{done} of {total} {label}, {rate:.0f}/s, {(total - done) / max(rate, 1e-9):.0f} s left")


class Counted:
    """A callable over rows that prints now and then how many it has computed."""

    def __init__(self, function, things, every=5):
        self.function, self.things, self.every = function, things, every
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
        if now - self.last > self.every:
            self.last = now
            click.echo(f"{self.done} {self.things}, {self.done / (now - self.start):.0f}/s")
        return result


class Terminal(Watch):
    """A Watch that shows what it hears of."""

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
