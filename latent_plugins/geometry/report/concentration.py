"""How much of what is generated lies around real images, and in how many clusters: the prior against MaGNET."""

import functools

import torch

from latent_plugins.geometry.concentration import ball_share, mixture_likelihood
from latent_plugins.geometry.figures import save_histograms
from latent_plugins.geometry.report.subject import Figure, Section
from latent_plugins.metrics.neighbours import kth_neighbour_distances
from latent_plugins.pictures.charts import save_lines

CLUSTERS = (1, 2, 4, 8, 16)
AXES = 16
FEWEST = 5  # fitted samples of a cluster for each of its dimensions
RADII = (0.5, 1.0, 1.5)  # as parts of the mean distance from a real image to its nearest real neighbour
PARTS = (0.25, 0.5, 1.0)  # of the samples, for counts over their number
COUNTS_NOTE = (
    "how many samples lie within the radius of each real image (MaGNET, Fig. 3, whose radius is the mean distance "
    "between nearest training images): a sampler that is uniform where the data are has counts that vary little"
)
NOTE = (
    "sampled; a candidate that MaGNET draws twice counts twice, also where one copy is held out. Mixtures of Gaussians "
    "with full covariances are fitted to one half of the samples and judged on the other, along the {axes} leading "
    "principal axes of all of them ({what})"
)
WITHOUT_REAL = "no balls without real images: generated images around generated ones would say nothing; give --data"


def concentration(subject):
    """The Section of ball shares around real features and of mixture likelihoods, of the prior and of MaGNET."""
    n, random = min(subject.sizes.concentration_samples, subject.sampler_facts["candidates"] // 2), subject.random(9)
    c = subject.space_map.c.cpu().expand(n, -1)
    draws, magnet = {"prior": subject.latents(n, random)}, subject.sampler.sample(n, random, c)
    draws["magnet"] = magnet.z
    features = {}
    for name, z in draws.items():
        features[name], what = subject.described(z, f"images, {name}")
    axes = principal_axes(torch.cat(list(features.values())), min(AXES, max(1, n // 2 // FEWEST // max(CLUSTERS))))
    clusters = [k for k in CLUSTERS if k == 1 or k * axes.shape[1] * FEWEST <= n // 2]
    facts = dict(
        exact=False,
        note=NOTE.format(axes=axes.shape[1], what=what),
        samples=n,
        magnet_sampler=subject.sampler_facts,
        magnet_draw=magnet.report,
        mixture_log_likelihood_in_nats=dict(clusters=clusters),
    )
    for name, each in features.items():
        x = each.double() @ axes
        found = mixture_likelihood(x[: n // 2], x[n // 2 :], clusters=clusters, seed=subject.seed)
        facts["mixture_log_likelihood_in_nats"][name] = dict(held_out=found.log_likelihood, converged=found.converged)
    lines = {
        name: points("clusters", clusters, facts["mixture_log_likelihood_in_nats"][name]["held_out"].tolist())
        for name in features
    }
    labels = dict(x="clusters", y="value", xlabel="clusters", ylabel="held-out log-likelihood (nats)")
    figures = [Figure("mixtures.png", functools.partial(save_lines, lines=lines, logx=True, **labels))]
    if subject.real is None:
        facts["ball_share"] = dict(note=WITHOUT_REAL)
        return Section(facts, tuple(figures))
    radii = nearest_distance(subject.real) * torch.tensor(RADII, dtype=torch.float64)
    facts["ball_share"], share = balls(subject, features, radii)
    facts["neighbours_of_real_images"], histogram = neighbours(subject, features, radii)
    return Section(facts, (*figures, share, histogram))


def principal_axes(x, k):
    """The k leading principal axes [F, k] float64 of features x [n, F]; as many as there are, where that is less."""
    centred = x.double() - x.double().mean(dim=0)
    return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :k]


def nearest_distance(real):
    """The mean distance, a float, from a real feature [m, F] to the nearest other one."""
    return kth_neighbour_distances(real.float(), 1).double().mean().item()


def neighbours(subject, features, radii):
    """(facts, Figure) of the numbers of generated images around each real one, over how many are generated."""
    facts, groups = dict(note=COUNTS_NOTE, radii=radii, counts=[]), {}
    for name, each in features.items():
        for part in PARTS:
            n = max(1, round(part * len(each)))
            counts = ball_share(each[:n], subject.real.float(), radii).counts.double()
            for radius, found in zip(radii.tolist(), counts):
                about = dict(mean=found.mean(), variance=found.var(), without_any=(found == 0).double().mean())
                facts["counts"].append(dict(sampler=name, samples=n, radius=radius, **about))
        groups[f"{name}, {len(each)} samples"] = counts[RADII.index(1.0)].tolist()
    labels = dict(xlabel="samples within the mean nearest distance", ylabel="real images")
    return facts, Figure("neighbours.png", functools.partial(save_histograms, groups=groups, **labels))


def balls(subject, features, epsilons):
    """(facts, Figure) of the share of each sampler's images near real ones."""
    real = subject.real.float()
    facts = dict(real_images=len(real), real_name=subject.real_name, radii=epsilons)
    facts["radii_mean"] = f"{RADII} times the mean distance of a real image to the nearest other one"
    for name, each in features.items():
        facts[name] = dict(share_within_a_ball=ball_share(each, real, epsilons).share)
    lines = {
        name: points("radius", epsilons.tolist(), facts[name]["share_within_a_ball"].tolist()) for name in features
    }
    labels = dict(x="radius", y="value", xlabel="radius of balls around real images", ylabel="share of samples inside")
    return facts, Figure("balls.png", functools.partial(save_lines, lines=lines, **labels))


def points(x, places, values):
    """The points of a line of `save_lines`, without intervals."""
    return [{x: place, "value": (value, value, value)} for place, value in zip(places, values)]
