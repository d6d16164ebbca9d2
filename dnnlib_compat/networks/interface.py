"""The interface that every family of generators fulfils."""

import torch


def truncate_styles(ws, w_avg, truncation_psi=1, truncation_cutoff=None):
    """Pull the first `truncation_cutoff` layers (None: all) of ws [N, num_ws, w_dim] towards w_avg [w_dim].

    w ← w_avg + psi (w − w_avg), Sec. 3 of the StyleGAN paper. Raises ValueError when the network tracks no average
    (`w_avg` None) and psi is not 1.
    """
    if truncation_psi == 1:
        return ws
    if w_avg is None:
        raise ValueError("this network tracks no average style, so it cannot be truncated; use truncation psi 1")
    cutoff = ws.shape[1] if truncation_cutoff is None else truncation_cutoff
    return torch.cat([w_avg.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], dim=1)


class Generator(torch.nn.Module):
    """A pre-trained generator: latents in, images out.

    Attributes: `z_dim`, `c_dim` (0 when unconditional), `w_dim`, `num_ws`, `img_resolution`, `img_channels`; `family`,
    the short name of the architecture; `init_kwargs`, what the constructor was called with; `normalizes_z`, whether
    the image depends on the direction of z alone (then latents live on the sphere of radius sqrt(z_dim)).

    Subclasses provide two callables, usually submodules:

    * `mapping(z, c, truncation_psi=1, truncation_cutoff=None)`: z [N, z_dim], c [N, c_dim] → ws [N, num_ws, w_dim];
    * `synthesis(ws, noise_mode="const")`: ws → images [N, img_channels, img_resolution, img_resolution], nominally
      in [−1, 1].

    All of it is float32 and composes with `torch.func`.
    """

    family: str
    normalizes_z: bool

    def __init__(self, *, z_dim, c_dim, w_dim, img_resolution, img_channels, init_kwargs):
        super().__init__()
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.init_kwargs = init_kwargs

    @property
    def w_avg(self):
        """The average style [w_dim] that truncation pulls towards, or None."""
        return getattr(self.mapping, "w_avg", None)

    @property
    def input_transform(self):
        """The 3×3 buffer with the user's inverse image transform (StyleGAN3), or None. Write into it with `copy_`."""
        return getattr(getattr(self.synthesis, "input", None), "transform", None)

    def style(self, z, c):
        """The untruncated w [N, w_dim] of z [N, z_dim] and c [N, c_dim]."""
        return self.mapping(z, c)[:, 0]

    def broadcast(self, w, truncation_psi=1, truncation_cutoff=None):
        """w [N, w_dim] → ws [N, num_ws, w_dim], truncated."""
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        return truncate_styles(ws, self.w_avg, truncation_psi, truncation_cutoff)

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, **synthesis_kwargs):
        """Images [N, C, H, W] of z [N, z_dim] and c [N, c_dim]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)
