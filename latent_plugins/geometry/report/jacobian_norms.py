"""Latents by the norm of their Jacobian: images in its order, its law by class, and precision along it."""

import functools

import torch

from dnnlib_compat.detectors import PROBABILITIES
from latent_plugins.geometry.figures import save_panels
from latent_plugins.geometry.report.disentanglement import in_colours
from latent_plugins.geometry.report.subject import Figure, Section, summary
from latent_plugins.metrics.marginal_precision import marginal_precision, precise
from latent_plugins.pictures.charts import save_lines
from latent_plugins.pictures.contact_sheet import contact_sheet
from latent_plugins.pictures.files import save_png
from latent_plugins.samplers.jbt import DRAWS, STEP, finite_norms, row_cost

SHOWN = 128  # images in the order of their norms, as published
COLUMNS = 16
MOST_CLASSES = 12  # with a histogram each
PARTS = 10  # of the latents, by their norms
NEIGHBOURS = 3
STEPS = 50  # latents between two steps of a progress bar
NOTE = (
    "‖J‖_F of {space}, estimated from {draws} finite differences of the step {step:g}, as Jacobian-based truncation "
    "does (Tanielian et al. 2020); images are in the order of their norms, row by row. Marginal precision is that of "
    "the images which are newly kept as the share of kept ones grows: improved precision, neighbour {k}"
)
WITHOUT_REAL = "no marginal precision without real images; give --data"


def jacobian_norms(subject):
    """The Section of ‖J‖_F at `sizes.norms_latents` latents of the prior."""
    z = subject.latents(subject.sizes.norms_latents, subject.random(11))
    options = dict(max_memory=subject.max_memory, row_bytes=row_cost(subject.space_map, z))
    parts = subject.in_steps(lambda rows: finite_norms(subject.space_map, rows, **options), z, "norms", step=STEPS)
    norms = torch.cat(parts)
    facts = dict(
        exact=False,
        note=NOTE.format(space=subject.space_map.name, draws=DRAWS, step=STEP, k=NEIGHBOURS),
        frobenius_norm=summary(norms),
    )
    figures, groups = [sheet(subject, z, norms)], {"all": norms.tolist()}
    if subject.detector is not None:
        probabilities = subject.seen(z, [PROBABILITIES], "images to classify")[0]
        labels = probabilities.argmax(dim=1)
        found, counts = labels.unique(return_counts=True)
        classes = found[counts.argsort(descending=True, stable=True)[:MOST_CLASSES]].sort().values.tolist()
        facts["classes"] = [dict(name=k, frobenius_norm=summary(norms[labels == k])) for k in classes]
        groups |= {f"class {k}": norms[labels == k].tolist() for k in classes}
    draw = functools.partial(save_panels, groups=groups, xlabel=r"$\|J\|_F$")
    figures.append(Figure("norms.png", draw))
    if subject.real is None:
        facts["marginal_precision"] = dict(note=WITHOUT_REAL)
        return Section(facts, tuple(figures))
    features, what = subject.described(z, "images of norms")
    found = marginal_precision(precise(subject.real, features, k=NEIGHBOURS), norms, min(PARTS, len(z)))
    facts["marginal_precision"] = dict(vars(found), real_images=f"{len(subject.real)} of {subject.real_name}", of=what)
    figures.append(Figure("marginal-precision.png", functools.partial(save_marginal, found=found)))
    return Section(facts, tuple(figures))


def sheet(subject, z, norms):
    """The Figure of the first latents' images, by rising norm."""
    order = norms[:SHOWN].argsort(stable=True)
    images = in_colours(subject.images(z[order.to(z.device)]).float()).round().byte()
    picture = contact_sheet(images.permute(0, 2, 3, 1).cpu().numpy(), columns=min(COLUMNS, len(images)))
    return Figure("norms-order.png", functools.partial(save_png, picture), matplotlib=False)


def save_marginal(path, found):
    """Draw a MarginalPrecision over the share that is kept."""
    columns = zip(found.kept, found.marginal, found.low, found.high, found.kept_precision)
    rows = [dict(kept=kept, new=(mean, low, high), all=(whole,) * 3) for kept, mean, low, high, whole in columns]
    lines = {
        "of what is newly kept": [dict(kept=row["kept"], y=row["new"]) for row in rows],
        "of all that is kept": [dict(kept=row["kept"], y=row["all"]) for row in rows],
    }
    save_lines(path, lines, x="kept", y="y", xlabel=r"share kept, by rising $\|J\|_F$", ylabel="precision")
