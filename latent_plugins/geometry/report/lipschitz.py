"""How steep the generator gets, seen by the prior and by MaGNET samples."""

import functools

import torch

from latent_plugins.geometry.figures import save_points
from latent_plugins.geometry.lipschitz import (
    frobenius_norms,
    lipschitz_estimate,
    maxima_over_samples,
    repeated_maxima,
    variance_ratio,
)
from latent_plugins.geometry.report.subject import Figure, Section, summary
from latent_plugins.pictures.charts import save_lines

NOTE = (
    "the largest ‖J‖_F over the samples of every repeat, first-order: an estimate of the Lipschitz constant and no "
    "bound, since ‖J‖_F is no smaller than the largest singular value and samples miss the steepest places. The "
    "repeats of MaGNET share one table of candidates. The interval of the variance ratio is that of the F "
    "distribution, for normal estimates; maxima are skewed, so read it as a guide"
)


def lipschitz(subject):
    """The Section of the largest ‖J‖_F over samples in each of `sizes.lipschitz_repeats` repeats."""
    repeats, n = subject.sizes.lipschitz_repeats, subject.sizes.lipschitz_samples
    draws = {"prior": subject.latents(repeats * n, subject.random(4))}
    random = subject.random(5)
    c = subject.space_map.c.cpu().expand(n, -1)
    draws["magnet"] = torch.cat([subject.sampler.sample(n, random, c).z for _ in range(repeats)])
    facts = dict(exact=False, note=NOTE, repeats=repeats, samples_of_a_repeat=n, magnet_sampler=subject.sampler_facts)
    maxima, lines = {}, {}
    for name, z in draws.items():
        parts = subject.in_steps(
            lambda rows: frobenius_norms(subject.space_map, rows, max_memory=subject.max_memory),
            subject.enter(z),
            f"norms, {name}",
        )
        norms = torch.cat(parts).cpu().reshape(repeats, n)
        maxima[name] = repeated_maxima(norms)
        facts[name] = dict(
            frobenius_norm=summary(norms),
            largest_norm_of_each_repeat=maxima[name],
            largest_norm_of_a_repeat=summary(maxima[name]),
            lipschitz_estimate=lipschitz_estimate(norms),
        )
        mean, deviation = maxima_over_samples(norms)
        facts[name]["largest_norm_over_the_number_of_samples"] = dict(mean=mean, standard_deviation=deviation)
        lines[name] = [
            dict(samples=k, norm=(m, m - d, m + d))
            for k, (m, d) in enumerate(zip(mean.tolist(), deviation.tolist()), start=1)
        ]
    found = variance_ratio(maxima["prior"], maxima["magnet"])
    facts["variance_of_prior_over_magnet"] = dict(vars(found), meaning=str(found))
    groups = {name: each.tolist() for name, each in maxima.items()}
    draw = functools.partial(save_points, groups=groups, ylabel=r"largest $\|J\|_F$ of a repeat")
    labels = dict(x="samples", y="norm", xlabel="samples", ylabel=r"largest $\|J\|_F$, mean and deviation", logx=True)
    curve = functools.partial(save_lines, lines=lines, **labels)
    return Section(facts, (Figure("lipschitz.png", draw), Figure("lipschitz-samples.png", curve)))
