"""What long work tells of itself while it runs."""


class Watch:
    """A listener to long work; this one says nothing. Commands have one that shows progress on a terminal."""

    def say(self, text):
        """Take note of a line of text."""

    def items(self, items, sizes, label):
        """Iterate over `items` of known `sizes`, things that `label` names."""
        return iter(items)

    def counts(self, counts, total, label):
        """Iterate over `counts`, numbers of things done that add up to `total`."""
        return iter(counts)

    def counted(self, function, things):
        """A callable over rows, which may tell how many it has computed."""
        return function


SILENT = Watch()


class ArgumentError(ValueError):
    """A ValueError whose text names arguments in backticks, as in `data`=FILE: commands show them as options."""
