"""Files of every family in its own official layout, small enough to sample from in a moment."""

import argparse
import json

import torch
from conftest import small_stylegan2

from dnnlib_compat.networks.dcgan import DCGANGenerator
from dnnlib_compat.networks.progan import ProGANGenerator
from helpers import biggan_tensors, nvae_networks
from helpers.pickles import write_official
from helpers.tf_pickles import write_tf_progan, write_tf_stylegan2

BIGGAN = dict(G_ch=8, resolution=32, dim_z=16, n_classes=4, shared_dim=8, G_attn="16", hier=True)


def biggan_state(deep=False, **changes):
    """A state dict of BigGAN-PyTorch."""
    return biggan_tensors.noisy(biggan_tensors.official_shapes(deep, **(BIGGAN | changes)))


def write_biggan(folder):
    torch.save(biggan_state(), folder / "G_ema.pth")
    return folder / "G_ema.pth"


def write_biggan_deep(folder):
    """In a weights folder, beside files that are not wanted, with the prefix of DataParallel."""
    state = {f"module.{name}": tensor for name, tensor in biggan_state(deep=True).items()}
    torch.save(state, folder / "G_ema.pth", _use_new_zipfile_serialization=False)
    torch.save(dict(itr=3), folder / "state_dict.pth")
    return folder


def write_biggan_hf(folder):
    layers = [[False, 16, 16], [True, 16, 8], [True, 8, 4], [False, 4, 2], [True, 2, 1]]
    config = dict(output_dim=32, z_dim=8, class_embed_dim=8, channel_width=4, num_classes=5, layers=layers)
    config |= dict(attention_layer_position=3, eps=1e-4, n_stats=51)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(biggan_tensors.noisy(biggan_tensors.official_shapes_hf(**config)), folder / "pytorch_model.bin")
    return folder / "config.json"


def write_nvae(folder):
    arguments, tensors, _ = nvae_networks.golden("mixture")
    content = dict(epoch=1, state_dict=tensors, args=argparse.Namespace(**arguments), optimizer=dict(state={}))
    torch.save(content, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def write_progan(folder):
    torch.manual_seed(0)
    network = ProGANGenerator(z_dim=12, c_dim=0, img_resolution=16, img_channels=3, channels=[8, 8, 4])
    return write_tf_progan(folder / "karras2018iclr.pkl", network.eval().requires_grad_(False))


def write_dcgan(folder):
    """As the tutorial's training script might keep it, behind DataParallel."""
    torch.manual_seed(0)
    network = DCGANGenerator(z_dim=10, channels=[8, 6], img_channels=3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked += 7
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(dict(epoch=3, netG_state_dict=state, optimizerG=dict(state={})), folder / "netG.pth")
    return folder / "netG.pth"


def write_stylegan2_tf(folder):
    return write_tf_stylegan2(folder / "stylegan2-tf.pkl", small_stylegan2(img_channels=3, conv_clamp=256))


def write_stylegan2(folder):
    return write_official(folder / "stylegan2.pkl", small_stylegan2())


WRITERS = {
    "biggan": write_biggan,
    "biggan-deep": write_biggan_deep,
    "biggan-deep-hf": write_biggan_hf,
    "nvae": write_nvae,
    "progan": write_progan,
    "dcgan": write_dcgan,
    "stylegan2-tf": write_stylegan2_tf,
    "stylegan2": write_stylegan2,
}
