"""The samplers that the experiments compare, made ready for one GAN and its importance weights."""

import copy

import torch
import torch.nn.functional as F

from latent_plugins.samplers.calibration import calibrated, fit_platt
from latent_plugins.samplers.dot import DOTSampler
from latent_plugins.samplers.drs import DRSSampler
from latent_plugins.samplers.mh import MHSampler
from latent_plugins.samplers.prior import PriorSampler
from latent_plugins.samplers.reweighted import LatentGASampler, LatentRSGASampler, LatentRSSampler
from latent_plugins.samplers.sir import SIRSampler

BATCH = 256


@torch.no_grad()
def scores(network, inputs):
    """A network's answers [N] to inputs [N, …], batch by batch."""
    return torch.cat([network(part) for part in inputs.split(BATCH)])


def classifier(critic, generator, real, steps, random, batch=256, rate=1e-3):
    """The critic, trained on to tell real data [N, C, H, W] from generated ones: its answer is their log density ratio.

    The generator stays as it is, as in "Discriminator rejection sampling" (Azadi et al. 2019), whose ratio is that of
    a discriminator trained to convergence; critics of other losses than the logistic one give no ratio at all.
    """
    network = copy.deepcopy(critic).requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        images = real[torch.randint(len(real), (batch,), generator=random)]
        with torch.no_grad():
            generated = generator(generator.sample_prior(batch, random), None)
        loss = F.softplus(-network(images)).mean() + F.softplus(network(generated)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False)


def samplers(generator, critic, data, held_out, weights, *, plain, random, ratio_steps, dot, drs, mh):
    """{name: Sampler} of the plain generator, DRS, MH, SIR, DOT, latentRS, latentGA and latentRS+GA.

    DOT asks the GAN's own `critic`. DRS, MH and SIR need log density ratios: those of a `classifier` that goes on from
    it with `data` [N, C, H, W] for `ratio_steps` steps, calibrated with as many `held_out` data as generated ones.
    plain: the name of the generator alone; random: a CPU torch.Generator; dot, drs, mh: options of these samplers.
    """
    learned = classifier(critic, generator, data, ratio_steps, random)
    real_scores = scores(learned, held_out)
    z = generator.sample_prior(len(held_out), random)
    calibration = fit_platt(real_scores, scores(lambda x: learned(generator(x, None)), z))
    ratio = calibrated(learned, calibration)
    return {
        plain: PriorSampler(generator),
        "DRS": DRSSampler(generator, ratio, **drs),
        "MH": MHSampler(generator, ratio, real_scores=calibration(real_scores), **mh),
        "SIR": SIRSampler(generator, ratio),
        "DOT": DOTSampler(generator, critic, **dot),
        "latentRS": LatentRSSampler(generator, weights),
        "latentGA": LatentGASampler(generator, weights),
        "latentRS+GA": LatentRSGASampler(generator, weights),
    }
