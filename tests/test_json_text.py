"""JSON from files: one function parses it, and no nesting, number or pair of names in a file is too much for it."""

import json
import re
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from conftest import ROOT, small_stylegan2, write_network
from helpers.image_zips import random_images, write_zip

from cli.sweep import add_row, read_rows
from dnnlib_compat.checkpoint_networks import read_config
from dnnlib_compat.completeness import is_whole
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.errors import DatasetError, NetworkFileError
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.line_files import merge_lines
from dnnlib_compat.loader import load_network
from dnnlib_compat.nesting import check_nesting, nesting
from latent_plugins.atlas import Atlas, AtlasError, open_atlas
from latent_plugins.files.arrays import read_arrays, write_arrays

DEEP = "[" * 10**6
TOO_DEEP = "nested more than 100 deep"


def line(error, read, *arguments, path):
    """The one line that a reader says of a file."""
    start = time.process_time()
    with pytest.raises(error) as caught:
        read(*arguments)
    message = str(caught.value)
    assert str(path) in message and message.isprintable()
    assert time.process_time() - start < 5
    return message


def test_one_place_parses_json():
    places = [
        path.relative_to(ROOT).as_posix()
        for folder in ("dnnlib_compat", "latent_plugins", "cli", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"\bjson\.loads?\(|from json import|JSONDecoder|\.json\(\)", path.read_text(encoding="utf-8"))
    ]
    assert places == ["dnnlib_compat/json_text.py"]


def test_encodings_of_json_are_read_alike():
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        assert parse_json('{"é[": [1]}'.encode(encoding)) == {"é[": [1]}
    assert parse_json('\ufeff"text"') == "text"


@pytest.mark.parametrize(
    "text, message",
    [
        (DEEP, TOO_DEEP),
        ('{"a":' * 10**5, TOO_DEEP),
        (DEEP.encode("utf-16"), TOO_DEEP),
        ('{"\\"": "\\\\", "a": ' + DEEP, TOO_DEEP),
        ("[" * 200 + '"' + '\\"' * 10**6, TOO_DEEP),  # a string without an end
        ("[" * 101 + "1" + "]" * 101, TOO_DEEP),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "it has 'b' twice in one object"),
        ('{"n": ' + "9" * 10**6 + "}", "it has a number of 1000000 digits"),
        (b"\xff\xfe\xff", "decode"),
        ("", "Expecting value"),
    ],
)
def test_what_is_no_json_of_a_file_is_told_in_no_time(text, message):
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        parse_json(text)
    assert time.process_time() - start < 2


def test_the_deepest_level_is_that_of_brackets_outside_strings():
    assert nesting(rb'{"[[[\"[[[": ["\\", [1], "]]]"]}') == 3
    many = "[" * 60 + '"' + "[" * (3 << 20) + '"' + "]" * 60  # a string that goes over the parts that are looked at
    assert nesting(many.encode()) == 60
    check_nesting(many.encode())
    assert nesting(("[" * 60 + '"' + "[" * (3 << 20) + '"' + "[" * 60).encode()) == 120
    assert parse_json("[" * 100 + "]" * 100)


def test_the_settings_beside_weights(tmp_path):
    (tmp_path / "config.json").write_text(f'{{"a": {DEEP}')
    assert TOO_DEEP in line(NetworkFileError, read_config, tmp_path / "pytorch_model.bin", path=tmp_path)


def test_networks_of_this_projects_own_formats(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, config=np.array(f'{{"a": {DEEP}'))
    assert "does not say what network it holds" in line(NetworkFileError, load_network, path, path=path)
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=dict(config=DEEP))
    assert "does not say what network it holds" in line(NetworkFileError, load_network, path, path=path)


def test_headers_of_array_files(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, dict(format="x"), {})
    np.savez(path, header=np.array(f'{{"format": {DEEP}'))

    def read():
        read_arrays(path, "x", error=AtlasError, what="a test", remedy="make it again")

    assert TOO_DEEP in line(AtlasError, read, path=path)


def test_settings_of_an_atlas(tmp_path, tiny):
    Atlas.build(tiny, tmp_path / "a", candidates=10)
    path = tmp_path / "a" / "atlas.json"
    path.write_text(path.read_text().replace('"seed": 0', f'"seed": {DEEP}'))
    assert TOO_DEEP in line(AtlasError, open_atlas, tmp_path / "a", path=path)


def test_labels_of_a_data_set(tmp_path):
    path = tmp_path / "set"
    with zipfile.ZipFile(write_zip(tmp_path / "set.zip", random_images(2))) as archive:
        archive.extractall(path)
    (path / "dataset.json").write_text(f'{{"labels": {DEEP}')
    assert TOO_DEEP in line(DatasetError, lambda: ImageDataset(path, use_labels=True), path=path)


def test_files_of_lines(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(f'{{"file": "a"}}\n{DEEP}\n{{"file": "a", "n": 1}}\n')
    merge_lines(path, [dict(file="b")], lambda row: row["file"])
    assert path.read_text() == f'{DEEP}\n{{"file": "a", "n": 1}}\n{{"file": "b"}}\n'
    row = dict(sampler="magnet", space=None, trunc=1, mix=1)
    path.write_text(f"{DEEP}\n{json.dumps(row)}\n")
    assert read_rows(path) == [row]
    add_row(path, dict(row, mix=0.5))
    assert read_rows(path) == [row, dict(row, mix=0.5)]


def test_downloads(tmp_path):
    path = tmp_path / "download"
    path.write_text(f'{{"a": {DEEP}')
    assert is_whole(path) is False
    header = f'{{"a": {DEEP}'.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert is_whole(path) is False


def test_a_good_file_is_read_as_before(tmp_path):
    network = small_stylegan2()
    loaded = load_network(write_network(tmp_path / "a.npz", network))
    assert loaded.init_kwargs == network.init_kwargs
