"""The ecosystem's names of metrics, and what each needs.

A name holds the number of generated images: `fid50k_full`, `fid500`, `pr5k3_full` (5,000 images, third neighbour).

A `k` before the neighbour is read as the ecosystem has it below 1,000 and not at all from there on: `pr50k3` is 50,000
images and neighbour 3, `pr1024k3` 1,024 images and neighbour 3 (nobody draws a million). A plain number is a count with
the usual neighbour, 3 for `pr`, `pr_exact` and `f1_`, 5 for `dc`: `pr300`, `dc1500_full`.

`_full` compares with the whole data set, without x-flips; the legacy names without it take as many real images as
generated ones, from the beginning of the data set.

Path lengths are defined without truncation, and the official names are kept for that: `ppl_wend_trunc` is the same
with the truncation that is asked for, at psi 1 the same figure.
"""

import dataclasses
import difflib
import re

from dnnlib_compat.budgets import MAX_NUMBERS
from dnnlib_compat.detectors import IMAGE_STATISTICS
from dnnlib_compat.errors import quoted, shown
from latent_plugins.metrics.kind import COUNT, HALF_TABLE, LPIPS, MOMENTS, TABLE
from latent_plugins.metrics.registry import available_kinds

__all__ = ["HALF_TABLE", "MOMENTS", "OFFICIAL_DETECTORS", "TABLE", "Metric", "parse_metric", "parse_metrics"]

# The detectors' parts in the metrics, and the file that the official code uses for each.
OFFICIAL_DETECTORS = {
    "inception": "inception-2015-12-05",
    "vgg16": "vgg16",
    "lpips": "vgg16",
    "image": IMAGE_STATISTICS,
}
# From here on a number before the neighbour's k is the count itself, below thousands of images.
PLAIN_COUNT = 1000
# Metrics that are no function of features: names, and examples of them.
OTHERS = {
    "ppl": rf"(?P<setting>ppl2_wend|ppl_zfull|ppl_wfull|ppl_zend|ppl_wend)(?P<truncated>_trunc)?(?:_{COUNT})?",
    "eqt_int": rf"eqt{COUNT}_int",
    "eqt_frac": rf"eqt{COUNT}_frac",
    "eqr": rf"eqr{COUNT}",
}
OTHER_EXAMPLES = [
    "ppl2_wend",
    "ppl_zfull",
    "ppl_wfull",
    "ppl_zend",
    "ppl_wend",
    "ppl_wend_trunc",
    "eqt50k_int",
    "eqt50k_frac",
    "eqr50k",
]


def examples():
    """Names of metrics of all kinds."""
    return [*(name for kind in available_kinds().values() for name in kind.examples()), *OTHER_EXAMPLES]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A parsed name: `kind` and, where it is computed from features, its class `of_features`; `samples` to generate,
    neighbour `k`, `full`, path `setting`, and whether it is of `truncated` paths."""

    name: str
    kind: str
    samples: int
    k: int | None = None
    full: bool = False
    setting: str | None = None
    truncated: bool = False
    of_features: type | None = None

    @property
    def detector(self):
        """The key of OFFICIAL_DETECTORS that the metric needs, or None."""
        if self.kind == "ppl":
            return "lpips"
        return self.of_features and self.of_features.detector

    @property
    def output(self):
        """The detector's output that is needed, or None."""
        if self.kind == "ppl":
            return LPIPS
        return self.of_features and self.of_features.output

    @property
    def storage(self):
        """How the features are kept: moments, table or half; None for metrics without features."""
        return self.of_features and self.of_features.storage

    @property
    def needs_real(self):
        """Whether the metric compares with real images."""
        return self.of_features is not None and self.of_features.needs_real

    def check_truncation(self, psi, truncates=False):
        """Raise ValueError where the metric is not defined for a truncation psi, or a sampler that truncates itself."""
        if self.of_features is not None or (psi == 1 and not truncates):
            return
        if self.truncated and truncates:
            raise ValueError(
                f"{self.name} truncates all paths alike, and this sampler its latents by itself: take the sampler "
                "prior, and its psi as the truncation"
            )
        if not self.truncated:
            own = self.setting and self.name.replace(self.setting, f"{self.setting}_trunc", 1)
            other = f", or {own}, which is that of truncated paths" if own else ""
            raise ValueError(f"{self.name} is defined without truncation; compute it with truncation psi 1{other}")

    @property
    def most_real(self):
        """The largest number of real images that are taken, None for all."""
        return self.of_features.most_real if self.full else self.samples


def parse_metric(name):
    """The Metric of a name. Raises ValueError for an unknown name, with the nearest known one."""
    kinds = available_kinds()
    for kind, pattern in ({name: each.pattern() for name, each in kinds.items()} | OTHERS).items():
        match = re.fullmatch(pattern, name)
        if match:
            found = match.groupdict()
            samples = number_of_images(found)
            if samples < 1:
                raise ValueError(f"{name}: the number of images must be positive")
            if samples > MAX_NUMBERS:
                raise ValueError(f"{shown(name)}: {MAX_NUMBERS} images are the most")
            of_features = kinds.get(kind)
            k = int(found["k"]) if found.get("k") else of_features and of_features.neighbour
            if k == 0:
                usual = of_features.examples()[-1].replace("50k", "5k", 1)
                raise ValueError(f"{name}: the neighbour is counted from 1, as in {usual}")
            about = dict(full=bool(found.get("full")), truncated=bool(found.get("truncated")))
            return Metric(name, kind, samples, k, setting=found.get("setting"), of_features=of_features, **about)
    number = re.search(r"\d+k?", name)
    usual = examples()
    known = [example.replace("50k", number[0], 1) if number else example for example in usual] + usual
    longer = [example for example in known if example.startswith(name.lower()) and name]
    near = (
        longer[0] if longer else max(known, key=lambda each: difflib.SequenceMatcher(None, each, name.lower()).ratio())
    )
    raise ValueError(f"unknown metric {quoted(name)}; did you mean {near}? Kinds of metrics: {', '.join(usual)}")


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
