"""Standard output as it is found: closed, of a narrow encoding, or a pipe whose reader has left."""

import os
import sys

SIGPIPE_STATUS = 128 + 13  # what a shell reports of the usual tools when their reader has left


def prepare_streams():
    """Make sure that printing fails neither for want of a stream nor of a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def reader_has_left():
    """End the command quietly, as the usual tools end when nobody reads what they print."""
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, sys.stdout.fileno())  # what is still in the buffer has somewhere to go
    except (OSError, ValueError):  # a stream without a file
        pass
    raise SystemExit(SIGPIPE_STATUS)
