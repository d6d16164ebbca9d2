"""The catalogue of published networks and what its names resolve to."""

import hashlib
import json
import re
import shutil

import pytest
import torch
from helpers.biggan_tensors import VARIANTS, noisy, official_shapes_hf

from dnnlib_compat import pretrained
from dnnlib_compat.companions import KINDS
from dnnlib_compat.detectors import IMAGE_STATISTICS
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue, default_name, detectors, locate, locate_config, resolve
from latent_plugins.metrics.names import OFFICIAL_DETECTORS

KEYS = {"url", "family", "dataset", "resolution", "licence", "recommended"}
ENTRIES = catalogue()
PUBLISHED = {name: entry for name, entry in ENTRIES.items() if "://" in entry["url"]}
BIGGAN = {name: entry for name, entry in PUBLISHED.items() if entry["family"] == "biggan-deep-hf"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package in a temporary folder, with the catalogue inside."""
    folder = tmp_path / "site" / "dnnlib_compat"
    (folder / "embedded").mkdir(parents=True)
    shutil.copy(pretrained.catalogue_path(), folder)
    monkeypatch.setattr(pretrained, "PACKAGE", folder)
    return folder


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_complete(name):
    entry = ENTRIES[name]
    assert KEYS <= set(entry) <= KEYS | {"sha256", "file_format", "default", "detector", "statistics", "config", *KINDS}
    assert entry.get("detector") in (None, *detectors())
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name)
    assert entry["family"] in ("stylegan2", "stylegan3", "dcgan", "biggan-deep-hf")
    assert entry["dataset"] and entry["licence"]
    assert entry["resolution"] in (32, 64, 256, 512, 1024)
    if "sha256" in entry:
        assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in BIGGAN])
def test_published_entry_agrees_with_its_file_name(name):
    entry = PUBLISHED[name]
    assert entry["file_format"] in ("nvidia-pytorch-pickle", "nvidia-tensorflow-pickle") and entry["url"].endswith(
        ".pkl"
    )
    assert name.startswith(entry["family"] + "-")
    assert "NVIDIA Source Code License" in entry["licence"] and "non-commercial" in entry["licence"]
    stated = re.search(r"-(\d+)x\1\.pkl|-res(\d+)-", entry["url"])
    if stated:
        assert entry["resolution"] == int(stated[1] or stated[2])
    tail = re.search(r"-(\d+)$", name)
    if tail:
        assert entry["resolution"] == int(tail[1])


@pytest.mark.parametrize("resolution", [256, 512])
def test_biggan_deep_is_two_files_of_the_conversion_to_pytorch(resolution):
    """As `PRETRAINED_MODEL_ARCHIVE_MAP` and `PRETRAINED_CONFIG_ARCHIVE_MAP` of pytorch-pretrained-BigGAN name them."""
    entry = BIGGAN[f"biggan-deep-{resolution}"]
    folder = "https://s3.amazonaws.com/models.huggingface.co/biggan"
    assert entry["url"] == f"{folder}/biggan-deep-{resolution}-pytorch_model.bin"
    assert entry["config"] == f"{folder}/biggan-deep-{resolution}-config.json"
    assert (entry["resolution"], entry["file_format"]) == (resolution, "pytorch-pretrained-biggan")
    assert (
        f"deepmind/biggan-deep-{resolution}" in entry["licence"] and "none stated for the weights" in entry["licence"]
    )
    assert len(BIGGAN) == 2 and not any("config" in other for other in ENTRIES.values() if other not in BIGGAN.values())


@pytest.mark.parametrize("name", ENTRIES)
def test_recommendation_uses_known_words(name):
    advice = ENTRIES[name]["recommended"]
    assert set(advice) <= {"sampler", "space", "rho", "top_k", "source", "other_spaces"}
    assert advice.get("sampler", "magnet") in ("magnet", "polarity")
    assert advice.get("space", "pixel") in ("style", "pixel", "vgg", "inception")
    assert advice.get("top_k", 1) >= 1
    assert ("sampler" in advice) == ("rho" in advice)
    assert advice.get("sampler") != "magnet" or advice["rho"] == 1  # MaGNET is polarity with rho 1


@pytest.mark.parametrize("name", detectors())
def test_detector_entry_is_complete(name):
    entry = detectors()[name]
    assert {"url", "family", "dataset", "licence"} <= set(entry)
    kinds = {"torchscript": ".pt", "nvidia-pytorch-pickle": ".pkl", "state-dict": ".pth"}
    assert entry["url"].startswith("embedded:") or entry["url"].endswith(kinds[entry["file_format"]])
    assert set(OFFICIAL_DETECTORS.values()) - {IMAGE_STATISTICS} <= set(detectors())


def test_addresses_are_https_and_unique():
    addresses = [entry["url"] for entry in [*PUBLISHED.values(), *detectors().values()]]
    addresses += [entry["config"] for entry in BIGGAN.values()]
    addresses = [address for address in addresses if not address.startswith("embedded:")]
    assert len(set(addresses)) == len(addresses) >= 30
    assert all(address.startswith("https://") for address in addresses)


def test_names_are_unique_in_the_file():
    # A JSON reader keeps the last of two equal keys in silence.
    pairs = json.loads(pretrained.catalogue_path().read_text(encoding="utf-8"), object_pairs_hook=list)
    assert len({name for name, _ in pairs}) == len(pairs) == len(ENTRIES) + len(detectors())


# Polarity Sampling, Table 2: the network's name here, and {space: rho} of its rows, the lowest FID first.
TABLE_2 = {
    "stylegan2-ffhq-1024": {"inception": 0.01, "pixel": 0.01},
    "stylegan3-t-ffhq-1024": {"vgg": -0.01},
    "stylegan3-t-afhqv2-512": {"vgg": -0.001},
    "biggan-deep-256": {"pixel": 0.0065},
    "stylegan2-lsunchurch-256": {"pixel": -0.001, "vgg": 0.001},
    "stylegan2-lsuncat-256": {"style": -0.1, "pixel": 0.01},
    "stylegan2-lsuncar-512": {"style": 0.01, "pixel": 0.01, "vgg": -0.001},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_rho_follows_the_table(name):
    advice = ENTRIES[name]["recommended"]
    if name in TABLE_2:
        others = {space: each["rho"] for space, each in advice.get("other_spaces", {}).items()}
        assert list(({advice["space"]: advice["rho"]} | others).items()) == list(TABLE_2[name].items())
        assert "Polarity Sampling, Table 2" in advice["source"]
    else:  # what has no row there says so, where it takes up a number of it
        assert "Table 2" not in advice.get("source", "") or "ours" in advice["source"]


def test_one_default_which_needs_no_network():
    assert [name for name, entry in ENTRIES.items() if entry.get("default")] == [default_name()]
    assert next(iter(ENTRIES)) == default_name() == "mnist32"
    assert ENTRIES[default_name()]["url"].startswith("embedded:")


# --- where the file is ------------------------------------------------------------------------------------------------


def test_catalogue_inside_the_package_comes_first(package):
    (package.parent / "pretrained.json").write_text('{"beside": {}}')
    assert catalogue() == ENTRIES
    (package / "pretrained.json").unlink()
    assert list(catalogue()) == ["beside"]


def test_missing_catalogue_is_told(package):
    (package / "pretrained.json").unlink()
    with pytest.raises(FileNotFoundError, match="pretrained.json"):
        catalogue()


def test_catalogue_without_default_is_told(package):
    (package / "pretrained.json").write_text('{"net": {"url": "https://127.0.0.1/net.pkl"}}')
    with pytest.raises(ValueError, match="default"):
        default_name()


# --- resolve and locate -----------------------------------------------------------------------------------------------


def test_name_resolves_to_its_entry():
    found = resolve("stylegan3-t-ffhq-1024")
    assert found.url_or_path == ENTRIES["stylegan3-t-ffhq-1024"]["url"]
    assert found.entry == ENTRIES["stylegan3-t-ffhq-1024"] and found.sha256 is None


def test_checksum_of_an_entry_is_checked(package):
    content = b"weights"
    (package / "embedded" / "net.npz").write_bytes(content)
    entry = {"url": "embedded:net.npz", "sha256": hashlib.sha256(content).hexdigest()}
    (package / "pretrained.json").write_text(json.dumps({"net": entry}))
    assert resolve("net").sha256 == entry["sha256"] and locate("net").read_bytes() == content
    (package / "embedded" / "net.npz").write_bytes(b"other")
    with pytest.raises(OSError, match=entry["sha256"]):
        locate("net")


def test_weights_and_settings_may_have_an_address_each(package, tmp_path):
    config = VARIANTS["hf-no-attention"]
    weights, settings = tmp_path / "small-pytorch_model.bin", tmp_path / "small-config.json"
    torch.save(noisy(official_shapes_hf(**config)), weights)
    settings.write_text(json.dumps(config))
    entry = {"url": weights.as_uri(), "config": settings.as_uri(), "family": "biggan-deep-hf"}
    (package / "pretrained.json").write_text(json.dumps({"net": entry}))
    (tmp_path / "folder").mkdir()
    shutil.copy(weights, tmp_path / "folder" / "pytorch_model.bin")
    shutil.copy(settings, tmp_path / "folder" / "config.json")
    named, beside = load_network("net"), load_network(tmp_path / "folder")
    assert (named.family, named.source) == ("biggan-deep-hf", "net") and named.init_kwargs == beside.init_kwargs
    assert all(torch.equal(tensor, beside.state_dict()[name]) for name, tensor in named.state_dict().items())
    assert (locate_config("net"), locate_config("other"), locate_config(weights)) == (settings, None, None)
    with pytest.raises(NetworkFileError, match="small-pytorch_model.bin: there is no config.json beside it"):
        load_network(weights)
    settings.write_text("{")
    with pytest.raises(NetworkFileError, match="small-config.json: not readable as JSON"):
        load_network("net")
    settings.unlink()
    with pytest.raises(FileNotFoundError, match="small-config.json: no such file"):
        load_network("net")


def test_embedded_file_lies_in_the_package(package):
    path = package / "embedded" / "mnist32.npz"
    assert resolve("mnist32").url_or_path == resolve("embedded:mnist32.npz").url_or_path == str(path)
    with pytest.raises(FileNotFoundError, match="mnist32.npz"):
        locate("mnist32")
    path.write_bytes(b"weights")
    assert locate("mnist32") == path and locate("embedded:mnist32.npz") == path


@pytest.mark.parametrize("name", ["", "../pretrained.json", "sub/net.npz"])
def test_embedded_names_stay_in_their_folder(name):
    with pytest.raises(ValueError, match="plain name"):
        resolve(f"embedded:{name}")


def test_addresses_and_paths_stand_for_themselves(tmp_path, monkeypatch):
    path = tmp_path / "net.pkl"
    path.write_bytes(b"x")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("https://127.0.0.1/net.pkl", path.as_uri(), str(path), path):
        found = resolve(source)
        assert (found.url_or_path, found.sha256, found.entry) == (str(source), None, None)
    assert locate(path) == locate(path.as_uri()) == path
    assert resolve("~/net.pkl").url_or_path == "~/net.pkl" and locate("~/net.pkl") == path


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("stylegan3-t-ffhq-1024x1024", "stylegan3-t-ffhq-1024"),
        ("StyleGAN2-ADA-CIFAR10", "stylegan2-ada-cifar10"),
        ("mnist", "mnist32"),
        ("stylegan2-ada-metfaces-1024.pkl", "stylegan2-ada-metfaces-1024"),
    ],
)
def test_close_names_are_suggested(typed, meant):
    with pytest.raises(ValueError) as caught:
        resolve(typed)
    message = str(caught.value)
    assert "\n" not in message and typed in message and str(pretrained.catalogue_path()) in message
    assert re.search(r"did you mean (\S+?)[ ?]", message)[1] == meant


def test_nothing_close_suggests_nothing():
    with pytest.raises(ValueError, match=r"no such file or network name; \(all names: .*pretrained\.json\)$"):
        resolve("zzzzqqqq")


# --- files of other packages ------------------------------------------------------------------------------------------


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    """A package with weights in it that would leave a trace, were it imported."""
    folder = tmp_path / "elsewhere" / "some_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "net.tar").write_bytes(b"weights")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def catalogued(package, url, content=b"weights"):
    entry = {"url": url, "sha256": hashlib.sha256(content).hexdigest()}
    (package / "pretrained.json").write_text(json.dumps({"net": entry}))


def test_a_file_of_an_installed_package_is_found_without_importing_it(package, another_package):
    catalogued(package, "installed:some_weights/net.tar")
    assert locate("net") == another_package / "net.tar"
    catalogued(package, "installed:some_weights/net.tar", content=b"of another release")
    with pytest.raises(OSError, match="SHA-256"):
        locate("net")


def test_a_package_that_lacks_is_told_with_the_remedy(package, another_package):
    catalogued(package, "installed:some_other_weights/net.tar")
    with pytest.raises(FileNotFoundError, match="not installed: pip install --no-deps some_other_weights, or give"):
        locate("net")
    catalogued(package, "installed:some_weights/old.tar")
    with pytest.raises(FileNotFoundError, match="some_weights, which has no old.tar here: pip install"):
        locate("net")


def test_the_faces_are_those_of_the_catalogue(data_folder):
    path = data_folder / "networks" / "dcgan-faces-64.pth"
    if not path.is_file():
        pytest.skip(f"no trained DCGAN at {path}")
    entry = ENTRIES["dcgan-faces"]
    assert entry["url"] == "installed:gan_face_generate/weights.tar"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
