"""A trained predictor of log-volumes, in memory and on disk."""

from __future__ import annotations

import dataclasses

import torch

from dnnlib_compat.errors import reason
from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.volume.predictor.agreement import Agreement

FORMAT = "latent-plugins volume predictor 1"
REMEDY = "run build_atlas again, which learns it anew"
ARRAYS = ("center", "matrix", "level", "spread", "temperature")


class PredictorError(ValueError):
    """A predictor that cannot be used: damaged, or of something else."""


@dataclasses.dataclass(frozen=True)
class VolumePredictor:
    """Log-volumes from `predictor_inputs`.

    network: an Ensemble of standardised inputs and volumes; center [F] and matrix [F, F']: how inputs are standardised;
    level and spread: mean and deviation of the volumes; temperature: what the predicted deviation is multiplied by.
    """

    network: torch.nn.Module
    center: torch.Tensor
    matrix: torch.Tensor
    level: torch.Tensor
    spread: torch.Tensor
    temperature: torch.Tensor

    def __call__(self, inputs):
        """(log-volume, standard deviation) float64 [N] in nats of inputs [N, F]; NaN where an input is not finite."""
        from latent_plugins.volume.predictor.ensemble import combined

        x = ((inputs.double() - self.center) @ self.matrix).float()
        mean, deviation = combined(self.network, x)
        return self.level + self.spread * mean.double(), self.spread * self.temperature * deviation.double()

    def save(self, path, found):
        """Write it with its Agreement `found` as `.npz`."""
        header = dict(format=FORMAT, agreement=dataclasses.asdict(found))
        standardisation = {name: getattr(self, name) for name in ARRAYS}
        write_arrays(path, header, {"network": self.network.state_dict(), "standardisation": standardisation})


def load_predictor(path):
    """(VolumePredictor, Agreement) of a file. Raises PredictorError when it is damaged or something else."""
    from latent_plugins.volume.predictor.ensemble import Ensemble  # its class is torch's when it is imported

    header, parts = read_arrays(path, FORMAT, error=PredictorError, what="a volume predictor", remedy=REMEDY)
    try:
        arrays = [parts["standardisation"][name] for name in ARRAYS]
        network = Ensemble(arrays[1].shape[1])
        network.load_state_dict(parts["network"])
        return VolumePredictor(network.requires_grad_(False), *arrays), Agreement(**header["agreement"])
    except Exception as error:  # arrays that fit no network fail in many ways
        raise PredictorError(f"{path}: damaged ({reason(error)}); {REMEDY}") from None
