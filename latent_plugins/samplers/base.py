"""What a sampler is, what it returns, and how to find one by name."""

import abc
import dataclasses
import importlib.metadata
import warnings

import numpy as np
import torch

ENTRY_POINTS = "latent_plugins.samplers"


@dataclasses.dataclass
class Latents:
    """Drawn latents and where they came from.

    z: [N, z_dim] float32 on the CPU; c: [N, c_dim]; index: candidate numbers [N] of the atlas, None without one;
    log_volume: [N] float64, None without an atlas.
    """

    z: torch.Tensor
    c: torch.Tensor
    index: np.ndarray | None = None
    log_volume: np.ndarray | None = None


class Sampler(abc.ABC):
    """Draws latents. Subclasses set `name` and say what their constructor needs besides the generator.

    needs_atlas: `atlas`, an Atlas, with `top_k`, `replacement` and `true_volumes`; needs_volume: `volumes`, a function
    of a class index (None without classes) to a callable z → log-volume, and `rho`; needs_weights: `weights`, trained
    importance weights; needs_critic: `critic`, a callable images → scores. settings: {option of the commands: keyword
    of the constructor} of what else it takes.
    """

    name: str
    needs_atlas = needs_volume = needs_weights = needs_critic = False
    settings: dict = {}

    @abc.abstractmethod
    def draw(self, seeds, c=None):
        """One latent a seed, as Latents. The same seed gives the same latent, whatever the batch.

        seeds: non-negative integers; c: labels [len(seeds), c_dim], or None for unconditional networks.
        """

    @abc.abstractmethod
    def sample(self, n, generator, c=None):
        """n latents in bulk, as Latents. generator: a CPU torch.Generator; c: labels [n, c_dim] or None."""


def builtin_samplers():
    from latent_plugins.samplers.chain import PCNSampler
    from latent_plugins.samplers.dot import DOTSampler
    from latent_plugins.samplers.drs import DRSSampler
    from latent_plugins.samplers.jbt import JBTSampler
    from latent_plugins.samplers.mh import MHSampler
    from latent_plugins.samplers.polarity import MagnetSampler, PolaritySampler
    from latent_plugins.samplers.population import OnlineSampler, RejectionSampler, SMCSampler
    from latent_plugins.samplers.prior import PriorSampler, TruncationSampler
    from latent_plugins.samplers.reweighted import LatentGASampler, LatentRSGASampler, LatentRSSampler
    from latent_plugins.samplers.simplicial import SimplicialSampler
    from latent_plugins.samplers.sir import SIRSampler
    from latent_plugins.samplers.truncated import TruncatedNormalSampler

    classes = (PriorSampler, TruncationSampler, TruncatedNormalSampler, SimplicialSampler, JBTSampler)
    classes += (MagnetSampler, PolaritySampler, PCNSampler, SMCSampler, RejectionSampler, OnlineSampler)
    classes += (LatentRSSampler, LatentGASampler, LatentRSGASampler, DRSSampler, MHSampler, SIRSampler, DOTSampler)
    return {cls.name: cls for cls in classes}


def available_samplers():
    """{name: class} of the built-in samplers and of those that installed packages add.

    A third party adds one by an entry point in the group `latent_plugins.samplers` that loads to a Sampler class.
    """
    builtin, found = builtin_samplers(), {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in builtin:
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever is wrong with somebody else's package, the others work
            text = f"the sampler {entry.name!r} of {entry.value} fails to import and is left out ({error})"
            warnings.warn(text, stacklevel=2)
    return {**found, **builtin}


def create_sampler(name, generator, **options):
    """The sampler called `name` for a Generator. Options go to its constructor.

    Raises ValueError for an unknown name or options that the sampler refuses.
    """
    samplers = available_samplers()
    if name not in samplers:
        raise ValueError(f"unknown sampler {name!r}; known samplers: {', '.join(sorted(samplers))}")
    return samplers[name](generator, **options)


def check_labels(c, n, c_dim):
    """Labels [n, c_dim] as float32 on the CPU. Raises ValueError when they are missing or do not fit."""
    if c is None:
        if c_dim:
            raise ValueError("this generator is conditional: labels are required")
        return torch.zeros(n, 0)
    c = torch.as_tensor(c, dtype=torch.float32, device="cpu")
    if c.shape != (n, c_dim):
        raise ValueError(f"labels of shape {list(c.shape)} where [{n}, {c_dim}] is needed")
    return c


def torch_seed(generator):
    """A 62-bit seed for a counter-based stream, drawn from a torch.Generator."""
    return int(torch.randint(2**62, (), generator=generator))
