"""Where `attach` used to be; `latent_plugins.attach` itself is the function now."""

from latent_plugins.attaching import SIZES, AttachedGenerator, attach  # noqa: F401
from latent_plugins.former_paths import callable_module

callable_module(__name__, attach)
