"""A short name for the exact function that a network computes."""

import hashlib
import json

import torch


def fingerprint(network):
    """16 hexadecimal digits that change with any weight, buffer or constructor argument of a Generator."""
    digest = hashlib.sha256(json.dumps([network.family, network.init_kwargs], sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
