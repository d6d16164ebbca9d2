"""Files of torch.save: what comes out of good ones, and that bad ones do nothing."""

import argparse
import builtins
import collections
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pickles import Call

from dnnlib_compat.checkpoint import read_checkpoint
from dnnlib_compat.errors import NetworkFileError, UnsafePickleError

ZIP, LEGACY = True, False
both_formats = pytest.mark.parametrize("zipped", [ZIP, LEGACY], ids=["zip", "legacy"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


def save(path, content, zipped=ZIP):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def rewrite(path, edit, compression=zipfile.ZIP_STORED):
    """Replace the pickle inside a checkpoint of either format by edit(pickle)."""
    if not zipfile.is_zipfile(path):
        path.write_bytes(edit(path.read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, edit(data) if name.endswith("data.pkl") else data)


def refused(path, kind=NetworkFileError):
    """The message of the one-line error that reading a file ends with."""
    with pytest.raises(NetworkFileError) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert type(error.value) is kind and message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def training_checkpoint():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    network(torch.randn(5, 3)).sum().backward()
    optimizer = torch.optim.Adamax(network.parameters())
    optimizer.step()
    args = argparse.Namespace(dataset="mnist", use_se=True, seed=1, lr=1e-2, inner=argparse.Namespace(a=[1, None]))
    return dict(
        epoch=3,
        state_dict=network.state_dict(),
        args=args,
        optimizer=optimizer.state_dict(),
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5.0).state_dict(),
        best=np.float64(1.5),
        steps=np.int64(7),
        arch=dict(normal=["a", "b"]),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Good files


@both_formats
def test_a_training_checkpoint_becomes_plain(path, zipped):
    content = training_checkpoint()
    ours = read_checkpoint(save(path, content, zipped))
    assert list(ours) == ["epoch", "state_dict", "args", "best", "steps", "arch"]
    assert ours["args"] == dict(dataset="mnist", use_se=True, seed=1, lr=1e-2, inner=dict(a=[1, None]))
    assert (ours["epoch"], ours["best"], ours["steps"], ours["arch"]) == (3, 1.5, 7, dict(normal=["a", "b"]))
    assert [type(ours[name]) for name in ("best", "steps", "args", "state_dict")] == [float, int, dict, dict]
    assert list(ours["state_dict"]) == list(content["state_dict"])
    assert all(torch.equal(tensor, ours["state_dict"][name]) for name, tensor in content["state_dict"].items())


@both_formats
def test_skipping_is_the_callers_choice(path, zipped):
    content = training_checkpoint()
    save(path, content, zipped)
    everything, little = read_checkpoint(path, skip=()), read_checkpoint(path, skip=("state_dict", "optimizer"))
    assert list(everything) == list(content) and "optimizer" not in little and "scheduler" in little
    step = content["optimizer"]["state"][0]["exp_inf"]
    assert torch.equal(everything["optimizer"]["state"][0]["exp_inf"], step)


@both_formats
def test_every_kind_of_value(path, zipped):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "attribute"
    content = dict(
        parameter=parameter,
        half=torch.ones(3).half(),
        integers=torch.arange(3),
        none=None,
        complex=1 + 2j,
        bytes=b"\x00\xff",
        tuple=(1, [2.5, {"deep"}]),
        size=torch.Size([2, 3]),
        dtype=torch.float16,
        device=torch.device("cuda:1"),
        ordered=collections.OrderedDict([("z", 1), ("a", 2)]),
        empty=argparse.Namespace(),
    )
    content[3] = "number as key"
    ours = read_checkpoint(save(path, content, zipped))
    tensor = ours.pop("parameter")
    assert type(tensor) is torch.Tensor and not tensor.requires_grad and not hasattr(tensor, "note")
    assert torch.equal(tensor, torch.ones(2))
    assert ours.pop("half").dtype == torch.float16 and ours.pop("integers").tolist() == [0, 1, 2]
    assert list(ours["ordered"]) == ["z", "a"] and type(ours["ordered"]) is dict
    assert ours == {
        "none": None,
        "complex": 1 + 2j,
        "bytes": b"\x00\xff",
        "tuple": (1, [2.5, {"deep"}]),
        "size": (2, 3),
        "dtype": "torch.float16",
        "device": "cuda:1",
        "ordered": dict(z=1, a=2),
        "empty": {},
        3: "number as key",
    }


@both_formats
def test_views_of_one_storage(path, zipped):
    base = torch.arange(12.0)
    content = dict(a=base[:6].view(2, 3), b=base[6:].view(2, 3).t(), c=base)
    ours = read_checkpoint(save(path, content, zipped))
    assert all(torch.equal(ours[name], tensor) for name, tensor in content.items())


@both_formats
def test_tensors_saved_on_a_gpu_come_to_the_cpu(path, zipped, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
    save(path, dict(a=torch.arange(4.0)), zipped)
    assert b"cuda:3" in path.read_bytes()
    tensor = read_checkpoint(path)["a"]
    assert tensor.device.type == "cpu" and tensor.tolist() == [0, 1, 2, 3]


@both_formats
def test_numpy_scalars_of_every_version(path, zipped):
    values = dict(a=np.float32(0.5), b=np.int64(-3), c=np.bool_(True), d=np.float64(np.pi))
    for core in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        save(path, values, zipped)
        rewrite(path, lambda data: data.replace(b"numpy._core.multiarray", core))  # noqa: B023
        assert core in path.read_bytes()
        ours = read_checkpoint(path)
        assert ours == dict(a=0.5, b=-3, c=True, d=np.pi)
        assert [type(value) for value in ours.values()] == [float, int, bool, float]


def test_an_archive_is_mapped_and_never_written(path):
    save(path, dict(a=torch.zeros(1000)))
    before = path.read_bytes()
    tensor = read_checkpoint(path)["a"]
    with torch.no_grad():
        tensor.fill_(1)
    assert tensor.sum() == 1000 and path.read_bytes() == before


MEASURE = """
import re, sys
from pathlib import Path
from dnnlib_compat.checkpoint import read_checkpoint

def peak():  # of this process alone; ru_maxrss would start with what the parent process has
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

def use(path):
    return read_checkpoint(path)["state_dict"]["weight"].clone()

use(sys.argv[1])
for path in sys.argv[2:]:
    before = peak()
    use(path)
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's record of the peak memory")
def test_a_large_optimizer_costs_no_memory(tmp_path):
    small = dict(state_dict=dict(weight=torch.ones(1000)), args=argparse.Namespace(a=1))
    large = small | dict(optimizer=dict(state={0: dict(exp_avg=torch.ones(15_000_000))}))  # 60 MB
    save(tmp_path / "small.pt", small)
    save(tmp_path / "large.pt", large)
    save(tmp_path / "legacy.pt", large, LEGACY)
    files = [str(tmp_path / name) for name in ("small.pt", "large.pt", "legacy.pt")]
    result = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True)
    mapped, legacy = map(float, result.stdout.split())
    assert mapped < 10
    assert 40 < legacy < 90  # once, not twice; and the measurement works


# ---------------------------------------------------------------------------------------------------------------------
# Hostile files


def touch(path):
    Path(path).touch()


def hostile_values(mark):
    return {
        "system": (Call(os.system, f"touch {mark}"), "system"),
        "own function": (Call(touch, str(mark)), "test_checkpoint.touch"),
        "eval": (Call(builtins.eval, f"open({str(mark)!r}, 'w')"), "eval"),
        "getattr": (Call(builtins.getattr, "", "join"), "getattr"),
        "subprocess": (Call(subprocess.Popen, ["touch", str(mark)]), ".Popen"),
        "unpickler": (Call(torch.storage._load_from_bytes, pickle.dumps(Call(touch, str(mark)))), "_load_from_bytes"),
        "module": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        "array": (np.ones(3), "multiarray._reconstruct"),
    }


@both_formats
@pytest.mark.parametrize("place", ["state_dict", "args", "optimizer"])
@pytest.mark.parametrize("kind", hostile_values("mark"))
def test_hostile_files_run_nothing(path, tmp_path, zipped, place, kind):
    mark = tmp_path / "mark"
    value, name = hostile_values(mark)[kind]
    content = dict(state_dict=dict(w=torch.ones(2)), optimizer={}, args={})
    content[place] = argparse.Namespace(x=value) if place == "args" else dict(x=value)
    message = refused(save(path, content, zipped), UnsafePickleError)
    assert message.startswith("refused, nothing from it has run: it asks for ")
    assert message.endswith(f"{name}, which is not on the list of safe names")
    assert not mark.exists()


@both_formats
def test_names_that_others_declared_safe_do_not_count(path, tmp_path, zipped):
    save(path, dict(x=Call(touch, str(tmp_path / "mark"))), zipped)
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([touch]):
        declared = torch.serialization.get_safe_globals()
        assert "test_checkpoint.touch" in refused(path, UnsafePickleError)
        assert set(torch.serialization.get_safe_globals()) == set(declared)
        assert not (tmp_path / "mark").exists()
        torch.load(path, weights_only=True)
        assert (tmp_path / "mark").exists()
    assert set(torch.serialization.get_safe_globals()) == set(before)


class Forged:
    """Pickles as an object made by calling `kind` and given any state and items."""

    def __init__(self, kind, args, state, **items):
        self.reduced = kind, args, state, None, iter(items.items())

    def __reduce__(self):
        return self.reduced


@both_formats
def test_forged_namespaces_stay_dictionaries(path, zipped):
    state = {"__class__": "str", "__dict__": 1, "content": 2, "__setstate__": 3}
    forged = Forged(argparse.Namespace, (), state)
    assert read_checkpoint(save(path, dict(x=forged), zipped)) == dict(x=state)
    for args, state in (((1,), {}), ((), (None, {"content": 5})), ((), [1])):
        forged = Forged(argparse.Namespace, args, state)
        assert "damaged checkpoint" in refused(save(path, dict(x=forged), zipped))


@both_formats
def test_attributes_cannot_shadow_methods(path, zipped):
    mapping = Forged(collections.OrderedDict, (), dict(items=torch.Size, keys=torch.Size), a=1)
    tensor = torch.ones(2)
    tensor.detach = tensor.clone = torch.Size
    ours = read_checkpoint(save(path, dict(mapping=mapping, tensor=tensor), zipped))
    assert ours["mapping"] == dict(a=1) and ours["tensor"].clone().tolist() == [1, 1]


@both_formats
def test_containers_that_explode_are_harmless(path, zipped):
    shared = []
    for _ in range(64):
        shared = [shared, shared]  # 2^64 leaves
    ours = read_checkpoint(save(path, dict(x=shared), zipped))["x"]
    assert ours[0] is ours[1]
    cycle = []
    cycle.append(cycle)
    assert refused(save(path, dict(x=cycle), zipped)) == "holds a container that contains itself"


def test_deep_nesting_is_refused(path):
    save(path, dict(x=0))
    deep = b"]" * 100_000 + b"a" * 99_999  # a list in a list in …
    rewrite(path, lambda data: data.replace(b"K\x00s", deep + b"s"))
    assert refused(path) == "nested too deeply for a checkpoint"


# ---------------------------------------------------------------------------------------------------------------------
# Damaged files, and other files


@both_formats
def test_truncated_files_are_refused(path, zipped):
    save(path, training_checkpoint(), zipped)
    data = path.read_bytes()
    for length in [0, 1, 10, *np.linspace(20, len(data) - 1, 60).astype(int)]:
        path.write_bytes(data[:length])
        with pytest.raises(NetworkFileError) as error:
            read_checkpoint(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@both_formats
def test_damaged_pickles_are_refused_in_one_line(path, zipped):
    save(path, training_checkpoint(), zipped)
    data, random = path.read_bytes(), np.random.RandomState(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[random.randint(20, 1200)] ^= 1 << random.randint(8)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path, skip=())
        except NetworkFileError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_a_half_file_says_so(path):
    data = save(path, training_checkpoint()).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert refused(path) == "a truncated or damaged checkpoint, download it again"
    data = save(path, training_checkpoint(), LEGACY).read_bytes()
    path.write_bytes(data[:-100])
    assert "a truncated or damaged checkpoint, download it again (unexpected EOF" in refused(path)


@both_formats
def test_tensors_beyond_their_storage_are_refused(path, zipped):
    save(path, dict(a=torch.arange(300.0)), zipped)
    grown = struct.pack("<Bi", ord("J"), 1 << 30)
    rewrite(path, lambda data: data.replace(struct.pack("<BH", ord("M"), 300), grown))
    assert "truncated or damaged" in refused(path)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "the file is empty, download it again"),
        (b"<!doctype html>", "not a checkpoint of torch.save (it starts with b'<!doctyp')"),
        (pickle.dumps(dict(a=1)), "not a checkpoint of torch.save (it starts with "),
        (b"PK\x03\x04" + b"\x00" * 100, "a truncated or damaged checkpoint, download it again"),
    ],
)
def test_other_files_are_refused(path, data, message):
    path.write_bytes(data)
    assert refused(path).startswith(message)


def test_other_archives_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dataset.json", "{}")
    assert refused(path) == "an archive of another kind, not a checkpoint of torch.save"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", "")
        archive.writestr("a/constants.pkl", "")
    assert refused(path) == "a TorchScript program, not a checkpoint of torch.save"
    rewrite(save(path, dict(a=torch.ones(100))), lambda data: data, zipfile.ZIP_DEFLATED)
    assert "compressed afterwards" in refused(path)


@both_formats
def test_contents_of_other_kinds_are_refused(path, zipped):
    assert refused(save(path, [1], zipped)) == "holds a list, not the dictionary of a checkpoint"
    assert refused(save(path, torch.ones(1), zipped)) == "holds a Tensor, not the dictionary of a checkpoint"
    for tensor in (torch.eye(2).to_sparse(), torch.zeros(2, device="meta")):
        assert refused(save(path, dict(a=[tensor]), zipped)).startswith("holds a tensor that is sparse")
    assert "a bytearray, which no checkpoint needs" in refused(save(path, dict(a=bytearray(2)), zipped))


def test_a_later_pickle_protocol_is_refused(path):
    torch.save(dict(a=1), path, pickle_protocol=4)
    assert refused(path).endswith("it was saved with another pickle protocol than torch.save's own")


def test_missing_files_raise_oserror(path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(path)
