"""What keeps latents that follow a gradient near the sphere of radius √d, where a prior N(0, I) lies.

Of a gradient g at z, `tangent` leaves g − (g·z) z/‖z‖², its part along the sphere through z; `none` leaves g.
`published`, g − (g·z) z/√d, is what the texts on DOT and latentGA and their scripts write for d ≫ 1: as ‖z‖² is about
d, it takes off the radial part √d times, which drives latents towards or away from the sphere instead.
"""

import math

from latent_plugins.settings import setting

# What is taken off a gradient g at z, in units of (g·z) z.
PROJECTIONS = {
    "tangent": lambda z: 1 / z.square().sum(dim=1, keepdim=True),
    "published": lambda z: 1 / math.sqrt(z.shape[1]),
    "none": lambda z: 0.0,
}


def projection_setting():
    """The field of a Settings that chooses among PROJECTIONS."""
    return setting("tangent", choices=tuple(PROJECTIONS), help="What keeps latents near the sphere of radius sqrt(d).")


def projected(g, z, name):
    """Gradients g [N, d] at z [N, d] by one of PROJECTIONS."""
    return g - (g * z).sum(dim=1, keepdim=True) * z * PROJECTIONS[name](z)
