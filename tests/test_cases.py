"""Small hostile, damaged and reported files from the reference data: each gets what it should.

The files lie in `cases/damaged` and `cases/reports` of the reference data; a file that is not in the tables below fails
the last test, so that none goes untested.
"""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from helpers.results import check_failure

from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.errors import DatasetError, NetworkFileError
from dnnlib_compat.loader import load_network
from latent_plugins.atlas import AtlasError, open_atlas

SECONDS, GROWTH = 2, 200  # more than loading a good file: processor seconds, megabytes


@pytest.fixture
def cases(data_folder):
    folder = data_folder / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases in {data_folder}")
    return folder


# --- damaged ----------------------------------------------------------------------------------------------------------

DAMAGED = {
    "memo_then_garbage_small.pkl": "damaged, download it again (it numbers an object 268435456)",
    "nested_dict_keyhash.pkl.gz": "nested too deeply",
    "dag_40.pkl": "its modules contain each other without end",
    "cyclic_record.pkl": "its modules contain each other without end",
    "mapping_num_layers.pkl": "num_layers is 100000000, not a whole number from 0 to 100",
    "st_numlayers.safetensors": "num_layers is 100000000, not a whole number from 0 to 100",
    "stride0_2^40.pkl": "mapping.w_avg: a tensor of the file cannot be decoded (",
    "od_get_str.pkl": "has no network under 'G_ema'",
    "late_activation.pkl": "activation is [], not linear or relu or",
    "late_conv_clamp.pkl": "conv_clamp is 'x', not a bound or None",
    "late_use_noise.pkl": "use_noise is 'no', not True or False",
    "npz_flip400.npz": "damaged (zlib.error: ",
    "st_F8_E4M3.safetensors": "state/x is of the type F8_E4M3",
}

# In a process of its own, so that a crash, a hang or memory is that of the file alone.
MEASURED = """
import re, resource, sys, time
from pathlib import Path
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.loader import load_network

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

load_network("mnist32")
for path in sys.argv[1:]:
    before, start = peak(), time.process_time()
    try:
        load_network(path)
        message = "it loads"
    except NetworkFileError as error:
        message = str(error)
    print(f"{time.process_time() - start:.3f}\\t{peak() - before:.1f}\\t{message}")
"""


@pytest.fixture
def damaged(cases, tmp_path):
    """The path of a damaged file, unpacked."""

    def find(name):
        path = cases / "damaged" / name
        if path.suffix != ".gz":
            return path
        unpacked = tmp_path / path.stem
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        return unpacked

    return find


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's record of the peak memory")
def test_damaged_networks_are_refused_at_once_and_in_one_line(damaged):
    paths = [damaged(name) for name in DAMAGED]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", MEASURED, *map(str, paths)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(paths)
    for path, wanted, line in zip(paths, DAMAGED.values(), lines):
        seconds, growth, message = line.split("\t")
        assert message.startswith(f"{path}: ") and wanted in message, message
        assert float(seconds) < SECONDS and float(growth) < GROWTH, line


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_networks_end_the_command_in_one_line(damaged, tmp_path, name):
    result = CliRunner().invoke(gen_images, [f"--network={damaged(name)}", f"--outdir={tmp_path / 'out'}"])
    check_failure(result, DAMAGED[name])
    assert result.exit_code == 1


def test_a_published_atlas_does_not_lose_its_labels(damaged):
    good = open_atlas(damaged("pub.npz"))
    assert good.classes is not None
    with pytest.raises(AtlasError, match="pub83.npz: damaged, an entry is named .* in one place and .* in another"):
        open_atlas(damaged("pub83.npz"))


# --- reports: networks ------------------------------------------------------------------------------------------------


def picture(path, **options):
    network = load_network(path, **options)
    label = torch.eye(max(network.c_dim, 1))[:1, : network.c_dim]
    return network(torch.ones(1, network.z_dim), label)


@pytest.mark.parametrize("allow_code", [False, True])
def test_a_tensorflow_pickle_of_protocol_5_loads_with_and_without_code(cases, allow_code):
    image = picture(cases / "reports" / "stylegan2-tf-protocol5.pkl", allow_code=allow_code)
    assert image.sum().item() == pytest.approx(3.63, abs=0.005)


@pytest.mark.parametrize("name", ["stylegan3-protocol5.pkl", "biggan-torch-compile.pth", "biggan-under-G_ema.pth"])
def test_reported_networks_load(cases, name):
    assert picture(cases / "reports" / name).isfinite().all()


def test_wrappers_and_keys_change_no_number(cases):
    first, second = (
        picture(cases / "reports" / name) for name in ("biggan-torch-compile.pth", "biggan-under-G_ema.pth")
    )
    assert torch.equal(first, second)


REFUSED = {
    "stylegan2-crlf.pkl": "damaged in transfer: its line ends were changed",
    "stylegan3-module.pt": "a module that torch.save wrote as a whole is code, which --allow-code runs of .pkl files",
    "stylegan2-statedict.pt": "a bare state dict of a StyleGAN2 or StyleGAN3 .*; take the official .pkl",
    "rosinality.pt": "a checkpoint of rosinality's stylegan2-pytorch",
    "network-in-zip.zip": "a zip with 'drive-download/ok_sg2.pkl' in it; unpack it",
    "webpage-bom.pkl": "a web page, not a network; the server refused the download",
}


@pytest.mark.parametrize("allow_code", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_reported_files_of_other_kinds_are_told(cases, name, allow_code, capfd):
    with pytest.raises(NetworkFileError, match=REFUSED[name]) as error:
        load_network(cases / "reports" / name, allow_code=allow_code)
    assert str(error.value).startswith(f"{cases / 'reports' / name}: ")
    assert "now runs" not in capfd.readouterr().err
    if name == "stylegan2-crlf.pkl":
        assert "--allow-code" not in str(error.value)


def test_safetensors_of_the_hub_are_read_like_its_pytorch_file(cases, tmp_path):
    """The file's config.json is of no network that there is, and that is what both are told."""
    safetensors = pytest.importorskip("safetensors.torch")
    folder = cases / "reports" / "hf-safetensors"
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save(safetensors.load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(NetworkFileError) as ours:
        load_network(folder)
    with pytest.raises(NetworkFileError) as theirs:
        load_network(tmp_path)
    message = str(ours.value).removeprefix(f"{folder / 'model.safetensors'}: ")
    assert message == str(theirs.value).removeprefix(f"{tmp_path / 'pytorch_model.bin'}: ")
    assert message.startswith("config.json: layer 0 is from 4 to 2 channels")


# --- reports: data sets -----------------------------------------------------------------------------------------------


def test_one_real_image_is_too_few_for_the_unbiased_distance(cases):
    data = f"--data={cases / 'reports' / 'one.zip'}"
    options = [data, "--metrics=fid_unbiased200_full", "--allow-singular", "--detector=mnist-classifier"]
    result = CliRunner().invoke(calc_metrics, options)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "unexpected error" not in result.output and "image" in result.output


def test_files_that_are_no_images_are_left_out(cases):
    assert len(ImageDataset(cases / "reports" / "pdf.zip")) == 3


def test_a_gray_image_first_does_not_make_a_data_set_gray(cases):
    assert ImageDataset(cases / "reports" / "gray_first_rgb.zip", channels=3).image(0).shape[0] == 3
    assert ImageDataset(cases / "reports" / "gray_first_rgb.zip").image(1).shape[0] == 3


def test_a_link_to_a_folder_inside_a_data_set_is_followed_or_named(tmp_path, cases, recwarn):
    import PIL.Image

    for folder, count in (("set", 3), ("more", 6)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            PIL.Image.new("L", (8, 8), i).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "set" / "link").symlink_to(tmp_path / "more", target_is_directory=True)
    assert len(ImageDataset(tmp_path / "set")) == 9 or any("link" in str(each.message) for each in recwarn)


@pytest.mark.parametrize("name", ["lab_win.zip", "lab_float.zip"])
def test_labels_as_other_tools_write_them(cases, name):
    data = ImageDataset(cases / "reports" / name, use_labels=True)
    assert data.label_dim >= 1 and len(data) == 6


def test_a_dataset_json_one_folder_down_is_named(cases):
    try:
        assert ImageDataset(cases / "reports" / "lab_nested.zip", use_labels=True).label_dim >= 1
    except DatasetError as error:
        assert "set/dataset.json" in str(error)


def test_encrypted_archives_are_named(cases):
    with pytest.raises(DatasetError, match="encrypted"):
        ImageDataset(cases / "reports" / "enc.zip").image(0)


DATA_SETS = ("one.zip", "pdf.zip", "gray_first_rgb.zip", "lab_win.zip", "lab_float.zip", "lab_nested.zip", "enc.zip")
LOADED = ("stylegan2-tf-protocol5.pkl", "stylegan3-protocol5.pkl", "biggan-torch-compile.pth", "biggan-under-G_ema.pth")


def test_no_case_is_left_out(cases):
    assert {path.name for path in (cases / "damaged").iterdir()} == {*DAMAGED, "pub.npz", "pub83.npz", "README.md"}
    reports = {*REFUSED, *DATA_SETS, *LOADED, "hf-safetensors", "README.md"}
    assert {path.name for path in (cases / "reports").iterdir()} == reports
