"""The numbers of a critic's training, which are some of a Schedule's."""

from latent_plugins.reweighting.presets import Schedule

CRITIC = "critic.npz"  # the file of its result
# Numbers of a Schedule that a critic alone has, and what they are unless somebody says; the paper's for large networks.
NUMBERS = (
    "critic_loss",
    "penalty",
    "penalty_kind",
    "critic_lr",
    "beta1",
    "beta2",
    "batch",
    "channel_base",
    "channel_max",
)
DEFAULTS = dict(critic_loss="logistic", penalty_kind="two-sided", critic_lr=1e-4, beta1=0.0, beta2=0.999)
STEPS = 500


def critic_schedule(steps=STEPS, **numbers):
    """The Schedule of a critic's training: `steps` updates of the critic alone. numbers: some of NUMBERS."""
    unknown = sorted(set(numbers) - set(NUMBERS))
    if unknown:
        raise ValueError(f"a critic's training has no {unknown[0]}; known: {', '.join(NUMBERS)}")
    return Schedule(**(DEFAULTS | numbers), warmup=steps, steps=1)
