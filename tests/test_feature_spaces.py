"""Spaces of feature detectors: the generator and the detector as one differentiable map."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.detector_files import write_torchscript

from cli.build_atlas import main as build_atlas
from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from dnnlib_compat.detectors import Detector, load_detector
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.inception_v3 import InceptionV3
from latent_plugins.atlas import Atlas
from latent_plugins.atlas.settings import make_settings
from latent_plugins.metrics.inputs import space_detector
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import METHODS, spectrum
from latent_plugins.volume.spectrum.shared import shared_basis


@pytest.fixture(scope="module")
def mnist():
    return load_network("mnist32")


@pytest.fixture(scope="module")
def classifier():
    return load_detector("mnist-classifier")


def latents(space_map, n, seed=0):
    random = torch.Generator().manual_seed(seed)
    return space_map.enter(torch.randn(n, space_map.generator.z_dim, generator=random))


@pytest.mark.parametrize("name", ["features", "w:features"])
def test_the_map_is_what_the_metrics_see_but_for_rounding(mnist, classifier, name):
    space_map = get_space(mnist, name, detector=classifier)
    x = latents(space_map, 4)
    w = x if name.startswith("w") else mnist.style(x, torch.zeros(4, 0))
    images = mnist.synthesis(mnist.broadcast(w), noise_mode="const")
    rounded = classifier((images * 127.5 + 128).clamp(0, 255).to(torch.uint8))
    ours = space_map(x)
    assert space_map.out_dim == ours.shape[1] == 64
    assert (ours - rounded).abs().max() < 0.1 * rounded.std()
    exact = spectrum(space_map, x, top_k=8)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: space_map(row[None])[0]))(x)
    torch.testing.assert_close(exact, torch.linalg.svdvals(jacobian)[:, :8], rtol=1e-3, atol=1e-4)


def test_a_chain_rule_closed_form():
    """A linear detector after any generator: its singular values are those of the product of the matrices.

    Images stay within [−1, 1], where clipping does nothing."""
    network = small_stylegan2()
    size = network.img_channels * network.img_resolution**2
    matrix = torch.randn(size, 5, generator=torch.Generator().manual_seed(0)) / 255
    detector = Detector(
        "linear", "0", network, {"features": lambda images: images.flatten(1) @ matrix}, channels=network.img_channels,
        layers=lambda images: iter([("features", images.flatten(1) @ matrix)]),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.synthesis.parameters():
            parameter.mul_(0.5)
    pixel, features = get_space(network, "pixel"), get_space(network, "features", detector=detector)
    x = latents(pixel, 3)
    assert pixel(x).abs().max() < 1
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: pixel(row[None])[0]))(x)
    expected = torch.linalg.svdvals(127.5 * (matrix.T @ jacobian))
    torch.testing.assert_close(spectrum(features, x, top_k=5), expected[:, :5], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_features(mnist, classifier, method):
    space_map = get_space(mnist, "features", detector=classifier)
    x = latents(space_map, 6)
    exact = spectrum(space_map, x, top_k=5)
    options = dict(projection=64) if method == "projected" else {}
    if method == "shared":
        options = dict(basis=shared_basis(space_map, latents(space_map, 20, seed=1), 24, max_memory=None))
    ours = spectrum(space_map, x, top_k=5, method=method, generator=torch.Generator().manual_seed(0), **options)
    bound = {"exact": 0, "projected": 1e-3, "subspace": 0.01, "shared": 0.3}[method]
    lost = (exact.double().log() - ours.double().log()).sum(dim=1)
    assert (lost > -1e-2).all() and (lost < 5 * bound + 1e-6).all()


@pytest.mark.bitwise
@pytest.mark.long
def test_layers_by_name(mnist, classifier):
    whole = get_space(mnist, "features", detector=classifier)
    x = latents(whole, 2)
    same = get_space(mnist, "features", detector=classifier, layer="hidden")
    assert torch.equal(whole(x), same(x))
    early = get_space(mnist, "features", detector=classifier, layer="conv0")
    assert early.out_dim == 16 * 16 * 16 and early(x).shape == (2, 4096)
    torch.manual_seed(0)
    inception = InceptionV3().eval().requires_grad_(False)
    detector = Detector("inception", "0", inception, {"features": inception.features}, layers=inception.layers)
    rgb = small_stylegan2(img_channels=3)
    space_map = get_space(rgb, "inception", detector=detector, layer="Conv2d_1a_3x3")
    assert space_map.out_dim == 32 * 149 * 149
    assert get_space(rgb, "inception", detector=detector).out_dim == 2048
    grey = get_space(mnist, "inception", detector=detector)  # grayscale is repeated
    assert torch.isfinite(spectrum(grey, latents(grey, 1)[:1], top_k=2, method="subspace", iterations=0)).all()


def test_refusals(tmp_path, mnist, classifier):
    with pytest.raises(ValueError, match="the space z:features needs a feature detector"):
        get_space(mnist, "features")
    with pytest.raises(ValueError, match="have no effect in the space z:pixel; leave them out"):
        get_space(mnist, "pixel", detector=classifier)
    with pytest.raises(ValueError, match="has no layer 'conv9'; its layers: input, conv0, conv1, conv2, hidden, out"):
        get_space(mnist, "features", detector=classifier, layer="conv9")
    with pytest.raises(ValueError, match="takes images of 32x32 pixels, not 16x16"):
        get_space(small_stylegan2(img_channels=1), "features", detector=classifier)
    script = load_detector(write_torchscript(tmp_path / "small.pt"), allow_code=True)
    with pytest.raises(ValueError, match="small.pt cannot be differentiated; take the .pkl of the StyleGAN3 release"):
        get_space(small_stylegan2(), "features", detector=script)
    with pytest.raises(ValueError, match="the space z:features needs --detector=FILE or a name"):
        make_settings(mnist, space="features")


def test_an_atlas_remembers_its_detector(tmp_path, mnist):
    atlas = Atlas.build(mnist, tmp_path / "a", space="features", detector="mnist-classifier", candidates=8, top_k=6)
    header = json.loads((tmp_path / "a" / "atlas.json").read_text())
    assert header["detector"] == "mnist-classifier" and len(header["features"]) == 16
    assert np.isfinite(atlas.log_volume()).all() and math.isclose(atlas.settings.top_k, 6)
    with pytest.raises(ValueError, match="holds an atlas with another layer"):
        Atlas.build(
            mnist, tmp_path / "a", space="features", detector="mnist-classifier", layer="conv2", candidates=8, top_k=6
        )


def test_the_commands(tmp_path):
    def run(command, *options):
        return CliRunner().invoke(command, [*map(str, options)])

    options = ["--device=cpu", "--space=features", "--candidates=30", "--top-k=5"]
    result = run(build_atlas, *options, f"--outdir={tmp_path / 'a'}", "--detector=mnist-classifier")
    assert result.exit_code == 0, result.output
    images = ["--sampler=polarity", "--rho=0.1", f"--outdir={tmp_path / 'out'}", "--seeds=0-1"]
    result = run(gen_images, *images, f"--atlas={tmp_path / 'a'}")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "samples.jsonl").read_text().splitlines()[0])["space"] == "z:features"
    result = run(gen_images, *images, *options)
    assert result.exit_code == 1 and "needs --detector=FILE or a name" in result.output
    result = run(gen_images, *images, f"--atlas={tmp_path / 'a'}", "--detector=mnist-classifier")
    assert result.exit_code == 1 and "--detector has no effect with --atlas" in result.output
    metrics = ["--metrics=fid70_full", "--sampler=polarity", "--rho=0.1", *options]
    result = run(calc_metrics, *metrics, "--detector=space=mnist-classifier")
    assert result.exit_code == 0, result.output
    assert '"space": "z:features"' in result.output


def test_one_detector_for_the_space_and_others_for_the_metrics():
    assert space_detector("features", ["a.pth"]) == "a.pth"
    assert space_detector("vgg", ["inception=a.pth"]) is None
    assert space_detector("z:features", ["a.pth", "space=b.pth"]) == "b.pth"
    assert space_detector("pixel", ["a.pth"]) is None and space_detector(None, ["a.pth"]) is None
