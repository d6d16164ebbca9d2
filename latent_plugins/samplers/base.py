"""What a sampler is and what it returns."""

import abc
import dataclasses

import numpy as np
import torch


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


def told_by_class(n, c, generator, drawn):
    """(Latents, what is told of them) for n rows with labels c, drawn class by class.

    drawn(class index or None without classes, its rows) → (z float32 [rows, z_dim], log-volume [rows], text).
    """
    c = check_labels(c, n, generator.c_dim)
    labels = c.argmax(dim=1).numpy() if generator.c_dim else np.zeros(n, dtype=np.int64)
    z, volumes, told = np.empty((n, generator.z_dim), dtype=np.float32), np.empty(n), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        z[rows], volumes[rows], text = drawn(int(label) if generator.c_dim else None, rows)
        told.append(text)
    return Latents(torch.from_numpy(z), c, None, volumes), "; ".join(told)


def torch_seed(generator):
    """A 62-bit seed for a counter-based stream, drawn from a torch.Generator."""
    return int(torch.randint(2**62, (), generator=generator))
