"""Log-volumes predicted by a small network that has learned from computed ones."""

from latent_plugins.volume.predictor.agreement import Agreement, agreement
from latent_plugins.volume.predictor.fit import fit
from latent_plugins.volume.predictor.inputs import predictor_inputs
from latent_plugins.volume.predictor.methods import PREDICTORS, Amortized, Hybrid, Predictor
from latent_plugins.volume.predictor.volumes import PredictorError, VolumePredictor, load_predictor

__all__ = [
    "PREDICTORS",
    "Agreement",
    "Amortized",
    "Hybrid",
    "Predictor",
    "PredictorError",
    "VolumePredictor",
    "agreement",
    "fit",
    "load_predictor",
    "predictor_inputs",
]
