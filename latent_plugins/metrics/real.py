"""Features of real images: computed once for a data set and a detector, then kept in the cache.

Files of the cache are named after the content of the data set and of the detector's file, never after paths.
"""

import dataclasses
import functools
import hashlib
import json
import warnings

import numpy as np
import torch

from dnnlib_compat.array_archives import open_arrays
from dnnlib_compat.checksums import check_npz, write_npz
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.download import cache_folder
from dnnlib_compat.errors import reason, without_advice
from dnnlib_compat.util import atomic_output, remove_leftovers
from latent_plugins import distributed
from latent_plugins.metrics.accumulators import new_accumulator, restore_accumulator
from latent_plugins.metrics.collect import collect, share
from latent_plugins.metrics.names import MOMENTS
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.randomness import Stream, uniforms

CACHE_FORMAT = 1
MAX_TEXT = 1000  # characters of a name in a file of statistics


@dataclasses.dataclass(frozen=True)
class Request:
    """Features that a metric needs of real images: detector name, its output, how they are kept, the most images
    (None: all), whether x-flips count, and the seed of a random choice of them (None: the first ones)."""

    detector: str
    output: str
    storage: str
    most: int | None
    mirror: bool
    choice: int | None = None


def request_of(metric, detector, mirror, choice=None):
    """The Request of a Metric: the official variants `_full` leave x-flips out, and choose nothing."""
    about = (mirror and not metric.full, None if metric.full else choice)
    return Request(detector, metric.output, metric.storage, metric.most_real, *about)


def chosen_images(request, images, size):
    """The indices of the `size` images that a Request takes of so many, in the order in which they count."""
    if request.choice is None:
        return np.arange(size)
    u = uniforms(np.arange(images), 1, seed=request.choice, stream=Stream.REAL_IMAGES)[:, 0]
    return np.argsort(u, kind="stable")[:size]


class RealImages:
    """A data set as the metrics see it. `progress(batches of counts, total, label)` wraps long loops."""

    def __init__(self, path, *, resolution, channels, label_dim=0, batch=64, workers=3, cache=True, progress=unwatched):
        options = dict(resolution=resolution, channels=channels, use_labels=label_dim > 0, label_dim=label_dim or None)
        self.plain = ImageDataset(path, **options)
        self._open_mirrored = functools.partial(ImageDataset, path, xflip=True, **options)
        self.batch, self.workers, self.cache = batch, workers, cache
        self.progress = progress
        self._known = {}
        self._fingerprint = functools.cache(lambda dataset: dataset.fingerprint())  # reads every file of a folder

    @functools.cached_property
    def mirrored(self):
        """The data set with x-flips, which few metrics want."""
        return self._open_mirrored()

    @property
    def name(self):
        return self.plain.name

    def identity(self):
        """What tells this data set from others, by content."""
        return self._fingerprint(self.plain)

    def size(self, request):
        """How many images a Request takes."""
        dataset = self.mirrored if request.mirror else self.plain
        return len(dataset) if request.most is None else min(request.most, len(dataset))

    def labels(self, n, seed):
        """n labels [n, label_dim] drawn from the data set's own; item i depends on (seed, i) alone."""
        if self.plain.label_dim == 0:
            return torch.zeros(n, 0)
        u = uniforms(np.arange(n), 1, seed=seed, stream=Stream.LABELS)[:, 0]
        return self.plain.label_batch((u * len(self.plain)).astype(np.int64))

    def statistics(self, requests, detectors):
        """{Request: accumulator} for a list of Requests; detectors: {name: Detector}.

        What the cache has, rank 0 alone gets; the other processes get None.
        """
        # The choices of earlier seeds do not come again.
        self._known = {key: kept for key, kept in self._known.items() if key.choice is None or key in requests}
        missing = []
        for request in dict.fromkeys(requests):
            if request not in self._known:
                found = self._cached(request, detectors) if distributed.rank() == 0 else None
                if distributed.from_leader(found is not None):
                    self._known[request] = found  # in the process that computes the figures
                else:
                    missing.append(request)
        for way in dict.fromkeys((request.mirror, request.choice) for request in missing):
            together = [request for request in missing if (request.mirror, request.choice) == way]
            self.compute(together, detectors, way[0])
        return {request: self._known[request] for request in requests}

    def compute(self, requests, detectors, mirror):
        """Features of Requests of the same images, of which some may take fewer."""
        dataset = self.mirrored if mirror else self.plain
        total = max(self.size(request) for request in requests)
        accumulators = {}
        for request in requests:
            detector = detectors[request.detector]
            detector.check(request.output, dataset.channels, dataset.resolution)
            self._known[request] = new_accumulator(request.storage, self.size(request))
            accumulators.setdefault((request.detector, request.output), []).append(self._known[request])
        device = next(iter(detectors.values())).device
        shares = share(total, self.batch)
        order = chosen_images(requests[0], len(dataset), total)
        indices = [order[i] for first, last in shares for i in range(first, last)]
        images = (x.to(device) for x in dataset.batches(indices, batch=self.batch, workers=self.workers))
        with torch.no_grad():
            for _ in self.progress(collect(images, detectors, accumulators), total, "real images"):
                pass
        for request in requests:
            if self.cache and request.choice is None and distributed.rank() == 0:
                self._keep(request, detectors)

    def _keep(self, request, detectors):
        """Write to the cache; where that fails, the figures can be had without."""
        try:
            path = self._cache_file(request, detectors)
            remove_leftovers(path.parent)
            write_arrays(path, self._known[request].arrays())
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            warnings.warn(f"statistics of real images not kept ({where}{error.strerror or error})", stacklevel=3)

    def _cached(self, request, detectors):
        if not self.cache or request.choice is not None:  # a choice is for one run
            return None
        path = self._cache_file(request, detectors)
        if not path.exists():
            return None
        try:
            with open_arrays(path) as file:
                arrays = check_npz({name: file.read(name) for name in file.shapes}, required=True)
            found = restore_accumulator(request.storage, arrays)
            if found.count != self.size(request):
                raise ValueError(f"{found.count} images instead of {self.size(request)}")
            return found
        except (ValueError, KeyError, OSError) as error:
            text = without_advice(reason(error).removeprefix(f"{path}: "))
            warnings.warn(f"{path}: damaged, computed again ({text})", stacklevel=2)
            return None

    def _cache_file(self, request, detectors):
        dataset = self.mirrored if request.mirror else self.plain
        detector = detectors[request.detector]
        parts = [CACHE_FORMAT, self._fingerprint(dataset), detector.digest, request.output, request.storage]
        digest = hashlib.sha256(json.dumps([*parts, self.size(request)]).encode()).hexdigest()[:16]
        return cache_folder("gan-metrics") / f"{dataset.name}-{detector.name}-{digest}.npz"


class ReferenceStatistics:
    """Moments and features of real images from a file, where the images themselves are not at hand."""

    name = "reference statistics"

    def __init__(self, path):
        self.path = path
        try:
            with open_arrays(path) as file:
                texts = (file.text(key, MAX_TEXT) for key in ("name", "detector", "digest"))
                self.name, self.detector, self.digest = texts
                arrays = check_npz({name: file.read(name) for name in file.shapes})
            self.arrays = {key: arrays[key] for key in ("total", "products", "count", "rows")}
            restore_accumulator(MOMENTS, self.arrays)
            if self.arrays["rows"].ndim != 2 or self.arrays["count"].shape != ():
                raise ValueError("its rows are no table")
        except (ValueError, KeyError, TypeError) as error:
            text = reason(error).removeprefix(f"{path}: ")
            raise ValueError(f"{path}: not a file of reference statistics, or damaged ({text})") from None

    def identity(self):
        """What tells these statistics from others."""
        return f"{self.name} {self.digest}"

    def size(self, request):
        """How many images a Request takes."""
        count = int(self.arrays["count"])
        return count if request.most is None else min(request.most, count)

    def labels(self, n, seed):
        """No labels [n, 0]: these statistics are for unconditional networks."""
        return torch.zeros(n, 0)

    def statistics(self, requests, detectors):
        """{Request: accumulator}. Raises ValueError for what is not in the file: name the data set with --data."""
        found = {}
        for request in requests:
            detector = detectors[request.detector]
            if detector.digest != self.digest or request.output != "features":
                raise ValueError(
                    f"the shipped reference statistics are features of {self.detector}, not {request.output} of "
                    f"{detector.name}: give the data set, --data=FILE"
                )
            if request.mirror:
                raise ValueError("the shipped reference statistics have no x-flips: give the data set, --data=FILE")
            kept = self.arrays["rows"]
            rows = kept[chosen_images(request, len(kept), min(self.size(request), len(kept)))].astype(np.float32)
            if request.storage == MOMENTS and self.size(request) == int(self.arrays["count"]):
                arrays = {key: self.arrays[key] for key in ("total", "products", "count")}
                found[request] = restore_accumulator(MOMENTS, arrays)
            else:
                found[request] = new_accumulator(request.storage, len(rows))
                found[request].add(torch.from_numpy(rows))
        return found


def write_reference(path, real, detector):
    """Write the features and moments of RealImages under one Detector as a file for ReferenceStatistics.

    Features are stored as float16, moments as float64 sums of the float32 features.
    """
    moments, rows = (Request(detector.name, "features", storage, None, False) for storage in (MOMENTS, "half"))
    found = real.statistics([moments, rows], {detector.name: detector})
    arrays = found[moments].arrays() | found[rows].arrays()
    write_arrays(path, dict(name=real.name, detector=detector.name, digest=detector.digest, **arrays), compress=True)


def write_arrays(path, arrays, compress=False):
    """Write arrays as `.npz`, atomically."""
    with atomic_output(path) as tmp, open(tmp, "wb") as file:
        write_npz(file, {name: np.asarray(array) for name, array in arrays.items()}, compress)
