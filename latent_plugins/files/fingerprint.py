"""A short name for the exact function that a network computes."""

import hashlib
import json

import torch


def fingerprint(network):
    """16 hexadecimal digits that change with any weight, buffer or constructor argument of a Generator."""
    return weights_fingerprint(network, [network.family, network.init_kwargs])


def weights_fingerprint(network, described):
    """16 hexadecimal digits that change with any weight or buffer of a module, and with `described`, plain data."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
