"""What a sampler is and what it returns."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from latent_plugins.randomness import Stream, integer_key
from latent_plugins.settings import Settings


@dataclasses.dataclass
class Latents:
    """Drawn latents and where they came from.

    z: [N, z_dim] float32 on the CPU; c: [N, c_dim]; index: candidate numbers [N] of the atlas, −1 for rows that are not
    of it, None without one; log_volume: [N] float64, NaN where unknown, None without any; psi: truncation [N] float64
    that the sampler gives its rows, NaN where it leaves that to the caller, None where it does so everywhere;
    jacobian_norm: ‖J‖_F [N] float64 where Jacobian-based truncation measured it, else NaN, None without any; weight:
    trained importance weights [N] float64 of latent reweighting, alike; report:
    {name: figure} of what the draw came to, for records.

    >>> import latent_plugins as lp
    >>> latents = lp.sampler("prior", lp.load("mnist32")).draw([0, 1])
    >>> latents.z.shape, latents.c.shape, latents.report
    (torch.Size([2, 64]), torch.Size([2, 0]), {})
    """

    z: torch.Tensor
    c: torch.Tensor
    index: np.ndarray | None = None
    log_volume: np.ndarray | None = None
    psi: np.ndarray | None = None
    jacobian_norm: np.ndarray | None = None
    weight: np.ndarray | None = None
    report: dict = dataclasses.field(default_factory=dict)


# What the arrays of Latents hold in rows that another sampler drew.
NUMBERS = ("log_volume", "psi", "jacobian_norm", "weight")
UNKNOWN = {"index": (-1, np.int64)} | dict.fromkeys(NUMBERS, (np.nan, np.float64))


class Needs(enum.Flag):
    """What a sampler's or a filter's constructor takes besides the generator and its settings.

    CANDIDATES: `atlas`, an Atlas, with `top_k`; VOLUME: `volumes`, a function of a class index (None without classes)
    to a callable z → log-volume, and `domain`; WEIGHTS: `weights`, trained importance weights; CRITIC: `critic`, a
    callable images → scores; TRUNCATION: `psi` and `cutoff`, the truncation of the images.
    """

    NOTHING = 0
    CANDIDATES = enum.auto()
    VOLUME = enum.auto()
    WEIGHTS = enum.auto()
    CRITIC = enum.auto()
    TRUNCATION = enum.auto()


class Sampler(abc.ABC):
    """Draws latents. Subclasses set `name` and `summary`, and say what their constructor takes.

    summary: half a line for lists of samplers. needs: what the constructor takes besides the generator. Settings: the
    class of what else it takes, by keyword: from it come the commands' options, checks and records. `settings` is the
    Settings of a sampler. truncates: whether the sampler gives its latents a truncation of their own (`Latents.psi`).

    >>> import latent_plugins as lp
    >>> sampler = lp.sampler("truncated-normal", lp.load("mnist32"), threshold=1.0)
    >>> sampler.record()
    {'sampler': 'truncated-normal', 'threshold': 1.0}
    """

    name: str
    summary = ""
    needs = Needs.NOTHING
    truncates = False
    depth = 0  # of samplers that stand on others: how many, so that each has random numbers of its own

    class Settings(Settings):
        """None."""

    settings = Settings()

    def record(self) -> dict[str, Any]:
        """{name: value} of the sampler and all its settings, defaults included, as JSON can hold them."""
        return dict(sampler=self.name, **self.settings.record())

    @abc.abstractmethod
    def draw(self, seeds: Iterable[int], c: torch.Tensor | None = None) -> Latents:
        """One latent a seed, as Latents. The same seed gives the same latent, whatever the batch.

        seeds: non-negative integers; c: labels [len(seeds), c_dim], or None for unconditional networks.
        """

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator, c: torch.Tensor | None = None) -> Latents:
        """n latents in bulk, as Latents. generator: a CPU torch.Generator; c: labels [n, c_dim] or None."""

    @property
    def capacity(self) -> int | None:
        """How many seeds `draw` has latents for (of each class), or None for any number."""
        return None

    def independent(self) -> Sampler:
        """A sampler of the same law whose draws take any seeds, and are independent for different ones.

        Itself, unless the sampler has a `capacity`. Raises ValueError where there is no such sampler.
        """
        return self


def volumes_record(volumes):
    """{name: value} of a function class index → log-volume, where it can tell; else nothing."""
    return volumes.record() if hasattr(volumes, "record") else {}


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

    drawn(class index or None without classes, its rows) → (z float32 [rows, z_dim], log-volume [rows], text, {name:
    figure}).
    """
    c = check_labels(c, n, generator.c_dim)
    z, volumes, told, figures = np.empty((n, generator.z_dim), dtype=np.float32), np.empty(n), [], []
    for label, rows in by_class(c):
        z[rows], volumes[rows], text, found = drawn(label, rows)
        told.append(text)
        figures.append(found)
    report = dict(combined(figures), drawn_log_volume=float(volumes.mean())) if n else {}
    return Latents(torch.from_numpy(z), c, None, volumes, report=report), "; ".join(told)


# How figures of several classes or populations become one: the worst of them, or their sum.
COMBINE = dict(rhat=max, chain_ess=min, acceptance=min, volumes=sum, ancestors=sum, bound_exceeded=sum)


def combined(figures):
    """One {name: figure} of several, by COMBINE."""
    return {name: COMBINE[name]([each[name] for each in figures]) for name in (figures[0] if figures else ())}


def by_class(c):
    """[(class index, its rows)] of labels c [N, c_dim]; [(None, all rows)] without classes."""
    if not c.shape[1]:
        return [(None, np.arange(len(c)))] if len(c) else []
    labels = c.argmax(dim=1).numpy()
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]


def class_seed(seed, label):
    """The seed of a class in a bulk draw, so that classes share no random numbers. label: None without classes."""
    return seed if label is None else integer_key(label, seed=seed, stream=Stream.CLASSES)
