"""The exceptions of file loading. Each message is one line that names the file, the cause and the remedy."""


class NetworkFileError(ValueError):
    """A network file that cannot be used: damaged, of another kind, or not matching the network it claims to be."""


class UnsafePickleError(NetworkFileError):
    """A pickle that asks for something outside the allow-list. Nothing from it has run."""
