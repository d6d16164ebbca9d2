"""Where the methods used to be: `latent_plugins.volume.spectrum` has them. It goes with the next release."""

from latent_plugins.volume.spectrum import *  # noqa: F403
from latent_plugins.volume.spectrum import __all__  # noqa: F401
