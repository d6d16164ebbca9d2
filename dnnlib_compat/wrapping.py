"""Make a Generator of any torch module or function z → image, after a look at what it does."""

import copy as copying
import hashlib
import inspect
import json
import math
import operator
import re
import warnings

import torch

from dnnlib_compat.errors import what
from dnnlib_compat.networks.latent_laws import LAWS
from dnnlib_compat.networks.wrapped import Function, Method, WrappedGenerator

PROBES = 3  # latents that the module is tried with
TOLERANCE = 1e-3  # of the range of an image: what batches and TF32 may change in it
CHANNELS = (1, 3)


def wrap(
    module, z_dim, *, prior="prior", label=None, z_shape=None, image_range=(-1, 1), name=None, copy=True
):  # fmt: skip
    """A Generator of a module z → image, or (z, c) → image, that nothing is known of.

    module: a torch.nn.Module, a method of one, or any callable that takes z [N, *z_shape] float32 and returns images
    [N, channels, size, size] of 1 or 3 channels. z_dim: numbers in a latent. prior: the law of latents, a name of
    LAWS: `prior` N(0, I), `truncated`, `uniform` on [−1, 1], `ball`, or `sphere`, where z is brought to the length
    √z_dim before the module sees it. label: None, or the number of classes of a module that takes (z, c) with
    c one-hot [N, label] float32. z_shape: of one latent as the module takes it, by default (z_dim,); DCGANs want
    (z_dim, 1, 1). image_range: (low, high) of its images. name: goes into the network's identity in atlases; required
    where there are neither parameters nor buffers. copy: False takes the module itself, which then is in evaluation
    mode, float32 and without gradients of its parameters for good, instead of a copy of it.

    The module is evaluated at a few latents. Raises ValueError where it fails, returns no images, is random, mixes the
    rows of a batch, or cannot be differentiated by torch.func; warns where image_range does not suit.
    """
    sizes = checked_sizes(z_dim, label, z_shape)
    if not isinstance(prior, str) or prior not in LAWS:
        raise ValueError(f"unknown prior {prior!r:.60}; known ones: {', '.join(LAWS)}")
    if prior == "sphere" and sizes["z_dim"] < 2:
        raise ValueError("a prior on a sphere needs a z_dim of at least 2")
    image_range = checked_range(image_range)
    network = prepared(module, copy)
    if name is None and not network.state_dict():
        raise ValueError(
            "the module has neither parameters nor buffers that could tell it from others: give it a name, name='…'"
        )
    told = dict(prior=prior, image_range=image_range, name=name, code=code_of(network))
    draft = WrappedGenerator(network, **sizes, **told, img_resolution=1, img_channels=1)
    channels, resolution = look_at(draft)
    generator = WrappedGenerator(network, **sizes, **told, img_resolution=resolution, img_channels=channels)
    check_derivatives(generator)
    return generator.eval()


def checked_sizes(z_dim, label, z_shape):
    """The arguments of WrappedGenerator that say what the module takes. Raises ValueError for what makes no sense."""
    z_dim = whole("z_dim", z_dim)
    c_dim = 0 if label is None else whole("label", label, "the number of classes, or None")
    if z_shape is None:
        z_shape = (z_dim,)
    try:
        z_shape = tuple(whole("z_shape", size) for size in z_shape)
    except TypeError:
        raise ValueError(f"z_shape must be a tuple of sizes such as ({z_dim}, 1, 1), not {z_shape!r:.60}") from None
    if math.prod(z_shape) != z_dim:
        raise ValueError(f"z_shape {z_shape} has {math.prod(z_shape)} numbers, z_dim says {z_dim}")
    return dict(z_dim=z_dim, c_dim=c_dim, z_shape=z_shape)


def whole(name, value, right="a whole number above 0"):
    """value as an int. Raises ValueError for what is none, or not positive."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise ValueError(f"{name} must be {right}, not {value!r:.60}")
    return number


def checked_range(image_range):
    """(low, high) as floats. Raises ValueError for anything else."""
    try:
        low, high = (float(bound) for bound in image_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"image_range must be two numbers, the lower first, such as (0, 1), not {image_range!r:.60}")
    return low, high


def prepared(module, copy):
    """The module in evaluation mode, float32, without gradients of its own: a copy of it if `copy`."""
    if not callable(module):
        raise ValueError(f"a {type(module).__name__} is no module and no function that makes images of latents")
    if isinstance(module, type):
        raise ValueError(f"{module.__name__} is a class: give an instance of it, with its weights")
    if inspect.ismethod(module) and isinstance(module.__self__, torch.nn.Module):
        module = Method(module.__self__, module.__name__)
    elif not isinstance(module, torch.nn.Module):
        module = Function(module)
    if copy:
        try:
            module = copying.deepcopy(module)
        except Exception as error:  # a module may hold anything
            raise ValueError(f"the module cannot be copied ({what(error)}): give copy=False to take itself") from None
    return module.eval().requires_grad_(False).float()


def code_of(network):
    """16 hexadecimal digits of what a module is made of besides its weights: its structure and its classes' source.

    Weights alone do not tell a ReLU from an ELU. Classes of torch count by what they print of themselves. Source that
    cannot be found does not count, nor do functions that a forward calls: `name` is for these.
    """
    parts = [re.sub(r" at 0x[0-9a-fA-F]+", "", repr(network))]
    seen = {base for module in network.modules() for base in type(module).__mro__ if is_own(base)}
    functions = [module.function for module in network.modules() if isinstance(module, Function)]
    methods = [module.method for module in network.modules() if isinstance(module, Method)]
    parts += sorted(filter(None, map(source_of, [*seen, *functions]))) + methods
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def is_own(cls):
    """Whether a class is neither torch's nor Python's nor this package's."""
    return cls.__module__.partition(".")[0] not in ("torch", "builtins", "dnnlib_compat")


def source_of(thing):
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""


def look_at(generator):
    """(channels, resolution) of the images. Raises ValueError as `wrap`."""
    device = next(generator.parameters()).device
    z = torch.cat([generator.seed_latent(seed) for seed in range(PROBES)]).to(device)
    c = torch.eye(max(generator.c_dim, 1))[[k % max(generator.c_dim, 1) for k in range(PROBES)], : generator.c_dim]
    c = c.to(device)
    with torch.no_grad():
        images = evaluated(generator, z, c)
        check_images(images)
        low, high = generator.image_range
        allowed = TOLERANCE * max(high - low, float(images.max() - images.min()))
        if (evaluated(generator, z, c) - images).abs().max() > allowed:
            raise ValueError(
                "the same latents give other images each time: the module draws random numbers, which must be fixed"
            )
        alone = evaluated(generator, z[1:2], c[1:2])
        if alone.shape[1:] != images.shape[1:] or (alone[0] - images[1]).abs().max() > allowed:
            raise ValueError(
                "an image depends on the others in its batch: a batch norm without running statistics, say, or one "
                "that stays in training mode; rows of a batch must be independent"
            )
    warn_of_range(images, low, high)
    return images.shape[1], images.shape[2]


def evaluated(generator, z, c):
    """What the module returns. Raises ValueError when it fails."""
    takes = f"latents of the shape {[len(z), *generator.z_shape]}" + (" and labels" if generator.c_dim else "")
    try:
        return generator.answer(z, c)
    except Exception as error:  # a module may raise anything
        raise ValueError(
            f"the module failed on {takes} ({what(error)}); z_dim, z_shape and label say what it takes"
        ) from error


def check_images(images):
    """Raise ValueError unless these are square images of 1 or 3 channels, finite numbers, one for each latent."""
    if not isinstance(images, torch.Tensor):
        raise ValueError(f"the module returns a {type(images).__name__}, not a tensor of images: wrap a function of it")
    shape = list(images.shape)
    if len(shape) != 4 or shape[0] != PROBES or 0 in shape:
        raise ValueError(f"{PROBES} latents give a tensor {shape}, not images [{PROBES}, channels, size, size]")
    if shape[2] != shape[3]:
        raise ValueError(f"the module's images are {shape[2]}×{shape[3]} pixels; only square ones are known here")
    if shape[1] not in CHANNELS:
        raise ValueError(f"the module's images have {shape[1]} channels; 1 (grayscale) and 3 (RGB) are known here")
    if not images.is_floating_point():
        raise ValueError(f"the module's images are {images.dtype}, which no derivatives go through; return floats")
    if not torch.isfinite(images).all():
        raise ValueError("the module's images hold NaN or infinity")


def warn_of_range(images, low, high):
    """Warn where numbers of images are far beyond (low, high), or look like those of [0, 1]."""
    least, most = float(images.min()), float(images.max())
    if max(low - least, most - high) > (high - low) / 2:
        found = f"the images go from {least:.3g} to {most:.3g}, image_range from {low:g} to {high:g}"
        warnings.warn(f"{found}: is it (0, 255)?" if most > 100 else found, stacklevel=5)
    elif low < 0 <= least and most <= 1:
        warnings.warn(
            "no number in the images is negative: if they lie in [0, 1], give image_range=(0, 1)", stacklevel=5
        )


def check_derivatives(generator):
    """Raise ValueError where torch.func finds no derivatives, forwards and backwards, in batches of directions."""
    device = next(generator.parameters()).device
    z = generator.seed_latent(0).to(device)
    c = torch.eye(max(generator.c_dim, 1), device=device)[:1, : generator.c_dim]
    directions = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        forwards = torch.func.vmap(lambda v: torch.func.jvp(lambda x: generator(x, c), (z,), (v[None],))[1])(directions)
        images, pullback = torch.func.vjp(lambda x: generator(x, c), z)
        backwards = torch.func.vmap(lambda u: pullback(u)[0])(forwards)
    except Exception as error:  # whatever an operation without derivatives raises
        raise ValueError(
            f"torch.func cannot differentiate the module ({what(error)}): its operations need forward-mode "
            "derivatives and rules for vmap, and nothing in it may change numbers in place or leave torch"
        ) from error
    if not forwards.abs().max() > 0 or not backwards.abs().max() > 0:
        raise ValueError("the images do not depend on z as far as derivatives tell: a detach or no_grad in the module?")
