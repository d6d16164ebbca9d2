"""Files that try to run code: none of it runs, and each is refused in one line."""

import io
import pickle
import struct

import pytest
import torch
from helpers.pickles import PERSISTENT, Call, Named, gpu_tensor, official_content, record, write_pickle

from dnnlib_compat.errors import NetworkFileError, UnsafePickleError
from dnnlib_compat.loader import load_network
from dnnlib_compat.unpickle import ALLOWED, read_pickle

REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
LOAD_BYTES = Named("torch.storage", "_load_from_bytes")


class Touch:
    """Creates a file when it is unpickled by the ordinary machinery."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "it-ran"


def refused(path, sentinel, error=NetworkFileError, match=None):
    with pytest.raises(error, match=match) as caught:
        load_network(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not sentinel.exists()


def test_the_sentinel_works(sentinel):
    pickle.loads(pickle.dumps(Touch(sentinel))).close()
    assert sentinel.exists()


CALLS = {
    "os.system": ("os", "system"),
    "posix.system": ("posix", "system"),
    "eval": ("builtins", "eval"),
    "exec": ("builtins", "exec"),
    "getattr": ("builtins", "getattr"),
    "import": ("builtins", "__import__"),
    "old eval": ("__builtin__", "eval"),
    "subprocess": ("subprocess", "Popen"),
    "torch.load": ("torch", "load"),
    "torch.serialization.load": ("torch.serialization", "load"),
    "numpy.load": ("numpy", "load"),
    "runpy": ("runpy", "run_path"),
    "codecs": ("_codecs", "decode"),
    "dotted": ("torch_utils.persistence", "_reconstruct_persistent_obj.__globals__"),
    "our own loader": ("dnnlib_compat.foreign", "load_with_code"),
}


@pytest.mark.parametrize("module, name", CALLS.values(), ids=CALLS)
def test_calls_of_other_functions_are_refused(tmp_path, sentinel, module, name):
    call = Call(Named(module, name), f"open({str(sentinel)!r}, 'w')")
    path = write_pickle(tmp_path / "a.pkl", dict(G_ema=call))
    refused(path, sentinel, UnsafePickleError, match="nothing from it has run: it asks for")


def test_an_ordinary_malicious_pickle(tmp_path, sentinel):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Touch(sentinel)))
    refused(tmp_path / "a.pkl", sentinel, UnsafePickleError, match="asks for (io|_io).open")


def test_code_inside_a_good_pickle(tmp_path, sentinel, tiny):
    content = official_content(tiny)
    content["training_set_kwargs"]["path"] = Touch(sentinel)
    refused(write_pickle(tmp_path / "a.pkl", content), sentinel, UnsafePickleError)


def test_embedded_source_does_not_run(tmp_path, sentinel, tiny):
    content = official_content(tiny)
    content["G_ema"].args[0]["module_src"] = f"open({str(sentinel)!r}, 'w')"
    load_network(write_pickle(tmp_path / "a.pkl", content))
    assert not sentinel.exists()


def test_code_inside_the_nested_storage(tmp_path, sentinel, tiny):
    buffer = io.BytesIO()
    torch.save(Touch(sentinel), buffer, _use_new_zipfile_serialization=False)
    payloads = [pickle.dumps(Touch(sentinel)), buffer.getvalue()]
    for payload in payloads:
        content = official_content(tiny)
        tensor = Call(REBUILD, Call(LOAD_BYTES, payload), 0, (8,), (1,), False, {})
        content["G_ema"].args[0]["state"]["_modules"]["mapping"].args[0]["state"]["_buffers"]["w_avg"] = tensor
        refused(write_pickle(tmp_path / "a.pkl", content), sentinel, match="cannot be decoded")


def test_build_cannot_change_the_functions_of_the_table(tmp_path, sentinel):
    """The BUILD opcode sets attributes: on our stand-ins there are none to set."""
    for state in ({"__call__": 1}, (None, {"__call__": 1})):
        stream = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + pickle.dumps(state, 2)[2:-1] + b"b."
        (tmp_path / "a.pkl").write_bytes(stream)
        refused(tmp_path / "a.pkl", sentinel)
    for target in ALLOWED.values():
        with pytest.raises((AttributeError, TypeError)):
            target.surprise = 1


def test_persistent_ids_and_extension_codes_are_refused(tmp_path, sentinel):
    for stream in (b"\x80\x02Pid\n.", b"\x80\x02\x82\x01."):
        (tmp_path / "a.pkl").write_bytes(stream)
        refused(tmp_path / "a.pkl", sentinel)


def test_object_arrays_are_not_decoded(tmp_path):
    dtype = Call(Named("numpy", "dtype"), "O8", False, True)
    path = write_pickle(tmp_path / "a.pkl", Call(Named("numpy.core.multiarray", "scalar"), dtype, b"\0" * 8))
    with pytest.raises(NetworkFileError, match="truncated or damaged"):
        read_pickle(path)


def test_numbers_and_arrays_of_numpy_are_read(tmp_path):
    import numpy as np

    path = write_pickle(tmp_path / "a.pkl", [np.float64(2.5), np.int32(7), np.arange(6).reshape(2, 3).T])
    number, integer, array = read_pickle(path)
    assert (number, integer) == (2.5, 7)
    assert np.array_equal(array.decode(), np.arange(6).reshape(2, 3).T)


@pytest.mark.parametrize("geometry", [(0, (100,), (1,)), (90, (8,), (1,)), (0, (2, 2), (-1, 1)), (0, ("a",), (1,))])
def test_tensors_outside_their_storage_are_refused(tmp_path, tiny, sentinel, geometry):
    content = official_content(tiny)
    tensor = gpu_tensor(torch.zeros(8))
    tensor.args = (tensor.args[0], *geometry, False, {})
    content["G_ema"].args[0]["state"]["_modules"]["mapping"].args[0]["state"]["_buffers"]["w_avg"] = tensor
    refused(write_pickle(tmp_path / "a.pkl", content), sentinel)


@pytest.mark.parametrize("meta", [None, {}, {"type": "function"}, {"type": "class", "state": []}])
def test_malformed_records_are_refused(tmp_path, sentinel, meta):
    refused(write_pickle(tmp_path / "a.pkl", dict(G_ema=Call(PERSISTENT, meta))), sentinel)


def test_records_without_constructor_arguments_are_refused(tmp_path, sentinel):
    child = record("SynthesisBlock", {})
    state = dict(_modules=dict(synthesis=record("SynthesisNetwork", dict(_modules=dict(b4=child)))))
    path = write_pickle(tmp_path / "a.pkl", dict(G_ema=record("Generator", state)))
    refused(path, sentinel, match="does not record how its generator was constructed")


def test_every_truncation_of_a_pickle_is_one_line(tmp_path, tiny, sentinel):
    whole = write_pickle(tmp_path / "whole.pkl", official_content(tiny)).read_bytes()
    for end in [1, 2, 10, 100, 1000, len(whole) // 2, len(whole) - 1]:
        (tmp_path / "a.pkl").write_bytes(whole[:end])
        refused(tmp_path / "a.pkl", sentinel)


def test_flipped_bytes_never_end_in_another_exception(tmp_path, tiny):
    whole = bytearray(write_pickle(tmp_path / "whole.pkl", official_content(tiny)).read_bytes())
    for position in range(2, 4000, 41):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "a.pkl").write_bytes(damaged)
        try:
            load_network(tmp_path / "a.pkl")
        except NetworkFileError:
            pass


def test_a_length_of_terabytes_is_refused(tmp_path, sentinel):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 43) + b"x.")
    refused(tmp_path / "a.pkl", sentinel)


@pytest.mark.parametrize("number", [b"r\xff\xff\xff\x7f", b"p2147483647\n"])
def test_a_huge_memo_is_not_allocated(tmp_path, number):
    path = tmp_path / "memo.pkl"
    path.write_bytes(b"\x80\x04N" + number + b".")
    with pytest.raises(NetworkFileError, match="it numbers an object 2147483647"):
        load_network(path)
