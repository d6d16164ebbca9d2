"""The ecosystem's names of metrics, and what each needs.

A name holds the number of generated images: `fid50k_full`, `fid500`, `pr5k3_full` (5,000 images, third neighbour).

A `k` before the neighbour is read as the ecosystem has it below 1,000 and not at all from there on: `pr50k3` is 50,000
images and neighbour 3, `pr1024k3` 1,024 images and neighbour 3 (nobody draws a million). A plain number is a count with
the usual neighbour, 3 for `pr` and `pr_exact`, 5 for `dc`: `pr300`, `dc1500_full`.

`_full` compares with the whole data set, without x-flips; the legacy names without it take as many real images as
generated ones, from the beginning of the data set.
"""

import dataclasses
import difflib
import re

from dnnlib_compat.detectors import FEATURES, LPIPS, PROBABILITIES

# The detectors' parts in the metrics, and the file that the official code uses for each.
OFFICIAL_DETECTORS = {"inception": "inception-2015-12-05", "vgg16": "vgg16", "lpips": "vgg16"}
MOMENTS, TABLE, HALF_TABLE = "moments", "table", "half"

COUNT = r"(?P<count>\d+)(?P<thousand>k?)"
NEIGHBOURS = r"(?P<count>\d+)(?:k(?P<k>\d+))?"
USUAL_NEIGHBOUR = {"pr": 3, "pr_exact": 3, "dc": 5}
# From here on a number before the neighbour's k is the count itself, below thousands of images.
PLAIN_COUNT = 1000
FULL = r"(?P<full>_full)?"
PATTERNS = {
    "fid": rf"fid{COUNT}{FULL}",
    "fid_unbiased": rf"fid_unbiased{COUNT}{FULL}",
    "kid": rf"kid{COUNT}{FULL}",
    "pr": rf"pr{NEIGHBOURS}{FULL}",
    "pr_exact": rf"pr_exact{NEIGHBOURS}{FULL}",
    "dc": rf"dc{NEIGHBOURS}{FULL}",
    "emd": rf"emd{COUNT}{FULL}",
    "is": rf"is{COUNT}",
    "ppl": rf"(?P<setting>ppl2_wend|ppl_zfull|ppl_wfull|ppl_zend|ppl_wend)(?:_{COUNT})?",
    "eqt_int": rf"eqt{COUNT}_int",
    "eqt_frac": rf"eqt{COUNT}_frac",
    "eqr": rf"eqr{COUNT}",
}
# What a metric is computed from: part of the detector, its output, how the features are kept.
FEATURE_METRICS = {
    "fid": ("inception", FEATURES, MOMENTS),
    "fid_unbiased": ("inception", FEATURES, MOMENTS),
    "kid": ("inception", FEATURES, TABLE),
    "pr": ("vgg16", FEATURES, HALF_TABLE),
    "pr_exact": ("vgg16", FEATURES, HALF_TABLE),
    "dc": ("vgg16", FEATURES, TABLE),
    "emd": ("inception", FEATURES, TABLE),
    "is": ("inception", PROBABILITIES, TABLE),
}
# The most real images that the official code takes into the whole-data-set variants.
MOST_REAL = {"pr": 200_000, "pr_exact": 200_000, "dc": 200_000, "kid": 1_000_000}
EXAMPLES = ["fid50k_full", "fid50k", "kid50k_full", "kid50k", "pr50k3_full", "pr50k3", "is50k", "ppl2_wend"]
EXAMPLES += ["ppl_zfull", "ppl_wfull", "ppl_zend", "ppl_wend", "eqt50k_int", "eqt50k_frac", "eqr50k"]
EXAMPLES += ["dc50k5_full", "dc50k5", "emd5k", "fid_unbiased50k_full", "fid_unbiased50k"]
EXAMPLES += ["pr_exact50k3_full", "pr_exact50k3"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A parsed name: `kind` (a key of PATTERNS), `samples` to generate, neighbour `k`, `full`, path `setting`."""

    name: str
    kind: str
    samples: int
    k: int | None = None
    full: bool = False
    setting: str | None = None

    @property
    def detector(self):
        """The key of OFFICIAL_DETECTORS that the metric needs, or None."""
        if self.kind == "ppl":
            return "lpips"
        return FEATURE_METRICS[self.kind][0] if self.kind in FEATURE_METRICS else None

    @property
    def output(self):
        """The detector's output that is needed, or None."""
        if self.kind == "ppl":
            return LPIPS
        return FEATURE_METRICS[self.kind][1] if self.kind in FEATURE_METRICS else None

    @property
    def storage(self):
        """How the features are kept: moments, table or half; None for metrics without features."""
        return FEATURE_METRICS[self.kind][2] if self.kind in FEATURE_METRICS else None

    @property
    def needs_real(self):
        """Whether the metric compares with real images."""
        return self.kind in FEATURE_METRICS and self.kind != "is"

    @property
    def most_real(self):
        """The largest number of real images that are taken, None for all."""
        return MOST_REAL.get(self.kind) if self.full else self.samples


def parse_metric(name):
    """The Metric of a name. Raises ValueError for an unknown name, with the nearest known one."""
    for kind, pattern in PATTERNS.items():
        match = re.fullmatch(pattern, name)
        if match:
            found = match.groupdict()
            samples = number_of_images(found)
            if samples < 1:
                raise ValueError(f"{name}: the number of images must be positive")
            k = int(found["k"]) if found.get("k") else USUAL_NEIGHBOUR.get(kind)
            if k == 0:
                raise ValueError(f"{name}: the neighbour is counted from 1, as in {kind}5k3")
            return Metric(name, kind, samples, k, bool(found.get("full")), found.get("setting"))
    number = re.search(r"\d+k?", name)
    known = [example.replace("50k", number[0], 1) if number else example for example in EXAMPLES] + EXAMPLES
    longer = [example for example in known if example.startswith(name.lower()) and name]
    close = longer or difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)
    raise ValueError(f"unknown metric {name!r}; did you mean {close[0]}? Kinds of metrics: {', '.join(EXAMPLES)}")


def number_of_images(found):
    """The number of images in the groups of a name's match."""
    count = int(found["count"] or 50_000)
    in_thousands = found.get("thousand") or found.get("k") and count < PLAIN_COUNT
    return count * 1000 if in_thousands else count


def parse_metrics(text):
    """The Metrics of a comma-separated list, each once. Raises ValueError for unknown names or none at all."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError("no metric was named; name one or more, as in fid50k_full,pr50k3_full")
    return [parse_metric(name) for name in dict.fromkeys(names)]
