"""What StyleGAN2 and StyleGAN3 share."""

import math

import torch

from dnnlib_compat.networks.interface import Generator, truncate_styles
from dnnlib_compat.networks.ops import bias_act, normalize_2nd_moment


class FullyConnectedLayer(torch.nn.Module):
    """Affine layer with run-time weight scaling and an activation: [N, in_features] → [N, out_features]."""

    def __init__(
        self, in_features, out_features, *, activation="linear", bias=True, lr_multiplier=1, weight_init=1, bias_init=0
    ):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.activation = activation
        self.weight = torch.nn.Parameter(torch.randn(out_features, in_features) * (weight_init / lr_multiplier))
        start = torch.as_tensor(bias_init, dtype=torch.float32).expand(out_features) / lr_multiplier
        self.bias = torch.nn.Parameter(start.clone()) if bias else None
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x):
        x = x @ (self.weight * self.weight_gain).T
        return bias_act(x, None if self.bias is None else self.bias * self.bias_gain, act=self.activation)


class MappingNetwork(torch.nn.Module):
    """z [N, z_dim] and label c [N, c_dim] to styles: [N, num_ws, w_dim], or [N, w_dim] when `num_ws` is None.

    z (and the embedded label) are normalised to unit mean square first. `z_dim` 0 maps the label alone. Raises
    ValueError where there are no layers and what is to be mapped has not w_dim features.
    """

    def __init__(
        self,
        z_dim,
        c_dim,
        w_dim,
        num_ws,
        num_layers=8,
        embed_features=None,
        layer_features=None,
        activation="lrelu",
        lr_multiplier=0.01,
        w_avg_beta=0.998,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = z_dim, c_dim, w_dim, num_ws, num_layers
        self.w_avg_beta = w_avg_beta
        embed_features = 0 if c_dim == 0 else embed_features or w_dim
        features = [z_dim + embed_features] + [layer_features or w_dim] * (num_layers - 1) + [w_dim] * (num_layers > 0)
        if features[-1] != w_dim:
            raise ValueError(f"a mapping without layers from {features[-1]} to {w_dim} features")
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_features)
        for i, (n_in, n_out) in enumerate(zip(features[:-1], features[1:])):
            layer = FullyConnectedLayer(n_in, n_out, activation=activation, lr_multiplier=lr_multiplier)
            setattr(self, f"fc{i}", layer)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, skip_w_avg_update=True
    ):  # fmt: skip
        """Styles of z and c. `truncation_psi` pulls the first `truncation_cutoff` layers (all: None) towards w_avg.

        With `update_emas`, as the StyleGAN3 release calls it, w_avg moves on towards these styles; so it does while
        training where the StyleGAN2-ADA release's `skip_w_avg_update` is False. Raises ValueError when truncation is
        asked of a network without a tracked average.
        """
        inputs = []
        if self.z_dim > 0:
            inputs.append(normalize_2nd_moment(z.to(torch.float32)))
        if self.c_dim > 0:
            inputs.append(normalize_2nd_moment(self.embed(c.to(torch.float32))))
        w = torch.cat(inputs, dim=1)
        for i in range(self.num_layers):
            w = getattr(self, f"fc{i}")(w)
        if (update_emas or self.training and not skip_w_avg_update) and getattr(self, "w_avg", None) is not None:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        if self.num_ws is None:
            return w
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)
        return truncate_styles(ws, getattr(self, "w_avg", None), truncation_psi, truncation_cutoff)


class StyleGenerator(Generator):
    """A generator of a mapping network and a synthesis network, with the official constructor.

    Subclasses set `mapping_class` and `synthesis_class`, whose keywords are what `mapping_kwargs` and
    `synthesis_kwargs` may hold.
    """

    normalizes_z = True
    mapping_class: type
    synthesis_class: type

    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs=None, **synthesis_kwargs):
        sizes = dict(z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, img_resolution=img_resolution, img_channels=img_channels)
        mapping_kwargs = dict(mapping_kwargs or {})
        super().__init__(**sizes, init_kwargs=dict(**sizes, mapping_kwargs=mapping_kwargs, **synthesis_kwargs))
        self.synthesis = self.synthesis_class(w_dim, img_resolution, img_channels, **synthesis_kwargs)
        self.num_ws = self.synthesis.num_ws
        self.mapping = self.mapping_class(z_dim, c_dim, w_dim, self.num_ws, **mapping_kwargs)
