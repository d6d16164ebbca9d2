"""The commands: they parse, call and report; everything else is in the libraries."""

from cli.lazy_imports import put_off

put_off()
