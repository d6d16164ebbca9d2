"""The commands: they parse, call and report; everything else is in the libraries."""
