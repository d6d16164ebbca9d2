"""Any network: what wrap takes and refuses, and what everything else makes of it."""

import json
import re
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import ROOT
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip

from cli.build_atlas import main as build_atlas
from cli.calc_metrics import main as calc_metrics
from cli.convert import main as convert
from cli.describe import main as describe
from cli.gen_images import main as gen_images
from cli.paths import Source
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from latent_plugins.any_network import wrap
from latent_plugins.atlas import Atlas
from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.atlas.settings import AtlasError, make_settings
from latent_plugins.attaching import attach
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.pictures.rendering import render
from latent_plugins.priors import BallPrior, BoxPrior, NormalPrior, SpherePrior, TruncatedNormalPrior, prior_of
from latent_plugins.samplers import create_sampler
from latent_plugins.spaces import get_space, spaces_of
from latent_plugins.volume.spectrum import spectrum

FILE = """
import torch
from sibling import SIZE
from latent_plugins.any_network import wrap


class Net(torch.nn.Module):
    def __init__(self, c_dim=0):
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(6 + c_dim, SIZE * SIZE)

    def forward(self, z, c=None):
        z = z if c is None else torch.cat([z, c], dim=1)
        return torch.sigmoid(self.fc(z.flatten(1))).reshape(-1, 1, SIZE, SIZE)


def pair():
    return Net(), dict(z_dim=6, z_shape=(6, 1, 1), image_range=(0, 1))


def generator():
    return wrap(Net(), 6, image_range=(0, 1), prior="uniform")


def classes():
    return Net(3), dict(z_dim=6, label=3, image_range=(0, 1))


def alone():
    return Net()


def broken():
    raise RuntimeError("first line\\nsecond line")


def leaves():
    raise SystemExit(3)


def misspelled():
    return Net(), dict(z_dim=6, zshape=(6,))


def nothing_said():
    return Net(), {}


def too_long():
    return Net(), dict(z_dim=7)
"""


class Dense(torch.nn.Module):
    """z → images [N, channels, size, size] in [−1, 1], smooth."""

    def __init__(self, z_dim=6, channels=1, size=8, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.shape = channels, size, size
        self.fc = torch.nn.Sequential(
            torch.nn.Linear(z_dim, 24), torch.nn.Tanh(), torch.nn.Linear(24, channels * size * size)
        )

    def forward(self, z):
        return torch.tanh(self.fc(z)).reshape(-1, *self.shape)


class Labelled(Dense):
    def __init__(self, **sizes):
        super().__init__(z_dim=9, **sizes)

    def forward(self, z, c):
        return super().forward(torch.cat([z, c], dim=1))


def none(n):
    return torch.zeros(n, 0)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "sibling.py").write_text("SIZE = 8\n")
    (tmp_path / "nets" / "my.net.py").write_text(FILE)
    return tmp_path / "nets" / "my.net.py"


def run(command, *args, fails=False):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    assert not fails or "Traceback" not in result.output
    return result.output


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_sizes_images_and_seeds():
    module = Dense(channels=3)
    generator = wrap(module, 6)
    assert (generator.z_dim, generator.c_dim, generator.img_channels, generator.img_resolution) == (6, 0, 3, 8)
    assert generator.family == "wrapped" and not generator.has_styles and not generator.training
    z = generator.seed_latent(7)
    np.testing.assert_array_equal(z, np.random.RandomState(7).randn(1, 6).astype(np.float32))
    torch.testing.assert_close(generator(z, none(1)), module(z))
    torch.testing.assert_close(generator(z, none(1), truncation_psi=0.5), module(z / 2))
    with pytest.raises(ValueError, match="a wrapped network has no layers of styles"):
        generator(z, none(1), truncation_cutoff=2)
    assert spaces_of(generator) == ["z:pixel", "z:vgg", "z:inception", "z:features"]
    with pytest.raises(ValueError, match="has no styles .* use the space pixel"):
        get_space(generator, "style")


def test_the_users_module_stays_as_it_was():
    module = Dense().double()
    generator = wrap(module, 6)
    assert module.training and all(p.requires_grad and p.dtype == torch.float64 for p in module.parameters())
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in generator.parameters())
    with torch.no_grad():
        module.fc[0].weight.zero_()
    assert generator.network.fc[0].weight.abs().max() > 0
    own = Dense()
    assert wrap(own, 6, copy=False).network is own and not own.training


@pytest.mark.parametrize("image_range", [(0, 1), (0, 255), (-2, 4)])
def test_ranges_of_images(image_range):
    low, high = image_range
    module = Dense()
    scaled = wrap(torch.nn.Sequential(module, Scale(low, high)), 6, image_range=image_range)
    z = torch.randn(3, 6)
    torch.testing.assert_close(scaled(z, none(3)), module(z), rtol=0, atol=1e-5)


class Scale(torch.nn.Module):
    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x):
        return (x + 1) / 2 * (self.high - self.low) + self.low


def test_a_range_that_does_not_suit_is_told():
    byte = torch.nn.Sequential(Dense(), Scale(0, 255))
    with pytest.warns(UserWarning, match=r"the images go from .*is it \(0, 255\)\?"):
        wrap(byte, 6)
    with pytest.warns(UserWarning, match=r"no number in the images is negative.*image_range=\(0, 1\)"):
        wrap(torch.nn.Sequential(Dense(), Scale(0, 1)), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap(byte, 6, image_range=(0, 255))


def test_shapes_of_latents():
    layers = torch.nn.Sequential(torch.nn.ConvTranspose2d(6, 3, 4), torch.nn.BatchNorm2d(3), torch.nn.Tanh())
    z = torch.randn(2, 6)
    expected = layers.eval()(z[:, :, None, None])
    torch.testing.assert_close(wrap(layers, 6, z_shape=(6, 1, 1))(z, none(2)), expected)
    with pytest.raises(ValueError, match=r"failed on latents of the shape \[3, 6\] \(.*z_shape and label say what"):
        wrap(layers, 6)


def test_classes_are_one_hot():
    module = Labelled()
    generator = wrap(module, 6, label=3)
    z, c = torch.randn(2, 6), torch.eye(3)[[2, 0]]
    assert generator.c_dim == 3
    torch.testing.assert_close(generator(z, c), module(z, c))
    settings = make_settings(generator, candidates=6, classes=[1])
    assert settings.classes == (1,) and settings.c_dim == 3


def test_methods_carry_the_weights_of_their_module():
    class Autoencoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = Dense()

        def decode(self, z):
            return self.decoder(z)

    model = Autoencoder()
    generator = wrap(model.decode, 6)
    z = torch.randn(2, 6)
    torch.testing.assert_close(generator(z, none(2)), model.decode(z))
    assert len(list(generator.parameters())) == 4


def test_functions_want_a_name():
    def bump(z):
        grid = torch.linspace(-1, 1, 8)
        return torch.tanh(z[:, 0, None, None, None] * grid[:, None] + z[:, 1, None, None, None] * grid)

    with pytest.raises(ValueError, match="neither parameters nor buffers .* give it a name"):
        wrap(bump, 2)
    generator = wrap(bump, 2, name="bump")
    assert fingerprint(generator) == fingerprint(wrap(bump, 2, name="bump")) != fingerprint(wrap(bump, 2, name="b"))
    z = generator.seed_latent(0)
    found = spectrum(get_space(generator, "pixel"), z, method="exact", top_k=2)
    assert np.isfinite(np.asarray(found)).all() and sum(p.numel() for p in generator.parameters()) == 0


# --- the prior --------------------------------------------------------------------------------------------------------

LAWS = {
    "prior": (NormalPrior(6), scipy.stats.norm().cdf),
    "truncated": (TruncatedNormalPrior(6), scipy.stats.truncnorm(-2, 2).cdf),
    "uniform": (BoxPrior(6), scipy.stats.uniform(-1, 2).cdf),
    "ball": (BallPrior(6), None),
}


@pytest.mark.parametrize("name", LAWS)
def test_priors_are_followed_by_bulk_seeds_and_candidates(name):
    prior, cdf = LAWS[name]
    generator = wrap(Dense(), 6, prior=name)
    assert fingerprint(generator) == fingerprint(wrap(Dense(), 6, prior=prior))  # the name, and what it stands for
    assert prior_of(generator) == prior and make_settings(generator, candidates=4).base == name
    bulk = create_sampler("prior", generator).sample(2000, torch.Generator().manual_seed(0), none(2000)).z
    seeds = create_sampler("prior", generator).draw(range(1000), none(1000)).z
    candidates = candidate_latents(np.arange(2000), 6, seed=0, base=generator.prior)
    for z in (bulk, seeds, torch.as_tensor(candidates)):
        assert np.isfinite(prior.log_prob(z).numpy()).all()  # on the support
        sample, law = (z.norm(dim=1) ** 6, scipy.stats.uniform().cdf) if cdf is None else (z.flatten(), cdf)
        assert scipy.stats.kstest(sample.numpy(), law).pvalue > 1e-3


def test_seeds_are_drawn_as_scripts_do():
    random = np.random.RandomState(5).uniform(-1, 1, (1, 6))
    np.testing.assert_array_equal(wrap(Dense(), 6, prior="uniform").seed_latent(5), random.astype(np.float32))


def test_the_sphere_shows_the_network_directions_alone():
    module = Dense()
    generator = wrap(module, 6, prior=SpherePrior(6))
    assert generator.normalizes_z and make_settings(generator, candidates=4).domain == "sphere"
    z = torch.randn(3, 6)
    on_sphere = z / z.norm(dim=1, keepdim=True) * 6**0.5
    for scale in (1, 10):
        torch.testing.assert_close(generator(z * scale, none(3)), module(on_sphere))
    with pytest.raises(ValueError, match="psi must be 1, not 0.7"):
        generator(z, none(3), truncation_psi=0.7)


@pytest.mark.parametrize(
    "prior, words",
    [
        ("gauss", "unknown prior 'gauss'; known ones: prior, truncated, uniform, ball, sphere"),
        (BoxPrior(6, 0, 1), "uniform on .*have no name here .*let the module map one of those"),
        (NormalPrior(5), "a prior of 5 dimensions for latents of z_dim 6"),
    ],
)
def test_other_priors_are_refused(prior, words):
    with pytest.raises(ValueError, match=words):
        wrap(Dense(), 6, prior=prior)


# --- refusals ---------------------------------------------------------------------------------------------------------


class Given(Dense):
    """Dense with something done to its images."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, z):
        return self.change(super().forward(z))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x - x.mean(dim=0), "an image depends on the others in its batch"),
        (lambda x: torch.nn.functional.batch_norm(x, None, None, training=True), "others in its batch"),
        (lambda x: x + torch.rand_like(x), "other images each time: the module draws random numbers"),
        (lambda x: x.flatten(1), r"3 latents give a tensor \[3, 64\], not images \[3, channels, size, size\]"),
        (lambda x: x[:2], r"3 latents give a tensor \[2, 1, 8, 8\]"),
        (lambda x: x[..., :4], "images are 8×4 pixels; only square ones"),
        (lambda x: x.repeat(1, 4, 1, 1), "images have 4 channels; 1 .grayscale. and 3 .RGB. are known"),
        (lambda x: (x, x), "returns a tuple, not a tensor of images"),
        (lambda x: (x * 100).byte(), "images are torch.uint8, which no derivatives go through"),
        (lambda x: x / 0, "hold NaN or infinity"),
        (lambda x: x.detach(), "do not depend on z as far as derivatives tell"),
        (lambda x: torch.from_numpy(x.numpy()), "cannot differentiate the module"),
    ],
)
def test_modules_that_cannot_be_used_are_told(change, words):
    with pytest.raises(ValueError, match=words) as caught:
        wrap(Given(change), 6)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(z_dim=0), "z_dim must be a whole number above 0, not 0"),
        (dict(z_dim=6.5), "z_dim must be a whole number above 0, not 6.5"),
        (dict(z_dim=5), r"the module failed on latents of the shape \[3, 5\]"),
        (dict(z_dim=6, label=0), "label must be the number of classes, or None, not 0"),
        (dict(z_dim=6, label=2), "and labels"),
        (dict(z_dim=6, z_shape=(5, 1, 1)), r"z_shape \(5, 1, 1\) has 5 numbers, z_dim says 6"),
        (dict(z_dim=6, z_shape=6), r"z_shape must be a tuple of sizes such as \(6, 1, 1\)"),
        (dict(z_dim=6, image_range=(1, 0)), "image_range must be two numbers, the lower first"),
        (dict(z_dim=6, image_range=3), "image_range must be two numbers"),
    ],
)
def test_arguments_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        wrap(Dense(), **options)


def test_what_is_no_module_is_told():
    with pytest.raises(ValueError, match="a dict is no module"):
        wrap({}, 6)
    with pytest.raises(ValueError, match="Dense is a class: give an instance"):
        wrap(Dense, 6)


def test_a_batch_norm_without_statistics_is_told():
    layers = torch.nn.Sequential(Dense(), torch.nn.BatchNorm2d(1, track_running_stats=False))
    with pytest.raises(ValueError, match="a batch norm without running statistics"):
        wrap(layers, 6)


# --- identity ---------------------------------------------------------------------------------------------------------


def test_the_fingerprint_follows_weights_structure_and_arguments():
    class Steeper(Dense):
        def forward(self, z):
            return torch.tanh(2 * self.fc(z)).reshape(-1, *self.shape)

    def layers(unit):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(6, 16), unit, torch.nn.Unflatten(1, (1, 4, 4)))

    other = Dense()
    with torch.no_grad():
        other.fc[0].bias[0] += 1e-3
    layered = dict(image_range=(-3, 3))
    found = [wrap(Dense(), 6), wrap(other, 6), wrap(Steeper(), 6), wrap(Dense(), 6, prior="uniform")]
    found += [wrap(Dense(), 6, name="a"), wrap(Dense(), 6, image_range=(-1, 1.5))]
    found += [wrap(layers(torch.nn.ELU()), 6, **layered), wrap(layers(torch.nn.Softplus(2)), 6, **layered)]
    found += [wrap(layers(torch.nn.Softplus(3)), 6, **layered)]
    assert len(set(map(fingerprint, found))) == len(found)
    assert fingerprint(wrap(Dense(), 6)) == fingerprint(found[0])
    assert fingerprint(wrap(Dense().train(), 6)) == fingerprint(wrap(Dense().eval(), 6))


# --- everything else --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [None, 3])
def test_exact_spectra_are_those_of_autograd(label):
    generator = wrap(Dense(), 6) if label is None else wrap(Labelled(), 6, label=label)
    c = none(1) if label is None else torch.eye(3)[[1]]
    z = generator.seed_latent(3)
    jacobian = torch.autograd.functional.jacobian(lambda x: generator(x, c).flatten(), z)[:, 0]
    found = spectrum(get_space(generator, "pixel", c=None if label is None else c), z, method="exact", top_k=6)[0]
    np.testing.assert_allclose(np.asarray(found), torch.linalg.svdvals(jacobian.double()).numpy(), rtol=1e-4)


def test_atlas_samplers_images_and_attach(tmp_path):
    generator = wrap(Dense(), 6)
    atlas = Atlas.build(generator, tmp_path / "atlas", candidates=40)
    sampler = create_sampler("polarity", generator, atlas=atlas, rho=np.inf, top_k=4)
    latents = sampler.draw(range(5), none(5))
    volume = atlas.log_volume(4)
    np.testing.assert_allclose(latents.log_volume, np.sort(volume)[::-1][:5])
    pictures = np.concatenate(list(render(generator, latents, batch=2)))
    expected = (generator(latents.z, none(5)) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    assert np.abs(pictures[:, :, :, 0].astype(int) - expected[:, 0].numpy().astype(int)).max() <= 1
    attached = attach(generator, create_sampler("polarity", generator, atlas=atlas, rho=2.0, top_k=4))
    z = torch.randn(4, 6)
    images = attached(z, none(4))
    rows = attached.source(z, none(4)).z
    torch.testing.assert_close(images, generator(rows, none(4)))
    other = wrap(Dense(seed=1), 6)
    with pytest.raises(AtlasError):
        Atlas.build(other, tmp_path / "atlas", candidates=40)


# --- FILE.py:function -------------------------------------------------------------------------------------------------


def test_commands_take_a_function_in_a_file(file, tmp_path):
    source = f"{file}:pair"
    text = run(describe, source, "--allow-code")
    assert "family       wrapped" in text and "this file now runs" in text
    args = [f"--network={source}", "--allow-code", f"--outdir={tmp_path / 'out'}", "--seeds=0-3"]
    run(gen_images, *args, "--sampler=polarity", "--rho=0.5", "--space=pixel", "--candidates=20", "--top-k=4", "--grid")
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and all(line["network"] == source and line["space"] == "z:pixel" for line in lines)
    run(gen_images, *args, "--sampler=jbt+prior", "--keep=0.5")
    run(gen_images, *args, "--sampler=truncation", "--trunc=0.5")
    run(build_atlas, f"--network={source}", "--allow-code", f"--outdir={tmp_path / 'atlas'}", "--candidates=6")
    assert "cannot be stored without its code" in run(
        convert, source, tmp_path / "plain.npz", "--allow-code", fails=True
    )


def test_metrics_of_a_function_in_a_file(file, tmp_path):
    detector = write_torchscript(tmp_path / "small.pt")
    data = write_zip(tmp_path / "real.zip", random_images(60, 8, 1))
    args = [f"--network={file}:generator", "--allow-code", f"--data={data}", f"--detector={detector}", "--verbose=0"]
    line = json.loads(run(calc_metrics, *args, "--metrics=fid50_full").splitlines()[-1])
    assert line["results"]["fid50_full"] > 0
    without = run(calc_metrics, f"--network={file}:generator", "--allow-code", "--metrics=fid50_full", fails=True)
    assert "give it with --data=FILE" in without


def test_classes_of_a_function_in_a_file(file, tmp_path):
    args = [f"--network={file}:classes", "--allow-code", f"--outdir={tmp_path / 'out'}", "--seeds=0"]
    assert "give --class" in run(gen_images, *args, fails=True)
    run(gen_images, *args, "--class=2", "--sampler=magnet", "--candidates=12", "--top-k=3")


def test_functions_return_generators_or_pairs(file):
    pair, made = load_network(f"{file}:pair", allow_code=True), load_network(f"{file}:generator", allow_code=True)
    assert pair.z_shape == (6, 1, 1) and made.prior == "uniform"
    z = torch.randn(2, 6)
    torch.testing.assert_close(pair(z, none(2)), made(z, none(2)))
    assert fingerprint(pair) == fingerprint(load_network(f"{file}:pair", allow_code=True)) != fingerprint(made)


def test_a_file_does_not_run_without_being_allowed(file, tmp_path):
    file.write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n" + FILE)
    with pytest.raises(NetworkFileError, match="Python code, which runs with your rights; .*give --allow-code"):
        load_network(f"{file}:pair")
    with pytest.raises(NetworkFileError, match="a generator, not a discriminator"):
        load_network(f"{file}:pair", key="D", allow_code=True)
    out = run(gen_images, f"--network={file}:pair", f"--outdir={tmp_path / 'out'}", fails=True)
    assert "--allow-code" in out and not (tmp_path / "trace").exists()
    load_network(f"{file}:pair", allow_code=True)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "function, words",
    [
        ("alone", r"alone\(\) returns a module alone; return a Generator"),
        ("broken", r"its code failed in line \d+ \(RuntimeError: first line second line\)"),
        ("leaves", r"its code failed in line \d+ \(SystemExit: 3\)"),
        ("absent", "has no function absent; its functions: pair, generator, classes"),
        ("SIZE", "has no function SIZE"),
        ("misspelled", "wrap takes no zshape; known ones: copy, image_range, label, name, prior, z_dim, z_shape"),
        ("nothing_said", "z_dim is missing"),
        ("too_long", r"the module failed on latents of the shape \[3, 7\]"),
    ],
)
def test_what_goes_wrong_in_a_file_is_one_line(file, function, words):
    with pytest.raises(NetworkFileError, match=words) as caught:
        load_network(f"{file}:{function}", allow_code=True)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code, words",
    [
        ("class Odd(BaseException):\n    pass\nraise Odd('why')", r"its code failed in line 3 \(Odd: why\)"),
        ("class Odd(Exception):\n    def __str__(self):\n        1 / 0\nraise Odd", r"failed in line 4 \(Odd: Odd\)"),
    ],
)
def test_exceptions_of_any_kind_are_one_line(file, code, words):
    file.write_text(code + "\n")
    with pytest.raises(NetworkFileError, match=words):
        load_network(f"{file}:make", allow_code=True)


def test_a_file_that_is_not_python(file):
    file.write_text("def make(:\n")
    with pytest.raises(NetworkFileError, match=r"my.net.py: its code failed in line 1 \(SyntaxError"):
        load_network(f"{file}:make", allow_code=True)
    file.write_text("import no_such_package_here\n")
    with pytest.raises(NetworkFileError, match="line 1 .ModuleNotFoundError: No module named 'no_such_package_here'"):
        load_network(f"{file}:make", allow_code=True)


def test_debug_shows_where_the_code_failed(file, tmp_path, capsys):
    args = [f"--network={file}:broken", "--allow-code", f"--outdir={tmp_path / 'o'}", "--debug"]
    result = CliRunner().invoke(gen_images, args)
    assert result.exit_code == 1 and 'raise RuntimeError("first line' in result.output + capsys.readouterr().err
    args[0] = f"--network={file}:too_long"
    result = CliRunner().invoke(gen_images, args)
    assert "in forward" in result.output + capsys.readouterr().err


@pytest.mark.parametrize("source", ["{file}", "{file}:", "{file}:a.b", "{file}:make()", "C:\\nets\\net.py", "net.py"])
def test_files_without_a_function_are_told(source, file):
    with pytest.raises(NetworkFileError, match=r"net\.py:function, with --allow-code"):
        load_network(source.format(file=file), allow_code=True)


def test_paths_with_drives_and_homes(file, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"C:\\nets\\net.py: no such file"):
        load_network("C:\\nets\\net.py:make", allow_code=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Source().convert("~/nets/my.net.py:pair", None, None) == f"{file}:pair"
    for source in ("~/nets/my.net.py:pair", "nets/my.net.py:pair"):
        assert load_network(source, allow_code=True).family == "wrapped"


# --- the documentation ------------------------------------------------------------------------------------------------


def test_the_code_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "networks.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    torch.manual_seed(0)
    found = {"__name__": "documentation"}
    exec(compile(blocks[0], "networks.md", "exec"), found)
    assert found["images"].shape == (4, 1, 16, 16) and found["images"].min() >= -1
    (tmp_path / "mynet.py").write_text(blocks[1], encoding="utf-8")
    run(describe, "mynet.py:faces", "--allow-code")
    args = ["--network=mynet.py:faces", "--allow-code", "--sampler=magnet", "--space=pixel", "--candidates=20"]
    run(gen_images, *args, "--outdir=out", "--seeds=0-1")
