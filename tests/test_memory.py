"""What comes from files lies in memory of torch's own, so that kernels, and last bits, do not depend on the format."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.detector_files import write_persistent
from helpers.family_files import WRITERS

from cli.convert import main as convert
from dnnlib_compat.assemble import owned
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.inception_v3 import InceptionV3
from latent_plugins.atlas import Atlas
from latent_plugins.atlas.candidates import candidate_latents
from latent_plugins.files.arrays import read_arrays, write_arrays

ALIGNMENT = 64  # bytes, of torch's allocator on CPUs


def owns(tensor):
    """Whether a tensor is contiguous and alone in a storage that torch has allocated."""
    storage = tensor.untyped_storage()
    whole = tensor.is_contiguous() and tensor.storage_offset() == 0 and storage.nbytes() == tensor.nbytes
    return whole and storage.resizable() and storage.filename is None and tensor.data_ptr() % ALIGNMENT == 0


def strangers(network):
    """The names of the parameters and buffers that do not own their memory, or share it."""
    tensors = network.state_dict(keep_vars=True)
    places = [tensor.data_ptr() for tensor in tensors.values() if tensor.numel()]
    assert len(set(places)) == len(places)
    return [name for name, tensor in tensors.items() if not owns(tensor)]


def test_other_memory_is_told(tmp_path):
    """Of a NumPy array, of a mapped file, of a part of a tensor: what the tests below must be able to find."""
    torch.save(torch.ones(9), tmp_path / "a.pt")
    mapped = torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)
    for other in (torch.from_numpy(np.ones(9, np.float32)), mapped, torch.ones(9)[:8], torch.ones(3, 3).T):
        assert not owns(other) and owns(owned(other)) and torch.equal(owned(other), other)
    assert owned(torch.ones(3, dtype=torch.float16)).dtype == torch.float32


@pytest.mark.parametrize("ending", ["own", ".npz", ".safetensors"])
@pytest.mark.parametrize("family", WRITERS)
def test_networks_of_every_family_and_format(tmp_path, family, ending):
    path = WRITERS[family](tmp_path)
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    if ending != "own":
        out = tmp_path / f"plain{ending}"
        result = CliRunner().invoke(convert, [str(path), str(out)])
        assert result.exit_code == 0, result.output
        path = out
    assert strangers(load_network(path)) == []


@pytest.mark.bitwise
def test_tensors_of_a_checkpoint_that_share_a_storage_and_are_mapped(tmp_path):
    path = WRITERS["biggan"](tmp_path)
    tensors = torch.load(path, weights_only=True)
    shared, offset, views = torch.cat([torch.zeros(5), *(t.float().flatten() for t in tensors.values())]), 5, {}
    for name, tensor in tensors.items():
        views[name] = shared[offset : offset + tensor.numel()].view(tensor.shape)
        offset += tensor.numel()
    torch.save(dict(state_dict=views, optimizer=dict(state={})), tmp_path / "training.pth")
    loaded, original = load_network(tmp_path / "training.pth"), load_network(path)
    assert strangers(loaded) == []
    # Also what is computed from them, as weights divided by their spectral norms.
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in original.state_dict().items())


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_detectors(tmp_path, kind):
    torch.manual_seed(0)
    inception = InceptionV3().eval()
    path = tmp_path / "inception.pth"
    if kind == "pickle":
        write_persistent(path, inception)
    else:
        torch.save(dict(state_dict=inception.state_dict(), optim={}), path,
                   _use_new_zipfile_serialization=kind == "zip")  # fmt: skip
    assert strangers(load_detector(path).network) == []


def test_the_embedded_files():
    assert strangers(load_network("mnist32")) == []
    assert strangers(load_detector("mnist-classifier").network) == []


def test_arrays_of_weights_and_predictors(tmp_path):
    write_arrays(tmp_path / "a.npz", dict(format="x"), dict(part={str(n): torch.ones(n) for n in range(1, 20)}))
    _, parts = read_arrays(tmp_path / "a.npz", "x", error=ValueError, what="a file", remedy="make it again")
    assert len(parts["part"]) == 19 and all(map(owns, parts["part"].values()))


def test_latents(tmp_path):
    network = small_stylegan2()
    assert owns(network.seed_latent(3)) and owns(candidate_latents([5, 3], 8, seed=0))
    (tmp_path / "hf").mkdir()
    truncated = load_network(WRITERS["biggan-deep-hf"](tmp_path / "hf"))
    assert owns(truncated.seed_latent(3)) and owns(truncated.sample_prior(3, torch.Generator()))
    np.savez(tmp_path / "a.npz", latents=np.ones((9, 8), np.float32), svds=np.ones((9, 3), np.float32))
    assert owns(Atlas.open(tmp_path / "a.npz").latents([4, 2]))
