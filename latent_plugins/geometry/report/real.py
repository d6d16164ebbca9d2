"""Features of real images to compare with, from a data set or from the statistics that come with a network."""

import torch

from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.detectors import FEATURES
from dnnlib_compat.pretrained import locate
from latent_plugins.geometry.report.subject import small_pixels
from latent_plugins.metrics.names import HALF_TABLE
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.metrics.real import RealImages, ReferenceStatistics, Request


def real_features(generator, detector, data, entry, most, *, progress=unwatched):
    """(features [m, F] float32 of at most `most` real images, the name of the data set), as `Subject.described`.

    detector: a Detector, or None for pixels. data: a folder or zip in the ecosystem's layout, or None: then the
    statistics that the catalogue's entry names, if they are of this detector; (None, None) without any. Raises
    DatasetError (a ValueError) for a data set that does not fit the generator.
    """
    shape = dict(resolution=generator.img_resolution, channels=generator.img_channels)
    if detector is None:
        return (None, None) if data is None else pixels_of(ImageDataset(data, max_size=most, **shape), progress)
    if data is not None:
        real = RealImages(data, **shape, progress=progress)
    elif "statistics" in entry:
        real = ReferenceStatistics(locate(entry["statistics"]))
        if real.digest != detector.digest:
            return None, None
    else:
        return None, None
    request = Request(detector.name, FEATURES, HALF_TABLE, most, False)
    return real.statistics([request], {detector.name: detector})[request].features().float(), real.name


def pixels_of(dataset, progress):
    """(`small_pixels` of all images of an ImageDataset, its name)."""
    found = []

    def counts():
        for images in dataset.batches(range(len(dataset))):
            found.append(small_pixels(images))
            yield len(images)

    for _ in progress(counts(), len(dataset), "real images"):
        pass
    return torch.cat(found), dataset.name
