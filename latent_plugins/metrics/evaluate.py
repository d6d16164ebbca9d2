"""From a generator and a sampler to the figures of several metrics, in one pass over the images."""

import dataclasses
import time

import numpy as np
import torch

from dnnlib_compat.gradients import no_grad
from latent_plugins import distributed
from latent_plugins.metrics.accumulators import new_accumulator
from latent_plugins.metrics.collect import collect, share
from latent_plugins.metrics.equivariance import draw_parameters, equivariance_errors, psnr
from latent_plugins.metrics.generated import generated_batches
from latent_plugins.metrics.kind import LPIPS, Figures
from latent_plugins.metrics.lines import quantiles
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.metrics.path_length import PATH_METRICS, path_distances, trimmed_mean
from latent_plugins.metrics.real import request_of
from latent_plugins.randomness import Stream, integer_key, uniforms

PATH_BATCH = EQUIVARIANCE_BATCH = 4  # share their noise inputs and their motion: part of the definition
NOISE_OF_PATHS = 1  # substream of the noise inputs, beside those of images


def evaluate(
    metrics, generator, sampler, real, detectors, *,
    seed=0, psi=1, cutoff=None, noise_mode="random", batch=64, mirror=False, allow_singular=False, progress=unwatched,
    fresh_real=False,
    on_images=None, on_latents=None,
):  # fmt: skip
    """Yield (Metric, {official key: figure}, seconds) for every one of `metrics`, cheapest first; some are Figures.

    real: RealImages or ReferenceStatistics, None where no metric needs real images or labels. detectors: {official
    detector name: Detector}. All metrics of a kind see the same generated images: the first n of one draw from
    `sampler`, which depends on `seed` alone. mirror: x-flips of the real images for the legacy metrics, fresh_real: a
    random choice of them by `seed`, not the first ones. noise_mode and
    the rest as the official code has them. progress(rounds, total, label) wraps long loops; on_images(first row,
    images uint8 [n, C, H, W]) sees this process's images, on_latents(Latents) every draw before its figures. With
    several processes all of them call this, and all get the figures.

    Raises ValueError for what cannot be computed (too few images, a detector without the output that is needed, …),
    as early as it is known.
    """
    rules = dict(mirror=mirror, allow_singular=allow_singular)
    check_all(metrics, generator, real, detectors, psi=psi, truncates=sampler.truncates, **rules)
    sampler = Watched(sampler, on_latents or (lambda latents: None))
    on_features = [metric for metric in metrics if metric.storage]
    if on_features:
        figures = feature_figures(
            on_features, generator, sampler, real, detectors, seed=seed, mirror=mirror, progress=progress,
            choice=seed if fresh_real else None,
            on_images=on_images, batch=batch,
            rendering=dict(psi=psi, cutoff=cutoff, noise_mode=noise_mode, seed=seed),
        )  # fmt: skip
        yield from figures
    for metric in metrics:
        if metric.storage:
            continue
        start, common = time.time(), (metric, generator, sampler, real, detectors, seed, progress)
        if metric.kind == "ppl":
            figures = path_length(*common, psi=psi, cutoff=cutoff)
        else:
            figures = {metric.name: equivariance(*common)}
        yield metric, figures, since(start)


def since(start):
    return time.time() - start


def check_all(metrics, generator, real, detectors, *, psi, truncates, mirror, allow_singular):
    """Raise ValueError when one of the metrics cannot be computed, or would depend on the number of images alone."""
    for metric in metrics:
        check(metric, generator, real, detectors, psi, truncates)
        if metric.needs_real and metric.storage == "moments" and not allow_singular:
            detector = detectors[metric.detector]
            count = real.size(request_of(metric, detector.digest, mirror))
            check_covariance(metric, count, width(detector, generator))


def check_network(metric, generator, psi, truncates=False):
    """Raise ValueError when a metric is not defined for a network or a truncation: before detectors are opened.

    truncates: whether the sampler truncates by itself.
    """
    metric.check_truncation(psi, truncates)
    if metric.kind == "ppl" and not generator.has_styles:
        raise ValueError(f"{metric.name}: path lengths are defined for networks with styles, not {generator.family}")
    if metric.kind.startswith("eq") and generator.input_transform is None:
        raise ValueError(f"{metric.name}: this network takes no image transforms; the metric is for StyleGAN3")


def check(metric, generator, real, detectors, psi, truncates=False):
    """Raise ValueError when a metric cannot be computed, as far as that is known without computing."""
    check_network(metric, generator, psi, truncates)
    if metric.output is not None:
        detectors[metric.detector].check(metric.output, generator.img_channels, generator.img_resolution)
    if metric.needs_real and real is None:
        raise ValueError(f"{metric.name} compares with real images: give the data set, --data=FILE")
    if metric.of_features is None:
        return
    count = real.size(request_of(metric, metric.detector, False)) if metric.needs_real else None
    try:
        if count is not None and metric.k is not None and min(count, metric.samples) < metric.k + 1:
            raise ValueError(
                f"{metric.name} needs at least {metric.k + 1} real and {metric.k + 1} generated images for neighbour "
                f"{metric.k}; there are {count} and {metric.samples}"
            )
        metric.of_features.check(metric, count)
    except ValueError as error:
        if count is None or count >= metric.samples:  # then it is not for the data set's size
            raise
        raise ValueError(f"{error} (real images: {real.name})") from None


def feature_figures(
    metrics, generator, sampler, real, detectors, *, seed, mirror, choice, progress, on_images, batch, rendering
):
    """The metrics that are functions of features, as `evaluate` yields them."""
    start = time.time()
    # The same file may serve several official names: its features are computed once.
    by_digest = {detectors[metric.detector].digest: detectors[metric.detector] for metric in metrics}
    digest = {metric: detectors[metric.detector].digest for metric in metrics}
    requests = {metric: request_of(metric, digest[metric], mirror, choice) for metric in metrics if metric.needs_real}
    statistics = real.statistics(list(requests.values()), by_digest) if requests else {}

    kept, accumulators = {}, {}
    for metric in metrics:
        key = digest[metric], metric.output, metric.storage, metric.samples
        if key not in kept:
            kept[key] = new_accumulator(metric.storage, metric.samples)
            accumulators.setdefault(key[:2], []).append(kept[key])
        kept[metric] = kept[key]
    total = max(metric.samples for metric in metrics)
    latents = draw(sampler, labels(real, total, seed), total, seed)
    shares = share(total, batch)
    images = generated_batches(generator, latents, shares, **rendering)
    if on_images is not None:
        images = watched(images, shares, on_images)
    with torch.no_grad():
        for _ in progress(collect(images, by_digest, accumulators), total, "generated images"):
            pass

    for metric in metrics:
        figures = None
        if distributed.rank() == 0:
            known = statistics.get(requests.get(metric))
            figures = metric.of_features.figures(metric, known, kept[metric], seed=seed, progress=progress)
        yield metric, distributed.from_leader(figures), since(start)
        start = time.time()


@dataclasses.dataclass
class Watched:
    """A sampler whose bulk draws somebody sees."""

    sampler: object
    see: object

    def sample(self, n, generator, c=None):
        """See Sampler.sample."""
        latents = self.sampler.sample(n, generator, c)
        self.see(latents)
        return latents


def labels(real, n, seed):
    """n labels [n, c_dim] of the data set; None without one."""
    return None if real is None else real.labels(n, seed)


def draw(sampler, c, n, seed):
    """n Latents of the sampler for labels c."""
    return sampler.sample(n, torch.Generator().manual_seed(seed), c)


def watched(images, shares, on_images):
    for (first, _), batch in zip(shares, images):
        on_images(first, batch)
        yield batch


@no_grad
def width(detector, generator):
    """How many features a detector gives for a generator's images."""
    side = generator.img_resolution
    return detector(
        torch.zeros(1, generator.img_channels, side, side, dtype=torch.uint8, device=detector.device)
    ).shape[1]


def check_covariance(metric, real_images, features):
    """Raise ValueError when a covariance of as many images as `metric` has would be singular."""
    for count, whose in ((real_images, "real"), (metric.samples, "generated")):
        if count <= features:
            raise ValueError(
                f"{metric.name}: {count} {whose} images give {features} features a singular covariance, which makes "
                f"the figure depend on that number: take more than {features}, or kid, or --allow-singular"
            )


def noise_key(seed, batch):
    """The seed of a batch's noise inputs."""
    return integer_key(batch, seed=seed, stream=Stream.NOISE_INPUTS, substream=NOISE_OF_PATHS)


@no_grad
def path_length(metric, generator, sampler, real, detectors, seed, progress, *, psi=1, cutoff=None):
    """Figures of the perceptual path length between pairs of latents of the sampler: its trimmed mean.

    The `quantiles` of all paths stand in `about`, and all of their `distances` [n], float32, in `details`. psi, cutoff:
    truncation of a metric that allows it.
    """
    settings = dict(PATH_METRICS[metric.setting])
    full = settings.pop("sampling") == "full"
    detector = detectors[metric.detector]
    n, device = metric.samples, detector.device
    c = labels(real, n, seed)
    pairs = draw(sampler, None if c is None else c.repeat(2, 1), 2 * n, seed)
    z0, z1, c = pairs.z[:n], pairs.z[n:], pairs.c[:n]
    t = uniforms(np.arange(n), 1, seed=seed, stream=Stream.PATHS)[:, 0] if full else np.zeros(n)
    t = torch.from_numpy(t.astype(np.float32))

    def distances(first, last):
        rows = (x[first:last].to(device) for x in (z0, z1, t, c))
        lpips = lambda images: detector(images, LPIPS)  # noqa: E731
        settled = dict(settings, psi=psi, cutoff=cutoff, noise_seed=noise_key(seed, first))
        return path_distances(generator, lpips, *rows, **settled).cpu().numpy()

    found = np.concatenate(in_order(distances, n, PATH_BATCH, progress, "paths"))
    return Figures(
        {metric.name: trimmed_mean(found)}, details=dict(distances=found), about=dict(quantiles=quantiles(found))
    )


@no_grad
def equivariance(metric, generator, sampler, real, detectors, seed, progress):
    """The equivariance of the synthesis network in dB: EQ-T, EQ-T_frac or EQ-R."""
    n = metric.samples
    latents = draw(sampler, labels(real, n, seed), n, seed)
    device = next(generator.parameters()).device

    def errors(first, last):
        u = uniforms([first], 2, seed=seed, stream=Stream.MOTION)[0]
        parameters = draw_parameters(metric.kind, u, generator.img_resolution)
        z, c = latents.z[first:last].to(device), latents.c[first:last].to(device)
        return np.array(
            equivariance_errors(
                generator, z, c, kind=metric.kind, parameters=parameters, noise_seed=noise_key(seed, first)
            )
        )

    error, mask = np.sum(in_order(errors, n, EQUIVARIANCE_BATCH, progress, "equivariance"), axis=0)
    return psnr(error, mask)


def in_order(function, n, batch, progress, label):
    """[function(first, last), …] over the batches of n items, computed by all processes together, in order."""
    results = {}

    def rounds():
        for start in range(0, n, batch * distributed.world()):
            first = start + distributed.rank() * batch
            last = min(first + batch, n)
            value = function(first, last) if first < n else None
            results.update(enumerate_round(start, batch, distributed.gather(value)))
            yield min(batch * distributed.world(), n - start)

    for _ in progress(rounds(), n, label):
        pass
    return [results[first] for first in sorted(results)]


def enumerate_round(start, batch, values):
    return {start + i * batch: value for i, value in enumerate(values) if value is not None}
