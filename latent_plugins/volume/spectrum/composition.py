"""Maps that are a composition whose first part is cheap: J = J₂(w) J₁(z).

For z → w → pixel the mapping network's Jacobian is computed whole, in the time of about one image, and products start
in w. It also tells in which directions the whole can be large at all.
"""

import torch

from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY


def parts_of(space_map):
    """(first, second) of a map that is a composition, or None."""
    return getattr(space_map, "parts", None)


def first_part_bytes(space_map):
    """Bytes that the first part's Jacobian of one row takes in a JacobianOperator."""
    parts = parts_of(space_map)
    return 0 if parts is None else parts[0].in_dim * parts[0].out_dim * BYTES_PER_ENTRY


def leading_directions(matrices, start, rounds=4):
    """About the leading right-singular vectors [N, in, q] float32 of matrices [N, a, in], by power iteration.

    start: [in, q] orthonormal; it decides the result where the leading values are close to each other. For 512 inputs
    and few directions this takes a tenth of a decomposition's time.
    """
    m = matrices.double()
    block = start.double().expand(len(m), -1, -1)
    for _ in range(rounds):
        block = torch.linalg.qr(m.transpose(1, 2) @ (m @ block)).Q
    return block.float()


def pulled_back(matrices, q):
    """The q leading right-singular vectors [N, in, q] float32 of flat matrices [N, a, in], q at most a."""
    m = matrices.double()
    gram = m @ m.transpose(1, 2)
    gram[~torch.isfinite(gram).flatten(1).all(dim=1)] = 0  # LAPACK refuses NaN; the products of such rows are NaN
    left = torch.linalg.eigh(gram).eigenvectors.flip(2)[:, :, :q]
    return torch.linalg.qr(m.transpose(1, 2) @ left).Q.float()
