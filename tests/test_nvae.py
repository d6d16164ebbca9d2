"""NVAE against the official code, and its checkpoints.

goldens/nvae.npz and nvae.json come from the official model at reduced sizes with the weights of `random_weights`, so
only names and shapes are stored: the parameters and images (2·mean − 1) of two latents at two temperatures, samples of
its output distributions, images after the official readjustment of the batch normalisation, and exact float64 singular
values of the first latent's image. `data_folder` has a further golden with its weights.
"""

import argparse
import functools
import json

import numpy as np
import pytest
import torch
from conftest import load_golden, small_stylegan2
from helpers.nvae_networks import golden, small, variants

from dnnlib_compat.assemble import assemble
from dnnlib_compat.checkpoint import read_checkpoint
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.networks.nvae import NVAEGenerator, readjust_batch_norm
from dnnlib_compat.networks.nvae_cells import ARCHITECTURES
from dnnlib_compat.networks.nvae_files import convert_nvae, is_nvae
from latent_plugins.spaces import Space, SpaceMap
from latent_plugins.volume.spectrum import spectrum
from latent_plugins.volume.spectrum.projected import Projected

VARIANTS = ["mixture", "normal", "single-group", "equal-groups", "grouped-convolutions", "wide-kernels"]


@functools.cache
def network(name):
    args, tensors, _ = golden(name)
    return built(*convert_nvae(tensors, args, "golden"))


def built(kwargs, state):
    return assemble(NVAEGenerator, kwargs, state, "golden").eval().requires_grad_(False)


def latents(net, n=2):
    return torch.from_numpy(np.random.RandomState(1).randn(n, net.z_dim).astype(np.float32))


def no_labels(z):
    return torch.zeros(len(z), 0)


def relative_error(ours, reference):
    """Largest deviation in units of the reference's standard deviation."""
    return np.abs(ours.numpy() - reference).max() / reference.std()


# ---------------------------------------------------------------------------------------------------------------------
# The official code


@pytest.mark.parametrize("psi", [1.0, 0.7])
@pytest.mark.parametrize("name", VARIANTS)
def test_images_equal_the_official_ones(name, psi):
    net, (_, _, arrays) = network(name), golden(name)
    z = latents(net)
    assert relative_error(net.logits(z, psi)[:, :, ::4, ::4], arrays[f"logits/{psi}"]) <= 1e-4
    images = net(z, no_labels(z), truncation_psi=psi)
    assert images.shape == (2, net.img_channels, net.img_resolution, net.img_resolution)
    assert relative_error(images, arrays[f"images/{psi}"]) <= 1e-4
    assert images.abs().max() <= 1


@pytest.mark.parametrize("name", VARIANTS)
def test_singular_values_equal_the_official_ones(name):
    net, (_, _, arrays) = network(name), golden(name)
    reference = arrays["singular_values"]
    space_map = SpaceMap(net, Space.parse("pixel"), "gaussian", no_labels([0]))
    ours = spectrum(space_map, latents(net)[:1], top_k=len(reference))[0].numpy()
    clear = reference > 1e-4 * reference[0]
    assert clear.sum() >= 30
    np.testing.assert_allclose(ours[clear], reference[clear], rtol=1e-3)
    assert np.abs(ours - reference).max() <= 1e-5 * reference[0]


@pytest.mark.parametrize("name", ["mixture", "normal", "grouped-convolutions"])
def test_samples_equal_the_official_ones(name):
    net, (_, _, arrays) = network(name), golden(name)
    z = latents(net)
    samples = net.sample_output(z, no_labels(z), 1, torch.Generator().manual_seed(7))
    assert samples.shape == net(z, no_labels(z)).shape
    assert relative_error(samples[:, :, ::2, ::2], arrays["sample"]) <= 1e-4


@pytest.mark.parametrize("name", ["mixture", "normal"])
def test_readjusted_images_equal_the_official_ones(name):
    net, (_, _, arrays) = network(name), golden(name)
    z = latents(net)
    adjusted = readjust_batch_norm(net, psi=0.7, samples=20, batch=4, generator=torch.Generator().manual_seed(3))
    images = adjusted(z, no_labels(z), truncation_psi=0.7)[:, :, ::2, ::2]
    assert relative_error(images, arrays["readjusted"]) <= 1e-4
    assert relative_error(net(z, no_labels(z), truncation_psi=0.7)[:, :, ::2, ::2], arrays["readjusted"]) > 0.01


def test_the_larger_golden(data_folder):
    path = data_folder / "goldens" / "nvae-mnist.json"
    if not path.exists():
        pytest.skip("no large golden of NVAE")
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {key: file[key] for key in file.files}
    tensors = {name[6:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("state/")}
    net = built(*convert_nvae(tensors, json.loads(path.read_text())["args"], path))
    draws = [torch.from_numpy(arrays[f"eps/{k:02}"]) for k in range(3)]
    assert [tuple(draw.shape[1:]) for draw in draws] == [tuple(shape) for _, _, *shape in net.groups]
    z = torch.cat([draw.flatten(1) for draw in draws], dim=1)
    for psi in (1.0, 0.7):
        assert relative_error(net.logits(z, psi), arrays[f"logits_t{psi}"]) <= 1e-4
    assert relative_error(net(z, no_labels(z)), 2 * arrays["img_mean_t1.0"] - 1) <= 1e-4
    jacobian = torch.func.jacrev(lambda z: net.logits(z[None]).flatten(), chunk_size=128)(z[0])
    reference = arrays["jac_eps_to_logits_singular_values"]
    np.testing.assert_allclose(torch.linalg.svdvals(jacobian.double()), reference, rtol=1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# The network


@pytest.mark.parametrize("name", VARIANTS)
def test_groups_are_listed_in_sampling_order(name):
    net, shapes = network(name), variants()[name]["groups"]
    assert [shape for _, _, *shape in net.groups] == shapes
    assert net.z_dim == sum(np.prod(shapes, axis=1))
    scales = [(scale, group) for scale, group, *_ in net.groups]
    assert scales == sorted(set(scales)) and scales[0] == (0, 0)


@pytest.mark.bitwise
def test_a_group_influences_only_what_comes_after_it():
    net = network("equal-groups")
    sizes = [c * h * w for _, _, c, h, w in net.groups]
    z, seen = latents(net, 1), []
    hooks = [layer.merge.register_forward_hook(lambda *call: seen.append(call[2])) for layer in net.tower]
    net.logits(z)
    changed = z.clone()
    changed[:, sum(sizes[:3]) : sum(sizes[:4])] += 1
    net.logits(changed)
    for hook in hooks:
        hook.remove()
    equal = [torch.equal(a, b) for a, b in zip(seen[:6], seen[6:])]
    assert equal == [True, True, True, False, False, False]


@pytest.mark.parametrize("name", VARIANTS)
def test_forward_and_reverse_mode_compose_and_agree(name):
    net = network(name)
    z = latents(net)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    y, tangent = torch.func.jvp(net.logits, (z,), (direction,))
    assert relative_error(y, net.logits(z).numpy()) <= 1e-6
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    left, right = (weight * tangent).sum(), (torch.func.vjp(net.logits, z)[1](weight)[0] * direction).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-3)
    single = torch.func.vmap(lambda z, v: torch.func.jvp(lambda z: net.logits(z[None])[0], (z,), (v,))[1])
    assert relative_error(single(z, direction), tangent.numpy()) <= 1e-4


def test_samples_of_a_batch_do_not_influence_each_other():
    net = network("mixture")
    z = latents(net, 3)
    alone = torch.cat([net(row[None], no_labels([0])) for row in z])
    assert relative_error(alone, net(z, no_labels(z)).numpy()) <= 1e-5


@pytest.mark.bitwise
def test_training_mode_changes_nothing():
    net = small(output="normal")
    z = latents(net)
    before, expected = {name: tensor.clone() for name, tensor in net.state_dict().items()}, net(z, no_labels(z))
    assert torch.equal(net.train()(z, no_labels(z)), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_temperature_zero_leaves_no_randomness():
    net = network("wide-kernels")
    z = latents(net)
    cold, warm = (net(z, no_labels(z), truncation_psi=psi) for psi in (0, 0.5))
    # Rows of a batch may differ in their last bits.
    assert torch.allclose(cold[0], cold[1], atol=1e-6) and not torch.allclose(warm[0], warm[1], atol=1e-3)


@pytest.mark.parametrize("psi", [-0.1, float("nan"), float("inf")])
def test_impossible_temperatures_are_refused(psi):
    net = small()
    z = latents(net)
    calls = (
        lambda: net(z, no_labels(z), truncation_psi=psi),
        lambda: net.sample_output(z, no_labels(z), psi, torch.Generator()),
        lambda: readjust_batch_norm(net, psi=psi, generator=torch.Generator()),
    )
    for call in calls:
        with pytest.raises(ValueError, match="a temperature must be at least 0, not"):
            call()


def test_there_are_no_styles():
    net = small()
    with pytest.raises(ValueError, match="no truncation cutoff"):
        net(latents(net), no_labels([0, 0]), truncation_cutoff=2)


@pytest.mark.bitwise
def test_double_precision_latents_are_welcome():
    net = small()
    z = latents(net)
    assert torch.equal(net(z.double(), no_labels(z)), net(z, no_labels(z)))


@pytest.mark.bitwise
@pytest.mark.parametrize("output, components", [("bernoulli", 0), ("normal", 0), ("logistic-mixture", 1)])
def test_samples_scatter_around_the_mean(output, components):
    net = small(output=output, components=components, post_blocks=1, img_resolution=8)
    # Narrow distributions in the middle of the range, where nothing is clamped.
    log_scales = {"bernoulli": [], "normal": [3, 4, 5], "logistic-mixture": [2, 5, 8]}[output]
    net.head.bias[log_scales] = -3
    z = latents(net, 1).expand(2000, -1)
    generator = torch.Generator().manual_seed(0)
    samples = net.sample_output(z, no_labels(z), 1, generator)
    again = net.sample_output(z, no_labels(z), 1, torch.Generator().manual_seed(0))
    assert torch.equal(samples, again) and not torch.equal(samples[0], samples[1])
    assert samples.abs().max() <= 1
    assert output != "bernoulli" or set(samples.unique().tolist()) == {-1.0, 1.0}
    error = samples.mean(dim=0) - net(z[:1], no_labels([0]))[0]
    assert error.abs().max() <= 4.5 * samples.std(dim=0).max() / 2000**0.5


def test_samples_need_no_global_randomness():
    net = small(output="normal")
    z = latents(net)
    before = torch.get_rng_state()
    net.sample_output(z, no_labels(z), 1, torch.Generator().manual_seed(0))
    readjust_batch_norm(net, psi=1, samples=4, batch=2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.bitwise
def test_readjustment_changes_the_statistics_of_a_copy():
    net = network("mixture")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def adjusted(seed, psi=0.5, **kwargs):
        generator = torch.Generator().manual_seed(seed)
        copy = readjust_batch_norm(net, psi=psi, samples=8, batch=4, generator=generator, **kwargs)
        assert copy.init_kwargs == net.init_kwargs and not any(p.requires_grad for p in copy.parameters())
        return copy.state_dict()

    first = adjusted(0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    running = {name for name in before if "running" in name}
    assert {name for name in before if not torch.equal(before[name], first[name])} == running
    assert all(torch.equal(tensor, first[name]) for name, tensor in adjusted(0).items())
    assert any(not torch.equal(tensor, first[name]) for name, tensor in adjusted(1).items())
    assert any(not torch.equal(tensor, first[name]) for name, tensor in adjusted(0, psi=1).items())


def test_readjustment_needs_a_batch():
    with pytest.raises(ValueError, match="3 samples do not make a batch of 4"):
        readjust_batch_norm(small(), psi=1, samples=3, batch=4, generator=torch.Generator())
    plain = readjust_batch_norm(small(architecture="res_elu"), psi=1, samples=4, batch=4, generator=torch.Generator())
    assert all(
        torch.equal(a, b)
        for a, b in zip(plain.state_dict().values(), small(architecture="res_elu").state_dict().values())
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(img_resolution=36), r"36 pixels do not fit \[1, 1\] groups and 2 blocks"),
        (dict(groups_per_scale=[]), "32 pixels do not fit"),
        (dict(groups_per_scale=[2, 0]), "32 pixels do not fit"),
        (dict(post_cells=0), "blocks without cells"),
        (dict(architecture="res_wnelu"), "architecture must be one of res_elu, .*, not 'res_wnelu'"),
        (dict(output="laplace"), "output must be bernoulli, normal or logistic-mixture, not 'laplace'"),
    ],
)
def test_impossible_architectures_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.bitwise
@pytest.mark.parametrize("name", VARIANTS)
def test_arguments_and_tensors_rebuild_the_network(name):
    net = network(name)
    kwargs = json.loads(json.dumps(net.init_kwargs))
    again = built(kwargs, net.state_dict())
    z = latents(net)
    assert torch.equal(again(z, no_labels(z)), net(z, no_labels(z)))


def test_a_checkpoint_is_read_from_its_file(tmp_path):
    args, tensors, _ = golden("mixture")
    shared = torch.cat([torch.zeros(5), *(tensor.flatten() for tensor in tensors.values() if tensor.ndim)])
    offset, views = 5, {}
    for name, tensor in tensors.items():  # parameters of official files share their storages
        views[name] = shared[offset : offset + tensor.numel()].view(tensor.shape) if tensor.ndim else tensor
        offset += tensor.numel() if tensor.ndim else 0
    content = dict(epoch=3, state_dict=views, args=argparse.Namespace(**args), optimizer=dict(state={}), global_step=7)
    torch.save(content, tmp_path / "checkpoint.pt")
    checkpoint = read_checkpoint(tmp_path / "checkpoint.pt")
    assert is_nvae(checkpoint["state_dict"]) and checkpoint["args"] == args
    kwargs, state = convert_nvae(checkpoint["state_dict"], checkpoint["args"], tmp_path)
    assert kwargs == network("mixture").init_kwargs
    assert all(torch.equal(tensor, state[name]) for name, tensor in network("mixture").state_dict().items())
    mapped = {tensor.untyped_storage().data_ptr() for tensor in checkpoint["state_dict"].values()}
    assert mapped.isdisjoint(tensor.untyped_storage().data_ptr() for tensor in state.values())


ENCODER = ("stem.", "pre_process.", "enc_tower.", "enc0.", "enc_sampler.", "nf_cells.")


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {k: t for k, t in tensors.items() if not k.endswith("weight_normalized")},
        lambda tensors: {k: t for k, t in tensors.items() if not k.endswith("num_batches_tracked")},
        lambda tensors: {k: t for k, t in tensors.items() if not k.startswith(ENCODER)},
        lambda tensors: {k: t * torch.nan if k.startswith(ENCODER) else t for k, t in tensors.items()},
        lambda tensors: tensors | {"nf_cells.9.cell1.mu.conv_0.weight": torch.zeros(2)},
        lambda tensors: {k: t.double() for k, t in tensors.items()},
    ],
    ids=["module prefix", "no second names", "no counters", "no encoder", "broken encoder", "flows", "double"],
)
def test_what_may_differ_between_files(edit):
    args, tensors, _ = golden("mixture")
    assert any(name.startswith("nf_cells.") for name in tensors)
    tensors = edit(tensors)
    assert is_nvae(tensors)
    kwargs, state = convert_nvae(tensors, args, "path")
    assert kwargs == network("mixture").init_kwargs
    assert list(state) == list(network("mixture").state_dict())
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network("mixture").state_dict().items())


def test_older_files_lack_arguments():
    args, tensors, _ = golden("equal-groups")
    old = {k: v for k, v in args.items() if k not in ("ada_groups", "min_groups_per_scale", "num_mixture_dec")}
    kwargs, _ = convert_nvae(tensors, old, "path")
    assert kwargs == network("equal-groups").init_kwargs


def test_networks_are_told_by_name():
    _, tensors, _ = golden("single-group")
    assert is_nvae(tensors) and is_nvae(f"module.{name}" for name in tensors)
    arrays, _ = load_golden("stylegan3-t")
    assert not is_nvae(arrays) and not is_nvae([]) and not is_nvae(["prior_ftr0"])


# The official training commands, with the latent's sizes that follow from them.
COMMANDS = {
    "mnist": (dict(scales=2, groups=10, ada=True, channels=32, blocks=2, cells=3, size=32, output=1), 14_400),
    "cifar10": (dict(scales=1, groups=30, channels=128, size=32), 153_600),
    "celeba_64": (dict(scales=3, groups=20, ada=True, channels=64, size=64), 467_200),
    "imagenet_32": (dict(scales=1, groups=28, channels=192, size=32), 143_360),
    "celeba_256": (dict(scales=5, groups=16, ada=True, least=4, channels=30, size=256), 6_005_760),
    "ffhq": (dict(scales=5, groups=16, ada=True, least=4, channels=24, size=256), 6_005_760),
}


def training_arguments(scales, groups, channels, ada=False, least=1, blocks=1, cells=2, latents=20, per_group=2, **_):
    return dict(
        num_latent_scales=scales,
        num_groups_per_scale=groups,
        num_latent_per_group=latents,
        num_channels_dec=channels,
        num_cell_per_cond_dec=per_group,
        num_postprocess_blocks=blocks,
        num_postprocess_cells=cells,
        min_groups_per_scale=least,
        ada_groups=ada,
        use_se=True,
        arch_instance="res_mbconv",
    )


def listed_convolution(name, shape, bias=True):
    return {f"{name}.weight": shape, f"{name}.log_weight_norm": (shape[0], 1, 1, 1)} | (
        {f"{name}.bias": shape[:1]} if bias else {}
    )


def listed_norm(name, n):
    return {f"{name}.{part}": (n,) for part in ("weight", "bias", "running_mean", "running_var")}


def listed_cell(name, n, ex, up):
    """Official tensors of an inverted residual cell of n channels."""
    m, h, k, op = (n // 2 if up else n), n * ex, int(up), f"{name}._ops.0.conv"
    listed = listed_norm(f"{op}.{k}.bn", n) | listed_norm(f"{op}.{k + 4}.bn", m)
    listed |= {f"{op}.{k + 1}.conv.0.weight": (h, n, 1, 1)} | listed_norm(f"{op}.{k + 1}.conv.1", h)
    listed |= {f"{op}.{k + 2}.conv.0.weight": (h, 1, 5, 5)} | listed_norm(f"{op}.{k + 2}.conv.1", h)
    listed |= {f"{op}.{k + 3}.weight": (m, h, 1, 1)}
    hidden = max(m // 16, 4)
    listed |= {f"{name}.se.se.0.weight": (hidden, m), f"{name}.se.se.0.bias": (hidden,)}
    listed |= {f"{name}.se.se.2.weight": (m, hidden), f"{name}.se.se.2.bias": (m,)}
    return listed | (listed_convolution(f"{name}.skip.1", (m, n, 1, 1), bias=False) if up else {})


def listed_decoder(
    scales, groups, channels, size, ada=False, least=1, blocks=1, cells=2, output=100, latents=20, per_group=2
):
    """{official name: shape} of a decoder of inverted residual cells: an own account of the official constructor."""
    per_scale = [groups]
    while len(per_scale) < scales:
        per_scale.append(max(per_scale[-1] // 2, least) if ada else groups)
    n, side = channels << scales - 1 + blocks, size >> scales - 1 + blocks
    listed, k, sampler = {"prior_ftr0": (n, side, side)}, 0, 0
    for s, number in enumerate(reversed(per_scale)):
        if s:
            listed |= listed_cell(f"dec_tower.{k}", n, 6, up=True)
            n, k = n // 2, k + 1
        for g in range(number):
            if s or g:
                for _ in range(per_group):
                    listed |= listed_cell(f"dec_tower.{k}", n, 6, up=False)
                    k += 1
                listed |= listed_convolution(f"dec_sampler.{sampler}.1", (2 * latents, n, 1, 1))
                sampler += 1
            listed |= listed_convolution(f"dec_tower.{k}.conv", (n, n + latents, 1, 1))
            k += 1
    for k in range(blocks * cells):
        listed |= listed_cell(f"post_process.{k}", n, 3, up=k % cells == 0)
        n = n if k % cells else n // 2
    return listed | listed_convolution("image_conditional.1", (output, n, 3, 3))


def test_the_listing_is_that_of_the_official_code():
    theirs = {
        name: tuple(shape)
        for name, shape in variants()["mixture"]["tensors"].items()
        if not name.startswith(ENCODER) and not name.endswith(("weight_normalized", "num_batches_tracked"))
    }
    ours = listed_decoder(2, 3, channels=4, size=32, ada=True, blocks=2, cells=2, output=30, latents=2)
    assert ours == theirs


@pytest.mark.parametrize("dataset", COMMANDS)
def test_published_configurations(dataset):
    sizes, z_dim = COMMANDS[dataset]
    narrow = sizes | dict(channels=1)
    tensors = {name: torch.ones(shape) for name, shape in listed_decoder(**narrow).items()}
    kwargs, state = convert_nvae(tensors, training_arguments(**narrow), dataset)
    with torch.device("meta"):
        net, real = NVAEGenerator(**kwargs), NVAEGenerator(**kwargs | dict(channels=sizes["channels"]))
    assert {name: t.shape for name, t in net.state_dict().items()} == {name: t.shape for name, t in state.items()}
    assert (net.z_dim, net.img_resolution, net.c_dim) == (z_dim, sizes["size"], 0)
    assert (kwargs["output"], net.img_channels) == (("bernoulli", 1) if dataset == "mnist" else ("logistic-mixture", 3))
    assert kwargs["components"] == (0 if dataset == "mnist" else 10)
    listed = listed_decoder(**sizes)
    numbers = sum(np.prod(shape) for name, shape in listed.items() if not name.endswith("log_weight_norm"))
    assert sum(tensor.numel() for tensor in real.state_dict().values()) == numbers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_makes_images(architecture):
    net = small(architecture=architecture, channels=8)
    z = latents(net)
    images = net(z, no_labels(z))
    assert images.shape == (2, 1, 32, 32) and images.isfinite().all() and not torch.equal(images[0], images[1])


def changed(tensors, **changes):
    """Tensors with some replaced, or removed where the new one is None. "__" in names stands for "."."""
    tensors = tensors | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(prior_ftr0=None), "^PATH: does not fit an NVAE: prior_ftr0 is missing$"),
        (dict(prior_ftr0=torch.zeros(16, 4)), r"prior_ftr0 is \[16, 4\], not of 3 dimensions$"),
        (dict(prior_ftr0=torch.zeros(16, 4, 4)), r"prior_ftr0 is \[16, 4, 4\] instead of \[32, 4, 4\]$"),
        (dict(image_conditional__1__weight=None), "image_conditional.1.weight is missing$"),
        (dict(image_conditional__1__weight=torch.zeros(7, 4, 3, 3)), "its last layer has 7 channels: 1, 6 or a mult"),
        (dict(image_conditional__1__log_weight_norm=None), "image_conditional.1.log_weight_norm is missing$"),
        (dict(dec_sampler__0__1__bias=None), "dec_sampler.0.1.bias is missing$"),
        (dict(dec_sampler__9__1__bias=torch.zeros(4)), "dec_sampler.9.1.bias is surplus$"),
        (dict(dec_tower__0__conv__bias=torch.full((32,), torch.nan)), "dec_tower.0.conv.bias holds NaN or infinity"),
        (dict(dec_tower__0__conv__bias=[0] * 32), "dec_tower.0.conv.bias is no tensor"),
        (dict(dec_tower__20__conv__bias=torch.zeros(4)), "make 11 cells of dec_tower, but it holds 12$"),
        (dict(post_process__4__conv__bias=torch.zeros(4)), "make 4 cells of post_process, but it holds 5$"),
        (dict(discriminator__weight=torch.zeros(4)), "discriminator.weight is surplus$"),
    ],
)
def test_misfit_tensors_are_refused(changes, message):
    args, tensors, _ = golden("mixture")
    with pytest.raises(NetworkFileError, match=message.replace("PATH", "file.pt")) as error:
        convert_nvae(changed(tensors, **changes), args, "file.pt")
    assert str(error.value).startswith("file.pt: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(num_latent_scales=None), "^file.pt: its training arguments lack num_latent_scales"),
        (dict(use_se=None), "its training arguments lack use_se"),
        (dict(arch_instance=None), "its training arguments lack arch_instance"),
        (dict(arch_instance="res_wnelu"), "its arch_instance is 'res_wnelu', not one of res_elu"),
        (dict(num_latent_per_group="2"), "num_latent_per_group is '2', not a usable int$"),
        (dict(num_latent_per_group=True), "num_latent_per_group is True, not a usable int$"),
        (dict(num_channels_dec=-1), "num_channels_dec is -1, not a usable int$"),
        (dict(num_channels_dec=1 << 20), "num_channels_dec is 1048576, not a usable int$"),
        (dict(use_se=1), "use_se is 1, not a usable bool$"),
        (dict(num_latent_scales=0), "0 scales and 2 blocks"),
        (dict(num_latent_scales=4000), "4000 scales and 2 blocks"),
        (dict(num_groups_per_scale=60_000), "cells of dec_tower, but it holds 11$"),
        (dict(ada_groups=False), "make 17 cells of dec_tower, but it holds 11$"),
        (dict(num_latent_per_group=3), r"dec_sampler.0.1.weight is \[4, 16, 1, 1\] instead of \[6, 16, 1, 1\]"),
        (dict(use_se=False), "se.se.0.weight is surplus"),
        (dict(arch_instance="mbconv_sep11"), r"\[192, 1, 5, 5\] instead of \[192, 1, 11, 11\]"),
        (dict(arch_instance="res_elu"), "_ops.0.conv_0.weight is missing"),
    ],
)
def test_misfit_arguments_are_refused(changes, message):
    args, tensors, _ = golden("mixture")
    args = {name: value for name, value in (args | changes).items() if value is not None}
    with pytest.raises(NetworkFileError, match=message) as error:
        convert_nvae(tensors, args, "file.pt")
    assert str(error.value).startswith("file.pt: ") and "\n" not in str(error.value)


def test_grouped_convolutions_need_enough_channels():
    args, tensors, _ = golden("mixture")
    args = args | dict(arch_instance="mbconv_den", num_channels_dec=1)
    with pytest.raises(NetworkFileError, match="its arguments do not build an NVAE: "):
        convert_nvae(tensors, args, "file.pt")


def test_the_papers_projection_of_nvae():
    """MaGNET keeps 128 output dimensions of NVAE and 256 of the others."""
    space_map = SpaceMap(small(), Space.parse("pixel"), "gaussian", torch.zeros(1, 0))
    assert Projected().kept(space_map) == 128 and Projected(projection=200).kept(space_map) == 200
    assert Projected().completed(space_map, 5).settings.record() == dict(projection=128)
    other = SpaceMap(small_stylegan2(), Space.parse("pixel"), "sphere", torch.zeros(1, 0))
    assert Projected().limit(other) == min(other.max_rank, 256) and Projected().block(other, 5).directions == 256
