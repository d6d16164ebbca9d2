"""The exceptions of file loading. Each message is one line that names the file, the cause and the remedy."""

import contextlib


class NetworkFileError(ValueError):
    """A network file that cannot be used: damaged, of another kind, or not matching the network it claims to be."""


class UnsafePickleError(NetworkFileError):
    """A pickle that asks for something outside the allow-list. Nothing from it has run."""


class DatasetError(ValueError):
    """A data set that cannot be used: the message is one line with its path, what is wrong, and what would be right."""


@contextlib.contextmanager
def naming(path):
    """Put a file's path in front of what is wrong with it: any ValueError becomes a NetworkFileError."""
    try:
        yield
    except ValueError as error:
        raise NetworkFileError(f"{path}: {error}") from None


def reason(error):
    """An error's text on one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error)).split()) or type(error).__name__
