"""Where `wrap` used to be; `latent_plugins.wrap` itself is the function now."""

from latent_plugins.any_network import wrap
from latent_plugins.former_paths import callable_module

callable_module(__name__, wrap)
