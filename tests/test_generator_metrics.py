"""Path length, equivariance and image transforms against goldens of the official code and against theory."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import golden_network, load_golden

from dnnlib_compat.networks.interface import Generator
from latent_plugins.metrics import image_transforms
from latent_plugins.metrics.equivariance import KINDS, draw_parameters, equivariance_errors, psnr
from latent_plugins.metrics.path_length import PATH_METRICS, fresh_noise, path_distances, slerp, trimmed_mean


def numbers(seed, *shape):
    """Fixed normal numbers: float64."""
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape))


def stand_in_lpips(images):
    """A small smooth random network in the place of VGG16: images [N, 3, H, W] in [0, 255] → [N, D]."""
    x = images / 127.5 - 1
    x = torch.tanh(F.conv2d(x, numbers(1, 6, 3, 5, 5).to(x.dtype) / 30, stride=2))
    x = F.conv2d(x, numbers(2, 8, 6, 3, 3).to(x.dtype) / 7, stride=2).flatten(1)
    return x / math.sqrt(x.shape[1])


class SmoothSynthesis(torch.nn.Module):
    def __init__(self, resolution):
        super().__init__()
        self.register_buffer("noise_const", numbers(3, 8, 8))
        self.weight, self.sides = numbers(4, 5, 4), numbers(5, 2, 4, resolution)

    def forward(self, ws, noise_mode="const", force_fp32=True):
        strength = torch.sin(ws.mean(dim=1) @ self.weight.to(ws.dtype))
        up, side = self.sides.to(ws.dtype)
        images = torch.einsum("nk,kh,kw->nhw", strength, up, side)
        noise = self.noise_const.repeat_interleave(len(up[0]) // 8, 0).repeat_interleave(len(up[0]) // 8, 1)
        return (images + strength[:, :1, None] * noise).unsqueeze(1) / 4


class SmoothGenerator(torch.nn.Module):
    """A generator of float64 images of one channel, with labels and noise, that computes in its inputs' precision."""

    z_dim, c_dim, img_channels = 6, 3, 1

    def __init__(self, resolution=512):
        super().__init__()
        self.img_resolution = resolution
        self.synthesis = SmoothSynthesis(resolution)
        self.input_transform = None

    def mapping(self, z, c):
        z = z / z.square().mean(dim=1, keepdim=True).sqrt()
        w = torch.tanh(torch.cat([z, c], dim=1) @ numbers(6, 9, 5).to(z.dtype) / 2)
        return torch.stack([w, 1.5 * w], dim=1)


class WaveSynthesis(torch.nn.Module):
    def __init__(self, resolution, equivariant):
        super().__init__()
        self.resolution, self.equivariant = resolution, equivariant
        self.input = torch.nn.Module()
        self.input.register_buffer("transform", torch.eye(3))

    def forward(self, ws, noise_mode="const"):
        transform = self.input.transform if self.equivariant else torch.eye(3)
        points = pixel_centres(self.resolution) @ transform.double().T
        return waves(points[..., :2], ws[:, 0]).unsqueeze(1).to(torch.float32)


class WaveGenerator(Generator):
    """Images that are sums of slow waves at the transformed pixel centres: equivariant by construction, or not at all.

    The latent is the waves' amplitudes.
    """

    family, normalizes_z = "waves", False

    def __init__(self, equivariant=True, resolution=48):
        sizes = dict(z_dim=5, c_dim=0, w_dim=5, img_resolution=resolution, img_channels=1)
        super().__init__(**sizes, init_kwargs={})
        self.synthesis = WaveSynthesis(resolution, equivariant)

    def mapping(self, z, c):
        return z.unsqueeze(1)


def pixel_centres(size):
    """(x, y, 1) of every pixel in units of the width, from the image's centre: float64 [size, size, 3]."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def waves(points, amplitudes):
    """Waves of up to five periods along the width, at points [H, W, 2]: float64 [N, H, W] within ±1."""
    frequencies = F.normalize(numbers(10, 5, 2)) * torch.linspace(0.5, 5, 5, dtype=torch.float64)[:, None]
    phase = numbers(11, 5)
    angle = 2 * math.pi * points @ frequencies.T + phase
    amplitudes = amplitudes.double() / amplitudes.double().abs().sum(dim=1, keepdim=True)
    return torch.einsum("nk,hwk->nhw", amplitudes, angle.sin())


def official_path(arrays, tag, metric):
    """Keyword arguments of `path_distances` for one setting of the golden `tag`."""
    settings = PATH_METRICS[metric]
    z0, z1, t = (torch.from_numpy(arrays[f"{tag}/{name}"]) for name in ("z0", "z1", "t"))
    t = t if settings["sampling"] == "full" else torch.zeros_like(t)
    return dict(z0=z0, z1=z1, t=t, space=settings["space"], crop=settings["crop"])


def set_noise(generator, arrays, tag):
    for name, buffer in generator.named_buffers():
        if name.endswith(".noise_const"):
            buffer.copy_(torch.from_numpy(arrays[f"{tag}/noise/{name}"]))


def stylegan2_path(metric, suffix="", **kwargs):
    """(our distances on the golden StyleGAN2, the official ones)."""
    arrays, _ = load_golden("path-length")
    generator, _ = golden_network("stylegan2-ada-skip")
    set_noise(generator, arrays, "stylegan2")
    kwargs |= official_path(arrays, "stylegan2", metric)
    ours = path_distances(generator, stand_in_lpips, c=torch.zeros(8, 0), **kwargs)
    assert ours.dtype == torch.float32
    return ours.numpy(), arrays[f"stylegan2/{metric}{suffix}"]


def test_the_official_names():
    assert list(PATH_METRICS) == ["ppl2_wend", "ppl_zfull", "ppl_wfull", "ppl_zend", "ppl_wend"]
    assert [name for name, settings in PATH_METRICS.items() if not settings["crop"]] == ["ppl2_wend"]


@pytest.mark.parametrize("metric", PATH_METRICS)
def test_path_distances_equal_the_official_ones_in_float64(metric):
    arrays, _ = load_golden("path-length")
    generator = SmoothGenerator()
    set_noise(generator, arrays, "smooth")
    c = torch.eye(3, dtype=torch.float64)[[0, 2, 1]]
    ours = path_distances(generator, stand_in_lpips, c=c, **official_path(arrays, "smooth", metric))
    np.testing.assert_allclose(ours.numpy(), arrays[f"smooth/{metric}"], rtol=1e-6)


@pytest.mark.parametrize("metric", PATH_METRICS)
def test_path_distances_of_stylegan2_equal_the_official_ones(metric):
    # Rounding noise grows with 1 / epsilon; at the official epsilon either code is up to 2 % off the float64 result.
    ours, official = stylegan2_path(metric, "-coarse", epsilon=1e-2)
    np.testing.assert_allclose(ours, official, rtol=1e-3)
    ours, official = stylegan2_path(metric)
    np.testing.assert_allclose(ours, official, rtol=6e-2)
    assert ours.mean() == pytest.approx(official.mean(), rel=1e-2)


def test_trimmed_means_equal_the_official_ones():
    arrays, _ = load_golden("path-length")
    for n in (250, 1234):
        distances = arrays[f"trimmed/{n}/distances"]
        assert trimmed_mean(torch.from_numpy(distances)) == pytest.approx(arrays[f"trimmed/{n}/mean"], rel=1e-6)
        assert distances.mean() > 1.01 * arrays[f"trimmed/{n}/mean"]
    assert trimmed_mean([3.0]) == 3
    with pytest.raises(ValueError, match="no distances"):
        trimmed_mean([])


def test_trimming_takes_a_percent_off_each_end():
    distances = np.random.RandomState(0).permutation(1001) ** 2
    assert trimmed_mean(distances) == pytest.approx((np.arange(10, 991) ** 2).mean())


def test_slerp_walks_the_great_circle():
    a, b = numbers(20, 4, 7), numbers(21, 4, 7)
    unit_a, unit_b = F.normalize(a), F.normalize(b)
    t = torch.tensor([[0.0], [1.0], [0.3], [0.5]], dtype=torch.float64)
    point = slerp(a, b, t)
    between = torch.acos((unit_a * unit_b).sum(dim=1))
    torch.testing.assert_close(point.norm(dim=1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(torch.acos((unit_a * point).sum(dim=1).clamp(-1, 1)), t[:, 0] * between)
    torch.testing.assert_close(point[:2], torch.stack([unit_a[0], unit_b[1]]))
    torch.testing.assert_close(point[3], F.normalize((unit_a + unit_b)[3], dim=0))


class LinearGenerator(torch.nn.Module):
    """Images that depend linearly and isometrically on z: path lengths have closed forms."""

    z_dim, c_dim, img_channels, img_resolution = 6, 0, 3, 8

    def __init__(self, channels=3):
        super().__init__()
        self.img_channels = channels
        self.basis = torch.linalg.qr(numbers(30, channels * 64, 6)).Q

    def mapping(self, z, c):
        return z.unsqueeze(1)

    def synthesis(self, ws, noise_mode):
        return (ws[:, 0] @ self.basis.T).unflatten(1, (self.img_channels, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_path_length_of_a_linear_generator(channels):
    generator = LinearGenerator(channels)
    z0, z1, t, c = numbers(31, 5, 6), numbers(32, 5, 6), torch.linspace(0, 1, 5).double(), torch.zeros(5, 0)
    kwargs = dict(z0=z0, z1=z1, t=t, c=c, crop=False)
    scale = 127.5**2 * (3 if channels == 1 else 1)
    straight = path_distances(generator, lambda images: images.flatten(1), space="w", **kwargs)
    expected = scale * (z1 - z0).square().sum(dim=1)
    torch.testing.assert_close(straight.double(), expected, rtol=1e-6, atol=0)
    # In Z the image moves on the unit sphere, by a chord of epsilon times the angle.
    round_ = path_distances(generator, lambda images: images.flatten(1), space="z", epsilon=0.1, **kwargs)
    angle = torch.acos(F.cosine_similarity(z0, z1))
    torch.testing.assert_close(round_.double(), scale * (20 * (angle / 20).sin()).square(), rtol=1e-6, atol=0)


@pytest.mark.bitwise
def test_the_crop_is_where_ffhq_has_its_faces():
    generator, seen = LinearGenerator(), []

    def lpips(images):
        seen.append(images)
        return images.flatten(1)

    kwargs = dict(z0=numbers(33, 1, 6), z1=numbers(34, 1, 6), t=torch.zeros(1), c=torch.zeros(1, 0), space="w")
    for crop in (False, True):
        path_distances(generator, lpips, crop=crop, **kwargs)
    assert torch.equal(seen[1], seen[0][:, :, 3:7, 2:6])


def test_unknown_spaces_are_refused():
    with pytest.raises(ValueError, match="w or z"):
        path_distances(None, None, None, None, None, None, space="v", crop=False)


def test_fresh_noise_is_reproducible_and_leaves_no_trace():
    generator, _ = golden_network("stylegan2-ada-skip")
    before = copy.deepcopy(generator.state_dict())
    state = torch.random.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with fresh_noise(generator, seed), pytest.raises(KeyError), fresh_noise(generator, seed + 10):
            drawn.append(generator.synthesis.b32.conv1.noise_const.clone())
            raise KeyError
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert abs(drawn[0].mean()) < 0.15 and abs(drawn[0].std() - 1) < 0.1
    assert torch.equal(torch.random.get_rng_state(), state)
    with fresh_noise(generator, None):
        assert torch.equal(generator.synthesis.b32.conv1.noise_const, before["synthesis.b32.conv1.noise_const"])
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.bitwise
def test_noise_seeds_change_path_distances():
    first, second, third = (stylegan2_path("ppl2_wend", noise_seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, second) and not np.allclose(first, third, rtol=0.1)
    assert not np.allclose(first, stylegan2_path("ppl2_wend")[0], rtol=0.1)


def test_buffers_are_restored_after_an_error():
    generator, _ = golden_network("stylegan2-ada-skip")
    before = copy.deepcopy(generator.state_dict())

    def broken(images):
        raise RuntimeError("out of memory")

    z, t, c = torch.ones(1, 32), torch.zeros(1), torch.zeros(1, 0)
    with pytest.raises(RuntimeError, match="out of memory"):
        path_distances(generator, broken, z, -z, t, c, space="w", crop=False, noise_seed=3)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


TRANSFORMS = {
    "integer": (image_transforms.integer_translation, 0),
    "translation": (image_transforms.fractional_translation, 5e-6),
    "rotation": (image_transforms.fractional_rotation, 5e-5),
    "pseudo": (image_transforms.pseudo_rotation, 5e-6),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [24, 32])
def test_image_transforms_equal_the_official_ones(name, size):
    transform, tolerance = TRANSFORMS[name]
    arrays, _ = load_golden("equivariance")
    image = torch.from_numpy(np.random.RandomState(size).randn(1, 2, size, size).astype(np.float32))
    goldens = (arrays[f"{name}/{size}/{key}"] for key in ("parameters", "images", "masks"))
    for parameters, official, official_mask in zip(*goldens):
        ours, mask = transform(image, *np.atleast_1d(parameters).tolist())
        assert ours.dtype == mask.dtype == torch.float32 and ours.shape == mask.shape == image.shape
        np.testing.assert_allclose(ours[0].numpy(), official, atol=tolerance, rtol=0)
        assert np.array_equal(mask[0].numpy(), np.broadcast_to(official_mask, mask[0].shape))


@pytest.mark.parametrize("dx, dy", [(0, 0), (3, -5), (-7, 0), (11, 2), (14, -1)])
def test_integer_translation_is_a_roll_inside_its_mask(dx, dy):
    image = numbers(40, 2, 3, 10, 12)
    shifted, mask = image_transforms.integer_translation(image, dx / 12, dy / 10)
    inside = mask.numpy() == 1
    assert inside.sum() == 6 * max(12 - abs(dx), 0) * max(10 - abs(dy), 0)
    assert np.array_equal(shifted.numpy()[inside], np.roll(image.numpy(), (dy, dx), axis=(2, 3))[inside])
    assert not shifted.numpy()[~inside].any()


def test_fractional_translation_by_pixels_is_integer_translation():
    image = numbers(41, 1, 2, 16, 16)
    ours, mask = image_transforms.fractional_translation(image, 3 / 16, -2 / 16)
    expected, wider = image_transforms.integer_translation(image, 3 / 16, -2 / 16)
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)
    assert 0 < mask.sum() < wider.sum() and (mask <= wider).all()


# Largest error against the function itself, of waves within ±1 whose periods are ten pixels and longer.
ANALYTIC = {"translation": 5e-3, "rotation": 2e-3, "pseudo": 2e-4}


@pytest.mark.parametrize("parameter", [0.0, 0.05, -0.11, 0.6, 2.9, -math.pi])
@pytest.mark.parametrize("name", ANALYTIC)
def test_slow_waves_move_as_the_function_does(name, parameter):
    points, amplitudes = pixel_centres(48), torch.ones(1, 5)
    image = waves(points[..., :2], amplitudes).unsqueeze(1)
    transform, _ = TRANSFORMS[name]
    if name == "translation":
        parameter = parameter / 8
        moved, mask = transform(image, parameter, -parameter)
        source = points[..., :2] - torch.tensor([parameter, -parameter], dtype=torch.float64)
    else:
        moved, mask = transform(image, parameter)
        turn = image_transforms.rotation_matrix(parameter)
        source = points[..., :2] @ turn if name == "rotation" else points[..., :2]
    assert mask.sum() > 400
    error = (moved - waves(source, amplitudes)) * mask
    assert error.abs().max() <= ANALYTIC[name]
    if name == "rotation" and abs(parameter) > 1:
        assert ((moved - image) * mask).abs().max() > 0.1


def test_positive_angles_turn_counterclockwise():
    image = torch.zeros(1, 1, 32, 32)
    image[:, :, 15:17, 20:22] = 1  # right of the centre
    turned, _ = image_transforms.fractional_rotation(image, math.pi / 2)
    assert divmod(turned[0, 0].argmax().item(), 32) in [(y, x) for y in (10, 11) for x in (15, 16)]  # above it


@pytest.mark.parametrize("name", TRANSFORMS)
def test_constant_images_stay_constant_inside_the_mask(name):
    image = torch.full((1, 1, 40, 40), 0.7, dtype=torch.float64)
    parameters = (0.07, -0.113) if name in ("integer", "translation") else (0.4,)
    moved, mask = TRANSFORMS[name][0](image, *parameters)
    assert mask.sum() > 500
    torch.testing.assert_close(moved[mask == 1], image[mask == 1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["rotation", "pseudo"])
def test_no_rotation_is_nearly_the_identity_on_noise(name):
    image = numbers(42, 1, 1, 40, 40)
    same, mask = TRANSFORMS[name][0](image, 0.0)
    assert mask.sum() > 500
    assert ((same - image) * mask).abs().max() <= 0.02 * image.std()  # the filter is cut off, so not exactly


@pytest.mark.parametrize("network", ["stylegan3-t", "stylegan3-r"])
def test_equivariance_equals_the_official_one(network):
    arrays, _ = load_golden("equivariance")
    generator, inputs = golden_network(network)
    c = torch.from_numpy(inputs["c"])
    totals = np.zeros((3, 2))
    for z, u, official in zip(*(arrays[f"{network}/{name}"] for name in ("z", "u", "sums"))):
        for i, (kind, drawn) in enumerate(zip(KINDS, (u[:2], u[2:4], u[4]))):
            parameters = draw_parameters(kind, drawn, generator.img_resolution)
            sums = equivariance_errors(generator, torch.from_numpy(z), c, kind=kind, parameters=parameters)
            assert sums[0] == pytest.approx(official[2 * i], rel=1e-4)
            assert sums[1] == official[2 * i + 1]
            totals[i] += sums
    ours = [psnr(*sums) for sums in totals]
    np.testing.assert_allclose(ours, arrays[f"{network}/psnr"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_equivariant_generator_scores_high_and_another_low(kind):
    scores = {}
    for equivariant in (True, False):
        generator = WaveGenerator(equivariant)
        sums = np.zeros(2)
        for seed in range(3):
            u = np.random.RandomState(seed).rand(2)
            parameters = draw_parameters(kind, u, generator.img_resolution)
            z = numbers(50 + seed, 2, 5).float()
            sums += equivariance_errors(generator, z, torch.zeros(2, 0), kind=kind, parameters=parameters)
        scores[equivariant] = psnr(*sums)
    assert scores[True] > {"eqt_int": 100, "eqt_frac": 50, "eqr": 50}[kind]
    assert scores[False] < 25


@pytest.mark.bitwise
@pytest.mark.parametrize("kind", KINDS)
def test_the_input_transform_is_the_identity_for_the_image_and_restored(kind, monkeypatch):
    generator = WaveGenerator()
    own = torch.tensor([[0.0, 1, 0.3], [-1, 0, 0.2], [0, 0, 1]])
    generator.input_transform.copy_(own)
    z, c = numbers(60, 2, 5).float(), torch.zeros(2, 0)
    parameters = draw_parameters(kind, [0.9, 0.3], 48)
    first = equivariance_errors(generator, z, c, kind=kind, parameters=parameters)
    assert torch.equal(generator.input_transform, own)
    generator.input_transform.copy_(torch.eye(3))
    assert equivariance_errors(generator, z, c, kind=kind, parameters=parameters) == first

    def broken(*args):
        raise RuntimeError("out of memory")

    generator.input_transform.copy_(own)
    for name in ("integer_translation", "fractional_translation", "fractional_rotation"):
        monkeypatch.setattr(image_transforms, name, broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        equivariance_errors(generator, z, c, kind=kind, parameters=parameters)
    assert torch.equal(generator.input_transform, own)


def test_generators_without_transforms_and_unknown_kinds_are_refused():
    z, c = torch.zeros(1, 6), torch.zeros(1, 3)
    with pytest.raises(ValueError, match="takes no image transforms; the metric is for StyleGAN3"):
        equivariance_errors(SmoothGenerator(64), z, c, kind="eqr", parameters=0.1)
    with pytest.raises(ValueError, match="eqt_int, eqt_frac, eqr"):
        draw_parameters("eqs", [0.5], 8)
    with pytest.raises(ValueError, match="eqt_int, eqt_frac, eqr"):
        equivariance_errors(WaveGenerator(), z, c, kind="eqs", parameters=0.1)


def test_drawn_parameters():
    assert draw_parameters("eqt_frac", [0.5, 0.75], 64) == (0, 0.0625)
    assert draw_parameters("eqt_int", [1e-9, 0.6], 64) == (-0.125, 2 / 64)
    assert draw_parameters("eqr", 0.75, 64) == draw_parameters("eqr", [0.75, 0.1], 64) == math.pi / 2
    u = np.random.RandomState(0).rand(200, 2)
    shifts = np.array([draw_parameters("eqt_int", row, 100) for row in u])
    np.testing.assert_allclose(shifts * 100, np.round(shifts * 100), atol=1e-12)
    assert np.abs(shifts).max() == 0.12 and len(np.unique(shifts.round(9))) == 25


def test_psnr():
    assert psnr(4.0, 1.0) == 0
    assert psnr(4e-3, 10.0) == pytest.approx(40)
    assert psnr(0.0, 10.0) == math.inf
    with pytest.raises(ValueError, match="too small"):
        psnr(0.0, 0.0)
