"""Kinds of metrics by name: those of this package, and those that installed packages add."""

import warnings

from dnnlib_compat.installed import entry_points
from latent_plugins.metrics.density_coverage import DensityCoverage
from latent_plugins.metrics.earth_mover import EarthMover, VGGEarthMover
from latent_plugins.metrics.f1 import F1
from latent_plugins.metrics.fid import Fid, UnbiasedFid
from latent_plugins.metrics.hausdorff import Hausdorff
from latent_plugins.metrics.inception_score import InceptionScore
from latent_plugins.metrics.kid import Kid
from latent_plugins.metrics.kind import Kind
from latent_plugins.metrics.looks import Looks
from latent_plugins.metrics.prd import PrecisionRecallCurve
from latent_plugins.metrics.precision_recall import ExactPrecisionRecall, PrecisionRecall
from latent_plugins.metrics.shares import Shares

ENTRY_POINTS = "latent_plugins.metrics"
BUILTIN = (Fid, UnbiasedFid, Kid, PrecisionRecall, ExactPrecisionRecall, F1, DensityCoverage, EarthMover)
BUILTIN += (VGGEarthMover, Hausdorff, PrecisionRecallCurve, InceptionScore, Shares, Looks)


def available_kinds():
    """{name: class} of the built-in kinds of metrics and of those that installed packages add."""
    builtin, found = {kind.name: kind for kind in BUILTIN}, {}
    for entry in entry_points(ENTRY_POINTS):
        if entry.name in builtin:
            continue
        try:
            kind = entry.load()
            if not (isinstance(kind, type) and issubclass(kind, Kind) and kind.name == entry.name):
                raise ValueError(f"no Kind of the name {entry.name!r}")
            found[entry.name] = kind
        except Exception as error:  # whatever is wrong with somebody else's package, the others work
            text = f"the metric {entry.name!r} of {entry.value} fails to import and is left out ({error})"
            warnings.warn(text, stacklevel=3)
    return {**builtin, **found}
