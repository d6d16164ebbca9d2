"""What a report is about, how much is sampled for it, and what a section gives back."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from dnnlib_compat.detectors import FEATURES, PROBABILITIES
from latent_plugins.geometry.report.sizes import Sizes
from latent_plugins.metrics.generated import generated_batches
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.randomness import Stream, integer_key
from latent_plugins.samplers import Latents
from latent_plugins.spaces import to_sphere
from latent_plugins.volume.spectrum import spectrum

# Latents whose Jacobians are computed between two steps of a progress bar.
STEP = 8
# Images are compared by their pixels at this size where there is no detector.
SIDE = 16


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture `name` (with its suffix) that `write(path)` makes; `matplotlib`: whether it takes that package."""

    name: str
    write: Callable
    matplotlib: bool = True


@dataclasses.dataclass(frozen=True)
class Section:
    """What a section found: `facts`, which `plain` turns into JSON, and figures."""

    facts: dict
    figures: tuple = ()


@dataclasses.dataclass
class Subject:
    """A network under a report, and what sections need beside it.

    generator: a Generator; space_map: the SpaceMap whose geometry it is; sequential: the torch.nn.Sequential that the
    generator consists of, or None; sampler: a MaGNET sampler, or None, described by `sampler_facts`; detector: a
    Detector with classes, or None; real: features [m, F] of real images `real_name`, as `described` has them, or None.
    top_k: how many singular values make a volume. progress(counts, total,
    label) wraps long loops.
    """

    generator: torch.nn.Module
    space_map: torch.nn.Module
    sizes: Sizes
    top_k: int
    seed: int = 0
    sequential: torch.nn.Module | None = None
    sampler: object = None
    sampler_facts: dict | None = None
    detector: object = None
    real: torch.Tensor | None = None
    real_name: str | None = None
    max_memory: int | None = None
    progress: Callable = unwatched

    def __post_init__(self):
        self._spectra = None

    @property
    def device(self):
        return next(self.generator.parameters()).device

    @property
    def on_sphere(self):
        """Whether the map's inputs live on a sphere: styles do not, wherever their latents live."""
        return self.space_map.on_sphere

    def random(self, number):
        """A CPU torch.Generator that depends on the seed and this number alone: each section has numbers of its own."""
        key = integer_key(number, seed=self.seed, stream=Stream.GEOMETRY)
        return torch.Generator().manual_seed(key)

    def latents(self, n, random):
        """n latents [n, z_dim] of the prior, on the sphere where the network normalises them."""
        z = self.generator.sample_prior(n, random).to(self.device)
        return to_sphere(z) if self.space_map.domain == "sphere" else z

    def inputs(self, n, random):
        """n inputs [n, in] of the map that follow the prior."""
        return self.enter(self.latents(n, random))

    def enter(self, z):
        """The map's inputs [n, in] that belong to latents z [n, z_dim]."""
        with torch.no_grad():
            return self.space_map.enter(z.to(self.device))

    def spectra_inputs(self):
        """The `sizes.latents` inputs [N, in] whose singular values `spectra` has."""
        return self.inputs(self.sizes.latents, self.random(0))

    def spectra(self):
        """All singular values [N, rank] float32 of the Jacobian at `sizes.latents` inputs, computed once."""
        if self._spectra is None:
            x = self.spectra_inputs()
            options = dict(top_k=self.space_map.max_rank, max_memory=self.max_memory)
            parts = self.in_steps(lambda rows: spectrum(self.space_map, rows, **options), x, "singular values")
            self._spectra = torch.cat(parts).cpu()
        return self._spectra

    def in_steps(self, function, x, label, step=STEP):
        """[function(rows), …] of successive rows of x, with progress."""
        found = []

        def counts():
            for rows in x.split(step):
                found.append(function(rows))
                yield len(rows)

        for _ in self.progress(counts(), len(x), label):
            pass
        return found

    def seen(self, z, outputs, label):
        """[values [n, F] of each of the detector's outputs] for the images of latents z [n, z_dim]."""
        self.detector.check(outputs[0], self.generator.img_channels, self.generator.img_resolution)
        parts = self.in_steps(
            lambda rows: [self.detector(self.images(rows), output).cpu() for output in outputs], z, label, step=50
        )
        return [torch.cat(part) for part in zip(*parts)]

    def images(self, z):
        """uint8 images [n, C, H, W] of latents z [n, z_dim]."""
        latents = Latents(z, self.space_map.c.expand(len(z), -1))
        return torch.cat(list(generated_batches(self.generator, latents, [(0, len(z))], noise_mode="const")))

    def classes_of(self, images):
        """The class [n] that the detector gives images [n, C, H, W]."""
        with torch.no_grad():
            return self.detector(images, PROBABILITIES).argmax(dim=1).cpu()

    def described(self, z, label):
        """(features [n, F], what they are) of the images of latents: the detector's, else those of `small_pixels`."""
        if self.detector is not None:
            return self.seen(z, [FEATURES], label)[0], f"features of {self.detector.name}"
        parts = self.in_steps(lambda rows: small_pixels(self.images(rows)).cpu(), z, label, step=50)
        return torch.cat(parts), f"pixels of images that were averaged to at most {SIDE} × {SIDE}"


def small_pixels(images):
    """The pixels [n, F] float32 of images [n, C, H, H] of any dtype, averaged to at most 16 × 16."""
    return F.adaptive_avg_pool2d(images.float(), min(SIDE, images.shape[-1])).flatten(1)


def summary(values):
    """Mean, standard deviation, least and largest of the finite ones of numbers [N], and how many are not finite."""
    values = torch.as_tensor(values).double().flatten()
    finite = values[values.isfinite()]
    found = dict(count=len(finite), not_finite=len(values) - len(finite))
    if len(finite):
        found.update(mean=finite.mean(), least=finite.min(), largest=finite.max())
    if len(finite) > 1:
        found.update(standard_deviation=finite.std())
    return found


def plain(value):
    """Facts as JSON knows them: tensors and arrays become lists, and None stands for a number that is not finite."""
    if dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().tolist()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
