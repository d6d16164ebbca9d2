"""What files may not do: cost memory and time, be read in two ways, be followed unasked, speak to the terminal."""

import errno
import io
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.image_zips import random_images, write_zip
from helpers.pickles import Call, Named, official_content, write_official, write_pickle
from helpers.results import check_failure
from helpers.small_networks import images
from helpers.tf_pickles import as_file, tf_stylegan2, write_tf_pickle

from cli import calc_metrics, convert, describe, gen_images, inspect_geometry, interpolate, modes, polarity_strip, sweep
from cli import train_weights as train_weights_command
from cli.build_atlas import main as build_atlas
from cli.options import reports_errors
from cli.sweep import read_rows
from cli.train_weights import read_log
from dnnlib_compat import budgets, dataset_files, download, torch_archives
from dnnlib_compat.arguments import check_arguments
from dnnlib_compat.array_archives import ArrayArchive, open_arrays
from dnnlib_compat.checkpoint import read_checkpoint
from dnnlib_compat.checksums import ChecksumError, read_npy, sealed_json, unsealed_json
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.download import DownloadError, cache_folder
from dnnlib_compat.errors import DatasetError, NetworkFileError, UnsafePickleError, escaped, reading, shown
from dnnlib_compat.loader import load_network
from dnnlib_compat.plain_files import read_npz
from dnnlib_compat.unpickle import read_pickle
from latent_plugins.atlas import Atlas, AtlasError, open_atlas
from latent_plugins.atlas.settings import plain_map, read_settings
from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.reweighting.weight_files import load_weights
from latent_plugins.volume.predictor import load_predictor


def refusal(path, error=NetworkFileError, **options):
    with pytest.raises(error) as caught:
        load_network(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    return message.removeprefix(f"{path}: ")


def write(path, data):
    path.write_bytes(data)
    return path


# --- budgets ----------------------------------------------------------------------------------------------------------

STREAMS = {
    "opcodes": (b"\x80\x02" + b"}" * (budgets.MAX_OPCODES + 1) + b".", "opcodes, far beyond a network's pickle"),
    "tuples": (b"\x80\x04N" + b"\x85" * 200 + b".", "nested too deeply"),
    "tuples through the memo": (b"\x80\x04N" + b"".join(b"\x85\x940h%c" % k for k in range(200)) + b".", "nested too"),
    "frozensets": (b"\x80\x04" + b"(" * 200 + b"N" + b"\x91" * 200 + b".", "nested too deeply"),
    "shared tuples": (b"\x80\x04}N" + b"2\x86" * 40 + b"Ns.", "nested too deeply for a network (12 tuples"),
    "tuples as keys": (
        b"\x80\x04}(" + b"".join(b"K%cK%c\x86N" % (k % 256, k // 256) for k in range(2000)) + b"u.",
        "1000",
    ),
    "long numbers": (b"\x80\x02(" + (b"\x8a\x09" + b"\x01" * 9) * 3000 + b"l.", "numbers that no computer word holds"),
    "digits": (b"\x80\x02I" + b"9" * 5000 + b"\n.", "a number of thousands of digits"),
    "names": (b"\x80\x02" + b"".join(b"cm%d\nn\n0" % k for k in range(3000)) + b"N.", "names more than 2000 functions"),
    "a memo": (b"\x80\x02Nq\x05r\xff\xff\xff\x7f.", "it numbers an object 2147483647"),
    "a memo before garbage": (b"\x80\x04Nr\x00\x00\x00\x10\xff\xff\xff", "it numbers an object 268435456"),
    "an empty stack": (b"\x80\x02s.", "no pickle: IndexError in its opcodes"),
    "a frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.", "the data ends too early"),
    "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"N.", "the data ends too early"),
    "an array of bytes": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"N.", "the data ends too early"),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_pickles_beyond_the_budgets_are_refused(tmp_path, kind):
    stream, message = STREAMS[kind]
    assert message in refusal(write(tmp_path / "a.pkl", stream))


def test_what_is_written_into_messages_is_bounded_before_it_is_written(tmp_path, tiny):
    shared = []
    for _ in range(60):
        shared = [shared, shared]  # 2^60 leaves
    message = refusal(write_official(tmp_path / "a.pkl", tiny, activation=shared))
    assert message.startswith("activation is [[[[…], […]], [[…], […]]], [[[…], […]], [[…], […]]]], not linear or relu")
    content = official_content(tiny)
    nested = {}
    for _ in range(60):
        nested = dict(a_kwargs=nested, b_kwargs=nested)
    content["G_ema"].args[0]["state"]["_init_kwargs"]["mapping_kwargs"] = nested
    assert "unknown mapping argument a_kwargs" in refusal(write_pickle(tmp_path / "b.pkl", content))
    with pytest.raises(NetworkFileError, match="nested too deeply"):
        check_arguments(nested, "file")


def test_lists_as_deep_as_a_file_is_long_do_no_harm(tmp_path):
    path = write(tmp_path / "a.pkl", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert "holds a list" in refusal(path)


ARGUMENTS = [
    (dict(mapping_kwargs=dict(num_layers=10**8)), "num_layers is 100000000, not a whole number from 0 to 100"),
    (dict(channel_base=10**30), "channel_base is 1"),
    (dict(conv_clamp=float("nan")), "conv_clamp is nan, not a bound or None"),
    (dict(conv_clamp=[1]), "conv_clamp is [1], not a bound or None"),
    (dict(activation="gelu"), "activation is 'gelu', not linear or relu"),
    (dict(use_noise="no"), "use_noise is 'no', not True or False"),
    (dict(resample_filter=[1] * 1000), "resample_filter is [1, 1, 1"),
    (dict(mapping_kwargs=dict(a_kwargs=dict(b_kwargs={}))), "unknown mapping argument a_kwargs"),
    (dict(resample_filter=[1, -1]), "resample_filter is [1, -1], not a list of filter taps"),
    (dict(kernel_size=10**6), "kernel_size is 1000000, not a whole number from 1 to 15"),
    (dict(img_resolution=10**5000), "img_resolution is a number of hundreds of digits, not a size"),
]


@pytest.mark.parametrize("changes, message", ARGUMENTS)
def test_constructor_arguments_are_checked_before_anything_is_built(tmp_path, tiny, changes, message):
    assert message in refusal(write_official(tmp_path / "a.pkl", tiny, **changes))


def test_repeated_storages_are_no_way_to_large_tensors(tmp_path, tiny):
    tiny.mapping.w_avg = torch.zeros(1).expand(1 << 40)
    assert "it repeats a storage of 1 entries 1.1e+12 times over" in refusal(write_official(tmp_path / "a.pkl", tiny))
    for zipped in (True, False):
        torch.save({"x": torch.zeros(1).expand(1 << 40)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(NetworkFileError, match="a.pth: holds a tensor of 1099511627776 entries that repeats"):
            read_checkpoint(tmp_path / "a.pth")


def test_a_buffer_that_repeats_its_storage_a_little_is_read(tmp_path, tiny):
    tiny.mapping.w_avg = torch.full((1,), 0.5).expand(8)
    loaded = load_network(write_official(tmp_path / "a.pkl", tiny))
    assert torch.equal(loaded.mapping.w_avg, torch.full((8,), 0.5))


def test_surplus_arrays_are_not_unpacked(tmp_path, tiny, monkeypatch):
    path = write_network(tmp_path / "a.npz", tiny)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1 << 20))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state/bomb.npy", buffer.getvalue())
    unpacked = []
    read = ArrayArchive.read
    monkeypatch.setattr(ArrayArchive, "read", lambda self, name: unpacked.append(name) or read(self, name))
    with pytest.raises(NetworkFileError, match="a.npz: does not fit a stylegan2: bomb is surplus"):
        read_npz(path)
    assert unpacked == ["config"]


def test_own_files_do_not_unpack_to_more_than_they_hold(tmp_path):
    write_arrays(tmp_path / "a.npz", dict(format="x"), {"a": {"b": torch.zeros(3)}})
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1 << 20))
    with zipfile.ZipFile(tmp_path / "a.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/bomb.npy", buffer.getvalue())
    with pytest.raises(AtlasError, match="a.npz: damaged, its arrays are packed"):
        read_arrays(tmp_path / "a.npz", "x", error=AtlasError, what="a test", remedy="make it again")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("command", [gen_images.main, describe.main, convert.main, inspect_geometry.main])
def test_pipes_and_devices_are_refused_without_waiting(tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        arguments = {
            describe.main: [path],
            convert.main: [path, str(tmp_path / "out.npz")],
        }.get(command, [f"--network={path}", f"--outdir={tmp_path / 'out'}"])
        check_failure(CliRunner().invoke(command, arguments), f"{path}: a pipe, socket or device")


# --- archives that can be read in two ways ----------------------------------------------------------------------------


def with_entry(path, name, data=b"other"):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, data)
    return path


def first_entry(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()[0]


@pytest.mark.parametrize("name", [None, "../x", "/x", "a/../../x", "a\\..\\..\\x", "C:\\x"])
def test_every_reader_refuses_archives_with_two_readings(tmp_path, tiny, name):
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.pth")
    write_network(tmp_path / "a.npz", tiny)
    np.savez(tmp_path / "atlas.npz", latents=np.ones((3, 2)), svds=np.ones((3, 2)))
    write_zip(tmp_path / "set.zip", random_images(2))
    for file, read, error in [
        ("a.pth", load_network, NetworkFileError),
        ("a.npz", load_network, NetworkFileError),
        ("atlas.npz", open_atlas, AtlasError),
        ("set.zip", ImageDataset, DatasetError),
    ]:
        path = with_entry(tmp_path / file, name or first_entry(tmp_path / file))
        with pytest.raises(error, match=f"{file}: refused, "):
            read(path)


def test_names_that_torch_takes_for_the_same_are_the_same(tmp_path):
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.pth")
    name = first_entry(tmp_path / "a.pth")
    with pytest.raises(NetworkFileError, match="two entries with the name"):
        read_checkpoint(with_entry(tmp_path / "a.pth", name.upper()))


def test_every_checksum_of_a_checkpoint_is_compared(tmp_path):
    torch.save(dict(state_dict=dict(x=torch.arange(100.0)), optimizer=dict(y=torch.ones(100) * 7)), tmp_path / "a.pth")
    good = (tmp_path / "a.pth").read_bytes()
    for tensor in (torch.arange(100.0), torch.ones(100) * 7):  # what is asked for, and what is not
        data = bytearray(good)
        data[good.index(tensor.numpy().tobytes()) + 50] ^= 1
        (tmp_path / "a.pth").write_bytes(data)
        with pytest.raises(NetworkFileError, match="a.pth: damaged, the checksum of its entry 'a/data/.' is wrong"):
            read_checkpoint(tmp_path / "a.pth")


def test_a_storage_shorter_than_its_tensor_is_not_read_beyond_its_end(tmp_path):
    torch.save({"x": torch.zeros(4)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:8] if name.endswith("data/0") else data)
    with pytest.raises(NetworkFileError, match="storage '0' has 8 bytes instead of 16"):
        read_checkpoint(tmp_path / "a.pth")


# --- what was not asked for -------------------------------------------------------------------------------------------

PROJECTED = Call(Named("pg_modules.discriminator", "ProjectedDiscriminator"), Call(Named("timm", "create_model"), "x"))


def test_a_part_of_an_unknown_class_is_inert_until_it_is_asked_for(tmp_path, tiny):
    content = official_content(tiny)
    content["D"] = PROJECTED
    path = write_pickle(tmp_path / "a.pkl", content)
    assert torch.equal(images(load_network(path)), images(tiny))
    assert "it asks for pg_modules.discriminator.ProjectedDiscriminator" in refusal(path, UnsafePickleError, key="D")
    state = content["G_ema"].args[0]["state"]
    state["_modules"] = dict(state["_modules"], extra=PROJECTED)
    assert "it asks for pg_modules" in refusal(write_pickle(tmp_path / "b.pkl", content), UnsafePickleError)


def test_what_acts_on_the_machine_is_refused_wherever_it_stands(tmp_path, tiny):
    for name in (("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("__builtin__", "getattr")):
        content = official_content(tiny)
        content["D"] = Call(Named(*name), f"touch {tmp_path / 'ran'}")
        assert "it asks for" in refusal(write_pickle(tmp_path / "a.pkl", content), UnsafePickleError)
    assert not (tmp_path / "ran").exists()


def test_inert_classes_take_whatever_a_pickle_does(tmp_path):
    class Everything:
        def __reduce__(self):
            return PROJECTED.function, (1,), dict(a=1), iter([1, 2]), iter([("k", 2)])

    content = read_pickle(write_pickle(tmp_path / "a.pkl", [Everything(), 3]))
    assert content[1] == 3 and content[0].asked_for == "pg_modules.discriminator.ProjectedDiscriminator"
    with pytest.raises(AttributeError):
        type(content[0]).asked_for = "something else"


def test_a_data_set_that_a_file_names_is_a_hint(tmp_path, tiny):
    content = official_content(tiny)
    data = write_zip(tmp_path / "real.zip", random_images(60))
    content["training_set_kwargs"] = dict(path=str(data), xflip=True)
    path = write_pickle(tmp_path / "a.pkl", content)
    options = [f"--network={path}", "--metrics=fid50_full", "--detector=mnist-classifier"]
    hint = f"give it with --data=FILE (the network's file names '{data}', with --mirror=1)"
    check_failure(CliRunner().invoke(calc_metrics.main, options), hint)


@pytest.fixture
def feature_atlas(tmp_path):
    network = load_network("mnist32")
    options = dict(space="features", detector="mnist-classifier", candidates=4, top_k=2)
    Atlas.build(network, tmp_path / "atlas", **options)
    return network, tmp_path / "atlas"


def changed(folder, **fields):
    """The settings of an atlas with others than it was built with, and a checksum that fits: no proof of origin."""
    header = unsealed_json(json.loads((folder / "atlas.json").read_text()))
    (folder / "atlas.json").write_text(json.dumps(sealed_json(header | fields)))
    return read_settings(folder)


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/detector.pkl", "https://example.org/x", "/nowhere/d.pkl"])
def test_the_detector_of_somebody_elses_atlas_is_not_followed(feature_atlas, monkeypatch, source):
    network, folder = feature_atlas
    monkeypatch.setattr(download, "_cached_or_downloaded", lambda *_: pytest.fail("it was followed"))
    settings = changed(folder, detector=source)
    with pytest.raises(AtlasError, match="is not followed unasked"):
        plain_map(network, settings, None)


def test_a_detectors_file_in_an_atlas_must_be_the_one_that_made_it(feature_atlas, tmp_path):
    network, folder = feature_atlas
    other = write(tmp_path / "other.pkl", b"\x80\x02N.")
    with pytest.raises(AtlasError, match="other.pkl: not the feature detector that the atlas was begun with"):
        plain_map(network, changed(folder, detector=str(other)), None)


# --- atlas.json -------------------------------------------------------------------------------------------------------

HEADERS = [
    (dict(candidates=10**12), "its candidates is 1000000000000, which no atlas has"),
    (dict(candidates=10**9, space="z:pixel"), "20000000 shards, more than 1000000"),
    (dict(candidates="20"), "its candidates is '20'"),
    (dict(candidates=2.5), "its candidates is 2.5"),
    (dict(z_dim=True), "its z_dim is True"),
    (dict(space="\x1b[31mred"), r"its space is '\\x1b[31mred'".replace("\\\\", "\\")),
    (dict(space=["z:w"]), "its space is ['z:w']"),
    (dict(classes=[0, 0]), "its classes is [0, 0]"),
    (dict(classes=[5]), "it has a class 5 of 0"),
    (dict(psi=None), "its psi is None"),
    (dict(method="guess"), "its method is 'guess'"),
    (dict(surprise=1), "an unknown setting 'surprise'"),
    (dict(format=3), "an atlas of format 3, this version reads 2"),
]


@pytest.mark.parametrize("fields, message", HEADERS)
def test_settings_are_checked_when_they_are_read(tmp_path, tiny, fields, message):
    Atlas.build(tiny, tmp_path / "atlas", candidates=4, top_k=2)
    with pytest.raises(AtlasError) as error:
        changed(tmp_path / "atlas", **fields)
    assert message in str(error.value) and str(tmp_path / "atlas") in str(error.value)


@pytest.mark.parametrize("data", [b"[]", b"3", b"null", b"\xff", b"{", b"[" * 100_000, b""])
def test_what_is_no_header_is_damage(tmp_path, tiny, data):
    Atlas.build(tiny, tmp_path / "atlas", candidates=4, top_k=2)
    (tmp_path / "atlas" / "atlas.json").write_bytes(data)
    with pytest.raises(AtlasError, match="atlas.json: damaged"):
        open_atlas(tmp_path / "atlas")


# --- messages ---------------------------------------------------------------------------------------------------------


def test_text_from_files_reaches_no_terminal_raw(tmp_path, tiny):
    content = official_content(tiny)
    content["G_ema"].args[0]["class_name"] = "\x1b]0;title\x07" * 1000
    content["G_ema"].args[0]["state"]["_modules"] = {}
    message = refusal(write_pickle(tmp_path / "a.pkl", content))
    assert "\\x1b]0;title\\x07" in message and len(message) < 1000
    assert "unknown synthesis argument \\x1b[2J" in refusal(write_official(tmp_path / "b.pkl", tiny, **{"\x1b[2J": 1}))


def test_shown_is_one_short_line():
    assert shown("a\nb\x00") == "a b\\x00" and shown([1, "x"]) == "[1, 'x']"
    assert len(shown("é" * 1000)) == 201 and shown(10**5000) == "a number of hundreds of digits"
    assert escaped("ü – 漢") == "ü – 漢"


@pytest.mark.parametrize(
    "problem, message",
    [
        (KeyError("a"), "file: damaged (KeyError: 'a')"),
        (ValueError("file: known"), "file: known"),
        (NetworkFileError("known"), "file: known"),
        (RecursionError(), "file: damaged (nested too deeply)"),
        (MemoryError(), "file: damaged, or larger than this machine's memory"),
        (EOFError(), "file: damaged (EOFError: EOFError)"),
        (OSError("without a number"), "file: damaged (OSError: without a number)"),
    ],
)
def test_the_boundary_of_a_reader(problem, message):
    with pytest.raises(ValueError) as error:
        with reading("file"):
            raise problem
    assert str(error.value) == message
    with pytest.raises(FileNotFoundError):
        with reading("file"):
            open("/nowhere/at/all")


COMMANDS = [
    gen_images,
    calc_metrics,
    sweep,
    describe,
    convert,
    inspect_geometry,
    interpolate,
    modes,
    polarity_strip,
    train_weights_command,
]


@pytest.mark.parametrize("command", [*(module.main for module in COMMANDS), build_atlas])
def test_every_command_has_a_last_catch(command):
    assert "--debug" in CliRunner().invoke(command, ["--help"]).output


def test_the_last_catch_is_one_line_and_debug_shows_more():
    @click.command("work")
    @reports_errors
    def work():
        raise ZeroDivisionError("1 / \x1b[0m")

    plain, debug = CliRunner().invoke(work), CliRunner().invoke(work, ["--debug"])
    message = "work: unexpected error (ZeroDivisionError: 1 / \\x1b[0m); --debug shows the traceback"
    check_failure(plain, message)
    assert debug.exit_code == 1 and "Traceback" in debug.output and message in debug.output


def test_the_end_of_an_input_is_no_abort():
    @click.command("work")
    @reports_errors
    def work():
        raise EOFError("the input ended")

    check_failure(CliRunner().invoke(work), "work: unexpected error (EOFError: the input ended)")


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs owners of files")
def test_the_cache_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "own"))
    cache_folder("atlases")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("DNNLIB_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache" / "dnnlib").mkdir(parents=True, mode=0o755)
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / ".cache").stat().st_uid + 1)
    with pytest.raises(DownloadError, match="belongs to another user"):
        cache_folder()


# --- official calls and wrappers --------------------------------------------------------------------------------------


def with_call(tiny, args, **kwargs):
    content = official_content(tiny)
    state = content["G_ema"].args[0]["state"]
    state["_init_args"], state["_init_kwargs"] = args, kwargs
    return content


def test_arguments_by_position_behind_the_sizes(tmp_path, tiny):
    kwargs = dict(tiny.init_kwargs)
    mapping = kwargs.pop("mapping_kwargs")
    sizes = tuple(kwargs.pop(name) for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"))
    for args, rest in [
        ((*sizes, mapping), kwargs),
        ((*sizes, mapping, kwargs), {}),
        ((*sizes, True, mapping, kwargs), {}),
        (sizes, dict(mapping_kwargs=mapping, square=True, **kwargs)),
        ((*sizes, mapping), dict(synthesis_kwargs=kwargs)),
    ]:
        path = write_pickle(tmp_path / "a.pkl", with_call(tiny, args, **rest))
        assert torch.equal(images(load_network(path)), images(tiny))
    twice = with_call(tiny, (*sizes, mapping), mapping_kwargs=mapping, **kwargs)
    assert "constructor call lacks names" in refusal(write_pickle(tmp_path / "b.pkl", twice))
    oblong = with_call(tiny, sizes, mapping_kwargs=mapping, square=False, **kwargs)
    assert "makes images that are not square" in refusal(write_pickle(tmp_path / "c.pkl", oblong))


@pytest.mark.parametrize("taps", [None, [1, 1], [[1.0, 2.0], [3.0, 4.0]]])
def test_filters_of_every_form_that_the_official_code_takes(tmp_path, taps):
    network = small_stylegan2(resample_filter=taps)
    assert torch.equal(images(load_network(write_official(tmp_path / "a.pkl", network))), images(network))


PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
KEYS = ["G_ema", "g_ema", "model", "generator", "netG", "netG_state_dict", "ema", "model_state_dict", "state_dict", "G"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", [None, *KEYS])
def test_wrappers_and_keys_of_state_dicts(tmp_path, prefix, key):
    from helpers.family_files import biggan_state

    torch.save(biggan_state(), tmp_path / "plain.pth")
    wrapped = {f"{prefix}{name}": tensor for name, tensor in biggan_state().items()}
    torch.save(wrapped if key is None else {key: wrapped, "iteration": 3}, tmp_path / "wrapped.pth")
    first, second = (load_network(tmp_path / name).state_dict() for name in ("plain.pth", "wrapped.pth"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensorflow_pickles_of_every_protocol_with_and_without_code(tmp_path, protocol):
    network = small_stylegan2(img_channels=3, conv_clamp=256)
    path = write_tf_pickle(tmp_path / "a.pkl", as_file(tf_stylegan2(network)), protocol)
    for allow_code in (False, True):
        assert torch.allclose(images(load_network(path, allow_code=allow_code)), images(network), atol=1e-5)


@pytest.mark.parametrize("protocol", range(6))
def test_containers_and_arrays_of_every_protocol(tmp_path, protocol):
    content = [dict(a=(1, 2.5)), {3, 4}, np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((2, 3), np.float32))]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    first, second, array, columns = read_pickle(tmp_path / "a.pkl")
    assert (first, second) == (content[0], content[1])
    assert np.array_equal(array.decode(), content[2]) and np.array_equal(columns.decode(), content[3])


def test_changed_line_ends_are_damage_and_never_a_matter_of_trust(tmp_path, tiny, capfd):
    data = write_official(tmp_path / "good.pkl", tiny).read_bytes()
    path = write(tmp_path / "a.pkl", data.replace(b"\n", b"\r\n"))
    for allow_code in (False, True):
        message = refusal(path, allow_code=allow_code)
        assert message.startswith("damaged in transfer: its line ends were changed") and "--allow-code" not in message
    assert "now runs" not in capfd.readouterr().err


PAGES = [b"<!-- a comment --> <html>", b"\xef\xbb\xbf<!doctype html>", "<html>".encode("utf-16"), b"\n<script src=x>"]
PAGES += [b"<!--" + b"x" * 5000, b"<HTML lang=en>"]


@pytest.mark.parametrize("page", PAGES)
def test_web_pages_are_told(tmp_path, page):
    assert refusal(write(tmp_path / "a.pkl", page)).startswith("a web page, not a network")


@pytest.mark.parametrize("mark", [b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27", b"Rar!\x1a"])
def test_packed_files_are_told(tmp_path, mark):
    assert "unpack it" in refusal(write(tmp_path / "a.pkl", mark + b"\0" * 100))


# --- what costs more than it says -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cbuiltins\nlist\n", "cbuiltins\ntuple\n", "c_codecs\nencode\n"])
def test_calls_that_copy_what_is_there_are_counted(tmp_path, name):
    """A hundred kilobytes that would make gigabytes: one long thing in the memo, handed to a call again and again."""
    long = b"\x80\x04X" + struct.pack("<I", 1 << 16) + b"\x01" * (1 << 16) + b"q\x00" + name.encode() + b"q\x01("
    path = tmp_path / "amplified.pkl"
    path.write_bytes(long + b"h\x01h\x00\x85R" * 8000 + b"l.")
    with pytest.raises(NetworkFileError, match="amplified.pkl: .*makes more than .* items and bytes"):
        load_network(path)


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_pipes_and_devices_are_refused_wherever_files_are_read(tmp_path, pipe):
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(DatasetError, match="a pipe, socket or device, where a file is needed"):
            ImageDataset(path)
    folder = tmp_path / "set"
    folder.mkdir()
    os.mkfifo(folder / "a.png")
    with pytest.raises(DatasetError, match="a.png.*a pipe, socket or device"):
        ImageDataset(folder)
    with pytest.raises(ChecksumError, match="a pipe, socket or device"):
        read_npy(pipe)
    with pytest.raises(ValueError, match="a pipe, socket or device"):
        with open_arrays(pipe):
            pass


def test_files_of_data_sets_have_a_size_that_images_have(tmp_path, monkeypatch):
    picture = PIL.Image.new("L", (8, 8))
    for name in ("a.png", "dataset.json"):
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            data = io.BytesIO()
            picture.save(data, "PNG")
            archive.writestr("0.png" if name == "dataset.json" else "b.png", data.getvalue())
            archive.writestr(name, bytes(1 << 21))
        monkeypatch.setattr(dataset_files, "MAX_IMAGE_BYTES", 1 << 20)
        monkeypatch.setattr(dataset_files, "MAX_LABEL_BYTES", 1 << 20)
        with pytest.raises(DatasetError, match=f"{name} in it is damaged .*it has 2097152 bytes unpacked"):
            ImageDataset(path, use_labels=name == "dataset.json")


def test_images_of_a_few_bytes_and_many_pixels_are_not_decoded(tmp_path):
    data = io.BytesIO()
    PIL.Image.new("P", (9000, 9000)).save(data, "PNG")
    (tmp_path / "a.png").write_bytes(data.getvalue())
    with pytest.raises(DatasetError, match="it is 9000x9000, more than 67108864 pixels"):
        ImageDataset(tmp_path, channels=1)


def test_long_names_in_data_sets_are_cut(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("z" * 3000 + ".png", b"no image")
    with pytest.raises(DatasetError) as raised:
        ImageDataset(tmp_path / "set.zip")
    assert len(str(raised.value)) < 500


def test_an_atlas_that_claims_a_million_shards_is_told_at_once(tmp_path, tiny):
    atlas = Atlas.build(tiny, tmp_path / "a", space="style", candidates=20)
    fields = unsealed_json(json.loads((tmp_path / "a" / "atlas.json").read_text()))
    fields["candidates"] = 10**9
    (tmp_path / "a" / "atlas.json").write_text(json.dumps(sealed_json(fields)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"unfinished \(1 of 1000000 shards\)"):
        open_atlas(tmp_path / "a")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000 and atlas.top_k
    tracemalloc.stop()


def test_torchscript_tensors_that_share_a_storage_count_each(tmp_path, monkeypatch):
    class Sharing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            whole = torch.zeros(1 << 17)  # half a megabyte
            for i in range(3):
                self.register_buffer(f"part{i}", whole)

        def forward(self, x):
            return x + self.part0[:1]

    path = tmp_path / "sharing.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Sharing()), path)
    assert len(torch_archives.read_torchscript_tensors(path)) == 3
    monkeypatch.setattr(torch_archives, "MAX_SCRIPT_BYTES", 1 << 20)
    with pytest.raises(NetworkFileError, match="sharing.pt: its tensors take more than 1048576 bytes"):
        torch_archives.read_torchscript_tensors(path)


# ---- places for results that are none ----


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_in_the_place_of_results_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for command in (gen_images.main, build_atlas):
        result = CliRunner().invoke(command, [f"--outdir={tmp_path / 'pipe'}", "--device=cpu"])
        assert result.exit_code == 1, result.output
        assert (
            result.output.splitlines()[-1] == f"Error: {tmp_path / 'pipe'}: a file and no folder; give another --outdir"
        )
    os.mkfifo(tmp_path / "samples.jsonl")
    result = CliRunner().invoke(gen_images.main, ["--seeds=0", f"--outdir={tmp_path}", "--device=cpu"])
    assert result.exit_code == 1 and "samples.jsonl: a pipe, socket or device" in result.output.splitlines()[-1]


@pytest.mark.parametrize("read, name", [(read_rows, "sweep.jsonl"), (read_log, "training.csv")])
def test_logs_that_are_no_files_are_refused_without_reading(tmp_path, read, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "zeros").symlink_to("/dev/zero")  # which never ends
    for path in (tmp_path / name, tmp_path / "zeros"):
        with pytest.raises(ValueError, match=f"{path}: a pipe, socket or device, where a file is needed"):
            read(path)


def test_a_full_disk_behind_the_standard_output_is_named():
    @click.command("work")
    @reports_errors
    def work():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    check_failure(CliRunner().invoke(work), "standard output: No space left on device")


def test_a_huge_picture_is_told_once_and_in_our_words(tmp_path):
    """Pillow has a warning of its own, with its own limit."""
    image = PIL.Image.new("1", (10_000, 9_500))
    image.save(tmp_path / "a.png")
    result = CliRunner().invoke(calc_metrics.main, ["--metrics=fid70_full", f"--data={tmp_path}", "--device=cpu"])
    assert result.exit_code == 1 and "a.png in it is damaged (it is 10000x9500, more than" in result.output
    assert "decompression bomb" not in result.output


def test_a_damaged_checkpoint_is_told_before_anything_is_opened(tmp_path):
    """Neither the network nor the data set could be opened."""
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04 half of one")
    for name in ("network.pkl", "data.zip"):
        (tmp_path / name).write_text("neither")
    options = [f"--network={tmp_path / 'network.pkl'}", f"--data={tmp_path / 'data.zip'}", f"--outdir={tmp_path}"]
    options.append("--device=cpu")
    result = CliRunner().invoke(train_weights_command.main, options)
    assert result.exit_code == 1, result.output
    line = result.output.splitlines()[-1]
    assert "checkpoint.npz: not a file of trained weights, or damaged" in line and "remove it to start again" in line
    assert "download it" not in line


@pytest.mark.parametrize("name", ["weights.npz", "predictor.npz"])
def test_nobody_can_download_again_what_was_made_here(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 half of one")
    with pytest.raises(ValueError) as error:
        (load_weights if name == "weights.npz" else load_predictor)(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "download it" not in text
    assert text.endswith(
        "train_weights makes one" if name == "weights.npz" else "run build_atlas again, which learns it anew"
    )
