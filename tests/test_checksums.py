"""Kept files carry checksums: what has changed is computed anew by the build, named by everybody else."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip

from cli.build_atlas import main as build_atlas
from cli.gen_images import main as gen_images
from dnnlib_compat.checksums import ChecksumError, checksum, read_npy, write_npy
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import write_npz, write_safetensors
from latent_plugins.atlas import Atlas, open_atlas
from latent_plugins.atlas.settings import AtlasError
from latent_plugins.atlas.true_volumes import read_known, write_known
from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.metrics.real import RealImages, Request
from latent_plugins.reweighting.presets import Schedule
from latent_plugins.reweighting.training import CHECKPOINT, Trainer, train
from latent_plugins.reweighting.weight_files import WeightsError, load_weights
from latent_plugins.volume.predictor import load_predictor
from latent_plugins.volume.predictor.volumes import PredictorError


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def change_one_array(path, wanted=lambda name: True):
    """Change one number of an `.npz` and pack it anew, so that the archive itself is sound."""
    with np.load(path) as file:
        arrays = dict(file)
    name = next(n for n, a in arrays.items() if a.dtype.kind in "fi" and a.size and wanted(n))
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] += 1
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def without_checksum(path):
    """The `.npz` as it was written before there were checksums."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "checksum"}
    for name in ("header", "config"):
        if name in arrays:
            fields = json.loads(str(arrays[name]))
            assert fields.pop("sealed") is True
            arrays[name] = np.array(json.dumps(fields))
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_every_flipped_bit_of_an_array_file_is_noticed(tmp_path):
    path, array = tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(3, 2)
    with open(path, "wb") as file:
        write_npy(file, array)
    good = path.read_bytes()
    assert np.array_equal(read_npy(path, required=True), array) and np.array_equal(np.load(path), array)
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        for required in (True, False):
            with pytest.raises(Exception):  # noqa: B017 - ChecksumError, or what NumPy raises on no array at all
                assert np.array_equal(read_npy(path, required), array)
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(ChecksumError):
            read_npy(path, required=True)


def test_an_array_file_without_a_checksum_is_read_where_none_is_required(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    assert np.array_equal(read_npy(tmp_path / "a.npy"), np.eye(3))
    with pytest.raises(ChecksumError):
        read_npy(tmp_path / "a.npy", required=True)


def test_the_checksum_is_of_names_types_shapes_and_bytes():
    array = np.arange(4, dtype=np.float32)
    all_of_them = [
        checksum({"a": array}), checksum({"b": array}), checksum({"a": array.reshape(2, 2)}), checksum({}),
        checksum({"a": array.view(np.int32)}), checksum({"a": array + 1}), checksum({"a": array}, "text"),
        checksum({"a": array, "b": array}),
    ]  # fmt: skip
    assert len(set(all_of_them)) == len(all_of_them)
    tensors = {"a": torch.zeros(2), "b": torch.tensor(1.0, dtype=torch.bfloat16), "c": torch.zeros(0)}
    assert checksum(tensors) == checksum(dict(reversed(tensors.items()))) != checksum({**tensors, "c": torch.zeros(1)})


def test_a_damaged_shard_is_named_by_all_and_computed_anew_by_the_build(tmp_path):
    network = tmp_path / "net.npz"
    write_npz(small_stylegan2(), network)
    build = [f"--network={network}", f"--outdir={tmp_path / 'a'}", "--candidates=1500"]
    assert CliRunner().invoke(build_atlas, build).exit_code == 0
    whole, shard = contents(tmp_path / "a"), tmp_path / "a" / "shard00001.npy"
    flip(shard, 200)
    with pytest.raises(AtlasError, match="shard00001.npy: damaged .its checksum.*run build_atlas again"):
        open_atlas(tmp_path / "a")
    draw = [f"--network={network}", f"--outdir={tmp_path / 'out'}", "--sampler=magnet", f"--atlas={tmp_path / 'a'}"]
    result = CliRunner().invoke(gen_images, draw)
    assert result.exit_code == 1 and f"Error: {shard}: damaged" in result.output
    result = CliRunner().invoke(build_atlas, build)
    assert result.exit_code == 0 and f"warning: {shard}: damaged" in result.output and "computed anew" in result.output
    assert contents(tmp_path / "a") == whole


@pytest.mark.parametrize("name", ["basis.npy", "predictor.npz"])
def test_what_a_predictor_is_made_of_is_checked_too(tmp_path, name):
    generator = small_stylegan2()
    options = dict(space="pixel", method="hybrid", candidates=40, labels=100, top_k=3, basis=2, min_spearman=-1)
    Atlas.build(generator, tmp_path / "a", **options)
    whole = contents(tmp_path / "a")
    flip(tmp_path / "a" / name, len(whole[name]) // 2)
    flip(tmp_path / "a" / "shard00000.npy", 150)
    if name == "predictor.npz":
        flip(tmp_path / "a" / "labels-shard00001.npy", 150)
    with pytest.warns(UserWarning, match=f"{name}: .*damaged"):
        Atlas.build(generator, tmp_path / "a", **options)
    assert contents(tmp_path / "a").keys() == whole.keys()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Atlas.build(generator, tmp_path / "a", **options)


def test_settings_that_were_changed_by_hand_are_refused(tmp_path, tiny):
    Atlas.build(tiny, tmp_path / "a", candidates=10)
    header = tmp_path / "a" / "atlas.json"
    fields = json.loads(header.read_text())
    for changed in (dict(fields, seed=1), {name: value for name, value in fields.items() if name != "checksum"}):
        header.write_text(json.dumps(changed))
        with pytest.raises(AtlasError, match="atlas.json: damaged .*checksum"):
            open_atlas(tmp_path / "a")


def test_an_atlas_without_checksums_opens_and_goes_on(tmp_path, tiny):
    """Format 1, as atlases were before; what a build adds to it has checksums."""
    atlas = Atlas.build(tiny, tmp_path / "a", candidates=1500)
    header, first, second = (tmp_path / "a" / name for name in ("atlas.json", "shard00000.npy", "shard00001.npy"))
    fields = json.loads(header.read_text())
    del fields["checksum"]
    header.write_text(json.dumps(dict(fields, format=1)))
    whole = second.read_bytes()
    for shard in (first, second):
        np.save(shard, np.load(shard))
    assert np.array_equal(open_atlas(tmp_path / "a").spectra(), atlas.spectra())
    second.unlink()
    assert np.array_equal(Atlas.build(tiny, tmp_path / "a", candidates=1500).spectra(), atlas.spectra())
    assert second.read_bytes() == whole
    flip(second, 200)
    with pytest.raises(AtlasError, match="shard00001.npy: damaged"):
        open_atlas(tmp_path / "a")


def test_safetensors_with_a_flipped_bit_give_the_same_network_or_none(tmp_path):
    path, network = tmp_path / "net.safetensors", small_stylegan2()
    write_safetensors(network, path)
    good, random, refused = path.read_bytes(), np.random.RandomState(0), 0
    for position in random.choice(len(good), 60, replace=False):
        flip(path, position)
        try:
            found = load_network(path)
            state = found.state_dict()
            assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
            assert found.init_kwargs == network.init_kwargs
        except NetworkFileError as error:
            assert str(path) in str(error)
            refused += 1
        path.write_bytes(good)
    assert refused >= 55


def test_converted_networks_with_other_numbers_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    write_npz(small_stylegan2(), path)
    change_one_array(path)
    with pytest.raises(NetworkFileError, match="net.npz: damaged .*checksum"):
        load_network(path)
    without_checksum(path)
    load_network(path)


def test_trained_weights_and_checkpoints_with_other_numbers_are_refused(tmp_path):
    generator = small_stylegan2()
    images = torch.from_numpy(random_images(20)).permute(0, 3, 1, 2).float() / 127.5 - 1
    schedule = Schedule(hidden=(4,), batch=4, critic_batch=4, channel_base=64, channel_max=8, steps=2)
    list(train(generator, images, schedule, outdir=tmp_path))
    change_one_array(tmp_path / "weights.npz")
    with pytest.raises(WeightsError, match="weights.npz: damaged .*checksum"):
        load_weights(tmp_path / "weights.npz")
    change_one_array(tmp_path / CHECKPOINT)
    with pytest.raises(WeightsError, match="damaged .*checksum"):
        Trainer(generator, images, schedule, 0, "w").load(tmp_path / CHECKPOINT)


def test_a_predictor_with_other_numbers_is_refused(tmp_path, tiny):
    options = dict(space="pixel", method="amortized", candidates=8, labels=100, top_k=3, min_spearman=-1)
    Atlas.build(tiny, tmp_path / "a", **options)
    change_one_array(tmp_path / "a" / "predictor.npz")
    with pytest.raises(PredictorError, match="predictor.npz: damaged .*checksum"):
        load_predictor(tmp_path / "a" / "predictor.npz")


def test_a_damaged_cache_of_true_volumes_is_not_used(tmp_path):
    path = tmp_path / "true-volumes.npz"
    assert read_known(path) == {}
    write_known(path, {3: 1.5})
    write_known(path, {7: -2.0})
    assert read_known(path) == {3: 1.5, 7: -2.0}
    change_one_array(path)
    with pytest.warns(UserWarning, match="true-volumes.npz: damaged, .*computed again"):
        assert read_known(path) == {}


def test_a_damaged_metric_cache_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    data = write_zip(tmp_path / "data.zip", random_images(12, channels=3))
    detector = load_detector(write_torchscript(tmp_path / "d.pt"), allow_code=True)
    request = Request("inception", "features", "table", None, False)

    def features():
        real = RealImages(data, resolution=16, channels=3)
        return real.statistics([request], dict(inception=detector))[request].features()

    first = features()
    (cached,) = (tmp_path / "cache").rglob("*.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(features(), first)
    change_one_array(cached)
    with pytest.warns(UserWarning, match="damaged, computed again .*checksum"):
        assert np.array_equal(features(), first)


# ---- a checksum that was lost ----


def without_entry(path, name, becomes=None):
    """Leave out an entry of an `.npz`, or rename it."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    value = arrays.pop(name)
    if becomes:
        arrays[becomes] = value
    np.savez(path, **arrays)


@pytest.mark.parametrize("becomes", [None, "chdcksum"])
def test_a_converted_network_that_lost_its_checksum_is_damaged(tmp_path, becomes):
    path = tmp_path / "net.npz"
    write_npz(small_stylegan2(), path)
    load_network(path)
    without_entry(path, "checksum", becomes)
    with pytest.raises(NetworkFileError, match="net.npz: damaged.*(checksum is missing|an entry 'chdcksum')"):
        load_network(path)


def test_converted_safetensors_that_lost_their_checksum_are_damaged(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "net.safetensors"
    write_safetensors(small_stylegan2(), path)
    with safetensors.safe_open(path, framework="pt") as file:
        config, tensors = file.metadata()["config"], {name: file.get_tensor(name) for name in file.keys()}
    safetensors.save_file(tensors, path, metadata=dict(config=config))
    with pytest.raises(NetworkFileError, match="net.safetensors: damaged .*checksum is missing"):
        load_network(path)
    older = json.dumps({key: value for key, value in json.loads(config).items() if key != "sealed"})
    safetensors.save_file(tensors, path, metadata=dict(config=older))  # from before there were checksums
    load_network(path)


@pytest.mark.parametrize("becomes", [None, "chdcksum"])
def test_an_array_file_that_lost_its_checksum_is_damaged(tmp_path, becomes):
    path = tmp_path / "a.npz"
    write_arrays(path, dict(format="of a test"), dict(part=dict(x=torch.ones(2))))
    options = dict(error=ValueError, what="a file of a test", remedy="write it again")
    header, parts = read_arrays(path, "of a test", **options)
    assert header == dict(format="of a test") and torch.equal(parts["part"]["x"], torch.ones(2))
    without_entry(path, "checksum", becomes)
    with pytest.raises(ValueError, match="a.npz: .*(checksum is missing|an entry 'chdcksum').*; write it again"):
        read_arrays(path, "of a test", **options)
    np.savez(path, header=np.array(json.dumps(dict(format="of a test"))), **{"part/x": np.ones(2, np.float32)})
    assert read_arrays(path, "of a test", **options)[0] == dict(format="of a test")  # from before there were any
