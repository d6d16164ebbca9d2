"""What metrics compare and with what: feature detectors and real images, as a user names them."""

import functools

from dnnlib_compat.detectors import load_detector
from dnnlib_compat.errors import quoted
from dnnlib_compat.loader import training_set
from dnnlib_compat.pretrained import locate
from latent_plugins import distributed
from latent_plugins.metrics.names import OFFICIAL_DETECTORS
from latent_plugins.metrics.real import RealImages, ReferenceStatistics
from latent_plugins.spaces import canonical_space, is_feature_space
from latent_plugins.watching import ArgumentError

SPACE = "space"  # in front of a detector: that of the sampler's space


def open_detectors(metrics, chosen, lpips_heads, entry, **options):
    """{part: Detector} for the parts (inception, vgg16, lpips) that the metrics need.

    chosen: sources, or `part=source`. Without one, a network's own entry may name a detector of features.
    """
    sources = dict(OFFICIAL_DETECTORS)
    if "detector" in entry:
        sources.update(inception=entry["detector"], vgg16=entry["detector"])
    image = {"image": sources.pop("image")}  # statistics of pixels, which no file replaces
    for value in chosen:
        part, mark, source = value.partition("=")
        if mark and part == SPACE:
            continue
        if mark and part in image:
            raise ArgumentError(f"`detector`={value}: statistics of pixels have no detector; leave it out")
        sources.update({part: source} if mark and part in sources else dict.fromkeys(sources, value))
    sources |= image
    needed = sorted({metric.detector for metric in metrics if metric.detector})
    if lpips_heads is not None and "lpips" not in needed:
        raise ArgumentError("`lpips_heads` has no effect without a path length metric; leave it out")

    @functools.cache
    def opened(source, heads):
        return distributed.leader_first(lambda: load_detector(source, lpips_heads=heads, **options))

    return {part: opened(sources[part], lpips_heads if part == "lpips" else None) for part in needed}


def space_detector(space, chosen):
    """The detector of a feature space among chosen ones: `space=…`, else what replaces all; or None."""
    if space is None or not is_feature_space(canonical_space(space)):
        return None
    named = [value.partition("=") for value in chosen]
    own = [source for part, mark, source in named if mark and part == SPACE]
    every = [value for value in chosen if value.partition("=")[0] not in (SPACE, *OFFICIAL_DETECTORS)]
    return (own or every or [None])[-1]


class RecordedPath(str):
    """Where a network's file says that its data set is: shown as a hint, and never opened unasked."""

    mirrored = False


def recorded_data(source, entry):
    """{"path": RecordedPath} of the data set that an official pickle names; else {}."""
    recorded = {} if entry else training_set(source)
    if not isinstance(recorded.get("path"), str):
        return {}
    path = RecordedPath(recorded["path"])
    path.mirrored = recorded.get("xflip") is True
    return dict(path=path)


def open_real(metrics, generator, data, entry, **options):
    """RealImages, or the statistics that belong to an embedded network; None where neither images nor labels count.

    data: what the user named, or a RecordedPath, which is only mentioned.
    """
    conditional = generator.c_dim > 0
    if data is not None and not isinstance(data, RecordedPath):
        shape = dict(resolution=generator.img_resolution, channels=generator.img_channels)
        return RealImages(data, **shape, label_dim=generator.c_dim, **options)
    if not conditional and not any(metric.needs_real for metric in metrics):
        return None
    if "statistics" in entry and not conditional:
        return ReferenceStatistics(locate(entry["statistics"]))
    what = "draws labels from" if conditional else "is compared with"
    hint = ""
    if data is not None:
        hint = f" (the network's file names {quoted(str(data))}{', with `mirror`=1' if data.mirrored else ''})"
    raise ArgumentError(f"could not look up the data set that this network {what}; give it with `data`=FILE{hint}")
