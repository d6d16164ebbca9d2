"""Feature detectors from files: every format, the same features, and nothing from a file runs."""

import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from helpers.detector_files import (
    SmallDetector,
    nvidia_names,
    planted,
    random_inception,
    write_persistent,
    write_torchscript,
)
from helpers.pickles import Call, Named, record, write_pickle

from dnnlib_compat.detectors import load_detector
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError
from dnnlib_compat.networks import vgg16
from dnnlib_compat.networks.mnist_classifier import load_mnist_classifier


def images(n=2, channels=3, size=20, seed=0):
    return torch.randint(0, 256, (n, channels, size, size), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


@pytest.fixture(scope="module")
def inception():
    return random_inception()


@pytest.mark.bitwise
def test_the_embedded_classifier():
    detector = load_detector("mnist-classifier")
    network = load_mnist_classifier()
    x = images(channels=1, size=32)
    scaled = x.float() / 127.5 - 1
    assert torch.equal(detector(x), network.features(scaled))
    assert torch.allclose(detector(x, "probabilities").sum(dim=1), torch.ones(2))
    assert (detector.channels, detector.resolution, detector.name) == (1, 32, "mnist-classifier")
    with pytest.raises(ValueError, match="gives no lpips, only features, probabilities"):
        detector(x, "lpips")
    with pytest.raises(ValueError, match="grayscale images, not 3 channels"):
        detector(images(size=32))
    with pytest.raises(ValueError, match="32x32 pixels, not 20x20"):
        detector(images(channels=1))


@pytest.mark.bitwise
def test_torchscript_is_called_as_the_official_code_calls_it(tmp_path):
    path = write_torchscript(tmp_path / "small.pt")
    torch.manual_seed(0)
    network = SmallDetector()
    detector = load_detector(path, allow_code=True)
    x = images()
    assert set(detector.outputs) == {"features", "probabilities", "lpips"} and detector.name == "small.pt"
    assert torch.allclose(detector(x), network(x, return_features=True))
    assert torch.allclose(detector(x, "probabilities"), network(x, no_output_bias=True))
    assert torch.allclose(detector(x, "lpips"), network(x, return_lpips=True))
    assert not torch.allclose(detector(x, "probabilities"), network(x))  # with the bias it is something else
    gray = images(channels=1)
    assert torch.equal(detector(gray), detector(gray.repeat(1, 3, 1, 1)))


def test_the_digest_tells_content_not_names(tmp_path):
    first, second = write_torchscript(tmp_path / "a.pt"), write_torchscript(tmp_path / "b.pt", seed=1)
    copy = tmp_path / "c.pt"
    copy.write_bytes(first.read_bytes())
    digests = [load_detector(path, allow_code=True).digest for path in (first, second, copy)]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.bitwise
@pytest.mark.parametrize("old_format", [False, True])
def test_a_state_dict_of_pytorch_fid(inception, tmp_path, old_format):
    path = tmp_path / "pt_inception.pth"
    torch.save(inception.state_dict(), path, _use_new_zipfile_serialization=not old_format)
    detector = load_detector(path)
    x = images()
    assert torch.equal(detector(x), inception.features(x))
    assert torch.equal(detector(x, "probabilities"), inception.probabilities(x, bias=False))
    assert detector.outputs.keys() == {"features", "probabilities"}


@pytest.mark.bitwise
def test_a_persistent_pickle_of_the_stylegan3_release(inception, tmp_path):
    detector = load_detector(write_persistent(tmp_path / "inception.pkl", inception))
    x = images()
    assert torch.equal(detector(x), inception.features(x))


@pytest.mark.bitwise
def test_lpips_heads_join_a_vgg16(tmp_path, monkeypatch):
    class FakeVGG16(torch.nn.Module):  # the real one has 138 million parameters
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(3))
            self.register_buffer("lpips0", None)

        @property
        def has_lpips(self):
            return self.lpips0 is not None

        def _load_from_state_dict(self, state, prefix, *args):
            self.lpips0 = state.get("lpips0")
            super()._load_from_state_dict(state, prefix, *args)

        def layers(self, x):
            yield "mean", x.float().mean(dim=(2, 3)) * self.weight

        def features(self, x):
            return x.float().mean(dim=(2, 3)) * self.weight

        def lpips(self, x):
            return self.features(x) * self.lpips0[:3]

    monkeypatch.setattr(vgg16, "VGG16", FakeVGG16)
    monkeypatch.setattr(vgg16, "is_vgg16_state", lambda names: "weight" in names)
    monkeypatch.setattr(vgg16, "convert_vgg16_state", dict)
    torch.save({"weight": torch.ones(3)}, tmp_path / "vgg16.pth")
    widths = [64, 128, 256, 512, 512]
    torch.save({f"lin{k}.model.1.weight": torch.ones(1, n, 1, 1) for k, n in enumerate(widths)}, tmp_path / "heads.pth")
    plain = load_detector(tmp_path / "vgg16.pth")
    whole = load_detector(tmp_path / "vgg16.pth", lpips_heads=tmp_path / "heads.pth")
    assert "lpips" not in plain.outputs and "lpips" in whole.outputs and plain.digest != whole.digest
    assert torch.equal(whole(images(), "lpips"), plain(images()))
    with pytest.raises(NetworkFileError, match="holds no LPIPS heads"):
        load_detector(tmp_path / "vgg16.pth", lpips_heads=tmp_path / "vgg16.pth")
    script = write_torchscript(tmp_path / "small.pt")
    with pytest.raises(ValueError, match="this is another network; leave them out"):
        load_detector(script, lpips_heads=tmp_path / "heads.pth", allow_code=True)


def write(path, content):
    path.write_bytes(content)
    return path


def bad_files(folder):
    torch.save({"weight": torch.zeros(2)}, folder / "other.pth")
    torch.save([1, 2], folder / "list.pth")
    np.savez(folder / "numbers.npz", a=np.zeros(3))
    half = write_torchscript(folder / "half.pt").read_bytes()
    return {
        "empty": (write(folder / "empty.pt", b""), "the file is empty"),
        "page": (write(folder / "page.pt", b"<!DOCTYPE html><html>"), "a web page"),
        "half": (write(folder / "half.pt", half[: len(half) // 2]), "truncated or damaged"),
        "text": (write(folder / "text.pt", b"hello"), "not a feature detector"),
        "numbers": (folder / "numbers.npz", "not a feature detector"),
        "another network": (folder / "other.pth", "not an Inception-v3 or VGG16"),
        "a list": (folder / "list.pth", "holds a list, not the dictionary of a checkpoint"),
        "no module": (write_pickle(folder / "dict.pkl", {"G": 1}), "holds a dict, not a feature detector"),
        "no call": (write_torchscript(folder / "linear.pt", torch.nn.Linear(2, 2)), "takes no return_features"),
        "code": (write_torchscript(folder / "small.pt"), "only the tensors .* if you trust it: --allow-code"),
        "picture": (write(folder / "a.png", b"\x89PNG\r\n\x1a\n"), "not a feature detector"),
    }


@pytest.mark.parametrize("kind", ["empty", "page", "half", "text", "numbers",
                                                                  "another network", "a list", "no module", "no call",
                                                                  "code",
                                                                  "picture"])  # fmt: skip
def test_what_is_no_detector_gets_one_line(tmp_path, kind):
    path, message = bad_files(tmp_path)[kind]
    with pytest.raises(NetworkFileError, match=message) as caught:
        load_detector(path, allow_code=kind == "no call")
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_state_dict_with_a_missing_tensor_is_named(inception, tmp_path):
    state = inception.state_dict()
    del state["Mixed_6a.branch3x3.conv.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(
        NetworkFileError, match=r"cut\.pth: does not fit .*Mixed_6a\.branch3x3\.conv\.weight is missing"
    ):
        load_detector(tmp_path / "cut.pth")


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(ValueError, match="did you mean .*inception-2015-12-05"):
        load_detector("inception-2015")


def test_hostile_pickles_run_nothing(tmp_path):
    marker = tmp_path / "ran"
    hostile = Call(Named("os", "system"), f"touch {marker}")
    path = write_pickle(tmp_path / "evil.pkl", record("InceptionV3", dict(_parameters={}, _modules={"x": hostile})))
    with pytest.raises(UnsafePickleError, match="refused, nothing from it has run"):
        load_detector(path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(marker))
    with pytest.raises(NetworkFileError):
        load_detector(tmp_path / "evil.pth")
    assert not marker.exists()


class Writer(torch.nn.Module):
    """TorchScript that writes a file, in a way that no search for `torch.save(` finds, when it is loaded or called."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.ones(1), self.path)  # noqa: E211

    def forward(self, img, return_features: bool = False):
        torch.save(img, self.path)  # noqa: E211
        return img.flatten(1)


def test_torchscript_runs_for_those_alone_who_allow_code(tmp_path, capsys):
    mark = tmp_path / "written.pt"
    path = write_torchscript(tmp_path / "writer.pt", Writer(str(mark)))
    with pytest.raises(NetworkFileError, match="not an Inception-v3 or VGG16 network; .*--allow-code"):
        load_detector(path)
    assert not mark.exists()
    load_detector(path, allow_code=True)
    assert mark.exists()  # so the test can fail
    assert "TorchScript inside this file now runs" in capsys.readouterr().err


class Script(torch.nn.Module):
    """TorchScript with tensors under NVIDIA's names, whose own code computes something else."""

    def forward(self, img, return_features: bool = False):
        return img.flatten(1).to(torch.float32)


def test_tensors_of_torchscript_go_into_our_inception(inception, tmp_path):
    path = write_torchscript(tmp_path / "inception.pt", planted(Script(), nvidia_names(inception), buffers=True))
    detector = load_detector(path)
    x = images()
    assert torch.equal(detector(x), inception.features(x))
    assert torch.equal(detector(x, "probabilities"), inception.probabilities(x, bias=False))
    assert detector.layers is not None
    allowed = load_detector(
        path, allow_code=True
    )  # what is known here needs no code, so the figures do not depend on it
    assert torch.equal(allowed(x), detector(x))


def test_damage_inside_torchscript_is_noticed(inception, tmp_path):
    path = write_torchscript(tmp_path / "inception.pt", planted(Script(), nvidia_names(inception), buffers=True))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(NetworkFileError, match="inception.pt: damaged, .*cannot be read"):
        load_detector(path)


@pytest.mark.parametrize("name", ["writer/data.pkl", "WRITER/DATA.PKL", "../x", "/x", "a/../../x"])
def test_archives_with_a_second_reading_are_refused(tmp_path, name):
    path = write_torchscript(tmp_path / "writer.pt", Writer(str(tmp_path / "written.pt")))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, b"other")
    for allow_code in (False, True):
        with pytest.raises(NetworkFileError, match="writer.pt: refused, "):
            load_detector(path, allow_code=allow_code)
    assert not (tmp_path / "written.pt").exists()


FORK = """
import torch
class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
    def forward(self, img, return_features=False):
        return img.float().mean(dim=(2, 3)) * self.scale
"""


def test_an_unknown_network_needs_allow_code(tmp_path, capsys):
    weights = dict(scale=torch.nn.Parameter(torch.full((1,), 2.0)))
    state = dict(vars(torch.nn.Module()), training=False, _parameters=weights, _init_args=(), _init_kwargs={})
    path = write_pickle(tmp_path / "fork.pkl", record("Detector", state, source=FORK))
    with pytest.raises(NetworkFileError, match="not an Inception-v3 or VGG16 network; .*--allow-code"):
        load_detector(path)
    detector = load_detector(path, allow_code=True)
    assert "Python code inside this file now runs" in capsys.readouterr().err
    x = images()
    assert torch.allclose(detector(x), 2 * x.float().mean(dim=(2, 3)))
