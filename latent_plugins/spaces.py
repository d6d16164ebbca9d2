"""Spaces: which differentiable map's volume counts, and where its latents live."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch

from dnnlib_compat.detectors import FEATURES, Detector
from latent_plugins.priors import DOMAINS

FEATURE_SPACES = ("vgg", "inception", "features")
SHORT_NAMES = {"style": "z:w", "pixel": "z:pixel"} | {name: f"z:{name}" for name in FEATURE_SPACES}
MAPS = ("z:w", *(f"{start}:{end}" for end in ("pixel", *FEATURE_SPACES) for start in "zw"))
# Files whose networks are known here, so that they can be differentiated; `features` takes any that is named.
DEFAULT_DETECTORS = {"vgg": "vgg16-stylegan3", "inception": "inception-2015-12-05-stylegan3"}


@dataclasses.dataclass(frozen=True)
class Space:
    """Where a map starts and ends: `z` or `w`, to `w`, `pixel` or one of FEATURE_SPACES. Its `name` is `FROM:TO`."""

    start: str
    end: str

    @classmethod
    def parse(cls, name):
        """The Space of a name, long or short (`style`, `pixel`, `vgg`, …). Raises ValueError with the known names."""
        full = SHORT_NAMES.get(name, name)
        if full not in MAPS:
            known = ", ".join([*SHORT_NAMES, *(m for m in MAPS if m not in SHORT_NAMES.values())])
            raise ValueError(f"unknown space {name!r}; known spaces: {known}")
        return cls(*full.split(":"))

    @property
    def name(self):
        return f"{self.start}:{self.end}"

    @property
    def from_latents(self):
        """Whether the map starts at the latent z, where the prior lives, rather than at a style."""
        return self.start == "z"

    @property
    def to_styles(self):
        return self.end == "w"

    @property
    def to_pixels(self):
        return self.end == "pixel"

    @property
    def to_features(self):
        """Whether a feature detector is the map's last part."""
        return self.end in FEATURE_SPACES

    @property
    def needs_styles(self):
        """Whether only generators with styles have this space."""
        return "w" in (self.start, self.end)


def to_sphere(z):
    """Rescale each row of z [N, d] to the length √d."""
    return z * (math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True))


def canonical_space(name):
    """The `FROM:TO` form of a space name. Raises ValueError with the known names."""
    return Space.parse(name).name


def spaces_of(generator):
    """The canonical names of the spaces that a generator has."""
    return [name for name in MAPS if generator.has_styles or not Space.parse(name).needs_styles]


def check_space(generator, name):
    """The canonical name of a space of this generator. Raises ValueError for one that its family does not have."""
    full = canonical_space(name)
    if full not in spaces_of(generator):
        raise ValueError(
            f"a {generator.family} network has no styles (w) between z and the image, so it has no space {full}: use "
            "the space pixel"
        )
    return full


def is_feature_space(name):
    """Whether a canonical name is that of a space of a feature detector."""
    return Space.parse(name).to_features


def default_detector(name):
    """The detector's name for a canonical feature space. Raises ValueError for one that needs to be told."""
    end = Space.parse(name).end
    if end not in DEFAULT_DETECTORS:
        raise ValueError(f"the space {name} needs --detector=FILE or a name, such as --detector=mnist-classifier")
    return DEFAULT_DETECTORS[end]


def default_space(generator):
    """The cheapest space of a generator: styles where it has them, else pixels."""
    return "z:w" if generator.has_styles else "z:pixel"


def default_domain(generator):
    """`sphere` for generators that normalise z (there ‖z‖ means nothing), else `gaussian`."""
    return "sphere" if generator.normalizes_z else "gaussian"


@dataclasses.dataclass(frozen=True)
class SpaceMap:
    """A batched, differentiable map [N, in_dim] → [N, out_dim] whose Jacobian's volume is of interest.

    Attributes: `space`, a Space, and its `name` (`FROM:TO`); `domain`, where z lives; `c`, the label [1, c_dim] of
    every row; truncation `psi` and `cutoff`; `detector` and `layer` (None: the metrics' features) of a feature space,
    whose map takes the image as the metrics do, clipped to [0, 255] and resized, but not rounded to 8 bits. With the
    domain `sphere` the map first rescales z to the length √d, so that its Jacobian at a point of that sphere is the
    generator's on the tangent space, with one exact null direction.
    """

    generator: torch.nn.Module
    space: Space
    domain: str
    c: torch.Tensor
    psi: float = 1
    cutoff: int | None = None
    detector: Detector | None = None
    layer: str | None = None

    @property
    def name(self):
        return self.space.name

    @property
    def on_sphere(self):
        """Whether the map's inputs live on the sphere of radius √d (those of maps from styles do not)."""
        return self.domain == "sphere" and self.space.from_latents

    @property
    def in_dim(self):
        return self.generator.z_dim if self.space.from_latents else self.generator.w_dim

    @property
    def out_dim(self):
        if self.space.to_styles:
            return self.generator.w_dim
        pixels = self.generator.img_channels * self.generator.img_resolution**2
        return pixels if self.detector is None else self._features

    @functools.cached_property
    def _features(self):
        size = self.generator.img_resolution
        image = torch.zeros(1, self.generator.img_channels, size, size, device=self.detector.device)
        with torch.no_grad():
            return self._end(image).shape[1]

    @property
    def modules(self):
        """Every module that the map goes through."""
        networks = [self.generator] if self.detector is None else [self.generator, self.detector.network]
        return [module for network in networks for module in network.modules() if module is not network]

    @property
    def max_rank(self):
        """The largest number of singular values that can differ from zero."""
        return min(self.in_dim - self.on_sphere, self.out_dim)

    def enter(self, z):
        """The map's input [N, in_dim] that belongs to the latent z [N, z_dim]: z itself, or its style w."""
        if self.domain == "sphere":
            z = to_sphere(z)
        return z if self.space.from_latents else self.generator.style(z, self._labels(z))

    @property
    def parts(self):
        """(first, second) SpaceMaps that this one is the composition of, the first with a cheap Jacobian: z → w and
        w → pixel, or w → features; None for others."""
        if not self.space.from_latents or self.space.to_styles or not self.generator.has_styles:
            return None
        # The second part truncates.
        style = dataclasses.replace(self, space=Space("z", "w"), psi=1, cutoff=None, detector=None, layer=None)
        return style, dataclasses.replace(self, space=Space("w", self.space.end))

    def __call__(self, x):
        if not self.generator.has_styles:
            x = to_sphere(x) if self.on_sphere else x
            return self._end(self.generator(x, self._labels(x), truncation_psi=self.psi))
        ws = self._styles(x)
        if self.space.to_styles:
            return ws[:, 0]
        return self._end(self.generator.synthesis(ws, noise_mode="const"))

    def tangents(self, x, directions):
        """The map's derivatives [N, out, M] at x [N, in] along directions [N, in, M] of each row's own or [in, M] for
        all, by the synthesis network's own forward products; None where it has none for this map.

        The numbers are those of torch.func.jvp; without gradients of their own.
        """
        network = getattr(self.generator, "synthesis", None)
        if not (self.space.to_pixels and x.dtype == torch.float32 and getattr(network, "has_tangents", False)):
            return None
        each = directions.expand(len(x), -1, -1)
        ws, dws = self._pushed_to_styles(x, each)
        return network.tangents(ws, dws).flatten(2).transpose(1, 2)

    def _pushed_to_styles(self, x, directions):
        """(ws [N, num_ws, w_dim], its derivatives [N, M, num_ws, w_dim])."""
        ws = self._styles(x)
        push = torch.func.vmap(lambda v: torch.func.jvp(self._styles, (x,), (v,))[1], in_dims=2, out_dims=1)
        return ws, push(directions)

    def _styles(self, x):
        """The styles of every layer, [N, num_ws, w_dim], of the map's input."""
        if self.on_sphere:
            x = to_sphere(x)
        if self.space.from_latents:
            x = self.generator.style(x, self._labels(x))
        return self.generator.broadcast(x, self.psi, self.cutoff, self._labels(x))

    def _end(self, images):
        """Pixels or features [N, out] of images [N, C, H, W]."""
        if self.detector is None:
            return images.flatten(1)
        return self.detector.activation((images * 127.5 + 128).clamp(0, 255), self.layer).flatten(1)

    def _labels(self, x):
        return self.c.expand(x.shape[0], -1)


def get_space(generator, name, *, c=None, psi=1, cutoff=None, domain=None, detector=None, layer=None):
    """The SpaceMap of a generator.

    name: `style` (z:w), `pixel` (z:pixel), `w:pixel`, or a feature space, `vgg`, `inception` or `features` (z:vgg,
    w:vgg, …); families without styles have those from z alone. detector: the Detector of a feature space; layer: its
    layer, by default the features that metrics take (Inception's last pool, VGG16's second dense layer). c: label
    [c_dim] or [1, c_dim], required for conditional generators. psi, cutoff: truncation. domain: `sphere` or `gaussian`;
    by default what suits the family. Raises ValueError for an unknown name or domain, a label that does not fit, a
    detector that is missing, takes no such images or cannot be differentiated.
    """
    name = check_space(generator, name)
    domain = domain or default_domain(generator)
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known domains: {', '.join(DOMAINS)}")
    if is_feature_space(name):
        if detector is None:
            raise ValueError(f"the space {name} needs a feature detector")
        detector.check_layer(layer)
        detector.check(FEATURES, generator.img_channels, generator.img_resolution)
    elif detector is not None or layer is not None:
        raise ValueError(f"a feature detector and its layer have no effect in the space {name}; leave them out")
    device = next(generator.parameters()).device
    if c is None:
        if generator.c_dim > 0:
            raise ValueError(f"this generator is conditional: a label c of {generator.c_dim} entries is required")
        c = torch.zeros(1, 0)
    c = torch.as_tensor(c, dtype=torch.float32, device=device).reshape(1, -1)
    if c.shape[1] != generator.c_dim:
        raise ValueError(f"the label has {c.shape[1]} entries, the generator takes {generator.c_dim}")
    return SpaceMap(generator, Space.parse(name), domain, c, psi, cutoff, detector, layer)
