"""The families of networks by their short names."""

from dnnlib_compat.networks.biggan import BigGANGenerator
from dnnlib_compat.networks.biggan_deep import BigGANDeepGenerator, BigGANDeepHFGenerator
from dnnlib_compat.networks.dcgan import DCGANGenerator
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from dnnlib_compat.networks.image_critic import ImageCritic
from dnnlib_compat.networks.nvae import NVAEGenerator
from dnnlib_compat.networks.progan import ProGANGenerator
from dnnlib_compat.networks.stylegan2 import StyleGAN2Generator
from dnnlib_compat.networks.stylegan3 import StyleGAN3Generator

CLASSES = (
    StyleGAN2Generator,
    StyleGAN3Generator,
    ProGANGenerator,
    BigGANGenerator,
    BigGANDeepGenerator,
    BigGANDeepHFGenerator,
    NVAEGenerator,
    DCGANGenerator,
    StyleGAN2Discriminator,
    ImageCritic,
)
FAMILIES = {cls.family: cls for cls in CLASSES}
