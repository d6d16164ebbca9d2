"""Where a path runs: in latents z, or in styles w. Its points are rows of coordinates, float64."""

from __future__ import annotations

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins.pictures.files import to_uint8
from latent_plugins.pictures.rendering import checked, render
from latent_plugins.priors import NormalPrior, base_measure, prior_of
from latent_plugins.randomness import Stream, uniforms
from latent_plugins.samplers.base import Latents

STYLES = 10_000  # latents whose styles tell the law of styles
AT_ONCE = 1000  # of these
THIN = 1e-10  # variance, relative to the largest, of an axis along which styles do not vary


class LatentCoordinates:
    """Latents z themselves, [N, z_dim], on the sphere of radius √z_dim for the domain `sphere`.

    c: the label [1, c_dim] of all points; domain: as for `prior_of`. Attributes: `prior`, the Prior of the points.
    """

    def __init__(self, generator, c, domain=None):
        self.generator, self.c, self.prior = generator, c, prior_of(generator, domain)

    def of_seeds(self, seeds):
        """The points [N, d] of seeds, as gen_images draws them."""
        z = torch.cat([self.generator.seed_latent(seed) for seed in seeds])
        return self.prior.enter(z.double().numpy())

    def log_prior(self, points):
        """The log-density [N] of the latents, in nats."""
        return self.prior.log_prob(torch.as_tensor(points)).numpy()

    def inputs(self, points):
        """The latents z [N, z_dim] float32 of points: what a map that starts at z takes."""
        return torch.as_tensor(points, dtype=torch.float32)

    def images(self, points, psi=1, cutoff=None, batch=16):
        """Yield uint8 images [n, H, W, C] of points, batch by batch."""
        latents = Latents(self.inputs(points), self.c.expand(len(points), -1))
        return render(self.generator, latents, psi=psi, cutoff=cutoff, batch=batch)


class StyleCoordinates:
    """Untruncated styles w, whitened: g [N, k] with w = mean + Σᵢ gᵢ sᵢ aᵢ, of the label c [1, c_dim].

    mean, axes aᵢ and deviations sᵢ are those of the styles of 10,000 latents; axes along which styles do not vary are
    left out. The prior of g is N(0, I), which makes that of w the normal law with the mean and covariance of styles: an
    approximation, since the true density of styles has no closed form. Straight lines in g are straight lines in w.
    Raises ValueError for a generator without styles.
    """

    def __init__(self, generator, c):
        if not generator.has_styles:
            raise ValueError(f"a {generator.family} network has no styles (w) for a path to run in: take latents (z)")
        self.generator, self.c, self.device = generator, c, next(generator.parameters()).device
        u = uniforms(np.arange(STYLES), generator.z_dim, seed=0, stream=Stream.STYLES)
        w = self._styles(torch.from_numpy(base_measure(generator.prior, generator.z_dim).transform(u)).float())
        self.mean = w.mean(axis=0)
        variances, axes = np.linalg.eigh(np.cov(w.T).reshape(w.shape[1], -1))
        kept = variances > THIN * variances.max()
        self.deviations, self.axes = np.sqrt(variances[kept]), axes[:, kept]
        self.prior = NormalPrior(int(kept.sum()))

    @no_grad
    def _styles(self, z):
        """Styles [N, w_dim] float64 of latents."""
        c, z = self.c.to(self.device), z.to(self.device)
        parts = [self.generator.style(part, c.expand(len(part), -1)) for part in z.split(AT_ONCE)]
        return torch.cat(parts).double().cpu().numpy()

    def of_seeds(self, seeds):
        """See LatentCoordinates: up to what the left out axes hold."""
        w = self._styles(torch.cat([self.generator.seed_latent(seed) for seed in seeds]))
        return (w - self.mean) @ self.axes / self.deviations

    def log_prior(self, points):
        """See LatentCoordinates: of the styles, by their normal law, within the axes that are kept."""
        return self.prior.log_prob(torch.as_tensor(points)).numpy() - float(np.log(self.deviations).sum())

    def inputs(self, points):
        """The styles w [N, w_dim] float32 of points: what a map that starts at w takes."""
        return torch.as_tensor(self.mean + points * self.deviations @ self.axes.T, dtype=torch.float32)

    @no_grad
    def images(self, points, psi=1, cutoff=None, batch=16):
        """See LatentCoordinates."""
        for w in self.inputs(points).to(self.device).split(batch):
            c = self.c.to(self.device).expand(len(w), -1)
            ws = self.generator.broadcast(w, psi, cutoff, c)
            yield to_uint8(checked(self.generator.synthesis(ws, noise_mode="const")))


def coordinates_of(generator, start, c, domain=None):
    """LatentCoordinates or StyleCoordinates, as `start` is `z` or `w`."""
    return StyleCoordinates(generator, c) if start == "w" else LatentCoordinates(generator, c, domain)
