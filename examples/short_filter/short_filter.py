"""The filter of this example: latents that are no longer than a bound."""

from latent_plugins.samplers.filtered import Filter
from latent_plugins.settings import Settings, setting


class ShortFilter(Filter):
    """Keeps latents z with ‖z‖ ≤ `longest` · √d."""

    name = "short"

    class Settings(Settings):
        longest: float = setting(1.0, low=0, low_open=True, help="Longest latent, in units of sqrt(d).")

    def __init__(self, generator, **settings):
        self.settings = self.Settings(**settings)
        self.bound = self.settings.longest * generator.z_dim**0.5

    def accept(self, z, c, u):
        """Which latents [N, z_dim] are kept: bool [N]."""
        return z.norm(dim=1) <= self.bound
