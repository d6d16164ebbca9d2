"""The cells of NVAE's decoder: residual cells, their operations and the latent groups (Vahdat & Kautz, NeurIPS 2020).

Filters are stored as they act: the length that NVAE's files keep apart from a filter's direction is multiplied in when
a file is read. Such convolutions are `NormedConv2d`; the others have only one tensor in the files too.
"""

import torch
import torch.nn.functional as F

BN_EPS = 1e-5
BN_MOMENTUM = 0.05
BRANCH_WEIGHT = 0.1  # of a cell's branch beside its skip connection
CLAMP = 5  # means and log standard deviations lie within ±5, softly
MIN_SIGMA = 0.01  # added to every standard deviation, that of the fixed first prior too


def soft_clamp(x):
    """x within (−5, 5), nearly the identity around 0."""
    return CLAMP * torch.tanh(x / CLAMP)


def standard_deviation(log_sigma):
    """σ > 0.01 of the network's raw logarithm."""
    return torch.exp(soft_clamp(log_sigma)) + MIN_SIGMA


def enlarge(x):
    """[N, C, H, W] → [N, C, 2H, 2W], every pixel repeated."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class NormedConv2d(torch.nn.Conv2d):
    """A convolution whose filters the files store as direction and logarithmic length."""


class BatchNorm(torch.nn.Module):
    """Batch normalisation over [N, C, H, W] by the running statistics, whatever the training mode.

    While `adapting` is True it uses the statistics of the batch, and the running ones follow them.
    """

    def __init__(self, channels):
        super().__init__()
        self.adapting = False
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.weight, self.bias, self.adapting, BN_MOMENTUM, BN_EPS)


class SqueezeExcitation(torch.nn.Module):
    """Scales every channel of [N, C, H, W] by a number in (0, 1) that depends on all channels' averages."""

    def __init__(self, channels):
        super().__init__()
        hidden = max(channels // 16, 4)
        self.squeeze = torch.nn.Linear(channels, hidden)
        self.excite = torch.nn.Linear(hidden, channels)

    def forward(self, x):
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * gates[:, :, None, None]


class PreActivated(torch.nn.Module):
    """Batch normalisation unless the operation has none, activation, enlargement if `up`, 3×3 convolution."""

    official = {"bn": "bn_act", "conv": "conv_0"}

    def __init__(self, n_in, n_out, up, *, activation, norm=True):
        super().__init__()
        self.up, self.activation = up, activation
        self.bn = BatchNorm(n_in) if norm else None
        self.conv = NormedConv2d(n_in, n_out, 3, padding=1)

    def forward(self, x):
        x = self.activation(x if self.bn is None else self.bn(x))
        return self.conv(enlarge(x) if self.up else x)


class InvertedResidual(torch.nn.Module):
    """Enlargement if `up`, expansion to `expansion` × n_in channels, depthwise or grouped convolution, projection.

    groups 0: one group per channel.
    """

    def __init__(self, n_in, n_out, up, *, expansion, kernel, groups=0):
        super().__init__()
        self.up = up
        hidden = expansion * n_in
        self.bn0 = BatchNorm(n_in)
        self.expand = torch.nn.Conv2d(n_in, hidden, 1, bias=False)
        self.bn1 = BatchNorm(hidden)
        self.depthwise = torch.nn.Conv2d(
            hidden, hidden, kernel, padding=kernel // 2, groups=groups or hidden, bias=False
        )
        self.bn2 = BatchNorm(hidden)
        self.project = torch.nn.Conv2d(hidden, n_out, 1, bias=False)
        self.bn3 = BatchNorm(n_out)

    @property
    def official(self):
        """{our layer: its name in the files}. An enlarging layer comes first there and shifts the numbers."""
        names = "{}.bn", "{}.conv.0", "{}.conv.1", "{}.conv.0", "{}.conv.1", "{}", "{}.bn"
        ours = "bn0", "expand", "bn1", "depthwise", "bn2", "project", "bn3"
        places = 0, 1, 1, 2, 2, 3, 4
        return {a: "conv." + b.format(k + self.up) for a, b, k in zip(ours, names, places)}

    def forward(self, x):
        x = self.bn0(enlarge(x) if self.up else x)
        x = F.silu(self.bn1(self.expand(x)))
        x = F.silu(self.bn2(self.depthwise(x)))
        return self.bn3(self.project(x))


class BatchNormELU(PreActivated):
    official = {"bn": "bn.bn", "conv": "conv_0"}


OPERATIONS = {
    "res_elu": lambda *sizes: PreActivated(*sizes, activation=F.elu, norm=False),
    "res_bnelu": lambda *sizes: BatchNormELU(*sizes, activation=F.elu),
    "res_bnswish": lambda *sizes: PreActivated(*sizes, activation=F.silu),
    "mconv_e3k5g0": lambda *sizes: InvertedResidual(*sizes, expansion=3, kernel=5),
    "mconv_e3k5g8": lambda *sizes: InvertedResidual(*sizes, expansion=3, kernel=5, groups=8),
    "mconv_e6k5g0": lambda *sizes: InvertedResidual(*sizes, expansion=6, kernel=5),
    "mconv_e6k11g0": lambda *sizes: InvertedResidual(*sizes, expansion=6, kernel=11),
}

# The official architectures by name: the operations of a cell between the latent groups and of one behind them.
# Architectures that differ in the encoder alone are equal here.
_MBCONV = ("mconv_e6k5g0",), ("mconv_e3k5g0",)
ARCHITECTURES = {
    "res_elu": (("res_elu",) * 2,) * 2,
    "res_bnelu": (("res_bnelu",) * 2,) * 2,
    "res_bnswish": (("res_bnswish",) * 2,) * 2,
    "mbconv_res": (("res_bnswish",) * 2,) * 2,
    "mbconv_sep": _MBCONV,
    "mbconv_sep11": (("mconv_e6k11g0",), ("mconv_e3k5g0",)),
    "mbconv_den": (("mconv_e6k5g0",), ("mconv_e3k5g8",)),
    "res_mbconv": _MBCONV,
    "res53_mbconv": _MBCONV,
    "res35_mbconv": _MBCONV,
    "res55_mbconv": _MBCONV,
}


class Cell(torch.nn.Module):
    """A residual cell: [N, n, H, W] → the same size, or [N, n / 2, 2H, 2W] if `up`."""

    def __init__(self, channels, operations, *, up, use_se):
        super().__init__()
        self.out_channels = channels // 2 if up else channels
        self.skip = NormedConv2d(channels, self.out_channels, 1, bias=False) if up else None
        first, *others = operations
        ops = [OPERATIONS[first](channels, self.out_channels, up)]
        ops += [OPERATIONS[name](self.out_channels, self.out_channels, False) for name in others]
        self.ops = torch.nn.ModuleList(ops)
        self.se = SqueezeExcitation(self.out_channels) if use_se else None

    def forward(self, x):
        skip = x
        if self.skip is not None:
            skip = self.skip(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        for op in self.ops:
            x = op(x)
        return skip + BRANCH_WEIGHT * (x if self.se is None else self.se(x))


class LatentGroup(torch.nn.Module):
    """Cells that process the features so far, a latent drawn given them, and its merger into them.

    features: channels of the features that the latent is merged with, 0 when there are none; channels: those of the
    result; has_prior False: the latent's distribution depends on nothing.
    """

    def __init__(self, cells, features, channels, latent_channels, *, has_prior):
        super().__init__()
        self.cells = torch.nn.ModuleList(cells)
        self.prior = NormedConv2d(features, 2 * latent_channels, 1) if has_prior else None
        self.merge = NormedConv2d(features + latent_channels, channels, 1)

    def forward(self, x, eps, temperature):
        """x [N, features, H, W] or None, eps [N, latent_channels, H, W] standard normal → [N, channels, H, W]."""
        for cell in self.cells:
            x = cell(x)
        if self.prior is None:
            z = eps * ((1 + MIN_SIGMA) * temperature)
        else:
            mu, log_sigma = self.prior(F.elu(x)).chunk(2, dim=1)
            z = eps * (standard_deviation(log_sigma) * temperature) + soft_clamp(mu)
        return self.merge(z if x is None else torch.cat([x, z], dim=1))
