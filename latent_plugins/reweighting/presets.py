"""Schedules: every number that decides a training of importance weights."""

import dataclasses
import math

from latent_plugins.reweighting.objective import CRITIC_LOSSES

INPUTS = ("z", "w")  # what the weight network sees: the latent, or its style


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Numbers of a training. The defaults are the MNIST ones.

    From the paper ("Latent reweighting", Issenhuth et al. 2022, MNIST): `hidden` layers of the weight network, `m`,
    `lambda1`, `lambda2`, the learning rates and Adam's `betas`; a step is `critic_steps` updates of the critic and
    `weights_steps` of the weights, the latter 1 in the paper. Of WGAN-GP: `penalty`, the weight of the gradient
    penalty. Ours: `critic_loss`, one of CRITIC_LOSSES, best as the generator was trained; `batch`, and `critic_batch`
    where it is not 0, for the critic's steps; `smoothing`, the weight that E (w − 1)² starts with in the loss of the
    weights, in standard deviations of the rewards, and `smoothing_steps`, over which it falls to zero; the critic's
    `channel_base` and `channel_max`; `ema`, the share of the averaged weight network that an update keeps; `steps`; and
    when to give up: the mean weight was below `least_mean` or above `greatest_mean` for `patience` steps.

    Raises ValueError for a number that makes no sense.
    """

    hidden: tuple = (400, 400, 400, 400)
    m: float = 3.0
    lambda1: float = 10.0
    lambda2: float = 3.0
    critic_lr: float = 4e-4
    weights_lr: float = 1e-4
    betas: tuple = (0.5, 0.5)
    critic_steps: int = 1
    weights_steps: int = 1
    penalty: float = 10.0
    critic_loss: str = "wasserstein"
    batch: int = 64
    critic_batch: int = 0
    smoothing: float = 0.0
    smoothing_steps: int = 1
    channel_base: int = 512
    channel_max: int = 512
    ema: float = 0.999
    steps: int = 10_000
    least_mean: float = 0.05
    greatest_mean: float = 20.0
    patience: int = 100

    def __post_init__(self):
        if not (math.isfinite(self.m) and self.m > 1):
            raise ValueError(f"m must exceed 1, the mean of the weights that it bounds; it is {self.m}")
        for name in ("lambda1", "lambda2", "penalty", "smoothing"):
            _check(self, name, lambda x: 0 <= x < math.inf, "zero or a positive number")
        for name in ("critic_lr", "weights_lr"):
            _check(self, name, lambda x: 0 < x < math.inf, "a positive number")
        for name in (
            "critic_steps",
            "weights_steps",
            "steps",
            "patience",
            "channel_base",
            "channel_max",
            "smoothing_steps",
        ):
            _check(self, name, lambda x: x >= 1, "1 or more")
        _check(self, "batch", lambda x: x >= 2, "2 or more, since rewards are relative to the batch")
        _check(self, "critic_batch", lambda x: x >= 0, "1 or more, or 0 for that of the weights")
        _check(self, "critic_loss", lambda x: x in CRITIC_LOSSES, f"one of {', '.join(CRITIC_LOSSES)}")
        _check(self, "ema", lambda x: 0 <= x < 1, "from 0 to below 1")

    @property
    def real_batch(self):
        """How many real, and as many generated, images a step of the critic sees."""
        return self.critic_batch or self.batch

    def smoothing_at(self, step):
        """The weight of E (w − 1)² in the loss of the weights after so many steps."""
        return self.smoothing * max(0.0, 1 - step / self.smoothing_steps)


def _check(schedule, name, holds, right):
    value = getattr(schedule, name)
    if not holds(value):
        raise ValueError(f"{name.replace('_', '-')} {value}: give {right}")


# The MNIST numbers are the paper's. Those of its larger experiments are not known to us: these two keep the objective
# and the learning rates of MNIST and are otherwise our choice. Batches fit a GPU of 16 GB; critics get a width that
# suits the size of the images. `discriminator` is ours, for critics that go on from a GAN's own discriminator: that
# knows good images from bad ones already, and forgets it as soon as it learns fast against a generator that stays.
# `small-discriminator` is the same for small images, in minutes on a CPU; it made the embedded network's weights.
PRESETS = {
    "mnist": Schedule(),
    "progan-celeba": Schedule(batch=32, channel_base=4096, channel_max=256, steps=40_000),
    "stylegan2-church": Schedule(batch=16, channel_base=8192, channel_max=512, steps=60_000),
    "discriminator": Schedule(
        critic_lr=1e-5,
        weights_lr=1e-3,
        betas=(0.9, 0.99),
        weights_steps=10,
        critic_loss="logistic",
        batch=256,
        critic_batch=32,
        smoothing=1.6,
        smoothing_steps=800,
        ema=0.998,
        steps=1000,
    ),
}
PRESETS["small-discriminator"] = dataclasses.replace(
    PRESETS["discriminator"], hidden=(128, 128, 128), batch=64, smoothing_steps=400, steps=600
)
