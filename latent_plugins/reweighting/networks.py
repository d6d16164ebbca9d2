"""The two networks of latent reweighting: importance weights of latents, and a critic of their images.

Each has `settings`, a plain dict that `build_weight_network` or `build_critic` turns into the same network again.
"""

import itertools

import torch

from dnnlib_compat.networks.discriminator import ProGANDiscriminator, StyleGAN2Discriminator
from dnnlib_compat.networks.image_critic import ImageCritic
from latent_plugins.reweighting.presets import ACTIVATIONS, INPUTS


def default_input(generator):
    """`w` for generators with styles, where the paper weights StyleGAN2's, else `z`."""
    return "w" if generator.has_styles else "z"


def check_input(generator, kind):
    """The input kind itself. Raises ValueError for an unknown one, or for styles that the generator does not have."""
    if kind not in INPUTS:
        raise ValueError(f"unknown input {kind!r} of the weight network; known inputs: {', '.join(INPUTS)}")
    if kind == "w" and not generator.has_styles:
        raise ValueError(f"a {generator.family} network has no styles (w): give the weight network the input z")
    return kind


def input_dim(generator, kind):
    """How many numbers the weight network sees."""
    return generator.z_dim if kind == "z" else generator.w_dim


def network_input(generator, z, c, kind):
    """What the weight network sees of latents z [N, z_dim] and labels c [N, c_dim]: z itself, or the styles."""
    return z if kind == "z" else generator.style(z, c)


def mlp(sizes, activation):
    """Linear layers between consecutive `sizes`, each followed by an activation."""
    layers = [(torch.nn.Linear(a, b), activation()) for a, b in itertools.pairwise(sizes)]
    return torch.nn.Sequential(*itertools.chain.from_iterable(layers))


def leaky_relu():
    return torch.nn.LeakyReLU(0.2)


def checked_sizes(sizes):
    """A tuple of positive layer sizes. Raises ValueError for anything else."""
    sizes = tuple(sizes)
    if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"hidden layers of the sizes {list(sizes)}: give one or more positive whole numbers")
    return sizes


class WeightNetwork(torch.nn.Module):
    """w^φ ("Latent reweighting", Issenhuth et al. 2022): inputs [N, in_dim] → importance weights [N], never negative.

    ReLU at the output, so that whole regions can get the weight zero; after hidden layers the activation `relu`, or
    `leaky-relu` of slope 0.2 (the paper's for large networks). The last bias starts at 1: the
    untrained network stays close to the prior, and no latent starts where the output's gradient is dead.

    Raises ValueError for layers of no size.
    """

    def __init__(self, in_dim, hidden, activation="relu"):
        super().__init__()
        self.in_dim, self.hidden, self.activation = in_dim, checked_sizes(hidden), activation
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; known ones: {', '.join(ACTIVATIONS)}")
        self.layers = mlp([in_dim, *self.hidden], torch.nn.ReLU if activation == "relu" else leaky_relu)
        self.out = torch.nn.Linear(self.hidden[-1], 1)
        torch.nn.init.ones_(self.out.bias)

    @property
    def settings(self):
        return dict(in_dim=self.in_dim, hidden=list(self.hidden), activation=self.activation)

    def forward(self, x):
        return self.out(self.layers(x)).relu().squeeze(1)


class VectorCritic(torch.nn.Module):
    """D^α for vectors [N, …] of in_dim numbers → [N]: a multilayer perceptron, for experiments in few dimensions.

    Raises ValueError for layers of no size.
    """

    kind = "vector"

    def __init__(self, in_dim, hidden):
        super().__init__()
        self.in_dim, self.hidden = in_dim, checked_sizes(hidden)
        self.layers = mlp([in_dim, *self.hidden], leaky_relu)
        self.out = torch.nn.Linear(self.hidden[-1], 1)

    @property
    def settings(self):
        return dict(kind=self.kind, in_dim=self.in_dim, hidden=list(self.hidden))

    def forward(self, x):
        return self.out(self.layers(x.flatten(1))).squeeze(1)


class OfDiscriminator:
    """What makes an unconditional official discriminator a critic: images [N, channels, resolution, resolution] → [N].

    Its minibatch statistics make an answer depend on the other images of its group, as in the discriminator's training.
    """

    @property
    def settings(self):
        return dict(kind=self.kind, **self.init_kwargs)

    def forward(self, x):
        return super().forward(x).squeeze(1)


class DiscriminatorCritic(OfDiscriminator, StyleGAN2Discriminator):
    kind = StyleGAN2Discriminator.family


class ProGANCritic(OfDiscriminator, ProGANDiscriminator):
    kind = ProGANDiscriminator.family


CRITICS = {critic.kind: critic for critic in (ImageCritic, VectorCritic, DiscriminatorCritic, ProGANCritic)}


def build_weight_network(settings):
    """The WeightNetwork of its `settings`. Raises ValueError or TypeError for other ones."""
    return WeightNetwork(**settings)


def build_critic(settings):
    """The critic of its `settings`. Raises ValueError, KeyError or TypeError for other ones."""
    settings = dict(settings)
    kind = settings.pop("kind")
    if kind not in CRITICS:
        raise ValueError(f"unknown critic {kind!r}; known critics: {', '.join(CRITICS)}")
    return CRITICS[kind](**settings)


def critic_of(discriminator):
    """A discriminator as a critic: an ImageCritic is one; of another, the critic of its family with its weights.

    Raises ValueError for a conditional one, and for a family that is no kind of critic.
    """
    if discriminator.c_dim:
        raise ValueError("a discriminator of labelled images is no critic of images alone: take a preset without one")
    if isinstance(discriminator, ImageCritic):
        return discriminator
    if discriminator.family not in CRITICS:
        raise ValueError(f"no critic is made of a {discriminator.family}: take a preset without one")
    critic = CRITICS[discriminator.family](**discriminator.init_kwargs)
    critic.load_state_dict(discriminator.state_dict())
    return critic


def check_critic(critic):
    """The critic itself. Raises ValueError for one of a kind that is not in CRITICS, which no file could hold."""
    if CRITICS.get(getattr(critic, "kind", None)) is not type(critic):
        raise ValueError(f"a critic of the class {type(critic).__name__}: give one of a kind in {', '.join(CRITICS)}")
    return critic


def critic_settings(generator, schedule):
    """Settings of the critic that suits a generator's output: one of images, below 4 pixels one of vectors."""
    size, channels = generator.img_resolution, generator.img_channels
    if size < 4:
        return dict(kind="vector", in_dim=channels * size**2, hidden=list(schedule.sizes(channels * size**2)))
    sizes = dict(channel_base=schedule.channel_base, channel_max=schedule.channel_max)
    return dict(kind="image", resolution=size, channels=channels, **sizes)
