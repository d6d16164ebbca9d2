"""Schedules, every number that decides a training of importance weights, and presets: the paper's and ours."""

from __future__ import annotations

import re

from latent_plugins.reweighting.objective import CRITIC_LOSSES, PENALTIES, TERMS
from latent_plugins.settings import Settings, setting

INPUTS = ("z", "w")  # what the weight network sees: the latent, or its style
ACTIVATIONS = ("relu", "leaky-relu")  # of its hidden layers


class Schedule(Settings):
    """Numbers of a training of importance weights ("Latent reweighting", Issenhuth et al. 2022, Algorithm 1).

    A step is `critic_steps` updates of the critic, then `weights_steps` of the weights; `warmup` updates of the critic
    alone, against unweighted samples, come before all steps. What is the paper's stands in PRESETS. Not in the paper:
    `critic_batch`, `smoothing`, `smoothing_steps`, `ema`, and when to give up.

    Raises ValueError for a number that makes no sense.
    """

    hidden: str = setting(
        "4d,4d,4d,4d",
        metavar="SIZES",
        help="hidden layers of the weight network; 4d: four times the dimensions that it sees",
    )
    activation: str = setting("relu", choices=ACTIVATIONS, help="after its hidden layers; leaky-relu has the slope 0.2")
    m: float = setting(3.0, low=1, low_open=True, metavar="X", help="bound of the weights; latentrs accepts 1/m or so")
    lambda1: float = setting(10.0, low=0, metavar="X", help="pull of the mean weight to 1")
    lambda2: float = setting(3.0, low=0, metavar="X", help="pull of large weights to below m")
    critic_lr: float = setting(4e-4, low=0, low_open=True, metavar="X", help="learning rate of the critic")
    weights_lr: float = setting(1e-4, low=0, low_open=True, metavar="X", help="learning rate of the weights")
    beta1: float = setting(0.5, low=0, high=1, high_open=True, metavar="X", help="Adam's first beta, of both networks")
    beta2: float = setting(0.5, low=0, high=1, high_open=True, metavar="X", help="Adam's second beta, of both")
    critic_steps: int = setting(1, low=1, metavar="N", help="updates of the critic in a step")
    weights_steps: int = setting(1, low=1, metavar="N", help="updates of the weights in a step")
    warmup: int = setting(0, low=0, metavar="N", help="updates of the critic alone before the first step")
    critic_loss: str = setting("wasserstein", choices=tuple(CRITIC_LOSSES), help="loss of the critic")
    critic_term: str = setting(
        "normalised",
        choices=TERMS,
        help="mean of the critic over weighted samples: E[w D], the paper's, or divided by E[w]",
    )
    penalty: float = setting(10.0, low=0, metavar="X", help="weight of the critic's gradient penalty")
    penalty_kind: str = setting(
        "one-sided",
        choices=tuple(PENALTIES),
        help="which slopes it punishes: all but 1, WGAN-GP's and the paper's, or those above 1",
    )
    batch: int = setting(64, low=2, metavar="N", help="latents at once")
    critic_batch: int = setting(0, low=0, metavar="N", help="images at once for the critic; 0: as --batch")
    smoothing: float = setting(0.0, low=0, metavar="X", help="weight at first of E (w - 1)^2, in deviations of rewards")
    smoothing_steps: int = setting(1, low=1, metavar="N", help="steps over which it falls to zero")
    channel_base: int = setting(512, low=1, metavar="N", help="width of a new critic")
    channel_max: int = setting(512, low=1, metavar="N", help="most channels of a new critic")
    ema: float = setting(0.999, low=0, high=1, high_open=True, metavar="X", help="share of the average that is kept")
    steps: int = setting(10_000, low=1, metavar="N", help="steps in all")
    least_mean: float = setting(0.05, metavar="X", help="give up when the mean weight stays below")
    greatest_mean: float = setting(20.0, metavar="X", help="give up when the mean weight stays above")
    patience: int = setting(100, low=1, metavar="N", help="after so many steps in a row")

    def __post_init__(self):
        if not isinstance(self.hidden, str):  # sizes in a tuple or list
            object.__setattr__(self, "hidden", ",".join(map(str, self.hidden)))
        super().__post_init__()

    def check(self):
        self.sizes(1)

    def sizes(self, in_dim):
        """The widths of the weight network's hidden layers for so many inputs. Raises ValueError for other texts."""
        parts = self.hidden.split(",")
        if not all(re.fullmatch(r"0*[1-9][0-9]{0,5}d?", part) for part in parts):
            raise ValueError(f"hidden {self.hidden!r:.60}: give widths such as 512,512 or, times dimensions, 4d,4d")
        return tuple(int(part[:-1]) * in_dim if part.endswith("d") else int(part) for part in parts)

    @property
    def betas(self):
        """Adam's."""
        return self.beta1, self.beta2

    @property
    def real_batch(self):
        """How many real, and as many generated, images a step of the critic sees."""
        return self.critic_batch or self.batch

    def smoothing_at(self, step):
        """The weight of E (w − 1)² in the loss of the weights after so many steps."""
        return self.smoothing * max(0.0, 1 - step / self.smoothing_steps)


# What is minimised in the paper's presets: Algorithm 1 as it stands (its text prints the sign of the weights' reward
# the wrong way round; eq. (6) has it right), with WGAN-GP's penalty, whose weight 10 is that of Gulrajani et al.
PUBLISHED = dict(critic_term="published", penalty_kind="two-sided", penalty=10.0)
# Of the experiments on large networks (appendix, "Training of w"): 1 update of the critic to 3 of the weights.
LARGE = dict(
    critic_lr=1e-4, weights_lr=1e-5, beta1=0.0, beta2=0.999, weights_steps=3, warmup=500, activation="leaky-relu"
)

# The first three have the paper's numbers, from its section 4.3.1 and the appendix "Training of w". (Of ProGAN's weight
# network the section says five hidden layers and the appendix four, with more detail: four.) Its text leaves open: the
# batch sizes, the number of steps, the critic's layers and the average `ema` of the weights; those here fit a GPU of
# 16 GB. `discriminator` is ours, for critics that go on from a GAN's own discriminator: that knows good images from bad
# ones already, and forgets it as soon as it learns fast against a generator that stays. `small-discriminator` is the
# same for small images, in minutes on a CPU.
PRESETS = {
    "mnist": Schedule(critic_loss="hinge", **PUBLISHED),
    "progan-celeba": Schedule(
        hidden="512,512,512,512", lambda1=20, lambda2=5, batch=32, channel_base=4096, channel_max=256, steps=40_000,
        **PUBLISHED, **LARGE,
    ),
    "stylegan2-church": Schedule(
        hidden="512,512,512", m=2, lambda1=30, lambda2=5, batch=16, channel_base=8192, steps=60_000,
        **PUBLISHED, **LARGE,
    ),
    "discriminator": Schedule(
        hidden="400,400,400,400",
        critic_lr=1e-5,
        weights_lr=1e-3,
        beta1=0.9,
        beta2=0.99,
        weights_steps=10,
        critic_loss="logistic",
        batch=256,
        critic_batch=32,
        smoothing=1.6,
        smoothing_steps=800,
        ema=0.998,
        steps=1000,
    ),
}  # fmt: skip
PRESETS["small-discriminator"] = PRESETS["discriminator"].replace(
    hidden="128,128,128", batch=64, smoothing_steps=400, steps=600
)
NEEDS_CRITIC = ("discriminator", "small-discriminator")  # which start from the network's own discriminator
TAKES_CRITIC = ("mnist", *NEEDS_CRITIC)  # which go on from it where there is one: "the same discriminator" of the paper


def former_numbers(recorded):
    """The identity of a training as an earlier release wrote it, {name: value}, with the names and values of today."""
    if "betas" not in recorded:
        return recorded
    found = dict(recorded)
    beta1, beta2 = found.pop("betas")
    hidden = ",".join(map(str, found["hidden"]))
    added = dict(activation="relu", critic_term="normalised", penalty_kind="one-sided", warmup=0)
    return dict(found, hidden=hidden, beta1=beta1, beta2=beta2, **added)
