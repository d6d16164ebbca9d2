"""The log-volumes of a generator's classes, for samplers that compute them as they go."""

from latent_plugins.atlas.record import settings_record
from latent_plugins.atlas.settings import shard_map
from latent_plugins.volume import LogVolume

# Of the settings of an atlas, what a single volume depends on.
DECIDING = ("space", "domain", "base", "radius", "method", "projection", "oversample", "iterations")
DECIDING += ("precision", "compile", "detector", "layer", "max_memory")


class Volumes:
    """Callable class index (None without classes) → LogVolume, with one record for all of them.

    settings: the AtlasSettings that decide how a volume is computed; top_k: how many singular values make it; counted:
    what wraps each LogVolume, such as a display of progress.
    """

    def __init__(self, generator, settings, top_k, counted=lambda volume: volume):
        self.generator, self.settings, self.top_k, self.counted = generator, settings, top_k, counted

    def __call__(self, label):
        settings = self.settings
        options = dict(method=settings.made_by, max_memory=settings.max_memory)
        if settings.precision is not None:
            options["precision"] = settings.precision
        return self.counted(LogVolume(shard_map(self.generator, settings, label), self.top_k, **options))

    def record(self):
        """{name: value} of what decides the volumes; without what their method does not have."""
        return dict(top_k=self.top_k, **settings_record(self.settings, DECIDING))
