"""Latent reweighting: a network that gives latents importance weights, its training, its file."""

from latent_plugins.reweighting.presets import PRESETS, Schedule
from latent_plugins.reweighting.training import WeightsCollapsed, train
from latent_plugins.reweighting.weight_files import TrainedWeights, WeightsError, load_weights

__all__ = ["PRESETS", "Schedule", "TrainedWeights", "WeightsCollapsed", "WeightsError", "load_weights", "train"]
