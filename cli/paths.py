"""Option types for files: `~` is the home folder also where no shell has seen it, and nothing is empty."""

import os
from pathlib import Path

import click

from dnnlib_compat.errors import escaped
from dnnlib_compat.loader import check_source
from dnnlib_compat.pretrained import detectors, resolve


class FilePath(click.ParamType):
    """A file or folder, as a Path."""

    name = "path"

    def convert(self, value, param, ctx):
        return value if isinstance(value, Path) else Path(Source().convert(value, param, ctx))


class ExistingPath(FilePath):
    """A file or folder that there is."""

    def convert(self, value, param, ctx):
        path = super().convert(value, param, ctx)
        if not os.path.exists(path):
            self.fail(escaped(f"{path}: no such file or folder; check the path"), param, ctx)
        return path


class Source(click.ParamType):
    """A file, an address, a short name or FILE.py:function, as text; of `PART=FILE` the file alone is expanded."""

    name = "source"

    def convert(self, value, param, ctx):
        if not value.strip():
            self.fail("it is empty; give a name, or leave the option out", param, ctx)
        part, mark, path = value.partition("=")
        if mark and part.isidentifier() and path.startswith("~"):
            return part + mark + os.path.expanduser(path)
        return os.path.expanduser(value)


class NetworkSource(Source):
    """A network that there is: what names nothing is told at once, and not after torch is there to open it."""

    def convert(self, value, param, ctx):
        source = super().convert(value, param, ctx)
        try:
            check_source(source)
        except (ValueError, FileNotFoundError) as error:
            self.fail(escaped(str(error)), param, ctx)
        return source


class DetectorSource(Source):
    """A feature detector that there is, also behind the part that it is for."""

    def convert(self, value, param, ctx):
        source = super().convert(value, param, ctx)
        part, mark, named = source.partition("=")
        try:
            resolve(named if mark and part.isidentifier() else source, detectors())
        except (ValueError, FileNotFoundError) as error:
            self.fail(escaped(str(error)), param, ctx)
        return source


class DataSource(Source):
    """A data set that there is."""

    def convert(self, value, param, ctx):
        source = super().convert(value, param, ctx)
        if not os.path.exists(source):
            self.fail(escaped(f"{source}: no such file or folder; check the path"), param, ctx)
        return source
