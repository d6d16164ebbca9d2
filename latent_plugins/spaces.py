"""Spaces: which differentiable map's volume counts, and where its latents live."""

import dataclasses
import math

import torch

SHORT_NAMES = {"style": "z:w", "pixel": "z:pixel"}
MAPS = ("z:w", "z:pixel", "w:pixel")
DOMAINS = ("sphere", "gaussian")


def to_sphere(z):
    """Rescale each row of z [N, d] to the length √d."""
    return z * (math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True))


def canonical_space(name):
    """The `FROM:TO` form of a space name. Raises ValueError with the known names."""
    full = SHORT_NAMES.get(name, name)
    if full not in MAPS:
        known = ", ".join([*SHORT_NAMES, *(m for m in MAPS if m not in SHORT_NAMES.values())])
        raise ValueError(f"unknown space {name!r}; known spaces: {known}")
    return full


def check_space(generator, name):
    """The canonical name of a space of this generator. Raises ValueError for one that its family does not have."""
    full = canonical_space(name)
    if full != "z:pixel" and not generator.has_styles:
        raise ValueError(
            f"a {generator.family} network has no styles (w) between z and the image, so it has no space {full}: use "
            "the space pixel"
        )
    return full


def default_space(generator):
    """The cheapest space of a generator: styles where it has them, else pixels."""
    return "z:w" if generator.has_styles else "z:pixel"


def default_domain(generator):
    """`sphere` for generators that normalise z (there ‖z‖ means nothing), else `gaussian`."""
    return "sphere" if generator.normalizes_z else "gaussian"


@dataclasses.dataclass(frozen=True)
class SpaceMap:
    """A batched, differentiable map [N, in_dim] → [N, out_dim] whose Jacobian's volume is of interest.

    Attributes: `name` (`FROM:TO`); `domain`, where z lives; `c`, the label [1, c_dim] of every row; truncation `psi`
    and `cutoff`. With the domain `sphere` the map first rescales z to the length √d, so that its Jacobian at a point
    of that sphere is the generator's on the tangent space, with one exact null direction.
    """

    generator: torch.nn.Module
    name: str
    domain: str
    c: torch.Tensor
    psi: float = 1
    cutoff: int | None = None

    @property
    def in_dim(self):
        return self.generator.z_dim if self.name.startswith("z:") else self.generator.w_dim

    @property
    def out_dim(self):
        if self.name.endswith(":w"):
            return self.generator.w_dim
        return self.generator.img_channels * self.generator.img_resolution**2

    @property
    def max_rank(self):
        """The largest number of singular values that can differ from zero."""
        tangent = self.in_dim - (self.domain == "sphere" and self.name.startswith("z:"))
        return min(tangent, self.out_dim)

    def enter(self, z):
        """The map's input [N, in_dim] that belongs to the latent z [N, z_dim]: z itself, or its style w."""
        if self.domain == "sphere":
            z = to_sphere(z)
        return z if self.name.startswith("z:") else self.generator.style(z, self._labels(z))

    @property
    def parts(self):
        """(first, second) SpaceMaps that this one is the composition of, with an image of few dimensions and a cheap
        Jacobian between them: z → w → pixel; None for others."""
        if self.name != "z:pixel" or not self.generator.has_styles:
            return None
        style = dataclasses.replace(self, name="z:w", psi=1, cutoff=None)  # the second part truncates
        return style, dataclasses.replace(self, name="w:pixel")

    def __call__(self, x):
        if self.name.startswith("z:"):
            if self.domain == "sphere":
                x = to_sphere(x)
            if not self.generator.has_styles:
                return self.generator(x, self._labels(x), truncation_psi=self.psi).flatten(1)
            x = self.generator.style(x, self._labels(x))
        ws = self.generator.broadcast(x, self.psi, self.cutoff)
        if self.name.endswith(":w"):
            return ws[:, 0]
        return self.generator.synthesis(ws, noise_mode="const").flatten(1)

    def _labels(self, x):
        return self.c.expand(x.shape[0], -1)


def get_space(generator, name, *, c=None, psi=1, cutoff=None, domain=None):
    """The SpaceMap of a generator.

    name: `style` (z:w), `pixel` (z:pixel) or `w:pixel`; families without styles have `pixel` alone. c: label [c_dim] or
    [1, c_dim], required for conditional generators. psi, cutoff: truncation. domain: `sphere` or `gaussian`; by default
    what suits the family. Raises ValueError for an unknown name or domain, or a label that does not fit.
    """
    name = check_space(generator, name)
    domain = domain or default_domain(generator)
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
    device = next(generator.parameters()).device
    if c is None:
        if generator.c_dim > 0:
            raise ValueError(f"this generator is conditional: a label c of {generator.c_dim} entries is required")
        c = torch.zeros(1, 0)
    c = torch.as_tensor(c, dtype=torch.float32, device=device).reshape(1, -1)
    if c.shape[1] != generator.c_dim:
        raise ValueError(f"the label has {c.shape[1]} entries, the generator takes {generator.c_dim}")
    return SpaceMap(generator, name, domain, c, psi, cutoff)
