"""Truncation row by row: latents may carry one of their own."""

import numpy as np
import torch


def by_truncation(own, psi, function, *tensors):
    """function(*tensors, psi) of rows [N, …] that may have truncations of their own, as one tensor [N, …].

    own: psi of each row [N], NaN for those that take the caller's `psi`; None: all do. Rows of the same truncation are
    computed together, in ascending order of it.
    """
    if own is None or not len(own):
        return function(*tensors, psi)
    values, result = np.where(np.isnan(own), psi, own), None
    for value in np.unique(values):
        rows = torch.from_numpy(np.flatnonzero(values == value)).to(tensors[0].device)
        part = function(*(tensor[rows] for tensor in tensors), float(value))
        if result is None:
            result = part.new_empty(len(values), *part.shape[1:])
        result[rows] = part
    return result
