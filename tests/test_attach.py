"""A generator with a sampler attached is a drop-in: same interface, same z same image, the sampler's law."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from helpers.splines import SLOPES, SplineGenerator, volume

from dnnlib_compat.detectors import load_detector
from latent_plugins.atlas import Atlas
from latent_plugins.attaching import SIZES, attach
from latent_plugins.metrics.evaluate import evaluate
from latent_plugins.metrics.names import parse_metrics
from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.metrics.real import RealImages
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.base import Sampler
from latent_plugins.samplers.keys import latent_keys
from latent_plugins.samplers.mixture import MixtureSampler
from latent_plugins.samplers.simplicial import SimplicialSampler
from latent_plugins.samplers.truncated import TruncatedNormalSampler

LEVEL = 1e-3  # of every statistical test here


class ForeignMapping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(8, 6)
        self.register_buffer("w_avg", torch.zeros(6))
        self.num_ws = 3

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False):
        if update_emas:
            self.w_avg += 1
        w = self.fc(z.to(torch.float32)) * truncation_psi
        return w.unsqueeze(1).repeat(1, self.num_ws, 1)


class ForeignSynthesis(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.num_ws = 3
        self.fc = torch.nn.Linear(6, 16)
        self.register_buffer("noise_const", torch.zeros(16))

    def forward(self, ws, update_emas=False, noise_mode="random", force_fp32=False):
        return (self.fc(ws.mean(dim=1)) + self.noise_const).reshape(-1, 1, 4, 4)


class Foreign(torch.nn.Module):
    """What another checkout's loader returns: the official interface, no class of this package."""

    def __init__(self):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.img_resolution, self.img_channels = 8, 0, 6, 3, 4, 1
        self.mapping, self.synthesis = ForeignMapping(), ForeignSynthesis()

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        ws = self.mapping(
            z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, update_emas=update_emas
        )
        return self.synthesis(ws, update_emas=update_emas, **synthesis_kwargs)


@pytest.fixture
def samplers(tiny, tmp_path):
    atlas = Atlas.build(tiny, tmp_path / "a", candidates=300)
    return {
        "prior": create_sampler("prior", tiny),
        "polarity": create_sampler("polarity", tiny, atlas=atlas, rho=0.5),
        "simplicial": SimplicialSampler(tiny, corners=5, tau=1.5),
        "truncated-normal": TruncatedNormalSampler(tiny, threshold=0.5),
    }


NAMES = ["prior", "polarity", "simplicial", "truncated-normal"]


def latents(n, d=8, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.bitwise
@pytest.mark.parametrize("name", NAMES)
def test_the_same_z_gives_the_same_image_in_every_batch(tiny, samplers, name):
    G = attach(tiny, samplers[name])
    z, c = latents(12), torch.zeros(12, 0)
    images = G(z, c)
    assert images.shape == (12, 1, 16, 16) and torch.equal(G(z, c), images)
    assert torch.equal(G.source(z[[3]], c[[3]]).z[0], G.source(z, c).z[3])
    torch.testing.assert_close(G.mapping(z[[3]], c[[3]])[0], G.mapping(z, c)[3])
    torch.testing.assert_close(G(z[[7, 2]], c[:2]), images[[7, 2]])
    torch.testing.assert_close(G.synthesis(G.mapping(z, c)), images)
    assert not torch.allclose(images, tiny(z, c))
    drawn = samplers[name].independent().draw(latent_keys(z)).z
    assert len(torch.unique(drawn, dim=0)) >= (10 if name == "polarity" else 12)  # of 300 candidates, some may be twice
    torch.testing.assert_close(images, tiny(drawn, c))


@pytest.mark.bitwise
@pytest.mark.parametrize("name", NAMES)
def test_copies_and_moves_are_survived(tiny, samplers, name):
    G = attach(tiny, samplers[name])
    z, c = latents(4), torch.zeros(4, 0)
    expected = G(z, c)
    with torch.no_grad():
        twin = copy.deepcopy(G).eval().requires_grad_(False).to("cpu")
        assert torch.equal(twin(z=z, c=c), expected) and torch.equal(twin.mapping(z=z, c=c), G.mapping(z, c))
    again = pickle.loads(pickle.dumps(G))
    assert torch.equal(again(z, c), expected)
    twin.generator.mapping.fc0.weight.zero_()  # a copy has weights of its own, one set of them
    assert not torch.allclose(twin.mapping(z, c), G.mapping(z, c)) and torch.equal(G(z, c), expected)
    torch.testing.assert_close(twin(z, c), twin.synthesis(twin.mapping(z, c)))
    assert not any(p.requires_grad for p in G.parameters())
    assert len(list(G.parameters())) == len(list(tiny.parameters()))
    double = copy.deepcopy(G).double()
    assert next(double.mapping.parameters()).dtype == torch.float64


def official_metric_loop(opts_G, n, batch, **G_kwargs):
    """How official metric code uses a network."""
    G = copy.deepcopy(opts_G).eval().requires_grad_(False).to(torch.device("cpu"))
    torch.manual_seed(0)
    images = []
    while sum(map(len, images)) < n:
        z = torch.randn([batch, G.z_dim])
        c = torch.zeros([batch, G.c_dim])
        img = G(z=z, c=c, **G_kwargs)
        images.append((img * 127.5 + 128).clamp(0, 255).to(torch.uint8))
    return torch.cat(images)


@pytest.mark.bitwise
@pytest.mark.parametrize("foreign", [False, True])
def test_official_loops_run(tiny, samplers, foreign):
    network = Foreign().requires_grad_(False) if foreign else tiny
    G = attach(network, samplers["simplicial"])
    images = official_metric_loop(G, 8, 4, noise_mode="const", force_fp32=True)
    size = network.img_resolution
    assert images.shape == (8, 1, size, size) and len(torch.unique(images, dim=0)) == 8
    assert {name: getattr(G, name) for name in SIZES} == {name: getattr(network, name) for name in SIZES}
    # Path lengths: styles from both ends, noise buffers set by name, synthesis called on its own.
    z, c = latents(4), torch.zeros(4, 0)
    w0, w1 = G.mapping(z=z, c=c).chunk(2)
    for buffer_name, buffer in G.named_buffers():
        if buffer_name.endswith("noise_const"):
            buffer.copy_(torch.randn_like(buffer))
    assert G.synthesis(ws=w0.lerp(w1, 0.3), noise_mode="const", force_fp32=True).shape[0] == 2
    # Projectors ask the mapping for what it knows, image generators pass float64.
    assert torch.equal(G.mapping.w_avg, network.mapping.w_avg)
    assert torch.equal(G(z.double(), c, noise_mode="const"), G(z, c, noise_mode="const"))
    half = G(z, c, truncation_psi=0.5, truncation_cutoff=None, noise_mode="const")
    torch.testing.assert_close(half, G.synthesis(G.mapping(z, c, truncation_psi=0.5), noise_mode="const"))
    assert not torch.allclose(half, G(z, c, noise_mode="const"))


def test_update_emas_reaches_the_networks_that_know_it(samplers):
    network = Foreign().requires_grad_(False)
    G = attach(network, samplers["prior"])
    z, c = latents(2), torch.zeros(2, 0)
    G(z, c, update_emas=False)
    assert not network.mapping.w_avg.any()
    G(z, c, update_emas=True)
    G.mapping(z, c, update_emas=True)
    assert (network.mapping.w_avg == 2).all()
    signature = inspect.signature(G.forward)
    assert list(signature.parameters)[:5] == ["z", "c", "truncation_psi", "truncation_cutoff", "update_emas"]


def test_draws_follow_the_sampler(tmp_path):
    """Gaussian z in, regions of the spline by volume^ρ out: the weights of the atlas, with replacement."""
    spline = SplineGenerator()
    atlas = Atlas.build(spline, tmp_path / "a", space="style", candidates=20_000)
    n = 2000
    G = attach(spline, create_sampler("magnet", spline, atlas=atlas))
    w = G.mapping(latents(n, 2), torch.zeros(n, 0))[:, 0]
    # The bend is increasing, so that its value tells the strip.
    strips = [torch.bucketize(spline.plane(w), torch.tensor([-0.75, 0.375])), torch.arange(3)]
    found = SLOPES[strips[0]].prod(dim=1).numpy()
    base = volume(atlas.latents(np.arange(20_000))).double().numpy()
    values = np.unique(base.round(4))
    share = np.array([base[np.isclose(base, v, rtol=1e-3)].sum() for v in values])
    counts = [np.isclose(found, v, rtol=1e-3).sum() for v in values]
    assert sum(counts) == n
    assert scipy.stats.chisquare(counts, n * share / share.sum()).pvalue > LEVEL
    plain = [np.isclose(volume(latents(n, 2)).numpy(), v, rtol=1e-3).sum() for v in values]
    assert scipy.stats.chisquare(plain, n * share / share.sum()).pvalue < 1e-12  # the test can tell


def test_attached_priors_have_the_prior_s_law(tiny, samplers):
    z = attach(tiny, samplers["prior"]).source(latents(500), None).z.numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > LEVEL
    assert np.abs(np.corrcoef(z.T, latents(500).numpy().T) - np.eye(16)).max() < 4.5 / np.sqrt(500)


def test_classes_get_their_own_candidates(tiny_conditional, tmp_path):
    atlas = Atlas.build(tiny_conditional, tmp_path / "a", candidates=200)
    G = attach(tiny_conditional, create_sampler("polarity", tiny_conditional, atlas=atlas, rho=1.0))
    z, c = latents(6), torch.eye(3)[[0, 1, 2, 2, 1, 0]]
    drawn = G.source(z, c).z
    for row, label in enumerate([0, 1, 2, 2, 1, 0]):
        assert (atlas.latents(np.arange(200), label) == drawn[row]).all(dim=1).any()
    torch.testing.assert_close(G(z, c), tiny_conditional(drawn, c))
    torch.testing.assert_close(G(z[[3]], c[[3]]), G(z, c)[[3]])
    with pytest.raises(ValueError, match="labels of shape"):
        G(z, c[:2])


def test_a_sampler_is_made_independent_as_a_copy(tiny, samplers, tmp_path):
    polarity = create_sampler("polarity", tiny, atlas=samplers["polarity"].atlas, rho=0.5, without_replacement=True)
    mixture = MixtureSampler(polarity, samplers["prior"], 0.5)
    twin = mixture.independent()
    assert twin.capacity is None and polarity.capacity == mixture.capacity == 300 and mixture.sampler is polarity
    assert len(twin.draw(latent_keys(latents(500))).z) == 500  # more than there are candidates, from any seeds
    with pytest.raises(ValueError, match="beyond the 300 usable candidates"):
        polarity.draw(latent_keys(latents(5)))


def test_keys_are_functions_of_the_bytes_alone():
    z = latents(2000)
    keys = latent_keys(z)
    assert len(set(keys)) == 2000 and all(0 <= key < 2**32 for key in keys)
    assert latent_keys(z.double()) == keys and latent_keys(z[5:6]) == keys[5:6]
    assert latent_keys(z.T.contiguous().T) == keys  # strides do not count
    assert latent_keys(torch.tensor([[1.0, 2.0]])) == [1540664220]  # nor do versions
    assert scipy.stats.kstest(np.array(keys) / 2**32, "uniform").pvalue > LEVEL


def test_networks_without_styles_or_sizes(tiny, samplers):
    class Plain(torch.nn.Module):
        z_dim, c_dim, img_resolution, img_channels = 8, 0, 2, 1

        def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, noise_mode="const"):
            return z[:, :4].reshape(-1, 1, 2, 2)

    G = attach(Plain(), samplers["prior"])
    assert G(latents(3), torch.zeros(3, 0)).shape == (3, 1, 2, 2)
    assert not hasattr(G, "mapping") and not hasattr(G, "synthesis") and not hasattr(G, "w_dim")
    assert G.training and not attach(tiny, samplers["prior"]).training
    with pytest.raises(ValueError, match="a network of the class Linear has no z_dim"):
        attach(torch.nn.Linear(2, 2), samplers["prior"])
    with pytest.raises(AttributeError, match="nothing"):
        _ = attach(tiny, samplers["prior"]).mapping.nothing


def test_mappings_that_are_methods_are_copied_with_their_network(tmp_path):
    spline = SplineGenerator()
    G = attach(spline, create_sampler("prior", spline))
    twin = copy.deepcopy(G)
    z, c = latents(3, 2), torch.zeros(3, 0)
    twin.generator.basis.mul_(2)
    torch.testing.assert_close(twin.mapping(z, c), 2 * G.mapping(z, c))
    torch.testing.assert_close(twin(z, c), 2 * G(z, c))


class Recorded(Sampler):
    """Gives the latents that an attached generator makes of given z."""

    def __init__(self, sampler, z):
        self.latents = sampler.independent().draw(latent_keys(z))

    def draw(self, seeds, c=None):
        return self.latents

    def sample(self, n, generator, c=None):
        assert n == len(self.latents.z)
        return self.latents


def test_somebody_elses_fid_is_that_of_calc_metrics(tmp_path, tiny):
    """An independent metric loop over the attached network, written from the definition, on the same draws."""
    atlas = Atlas.build(tiny, tmp_path / "a", space="style", candidates=500)
    sampler = create_sampler("polarity", tiny, atlas=atlas, rho=0.5)
    detector = load_detector(write_torchscript(tmp_path / "small.pt"), allow_code=True)
    real = random_images(40, channels=1, size=tiny.img_resolution)
    data = RealImages(write_zip(tmp_path / "real.zip", real), resolution=tiny.img_resolution, channels=1, cache=False)
    z = latents(64)

    G, generated = attach(tiny, sampler), []
    for rows in z.split(16):
        img = G(z=rows, c=torch.zeros(len(rows), 0), noise_mode="const")
        generated.append(detector((img * 127.5 + 128).clamp(0, 255).to(torch.uint8)).double())
    originals = detector(torch.cat(list(data.plain.batches(range(40))))).double()
    a, b = torch.cat(generated).numpy(), originals.numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T, bias=True) @ np.cov(b.T, bias=True))
    difference = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    fid = difference + np.trace(np.cov(a.T, bias=True) + np.cov(b.T, bias=True) - 2 * root.real)

    metrics = parse_metrics("fid64_full")
    options = dict(seed=0, psi=1, noise_mode="const", batch=16, mirror=False, allow_singular=False, cutoff=None)
    ((metric, figures, _),) = evaluate(
        metrics, tiny, Recorded(sampler, z), data, {"inception": detector}, progress=unwatched, **options
    )
    assert figures[metric.name] == pytest.approx(fid, rel=1e-6)
