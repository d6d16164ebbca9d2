"""Images of a generator for metrics, batch by batch, the same whatever the number of processes."""

from dnnlib_compat.gradients import no_grad
from latent_plugins.noise import seeded_noise
from latent_plugins.pictures.files import as_bytes
from latent_plugins.pictures.rendering import checked
from latent_plugins.truncation import by_truncation


@no_grad
def generated_batches(generator, latents, shares, *, psi=1, cutoff=None, noise_mode="random", seed=0):
    """Yield uint8 images [n, C, H, W] on the generator's device for the rows `shares` of Latents, as official metrics.

    shares: [(first row, last row + 1), …]; psi: truncation of rows that have none of their own. Random noise inputs
    are a function of `seed` and the first row of a batch.
    Raises ValueError when the network answers with a number that is not finite.
    """
    device = next(generator.parameters()).device

    def made(z, c, psi):
        return generator(z, c, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode)

    for first, last in shares:
        z, c = latents.z[first:last].to(device), latents.c[first:last].to(device)
        own = None if latents.psi is None else latents.psi[first:last]
        with seeded_noise(seed, first, device):
            images = by_truncation(own, psi, made, z, c)
        yield as_bytes(checked(images))
