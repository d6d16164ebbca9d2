"""Every family end to end: its official file, images, samplers, description, conversion, refusals."""

import functools
import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import ROOT, assert_same_images
from helpers.detector_files import write_torchscript
from helpers.family_files import WRITERS, biggan_state, write_biggan, write_biggan_hf, write_nvae
from helpers.image_zips import random_images, write_zip

from cli.calc_metrics import main as calc_metrics
from cli.convert import main as convert
from cli.describe import main as describe
from cli.describe import short_name
from cli.gen_images import main as gen_images
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks import nvae
from dnnlib_compat.plain_files import write_npz
from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.atlas.settings import make_settings
from latent_plugins.metrics.names import parse_metric
from latent_plugins.samplers import create_sampler
from latent_plugins.spaces import MAPS, get_space

FROM_Z = ("z:pixel", "z:vgg", "z:inception", "z:features")
WITHOUT_STYLES = ["biggan", "biggan-deep", "biggan-deep-hf", "nvae", "progan", "dcgan"]
CONDITIONAL = {"biggan": 4, "biggan-deep": 4, "biggan-deep-hf": 5}


def run(command, *args, fails=False):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    assert not fails or "Traceback" not in result.output
    return result.output


@pytest.fixture(params=WRITERS)
def file(request, tmp_path):
    """(family, path of a file or folder)."""
    return request.param, WRITERS[request.param](tmp_path)


def label_option(family):
    return ["--class=1"] if family in CONDITIONAL else []


def images(folder):
    return {path.name: np.asarray(PIL.Image.open(path)) for path in sorted(folder.glob("seed*.png"))}


def test_images_of_seeds_are_those_of_the_officially_drawn_latents(file, tmp_path):
    family, path = file
    run(gen_images, f"--network={path}", "--seeds=3,5", f"--outdir={tmp_path / 'out'}", *label_option(family))
    network = load_network(path)
    for seed in (3, 5):
        if family == "biggan-deep-hf":
            drawn = scipy.stats.truncnorm.rvs(-2, 2, size=(1, 8), random_state=np.random.RandomState(seed))
        else:
            drawn = np.random.RandomState(seed).randn(1, network.z_dim)
        c = torch.eye(network.c_dim)[[1]] if network.c_dim else torch.zeros(1, 0)
        expected = network(torch.from_numpy(drawn.astype(np.float32)), c)
        expected = (expected[0].permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy().squeeze()
        written = images(tmp_path / "out")[f"seed{seed:04d}.png"]
        # The batch may turn the last bit of a float32, and that a pixel.
        np.testing.assert_allclose(written.astype(int), expected.astype(int), atol=1)


def test_magnet_in_pixel_space_end_to_end(file, tmp_path):
    family, path = file
    args = [f"--network={path}", "--sampler=magnet", "--space=pixel", "--candidates=12", "--seeds=0-3", "--grid"]
    run(gen_images, *args, "--top-k=4", f"--outdir={tmp_path / 'out'}", *label_option(family))
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    different = {line["candidate"] for line in lines}  # of twelve, some seeds may have the same one, and its image
    assert len({image.tobytes() for image in images(tmp_path / "out").values()}) == len(different)
    assert all(line["space"] == "z:pixel" and line["draw"]["distinct"] == len(different) for line in lines)
    assert (tmp_path / "out" / "grid.png").exists()


@pytest.mark.bitwise
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_converted_network_is_the_same_bit_for_bit(file, tmp_path, ending):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    family, path = file
    out = tmp_path / f"plain{ending}"
    assert "bytes" in run(convert, path, out)
    original, copy = load_network(path), load_network(out)
    assert type(copy) is type(original) and copy.init_kwargs == json.loads(json.dumps(original.init_kwargs))
    assert copy.state_dict().keys() == original.state_dict().keys()
    assert all(torch.equal(copy.state_dict()[name], tensor) for name, tensor in original.state_dict().items())
    z, c = original.seed_latent(0), torch.eye(max(original.c_dim, 1))[:1, : original.c_dim]
    assert torch.equal(original(z, c), copy(z, c))


def test_description(file):
    family, path = file
    facts = json.loads(run(describe, path, "--json"))
    network = load_network(path)
    assert facts["family"] == network.family and facts["z_dim"] == network.z_dim
    assert facts.get("classes", 0) == network.c_dim
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert facts["spaces"] == [short_name(space) for space in MAPS if family not in WITHOUT_STYLES or space in FROM_Z]
    assert len(facts["sha256"]) == 64 and facts["prior"] and facts["truncation"]
    top_k = {"nvae": 30, "dcgan": 30, "progan": 20, "stylegan2": 40, "stylegan2-tf": 40}.get(family, 15)  # of the paper
    assert facts["recommended"]["top_k"] == top_k
    assert facts["sha256"] in run(describe, path)


def test_description_of_the_default():
    facts = json.loads(run(describe, "--json"))
    assert facts["network"] == "mnist32" and facts["licence"] == "MIT" and facts["recommended"]["sampler"] == "magnet"


@pytest.mark.parametrize("family", WITHOUT_STYLES)
def test_families_without_styles_say_so(family, tmp_path):
    path = WRITERS[family](tmp_path)
    network = load_network(path)
    for space in ("style", "w:pixel"):
        with pytest.raises(ValueError, match="has no styles .* use the space pixel"):
            get_space(network, space, c=torch.zeros(1, network.c_dim))
    assert make_settings(network, candidates=4).space == "z:pixel"  # the default
    args = [f"--network={path}", "--seeds=0", f"--outdir={tmp_path / 'o'}", *label_option(family)]
    assert "use the space pixel" in run(gen_images, *args, "--sampler=magnet", "--space=style", fails=True)
    assert "no truncation cutoff" in run(gen_images, *args, "--trunc-cutoff=2", fails=True)


@pytest.mark.bitwise
def test_truncation_means_what_the_family_says(tmp_path):
    z = {}
    for family in ("biggan", "biggan-deep-hf", "nvae"):
        (tmp_path / family).mkdir()
        z[family] = load_network(WRITERS[family](tmp_path / family))
    c = torch.eye(4)[:1]
    latent = z["biggan"].seed_latent(0)
    assert torch.allclose(z["biggan"](latent, c, truncation_psi=0.5), z["biggan"](latent * 0.5, c))
    latent = z["nvae"].seed_latent(0)
    none = torch.zeros(1, 0)
    assert torch.equal(z["nvae"](latent, none, truncation_psi=0), z["nvae"](latent * 0, none))
    hf = load_network(write_biggan_hf(tmp_path))
    with pytest.raises(ValueError, match="psi above 0 and at most 1"):
        hf(hf.seed_latent(0), torch.eye(5)[:1], truncation_psi=1.5)
    message = run(gen_images, f"--network={tmp_path / 'config.json'}", "--class=0", "--trunc=2", "--seeds=0",
                  f"--outdir={tmp_path / 'o'}", fails=True)  # fmt: skip
    assert "psi above 0 and at most 1, not 2" in message
    progan = load_network(WRITERS["progan"](tmp_path))
    with pytest.raises(ValueError, match="normalises z"):
        progan(progan.seed_latent(0), none, truncation_psi=0.7)


def test_the_truncated_prior_is_truncated_everywhere(tmp_path):
    network = load_network(write_biggan_hf(tmp_path))
    c = torch.eye(5)[[0] * 500]
    bulk = create_sampler("prior", network).sample(500, torch.Generator().manual_seed(0), c).z
    settings = make_settings(network, candidates=500, classes=[0])
    assert settings.base == "truncated"
    candidates = candidate_latents(np.arange(500), 8, seed=0, base=settings.base)
    for z in (bulk, candidates):
        assert z.abs().max() <= 2
        # Kolmogorov and Smirnov's test at the level 0.1 %
        assert scipy.stats.kstest(z.flatten().numpy(), scipy.stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_samples_of_an_output_distribution(tmp_path):
    path = write_nvae(tmp_path)
    args = [f"--network={path}", "--seeds=0-2"]
    run(gen_images, *args, f"--outdir={tmp_path / 'mean'}")
    run(gen_images, *args, f"--outdir={tmp_path / 'sample'}", "--output=sample")
    run(gen_images, f"--network={path}", "--seeds=2", f"--outdir={tmp_path / 'alone'}", "--output=sample")
    mean, sample, alone = (images(tmp_path / name) for name in ("mean", "sample", "alone"))
    assert all(not np.array_equal(mean[name], sample[name]) for name in mean)
    assert_same_images(alone["seed0002.png"], sample["seed0002.png"])  # whatever is drawn beside it
    assert json.loads((tmp_path / "sample" / "samples.jsonl").read_text().splitlines()[0])["output"] == "sample"
    biggan = [f"--network={write_biggan(tmp_path)}", "--class=0", "--seeds=0", f"--outdir={tmp_path / 'o'}"]
    assert "needs an output distribution" in run(gen_images, *biggan, "--output=sample", fails=True)


def test_batch_norm_is_readjusted_on_conversion(tmp_path, monkeypatch):
    path = write_nvae(tmp_path)
    fewer = functools.partial(nvae.readjust_batch_norm, samples=32)
    monkeypatch.setattr(nvae, "readjust_batch_norm", fewer)
    run(convert, path, tmp_path / "cold.npz", "--readjust-bn", "--trunc=0.7")
    before, after = load_network(path).state_dict(), load_network(tmp_path / "cold.npz").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("running" in name or "mean" in name or "var" in name for name in changed)
    message = run(convert, write_biggan(tmp_path), tmp_path / "x.npz", "--readjust-bn", fails=True)
    assert "--readjust-bn is for NVAE" in message


def test_classes_by_name(tmp_path):
    state = biggan_state(n_classes=1000)
    torch.save(state, tmp_path / "imagenet.pth")
    args = [f"--network={tmp_path / 'imagenet.pth'}", "--seeds=0", f"--outdir={tmp_path / 'o'}"]
    run(gen_images, *args, "--class=golden retriever")
    assert json.loads((tmp_path / "o" / "samples.jsonl").read_text())["class"] == 207
    assert "no ImageNet class is called 'golden retreiver'" in run(
        gen_images, *args, "--class=golden retreiver", fails=True
    )
    assert "out of range" in run(gen_images, *args, "--class=1000", fails=True)
    small = [f"--network={write_biggan(tmp_path)}", *args[1:]]
    assert "no number" in run(gen_images, *small, "--class=cat", fails=True)
    assert "give --class" in run(gen_images, *small, fails=True)


def test_metrics_work_on_any_family(tmp_path):
    detector = write_torchscript(tmp_path / "small.pt")
    for family in ("biggan", "nvae", "progan"):
        folder = tmp_path / family
        folder.mkdir()
        path = WRITERS[family](folder)
        network = load_network(path)
        labels = [i % 4 for i in range(60)] if network.c_dim else None
        data = write_zip(folder / "real.zip", random_images(60, network.img_resolution, network.img_channels), labels)
        common = [f"--network={path}", f"--data={data}", f"--detector={detector}", "--allow-code", "--verbose=0"]
        line = json.loads(run(calc_metrics, *common, "--metrics=fid50_full").splitlines()[-1])
        assert line["results"]["fid50_full"] > 0
        assert "defined for networks with styles" in run(calc_metrics, *common, "--metrics=ppl2_wend_8", fails=True)
        cutoff = run(calc_metrics, *common, "--metrics=fid50_full", "--trunc-cutoff=2", fails=True)
        assert "leave out --trunc-cutoff" in cutoff
        assert parse_metric("fid50_full").samples == 50


# --- bad input --------------------------------------------------------------------------------------------------------


def refusal(path):
    with pytest.raises(NetworkFileError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_network_is_named(tmp_path):
    torch.save(dict(itr=5, config=dict(a=1)), tmp_path / "state_dict.pth")
    assert "holds no tensors of a network (only itr, config)" in refusal(tmp_path / "state_dict.pth")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    assert "not a BigGAN, BigGAN-deep, NVAE or DCGAN generator (its tensors are weight, bias" in refusal(
        tmp_path / "other.pth"
    )
    torch.save([1, 2], tmp_path / "list.pth")
    assert "list.pth" in refusal(tmp_path / "list.pth")
    (tmp_path / "empty").mkdir()
    assert "no network in this folder" in refusal(tmp_path / "empty")


def test_halves_of_a_pair_are_named(tmp_path):
    write_biggan_hf(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "elsewhere.json")
    assert "there is no config.json beside it" in refusal(tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{")
    assert "not readable as JSON" in refusal(tmp_path / "pytorch_model.bin")
    (tmp_path / "pytorch_model.bin").unlink()
    assert "there is no pytorch_model.bin beside it" in refusal(tmp_path / "config.json")


def test_an_nvae_without_its_arguments(tmp_path):
    content = torch.load(write_nvae(tmp_path), weights_only=False)
    torch.save(content["state_dict"], tmp_path / "bare.pt")
    assert "an NVAE without 'args'" in refusal(tmp_path / "bare.pt")


@pytest.mark.parametrize("change", ["missing", "shape", "nan"])
def test_damaged_tensors_are_named(tmp_path, change):
    state = biggan_state()
    name = "blocks.1.0.conv1.weight"
    if change == "missing":
        del state[name]
    elif change == "shape":
        state[name] = state[name][:, :-1]
    else:
        state[name][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "G.pth")
    message = refusal(tmp_path / "G.pth")
    assert "G.pth" in message and ("blocks.1.0.conv1" in message or "conv1" in message)


def test_plain_files_from_elsewhere(tmp_path, tiny):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert "was not written by convert" in refusal(tmp_path / "model.safetensors")
    write_npz(tiny, tmp_path / "good.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:5000])
    assert "truncated or damaged" in refusal(tmp_path / "cut.npz")


def test_commands_without_safetensors(tmp_path, tiny):
    """The optional package is missed only where it is needed, with a line that says how to get it."""
    write_npz(tiny, tmp_path / "net.npz")
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "from cli.convert import main\n"
        f"main([{str(tmp_path / 'net.npz')!r}, {str(tmp_path / 'out.safetensors')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "latent-plugins[safetensors]" in done.stderr and "Traceback" not in done.stderr
