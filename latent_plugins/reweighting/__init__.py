"""Latent reweighting: a network that gives latents importance weights, its training, its file."""

from latent_plugins.lazy_names import lazy_names

__all__ = ["PRESETS", "Schedule", "TrainedWeights", "WeightsCollapsed", "WeightsError", "load_weights", "train"]

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(["PRESETS", "Schedule"], "latent_plugins.reweighting.presets")
    | dict.fromkeys(["COLUMNS", "RESULT", "WeightsCollapsed"], "latent_plugins.reweighting.training")
    | dict.fromkeys(["check_checkpoint", "steps_done", "train"], "latent_plugins.reweighting.training")
    | dict.fromkeys(["critic_of"], "latent_plugins.reweighting.networks")
    | dict.fromkeys(["CRITIC", "critic_schedule"], "latent_plugins.reweighting.critic_schedules")
    | dict.fromkeys(["open_critic", "train_critic"], "latent_plugins.reweighting.critic_training")
    | dict.fromkeys(["TrainedWeights", "WeightsError", "load_weights"], "latent_plugins.reweighting.weight_files"),
)
