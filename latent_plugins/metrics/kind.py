"""What a metric of features says of itself: one class a file, known by its name."""

from __future__ import annotations

import re

from dnnlib_compat.detectors import FEATURES, LPIPS, PROBABILITIES

__all__ = ["FEATURES", "Figures", "HALF_TABLE", "LPIPS", "MOMENTS", "PROBABILITIES", "TABLE", "Kind"]

# How features are kept: their moments, all of them as float32, or as float16.
MOMENTS, TABLE, HALF_TABLE = "moments", "table", "half"

# Parts of names: `fid5k_full`, and with a neighbour `pr50k3`.
COUNT = r"(?P<count>\d+)(?P<thousand>k?)"
NEIGHBOURS = r"(?P<count>\d+)(?:k(?P<k>\d+))?"
FULL = r"(?P<full>_full)?"


class Figures(dict):
    """{official key: figure}, with what a number cannot hold.

    details: {name: array}, such as a curve, for a file beside the result line; about: {name: what JSON can hold} for
    the line itself, beside its results.
    """

    def __init__(self, figures, *, details=None, about=None):
        super().__init__(figures)
        self.details, self.about = details or {}, about or {}


class Kind:
    """A kind of metric that is computed from features of generated, and mostly of real, images.

    A subclass gives `name`, what names of its metrics begin with (`fid` of `fid50k_full`); `detector`, the part that
    features come from (`inception` or `vgg16`); `output` (FEATURES or PROBABILITIES); `storage` (MOMENTS, TABLE or
    HALF_TABLE); `figures`; and where it differs `needs_real`, `neighbour` (the usual one, of metrics that have one in
    their names), `most_real` (the most real images of `_full`) and `check`. Packages add one by an entry point of the
    group `latent_plugins.metrics` with its name.
    """

    name = None
    detector = "inception"
    output = FEATURES
    storage = TABLE
    needs_real = True
    neighbour = None
    most_real = None

    @classmethod
    def pattern(cls):
        """The regular expression of its metrics' names."""
        number = COUNT if cls.neighbour is None else NEIGHBOURS
        return rf"{re.escape(cls.name)}{number}{FULL if cls.needs_real else ''}"

    @classmethod
    def examples(cls):
        """Names of metrics of this kind, for messages."""
        plain = f"{cls.name}50k{cls.neighbour or ''}"
        return [f"{plain}_full", plain] if cls.needs_real else [plain]

    @classmethod
    def check(cls, metric, count):
        """Raise ValueError where a Metric cannot be computed. count: of real images, None where none are needed."""

    @classmethod
    def figures(cls, metric, real, generated, *, seed, progress):
        """{official key: figure} of a Metric, a dict or Figures.

        real, generated: accumulators of the features (`latent_plugins.metrics.accumulators`): of MOMENTS with
        `mean_cov(ddof)`, of tables with `features()`, [N, F]; real is None where none are needed. seed: of random
        numbers, if it needs some; progress(counts, total, label) wraps long loops.
        """
        raise NotImplementedError
