"""The interface that every family of generators fulfils."""

import numpy as np
import torch


def truncate_styles(ws, w_avg, truncation_psi=1, truncation_cutoff=None, c=None):
    """Pull the first `truncation_cutoff` layers (None: all) of ws [N, num_ws, w_dim] towards w_avg [w_dim].

    w ← w_avg + psi (w − w_avg), Sec. 3 of the StyleGAN paper. Of an average for each class, w_avg [c_dim, w_dim] as in
    StyleGAN-XL, the labels c [N, c_dim] choose. Raises ValueError when the network tracks no average (`w_avg` None) and
    psi is not 1, or where labels are needed and missing.
    """
    if truncation_psi == 1:
        return ws
    if w_avg is None:
        raise ValueError("this network tracks no average style, so it cannot be truncated; use truncation psi 1")
    cutoff = ws.shape[1] if truncation_cutoff is None else truncation_cutoff
    if w_avg.ndim == 2:
        if c is None:
            raise ValueError("this network has an average style for each class: truncation needs the labels c")
        w_avg = w_avg[c.argmax(dim=1)].unsqueeze(1)
    return torch.cat([w_avg.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], dim=1)


class Generator(torch.nn.Module):
    """A pre-trained generator: latents in, images out.

    Attributes: `z_dim`, `c_dim` (0 when unconditional), `w_dim`, `num_ws`, `img_resolution`, `img_channels`; `family`,
    the short name of the architecture; `init_args` (none) and `init_kwargs`, what the constructor was called with;
    `normalizes_z`, whether the image depends on the direction of z alone (then latents live on the sphere of radius
    sqrt(z_dim)).

    Subclasses provide two callables, usually submodules:

    * `mapping(z, c, truncation_psi=1, truncation_cutoff=None)`: z [N, z_dim], c [N, c_dim] → ws [N, num_ws, w_dim];
    * `synthesis(ws, noise_mode="const")`: ws → images [N, img_channels, img_resolution, img_resolution], nominally
      in [−1, 1].

    All of it is float32 and composes with `torch.func`. Families without styles are `LatentGenerator`s.
    """

    family: str
    normalizes_z: bool
    has_styles = True
    prior = "prior"  # the name of the base measure that latents follow
    prior_text = "N(0, I)"
    truncation_text = "pulls the styles towards their average (psi 1: not at all)"

    def __init__(self, *, z_dim, c_dim, w_dim, img_resolution, img_channels, init_kwargs):
        super().__init__()
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.init_args, self.init_kwargs = (), init_kwargs

    @property
    def w_avg(self):
        """The average style [w_dim] that truncation pulls towards ([c_dim, w_dim] of some forks), or None."""
        return getattr(self.mapping, "w_avg", None)

    @property
    def input_transform(self):
        """The 3×3 buffer with the user's inverse image transform (StyleGAN3), or None. Write into it with `copy_`."""
        return getattr(getattr(self.synthesis, "input", None), "transform", None)

    def seed_latent(self, seed):
        """z [1, z_dim] float32 of a seed, as the family's official command draws it."""
        return torch.tensor(np.random.RandomState(seed).randn(1, self.z_dim).astype(np.float32))

    def sample_prior(self, n, random):
        """n latents [n, z_dim] float32 of the prior. random: a torch.Generator on the CPU."""
        return torch.randn(n, self.z_dim, generator=random)

    def check_psi(self, psi):
        """Raise ValueError for a truncation that the family does not know."""

    def style(self, z, c):
        """The untruncated w [N, w_dim] of z [N, z_dim] and c [N, c_dim]."""
        return self.mapping(z, c)[:, 0]

    def broadcast(self, w, truncation_psi=1, truncation_cutoff=None, c=None):
        """w [N, w_dim] → ws [N, num_ws, w_dim], truncated; c [N, c_dim] where each class has an average of its own."""
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        return truncate_styles(ws, self.w_avg, truncation_psi, truncation_cutoff, c)

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        """Images [N, C, H, W] of z [N, z_dim] and c [N, c_dim]. `update_emas` is for the networks that know it."""
        emas = dict(update_emas=True) if update_emas else {}
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, **emas)
        return self.synthesis(ws, **emas, **synthesis_kwargs)


class LatentGenerator(Generator):
    """A generator whose image is a function of z without styles between: BigGAN, NVAE, ProGAN, DCGAN.

    Subclasses provide `images(z, c, psi)` → [N, img_channels, img_resolution, img_resolution], nominally in [−1, 1],
    for truncation `psi`, whatever that means for the family (`truncation_text`), and may narrow `check_psi`.
    """

    has_styles = False
    normalizes_z = False
    truncation_text = "scales z"
    w_avg = None
    input_transform = None
    num_ws = 0

    def __init__(self, **sizes):
        super().__init__(w_dim=0, **sizes)

    def forward(
        self, z, c, truncation_psi=1, truncation_cutoff=None, noise_mode="const", update_emas=False, force_fp32=True
    ):  # fmt: skip
        """Images [N, C, H, W] of z [N, z_dim] and c [N, c_dim]. There are no noise inputs and no moving averages.

        Raises ValueError for a truncation cutoff, which only styles have, and for a psi that the family does not know.
        """
        if truncation_cutoff is not None:
            raise ValueError(f"a {self.family} network has no layers of styles, so there is no truncation cutoff")
        self.check_psi(truncation_psi)
        return self.images(z, c, truncation_psi)
