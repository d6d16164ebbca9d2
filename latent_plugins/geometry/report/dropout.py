"""What dropout and dropconnect make of the dimensions of regions: of the published random networks, and of this one."""

import functools

from latent_plugins.geometry.dropout import (
    INPUTS,
    KINDS,
    OUTPUTS,
    RATES,
    SLOPE,
    WIDTHS,
    noisy_dimensions,
    published_dimensions,
)
from latent_plugins.geometry.figures import save_boxes
from latent_plugins.geometry.report.subject import Figure, Section, summary

NOTE = (
    "numerical ranks of slope matrices, exact in their regions, over draws of the noise, each at latents of its own "
    "(Proposition 2: from 0 to the largest dimension without noise). random_networks as in Fig. 2: three layers, "
    f"{INPUTS} inputs, {OUTPUTS} outputs, Xavier weights; the text names no activation, here they are leaky ReLUs of "
    f"slope {SLOPE}"
)
# Weights of this network that are drawn, over all draws of a kind and rate, and how many draws there are at least.
MOST_WEIGHTS, FEWEST_DRAWS = 2 * 10**8, 20
UNKNOWN = "this network's own dimensions under noise are known for a Sequential of Linear layers and ReLUs alone"


def dropout(subject):
    """The Section of dimensions under noise, `sizes.dropout_draws` draws of each kind and rate."""
    draws, regions = subject.sizes.dropout_draws, subject.sizes.dropout_regions
    found = published_dimensions(subject.seed, draws=draws, regions=regions)
    facts = dict(exact=False, note=NOTE, draws=draws, regions_of_a_draw=regions, rates=RATES, widths=WIDTHS)
    facts["random_networks"] = {
        kind: {str(rate): {str(width): described(found[kind, rate, width]) for width in WIDTHS} for rate in RATES}
        for kind in KINDS
    }
    panels = {
        f"{kind} {rate}": {str(width): found[kind, rate, width].noisy.flatten().tolist() for width in WIDTHS}
        for kind in KINDS
        for rate in RATES
    }
    facts["this_network"] = own(subject, draws, regions)
    draw = functools.partial(
        save_boxes, panels=panels, xlabel="width of the hidden layers", ylabel="dimension of a region"
    )
    return Section(facts, (Figure("dropout.png", draw),))


def own(subject, draws, regions):
    """Facts of the subject's network, of fewer draws where it is large, or a note."""
    if subject.sequential is None:
        return dict(note=UNKNOWN)
    weights = sum(parameter.numel() for parameter in subject.sequential.parameters())
    draws = min(draws, max(FEWEST_DRAWS, MOST_WEIGHTS // max(1, weights)))
    random, facts = subject.random(10), dict(draws=draws)
    try:
        for kind in KINDS:
            for rate in RATES:
                found = noisy_dimensions(subject.sequential, rate, random, kind, draws=draws, regions=regions)
                facts.setdefault(kind, {})[str(rate)] = described(found)
    except ValueError as error:
        return dict(note=f"{UNKNOWN}: {error}")
    return facts


def described(found):
    """Facts of NoisyDimensions: the dimensions, how many regions have each, and their mean without noise."""
    values, counts = found.noisy.unique(return_counts=True)
    return dict(
        dimension=summary(found.noisy),
        regions_by_dimension=dict(zip(values.tolist(), counts.tolist())),
        mean_without_noise=found.whole.double().mean(),
    )
